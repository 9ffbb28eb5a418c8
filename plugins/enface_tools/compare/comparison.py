"""Comparison of evaluations with a control: the entry point for the command and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enface.errors import DataError
from enface.plugin.schema import closest
from enface.system.messages import Reporter, Silent
from enface_tools.compare.changes import KeyChange, recipe_changes
from enface_tools.compare.claims import ClaimResult, check_claim
from enface_tools.compare.groups import Group, find_groups
from enface_tools.compare.means import GroupMean, group_means, set_values
from enface_tools.compare.outcomes import Margins, QuantityResult, SubsetResults, compare_quantities, compare_subsets
from enface_tools.compare.pairing import Pairing, pair
from enface_tools.compare.quantities import Quantity, SharedQuantities, shared_quantities
from enface_tools.compare.verdicts import caveats, many_changes, seed_deviations, sentence, subject_of
from enface_tools.evaluate.results import ID_COLUMNS, MAX_LABEL_VALUES
from enface_tools.evaluate.splits import Split

SHOWN_COLUMNS = ["control_mean", "group_mean", "difference", "low", "high", "p", "p_adjusted", "outcome"]
EFFECT_SIZES = ["rank_biserial", "d_z"]
SEED_DEVIATIONS = ["control_seed_sd", "group_seed_sd"]


@dataclass(frozen=True)
class SetMetricResult:
    """A set metric's number, averaged over the runs of each side. NaN if missing."""

    quantity: Quantity
    control: float
    group: float

    @property
    def difference(self) -> float:
        """Group minus control, of values or of distances to the ideal."""
        ideal = self.quantity.direction.ideal
        return self.group - self.control if ideal is None else abs(self.group - ideal) - abs(self.control - ideal)

    @property
    def gain(self) -> float:
        """The difference, positive if the group is better."""
        return self.difference * self.quantity.sign


@dataclass(frozen=True)
class GroupComparison:
    """A group compared with the control.

    Attributes:
        results: One for each quantity.
        sets: One for each set metric.
        subsets: Results inside each value of the requested labels.
        claim: The claim that the group's recipe registered; all other results are exploratory.
        about: Subject of the verdicts if they do not hold for the recipe.
        caveats: Sentences to read before the numbers.
    """

    group: Group
    shared: SharedQuantities
    pairing: Pairing
    results: list[QuantityResult]
    sets: list[SetMetricResult]
    subsets: list[SubsetResults]
    claim: ClaimResult | None
    about: str
    caveats: list[str]

    @property
    def verdicts(self) -> list[tuple[QuantityResult, str]]:
        """A sentence for each quantity."""
        texts = [(result, sentence(result, self.about), seed_deviations(result)) for result in self.results]
        return [(result, f"{text}; {spread}" if spread else text) for result, text, spread in texts]


@dataclass(frozen=True)
class Comparison:
    """Groups of evaluations compared with a control.

    Attributes:
        groups: The control is the first.
        comparisons: One for each group but the control.
        by: Labels whose values are compared separately.
    """

    groups: list[Group]
    comparisons: list[GroupComparison]
    by: list[str] = field(default_factory=list)

    @property
    def control(self) -> Group:
        """The group that the others are compared with."""
        return self.groups[0]

    @property
    def caveats(self) -> list[str]:
        """Sentences to read before the numbers."""
        count = len(self.comparisons)
        text = f"{count} groups are compared with {self.control.name}; p is adjusted within each pair, not over all."
        return [text] if count > 1 else []

    @property
    def quantities(self) -> dict[str, Quantity]:
        """All quantities compared image by image, by name."""
        return {quantity.name: quantity for item in self.comparisons for quantity in item.shared.quantities}

    @property
    def sets(self) -> dict[str, Quantity]:
        """All set metrics, by name."""
        return {quantity.name: quantity for item in self.comparisons for quantity in item.shared.sets}

    @cached_property
    def means(self) -> list[dict[str, GroupMean]]:
        """Means of each group over all of its images, by quantity."""
        return [group_means(group, list(self.quantities.values())) for group in self.groups]

    def table(self) -> pd.DataFrame:
        """Return the results as a table: one row per group and quantity.

        Columns: ``group``, ``test`` (the quantity), ``images``, ``missing``, ``identities``, ``control_mean`` and
        ``group_mean`` in the metric's unit, ``difference`` (group minus control) with its 95 % interval ``low`` and
        ``high``, ``gain`` with ``gain_low`` and ``gain_high`` (the same, positive if the group is better), ``p``,
        ``p_adjusted``, ``control_seed_sd`` and ``group_seed_sd``, ``detectable`` (the smallest difference detected with
        80 % power), ``margin`` and ``p_equivalent``, the effect sizes ``rank_biserial`` and ``d_z``, and ``outcome``.
        """
        rows = [_row(result, group=item.group.name) for item in self.comparisons for result in item.results]
        return pd.DataFrame(rows)

    def subset_table(self) -> pd.DataFrame:
        """Return one row per group, label, value and quantity: as :meth:`table`, without effect sizes."""
        rows = [
            _row(result, group=item.group.name, column=subset.column, value=subset.value)
            for item in self.comparisons
            for subset in item.subsets
            for result in subset.results
        ]
        return pd.DataFrame(rows).drop(columns=EFFECT_SIZES, errors="ignore")

    def _repr_html_(self) -> str:
        """Show the main columns of :meth:`table` in a notebook."""
        table = self.table()
        shown = table[[name for name in ("group", "test", *SHOWN_COLUMNS) if name in table]]
        return str(shown.to_html(index=False, na_rep="", float_format="{:.4g}".format))


