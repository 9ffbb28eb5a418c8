"""Means of one group, and their spread over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface_tools.compare.crossed import crossed_mean, replicated_mean
from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import MeanInterval, run_values
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import image_labels, values_of


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
        images: Number of images with a finite number, in all runs together.
        interval: Mean over the runs, with an interval for other people, and with several runs for other seeds.
        seeds: Means of each seed.
    """

    images: int
    interval: MeanInterval
    seeds: SeedSpread


def group_means(group: Group, quantities: Sequence[Quantity]) -> dict[str, GroupMean]:
    """Return the mean of each quantity that all runs of a group have, over all of the group's images."""
    measured = [item for item in quantities if all(item.name in member.results.numbers for member in group.members)]
    runs = [values_of(member, measured) for member in group.members]
    people = [image_labels(member)["identity"].to_numpy() for member in group.members]
    return {item.name: _mean(group, [run[item.name] for run in runs], people) for item in measured}


def _mean(group: Group, runs: Sequence[pd.Series[float]], people: Sequence[npt.NDArray[Any]]) -> GroupMean:
    means = [float(run.mean()) for run in runs]
    images = len(set().union(*(run[run.notna()].index for run in runs)))
    measured = [set(identities[run.notna()]) for run, identities in zip(runs, people, strict=True)]
    if all(one == measured[0] for one in measured):
        estimate = crossed_mean(
            np.stack([run_values([run], identities)[0] for run, identities in zip(runs, people, strict=True)])
        )
    else:
        estimate = replicated_mean([(np.asarray(run, np.float64), who) for run, who in zip(runs, people, strict=True)])
    return GroupMean(images, MeanInterval.of(estimate), seed_spread(group, means))


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
