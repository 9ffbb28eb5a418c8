"""A whole comparison: groups, and each of them against the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from enface.errors import DataError
from enface_tools.compare.changes import changes
from enface_tools.compare.groups import Group, find_groups
from enface_tools.compare.means import GroupMean, group_means, set_values
from enface_tools.compare.outcomes import Outcome, outcomes, outcomes_by
from enface_tools.compare.pairing import Pairing, pair
from enface_tools.compare.quantities import Quantity, Shared, shared_quantities
from enface_tools.compare.verdicts import cautions, many_changes, sentence
from enface_tools.evaluate.summary import MOST_VALUES, NO_LABELS


@dataclass(frozen=True)
class Value:
    """What was found inside one value of a column."""

    column: str
    value: str
    images: int
    identities: int
    outcomes: list[Outcome]


@dataclass(frozen=True)
class SetValues:
    """A set metric's one number, averaged over the seeds compared. NaN where there is none."""

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
        """The difference, positive where the group is better."""
        return self.difference * self.quantity.sign


@dataclass(frozen=True)
class Against:
    """A group against the control."""

    group: Group
    shared: Shared
    pairing: Pairing
    outcomes: list[Outcome]
    sets: list[SetValues]
    by: list[Value]
    cautions: list[str]

    @property
    def verdicts(self) -> list[tuple[Outcome, str]]:
        """A sentence for each quantity."""
        return [(outcome, sentence(outcome)) for outcome in self.outcomes]


@dataclass(frozen=True)
class Comparison:
    """Groups compared with a control, which is the first of them."""

    groups: list[Group]
    against: list[Against]
    by: list[str] = field(default_factory=list)

    @property
    def control(self) -> Group:
        """What the others are compared with."""
        return self.groups[0]

    @property
    def cautions(self) -> list[str]:
        """What to know before reading any of it."""
        count = len(self.against)
        said = f"{count} groups are compared with {self.control.name}; p is adjusted inside each pair, not over all."
        return [said] if count > 1 else []

    @property
    def quantities(self) -> dict[str, Quantity]:
        """All that was compared image by image, by name."""
        return {item.name: item for one in self.against for item in one.shared.quantities}

    @cached_property
    def means(self) -> list[dict[str, GroupMean]]:
        """Each group by itself: its quantities by name."""
        return [group_means(group, list(self.quantities.values())) for group in self.groups]

    @property
    def sets(self) -> dict[str, Quantity]:
        """All set metrics, by name."""
        return {item.name: item for one in self.against for item in one.shared.sets}


def compare(
    paths: Sequence[Path],
    control: Path | None = None,
    *,
    by: Sequence[str] = (),
    regions: bool = False,
    only: Sequence[str] | None = None,
    skip_unlike: bool = False,
    each: bool = False,
) -> Comparison:
    """Compare evaluations with a control.

    Args:
        paths: Run directories, folders of runs, results of pairs of images.
        control: The control's; the first of ``paths`` unless given.
        by: Columns inside whose values to compare, too.
        regions: Compare metrics on regions, too.
        only: Names of metrics; all unless given.
        skip_unlike: Leave out metrics whose cards differ.
        each: Take every run by itself, not seeds together.

    Raises:
        DataError: when they cannot be compared, saying why.
    """
    first, *others = groups = find_groups(paths, control, each=each)
    found = []
    for group in others:
        shared = shared_quantities(first, group, regions=regions, only=only, skip_unlike=skip_unlike)
        pairing = pair(first, group, shared.quantities)
        made = outcomes(pairing, shared.quantities)
        inside = [
            Value(column, value, images, people, here)
            for column in by
            for value, images, people, here in outcomes_by(pairing, shared.quantities, _label(column, pairing))
        ]
        keys = [item["key"] for item in changes_of(first, group) if item["training"]]
        said = [*many_changes(group, keys), *cautions(first, group, pairing, made)]
        sets = [_set_values(quantity, first, group, pairing.matched) for quantity in shared.sets]
        found.append(Against(group, shared, pairing, made, sets, inside, said))
    return Comparison(groups, found, list(by))


def changes_of(control: Group, group: Group) -> list[dict[str, Any]]:
    """The recipe keys in which a group differs from the control; none where either has no recipe."""
    before, after = control.members[0].recipe, group.members[0].recipe
    return [] if before is None or after is None else changes(before, after)


def _set_values(quantity: Quantity, control: Group, group: Group, matched: Sequence[int]) -> SetValues:
    means = []
    for side in (control, group):
        values = set_values(side, quantity.name)
        used = [
            value for member, value in zip(side.members, values, strict=True) if not matched or member.seed in matched
        ]
        means.append(float(np.mean(used)))
    return SetValues(quantity, *means)


def _label(column: str, pairing: Pairing) -> str:
    """The column, when images can be grouped by it. Raises DataError."""
    labels = [str(name) for name in pairing.about if name not in NO_LABELS]
    if column not in labels:
        raise DataError(f"--by: images have no label {column!r}; they have: {', '.join(labels) or 'none'}")
    count = pairing.about[column].nunique()
    if count > MOST_VALUES:
        raise DataError(f"--by: {column!r} has {count} values; a column of at most {MOST_VALUES} can be told by")
    return column