def compare(
    paths: Sequence[Path | str],
    control: Path | str | None = None,
    *,
    split: Split = "val",
    by: Sequence[str] = (),
    regions: bool = False,
    metrics: Sequence[str] | None = None,
    margins: Margins | None = None,
    skip_unlike: bool = False,
    each: bool = False,
    progress: Reporter | None = None,
) -> Comparison:
    """Compare evaluations with a control, image by image.

    Args:
        paths: Run directories, folders of runs, results of ``enface pairs``. Runs whose recipes differ only by the
            seed are one group.
        control: Path of the control; default: the first of ``paths``.
        split: The people to compare on: ``val`` to choose by, ``test`` for the final number.
        by: Labels, such as ``pose``, whose values are also compared separately.
        regions: Also compare metrics on regions of the face.
        metrics: Names of metrics; default: all.
        margins: Largest differences that do not matter, by metric, to test equivalence.
        skip_unlike: Skip metrics whose cards differ instead of refusing them.
        each: Make every run a group of its own.
        progress: Receives the progress over groups; default: silent.

    Raises:
        DataError: if the evaluations cannot be read or compared.
    """
    first, *others = groups = find_groups(
        [Path(path) for path in paths], None if control is None else Path(control), split=split, each=each
    )
    comparisons: list[GroupComparison] = []
    with (progress or Silent()).progress("comparing") as report:
        for group in others:
            shared = shared_quantities(first, group, regions=regions, metrics=metrics, skip_unlike=skip_unlike)
            comparisons.append(_compare_group(first, group, shared, by, margins))
            report(len(comparisons), len(others))
    return Comparison(groups, comparisons, list(by))


def _compare_group(
    control: Group, group: Group, shared: SharedQuantities, by: Sequence[str], margins: Margins | None
) -> GroupComparison:
    pairing = pair(control, group, shared.quantities)
    for column in by:
        _require_label(column, pairing)
    _require_measured(margins or {}, shared.quantities)
    results = compare_quantities(pairing, shared.quantities, margins)
    keys = [change.key for change in changes_of(control, group) if change.training]
    return GroupComparison(
        group,
        shared,
        pairing,
        results,
        [_set_result(quantity, control, group) for quantity in shared.sets],
        [subset for column in by for subset in compare_subsets(pairing, shared.quantities, column, margins)],
        check_claim(control, group, pairing, shared.quantities),
        subject_of(control, group, pairing),
        [*many_changes(group, keys), *caveats(control, group, pairing, results)],
    )


def changes_of(control: Group, group: Group) -> list[KeyChange]:
    """Return the recipe keys in which a group differs from the control; empty if either has no recipe."""
    before, after = control.members[0].recipe, group.members[0].recipe
    return [] if before is None or after is None else recipe_changes(before, after)


def _set_result(quantity: Quantity, control: Group, group: Group) -> SetMetricResult:
    return SetMetricResult(quantity, *(float(np.mean(set_values(side, quantity.name))) for side in (control, group)))


def _require_measured(margins: Margins, quantities: Sequence[Quantity]) -> None:
    """Raise DataError if a margin is for a metric that is not compared."""
    names = [quantity.name for quantity in quantities]
    for name in margins:
        if name not in names:
            raise DataError(f"--margin: {name!r} is not compared{closest(name, names)}")


def _require_label(column: str, pairing: Pairing) -> None:
    """Raise DataError if images cannot be grouped by a column."""
    labels = [str(name) for name in pairing.about if name not in ID_COLUMNS]
    if column not in labels:
        raise DataError(f"--by: images have no label {column!r}; they have: {', '.join(labels) or 'none'}")
    count = pairing.about[column].nunique()
    if count > MAX_LABEL_VALUES:
        raise DataError(f"--by: {column!r} has {count} values; choose a label with at most {MAX_LABEL_VALUES}")


def _row(result: QuantityResult, **labels: str) -> dict[str, Any]:
    difference, gain = result.difference, result.gain
    return {
        **labels,
        "test": result.quantity.name,
        "images": result.images,
        "missing": result.missing,
        "identities": result.identities,
        "control_mean": result.control,
        "group_mean": result.group,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "p": result.p,
        "p_adjusted": result.p_adjusted,
        **dict(zip(SEED_DEVIATIONS, result.seed_sd, strict=True)),
        "detectable": result.detectable,
        "margin": result.margin,
        "p_equivalent": result.p_equivalent,
        **{name: getattr(result, name) for name in EFFECT_SIZES},
        "outcome": result.outcome,
    }
