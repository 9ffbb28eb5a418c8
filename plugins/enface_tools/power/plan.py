"""Detectable differences by number of seeds and people, from the variances of a pilot experiment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enface.errors import DataError
from enface.plugin.schema import closest
from enface_tools.compare.crossed import Components
from enface_tools.compare.groups import Group, read_groups
from enface_tools.compare.outcomes import detectable, run_values
from enface_tools.compare.pairing import Pairing, pair
from enface_tools.compare.quantities import shared_quantities
from enface_tools.evaluate.splits import Split
from enface_tools.evaluate.statistics import MIN_PEOPLE

SEEDS = (2, 3, 5, 10, 20)
MORE_PEOPLE = (1, 2, 4)
MAX_SEEDS = 200


@dataclass(frozen=True)
class Plan:
    """Detectable differences of one metric.

    Attributes:
        seeds: Numbers of runs of each side.
        people: Numbers of people; the first is that of the runs at hand.
        table: Smallest difference that is detected at 5 % with 80 % power, a row for each number of people.
        seed_sd: Standard deviation between trainings, of each side (of pairs, of their difference).
        detect: The difference that shall be detected; None if none is requested.
        needed: Seeds needed for it, for each number of people; None if no number up to 200 suffices.
    """

    metric: str
    seeds: tuple[int, ...]
    people: tuple[int, ...]
    table: list[list[float]]
    seed_sd: tuple[float, ...]
    detect: float | None
    needed: list[int | None]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Power:
    """Plans for all metrics of a pilot experiment.

    Attributes:
        groups: Names of the recipes: one, or two that are compared.
        paired: True if runs are pairs that start from the same weights.
        caveats: Sentences to read before the numbers.
    """

    groups: list[str]
    paired: bool
    plans: list[Plan]
    caveats: list[str]


def plan_power(
    paths: Sequence[Path | str], *, detect: Mapping[str, float] | None = None, split: Split = "val"
) -> Power:
    """Estimate the seeds and people that a comparison needs.

    The variances of seeds, of people and of their interaction come from the runs; the smallest detectable difference
    for other numbers of runs and people follows from them (Cohen, Statistical Power Analysis, 1988), before adjustment
    for several metrics.

    Args:
        paths: Runs of one recipe with several seeds, or of two recipes.
        detect: Differences to detect, by metric.
        split: The split whose evaluations are read.

    Raises:
        DataError: if there are fewer than two seeds of a recipe, more than two recipes, fewer than 5 people, or no
            metric of a name.
    """
    groups = read_groups([Path(path) for path in paths], split=split)
    _require_pilot(groups)
    control, group = groups[0], groups[-1]
    quantities = shared_quantities(control, group, regions=False, metrics=None, skip_unlike=True).quantities
    names = [quantity.name for quantity in quantities]
    for name in detect or {}:
        if name not in names:
            raise DataError(f"--detect: {name!r} was not measured{closest(name, names)}; measured: {', '.join(names)}")
    pairing = pair(control, group, quantities)
    if pairing.design == "replicated":
        raise DataError("the seeds have different people, so their variances cannot be told apart")
    identities = pairing.identities
    if identities < MIN_PEOPLE:
        raise DataError(f"the runs were measured on {identities} people; at least {MIN_PEOPLE} are needed")
    plans = [
        _plan(name, components, identities, (detect or {}).get(name))
        for name, components in _components(pairing, names, alone=len(groups) == 1)
    ]
    return Power([item.name for item in groups], _paired(pairing, groups), plans, _caveats(groups))


def _paired(pairing: Pairing, groups: Sequence[Group]) -> bool:
    return len(groups) == 2 and pairing.design == "paired"


def _require_pilot(groups: Sequence[Group]) -> None:
    if len(groups) > 2:
        names = ", ".join(group.name for group in groups)
        raise DataError(f"name the runs of one or two recipes, not of {len(groups)}: {names}")
    for group in groups:
        if len(group.members) < 2:
            raise DataError(
                f"{group.name} has one run, which does not tell how trainings vary; train another seed "
                "(enface calibrate RECIPE trains several)"
            )


def _components(pairing: Pairing, names: Sequence[str], *, alone: bool) -> Iterator[tuple[str, Components]]:
    identities = pairing.about["identity"].to_numpy()
    for name in names:
        control, group = (
            run_values([run[name] for run in runs], identities) for runs in (pairing.control_runs, pairing.group_runs)
        )
        if control.shape[1] < MIN_PEOPLE:
            continue
        if alone:
            yield name, Components.of_one(group)
        elif pairing.design == "paired":
            yield name, Components.of_pairs(control, group)
        else:
            yield name, Components.of_sides(control, group)


def _plan(metric: str, components: Components, people: int, detect: float | None) -> Plan:
    counts = tuple(people * factor for factor in MORE_PEOPLE)
    return Plan(
        metric=metric,
        seeds=SEEDS,
        people=counts,
        table=[[detectable(components.predict(seeds, count)) for seeds in SEEDS] for count in counts],
        seed_sd=tuple(math.sqrt(variance) for variance in components.seeds),
        detect=detect,
        needed=[] if detect is None else [_seeds_for(components, count, detect) for count in counts],
    )


def _seeds_for(components: Components, people: int, detect: float) -> int | None:
    enough = (n for n in range(2, MAX_SEEDS + 1) if detectable(components.predict(n, people)) <= detect)
    return next(enough, None)


def _caveats(groups: Sequence[Group]) -> list[str]:
    few = min(len(group.members) for group in groups)
    sentences = []
    if few < 5:
        sentences.append(f"Variances from {few} runs are rough; with 5 or more runs the plan is steadier.")
    if len(groups) == 1:
        sentences.append(
            "One recipe does not tell how much a difference varies from person to person, so a real comparison needs "
            "more than this plan says; name the runs of another recipe, too."
        )
    return sentences
