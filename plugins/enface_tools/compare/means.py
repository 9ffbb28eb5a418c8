"""A group by itself: its means, and how far its seeds lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import Change, ends
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import IMAGE, known, numbers


@dataclass(frozen=True)
class Spread:
    """A number over the seeds of a group.

    Attributes:
        by_seed: Each seed's; empty without recipes.
        sd: Their standard deviation (n - 1); None of a single one.
    """

    mean: float
    by_seed: Mapping[int, float]
    sd: float | None


@dataclass(frozen=True)
class GroupMean:
    """A quantity over all images and seeds of a group.

    Attributes:
        over: The mean with its interval over identities, seeds averaged first.
        seeds: The means of the seeds.
    """

    images: int
    over: Change
    seeds: Spread


def group_means(group: Group, quantities: Sequence[Quantity]) -> dict[str, GroupMean]:
    """Those quantities that all runs of a group have, whoever it is compared with."""
    had = [item for item in quantities if all(item.name in member.results.numbers for member in group.members)]
    if not had:
        return {}
    values = numbers(group.members, had)
    about = pd.concat([known(member) for member in group.members]).drop_duplicates(IMAGE)
    people = about.set_index(IMAGE)["identity"].reindex(values.index).to_numpy()
    each = [numbers([member], had).mean() for member in group.members]
    return {
        item.name: GroupMean(
            int(values[item.name].notna().sum()),
            Change(float(values[item.name].mean()), float(low), float(high)),
            spread(group, [float(means[item.name]) for means in each]),
        )
        for item, (low, high) in zip(had, ends(values, people), strict=True)
    }


def set_spread(group: Group, name: str) -> Spread:
    """A set metric's one number of each run."""
    return spread(group, set_values(group, name))


def set_values(group: Group, name: str) -> list[float]:
    """A set metric's number of each run of a group, NaN where there is none."""
    entries = [(member.results.summary.get("sets") or {}).get(name) for member in group.members]
    values = [entry.get("value") if isinstance(entry, dict) else None for entry in entries]
    return [float("nan") if value is None else float(value) for value in values]


def spread(group: Group, values: Sequence[float]) -> Spread:
    """One number of each run of a group."""
    by_seed = {
        member.seed: value for member, value in zip(group.members, values, strict=True) if member.seed is not None
    }
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), by_seed, sd)
