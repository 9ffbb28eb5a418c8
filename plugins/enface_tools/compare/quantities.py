"""The metrics, on whole images and on regions, that both sides measured in the same way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enface.errors import DataError
from enface.plugin.schema import closest
from enface_tools.compare.changes import with_defaults
from enface_tools.compare.groups import Group, Member
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import MetricInfo
from enface_tools.evaluate.results import AT

NOT_COMPARABLE = "such numbers cannot be compared; --skip-unlike skips them"
KINDS = ("metrics", "sets")


@dataclass(frozen=True)
class Quantity:
    """A metric, or a metric on a region; a column of ``images.csv``.

    Attributes:
        region: Empty for the whole image.
        card: Implementation, version, weights of the metric.
    """

    name: str
    metric: str
    region: str
    direction: Direction
    card: Mapping[str, str]

    @property
    def sign(self) -> int:
        """1 if a higher compared number is better, else -1. Distances to an ideal value are better if lower."""
        return 1 if self.direction.higher and self.direction.ideal is None else -1


@dataclass(frozen=True)
class SharedQuantities:
    """Quantities that two groups have in common.

    Attributes:
        quantities: Measured on each image.
        sets: Set metrics: one number for all images.
        skipped: (quantity, reason) of those not compared.
    """

    quantities: list[Quantity]
    sets: list[Quantity]
    skipped: list[tuple[str, str]]


def shared_quantities(
    control: Group, group: Group, *, regions: bool, metrics: Sequence[str] | None, skip_unlike: bool
) -> SharedQuantities:
    """Select the quantities that two groups can be compared by.

    Args:
        regions: Include metrics on regions.
        metrics: Names of metrics; None for all.
        skip_unlike: Skip metrics whose cards differ instead of refusing them.

    Raises:
        DataError: if the cards of a metric differ, no metric is shared, or ``metrics`` has an unknown name.
    """
    members = [*control.members, *group.members]
    _require_known(metrics or [], members)
    skipped: list[tuple[str, str]] = []
    shared: dict[str, list[Quantity]] = {kind: [] for kind in KINDS}

    def accept(kind: str, quantity: Quantity, unlike: str) -> None:
        if unlike and not skip_unlike:
            raise DataError(f"{unlike}; {NOT_COMPARABLE}")
        if unlike:
            skipped.append((quantity.name, unlike))
        else:
            shared[kind].append(quantity)

    for kind in KINDS:
        names = _common_names(members, kind, skipped)
        if metrics is not None:
            names = [name for name in names if name in metrics]
            skipped[:] = [(name, reason) for name, reason in skipped if name in metrics]
        for name in names:
            info = _entries(members[0], kind)[name]
            quantity = Quantity(name, name, "", info.direction, info.card)
            accept(kind, quantity, _metric_mismatch(name, kind, members))
    for item in _on_regions(shared["metrics"], members) if regions else ():
        accept("metrics", item, _region_mismatch(item.region, members))
    if not shared["metrics"] and not shared["sets"]:
        raise DataError(_nothing_shared(control, group, members, metrics, skipped))
    return SharedQuantities(shared["metrics"], shared["sets"], skipped)


def _common_names(members: Sequence[Member], kind: str, skipped: list[tuple[str, str]]) -> list[str]:
    """The metrics that every evaluation has, in the control's order; the others are appended to ``skipped``."""
    measured = [_entries(member, kind) for member in members]
    for name in dict.fromkeys(name for entries in measured for name in entries):
        lacking = [member for member, entries in zip(members, measured, strict=True) if name not in entries]
        if lacking:
            skipped.append((name, f"{name} was not measured in {_some([str(member.directory) for member in lacking])}"))
    return [name for name in measured[0] if all(name in entries for entries in measured)]


def _require_known(names: Sequence[str], members: Sequence[Member]) -> None:
    known = _measured(members)
    for name in names:
        if name not in known:
            raise DataError(f"--metrics: {name!r} was not measured{closest(name, known)}")


def _measured(members: Sequence[Member]) -> list[str]:
    return list(dict.fromkeys(name for member in members for kind in KINDS for name in _entries(member, kind)))


def _entries(member: Member, kind: str) -> Mapping[str, MetricInfo]:
    if kind == "sets":
        return member.results.summary.sets
    columns = member.results.numbers.columns
    return {name: info for name, info in member.results.summary.metrics.items() if name in columns}


def _metric_mismatch(name: str, kind: str, members: Sequence[Member]) -> str:
    """The first difference in a metric's definition between evaluations; empty if there is none."""
    first, *others = [(member, _definition(_entries(member, kind)[name])) for member in members]
    for member, definition in others:
        for key in dict.fromkeys([*first[1], *definition]):
            if first[1].get(key) != definition.get(key):
                return (
                    f"metric {name}: {key} is {_shown(first[1].get(key))} in {first[0].directory} and "
                    f"{_shown(definition.get(key))} in {member.directory}"
                )
    return ""


def _region_mismatch(region: str, members: Sequence[Member]) -> str:
    """The first difference in a region's definition between recipes; empty if there is none."""
    specs = [(member, _region(region, member)) for member in members]
    defined = [(member, spec) for member, spec in specs if spec is not None]
    for member, spec in defined[1:]:
        if spec != defined[0][1]:
            return (
                f"region {region}: is {json.dumps(defined[0][1])} in {defined[0][0].directory} and "
                f"{json.dumps(spec)} in {member.directory}"
            )
    return ""


def _region(region: str, member: Member) -> dict[str, Any] | None:
    recipe = with_defaults(member.recipe or {})
    spec = recipe["evaluation"]["regions"].get(region) if recipe is not None else None
    return spec if isinstance(spec, dict) else None


def _definition(info: MetricInfo) -> dict[str, Any]:
    card = {f"card entry {key!r}": value for key, value in info.card.items()}
    return {**card, "higher_is_better": info.higher_is_better, "ideal": info.ideal}


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value)


def _on_regions(quantities: Iterable[Quantity], members: Sequence[Member]) -> list[Quantity]:
    by_name = {item.name: item for item in quantities}
    regional = []
    for column in map(str, members[0].results.numbers.columns):
        metric, at, region = column.partition(AT)
        everywhere = all(column in member.results.numbers.columns for member in members)
        if at and everywhere and metric in by_name:
            whole = by_name[metric]
            regional.append(Quantity(column, metric, region, whole.direction, whole.card))
    return regional


def _nothing_shared(
    control: Group,
    group: Group,
    members: Sequence[Member],
    metrics: Sequence[str] | None,
    skipped: Sequence[tuple[str, str]],
) -> str:
    reasons = "".join(f"\n  {reason}" for _, reason in skipped)
    requested = f" of those requested ({', '.join(metrics)})" if metrics is not None else ""
    return (
        f"{control.name} and {group.name} share no metric{requested} that can be compared; "
        f"measured: {', '.join(_measured(members)) or 'none'}{reasons}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
