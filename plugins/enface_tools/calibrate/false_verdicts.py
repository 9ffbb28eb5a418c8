"""Comparisons of a recipe's runs with each other: every clear verdict on the recipe is false."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from enface.errors import DataError
from enface.system.messages import Reporter, Silent
from enface_tools.compare.groups import Group, read_groups
from enface_tools.compare.means import GroupMean, group_means
from enface_tools.compare.outcomes import compare_quantities
from enface_tools.compare.pairing import pair
from enface_tools.compare.quantities import Quantity, shared_quantities
from enface_tools.evaluate.splits import Split

MAX_COMPARISONS = 40
Sides = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Verdicts:
    """Comparisons of so many runs with as many others.

    Attributes:
        clear: Comparisons with a clear difference on at least one metric, p adjusted for the number of metrics.
        by_metric: Clear differences of each metric.
    """

    runs: int
    comparisons: int
    clear: int
    by_metric: dict[str, int]


@dataclass(frozen=True)
class Calibration:
    """A recipe compared with itself.

    Attributes:
        seed_sd: Standard deviation (n - 1) of the runs' means, by metric.
        half_width: Half of the interval of one run's mean, which covers people only, by metric; NaN below 5 people.
        trainings: One run against one. A clear difference is true of the two trainings, and false of the recipe.
        recipes: Several runs against as many others; None with fewer than 4 runs.
    """

    name: str
    seeds: list[int]
    identities: int
    seed_sd: dict[str, float]
    half_width: dict[str, float]
    trainings: Verdicts
    recipes: Verdicts | None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def calibrate(
    paths: Sequence[Path | str],
    *,
    metrics: Sequence[str] | None = None,
    per_side: int | None = None,
    split: Split = "val",
    progress: Reporter | None = None,
) -> Calibration:
    """Compare the runs of one recipe with each other.

    Args:
        paths: Run directories of one recipe with different seeds, or a folder of them.
        metrics: Names of metrics; default: all.
        per_side: Number of runs that are compared with as many others, at least 2; default: half of the runs.
        split: The split whose evaluations are read.
        progress: Receives progress; default: silent.

    Raises:
        DataError: if there are fewer runs than two, or than two sides need, or runs of several recipes.
    """
    groups = read_groups([Path(path) for path in paths], split=split)
    if len(groups) > 1:
        raise DataError(f"these runs are of {len(groups)} recipes; calibrate one: {', '.join(g.name for g in groups)}")
    (group,) = groups
    if len(group.members) < 2:
        raise DataError(f"{group.name} has one run with an evaluation of the {split} split; at least 2 are needed")
    quantities = shared_quantities(group, group, regions=False, metrics=metrics, skip_unlike=False).quantities
    count = len(group.members)
    designs: list[list[Sides]] = [[((a,), (b,)) for a, b in itertools.combinations(range(count), 2)]]
    size = count // 2 if per_side is None else per_side
    if per_side is not None and 2 * size > count:
        raise DataError(f"--per-side {per_side}: needs {2 * size} runs, and {group.name} has {count}")
    designs += [_sides(count, size)] if size >= 2 else []
    total, done, verdicts = sum(map(len, designs)), 0, []
    with (progress or Silent()).progress("comparing") as report:
        for pairs in designs:
            clear: list[list[str]] = []
            for first, second in pairs:
                clear.append(_clear(group, first, second, quantities))
                done += 1
                report(done, total)
            counts = {item.name: sum(item.name in names for names in clear) for item in quantities}
            verdicts.append(Verdicts(len(pairs[0][0]), len(pairs), sum(map(bool, clear)), counts))
    means = group_means(group, quantities)
    alone = [group_means(Group([member]), quantities) for member in group.members]
    return Calibration(
        group.name,
        list(group.by_seed),
        group.members[0].results.summary.identities,
        {name: item.seeds.sd or 0.0 for name, item in means.items()},
        {name: float(np.mean([_half_width(one[name]) for one in alone])) for name in means},
        verdicts[0],
        verdicts[1] if len(verdicts) > 1 else None,
    )


def _half_width(item: GroupMean) -> float:
    return (item.interval.high - item.interval.low) / 2


def _sides(count: int, size: int) -> list[Sides]:
    """Two sides of ``size`` of so many runs; at most 40 of these choices, spread over all of them."""
    every = []
    for first in itertools.combinations(range(count), size):
        others = [place for place in range(first[0] + 1, count) if place not in first]
        every += [(first, second) for second in itertools.combinations(others, size)]
    places = np.linspace(0, len(every) - 1, min(MAX_COMPARISONS, len(every))).round().astype(int)
    return [every[place] for place in places]


def _clear(group: Group, first: Sequence[int], second: Sequence[int], quantities: Sequence[Quantity]) -> list[str]:
    """Names of the metrics on which some runs of a group clearly differ from others."""
    one, other = (Group([group.members[place] for place in places], group.name) for places in (first, second))
    results = compare_quantities(pair(one, other, quantities), quantities)
    return [result.quantity.name for result in results if result.outcome in ("better", "worse")]
