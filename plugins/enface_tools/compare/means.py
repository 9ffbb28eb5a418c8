"""Means of one group, and their spread over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import MeanInterval, bootstrap_intervals
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import IMAGE, image_labels, mean_values


@dataclass(frozen=True)
class SeedSpread:
    """A number of each run of a group.

    Attributes:
        mean: Mean over runs.
        by_seed: The number of each seed; empty without recipes.
        sd: Standard deviation (n - 1); None for a single run.
    """

    mean: float
    by_seed: Mapping[int, float]
    sd: float | None


@dataclass(frozen=True)
class GroupMean:
    """A quantity over all images and seeds of a group.

    Attributes:
        images: Number of images with a finite number.
        interval: Mean with its interval over identities; seeds are averaged first.
        seeds: Means of each seed.
    """

    images: int
    interval: MeanInterval
    seeds: SeedSpread


def group_means(group: Group, quantities: Sequence[Quantity]) -> dict[str, GroupMean]:
    """Return the mean of each quantity that all runs of a group have, over all of the group's images."""
    measured = [item for item in quantities if all(item.name in member.results.numbers for member in group.members)]
    if not measured:
        return {}
    values = mean_values(group.members, measured)
    labels = pd.concat([image_labels(member) for member in group.members]).drop_duplicates(IMAGE)
    identities = labels.set_index(IMAGE)["identity"].reindex(values.index).to_numpy()
    run_means = [mean_values([member], measured).mean() for member in group.members]
    return {
        item.name: GroupMean(
            int(values[item.name].notna().sum()),
            MeanInterval(float(values[item.name].mean()), float(low), float(high)),
            seed_spread(group, [float(means[item.name]) for means in run_means]),
        )
        for item, (low, high) in zip(measured, bootstrap_intervals(values, identities), strict=True)
    }


def set_spread(group: Group, name: str) -> SeedSpread:
    """Return a set metric's number of each run."""
    return seed_spread(group, set_values(group, name))


def set_values(group: Group, name: str) -> list[float]:
    """Return a set metric's number of each run of a group, NaN if missing."""
    entries = [member.results.summary.sets.get(name) for member in group.members]
    values = [None if entry is None else entry.value for entry in entries]
    return [float("nan") if value is None else float(value) for value in values]


def seed_spread(group: Group, values: Sequence[float]) -> SeedSpread:
    """Summarise one number of each run of a group."""
    by_seed = {
        member.seed: value for member, value in zip(group.members, values, strict=True) if member.seed is not None
    }
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return SeedSpread(float(np.mean(values)), by_seed, sd)
