"""What is compared: metrics and metrics on regions that both sides measured in the same way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enface.errors import DataError
from enface.plugin.direction import Direction
from enface.plugin.schema import closest
from enface_tools.compare.changes import with_defaults
from enface_tools.compare.groups import Group, Member
from enface_tools.evaluate.measure import AT

NOT_COMPARED = "such numbers cannot be compared. --skip-unlike leaves them out"


@dataclass(frozen=True)
class Quantity:
    """A metric, or a metric on a region; a column of ``images.csv``.

    Attributes:
        region: Empty for the whole image.
    """

    name: str
    metric: str
    region: str
    direction: Direction
    card: Mapping[str, str]

    @property
    def sign(self) -> int:
        """1 where a higher number is better, else -1; distances to an ideal, which are compared, are better low."""
        return 1 if self.direction.higher and self.direction.ideal is None else -1

    def about(self) -> dict[str, Any]:
        """As ``comparison.json`` has it."""
        return {
            "metric": self.metric,
            "region": self.region or None,
            "higher_is_better": self.direction.higher,
            "ideal": self.direction.ideal,
            "direction": self.direction.words,
            "card": dict(self.card),
        }


@dataclass(frozen=True)
class Shared:
    """What two groups have in common.

    Attributes:
        left_out: (test or set metric, reason).
    """

    quantities: list[Quantity]
    sets: list[Quantity]
    left_out: list[tuple[str, str]]


def shared_quantities(
    control: Group, group: Group, *, regions: bool, only: Sequence[str] | None, skip_unlike: bool
) -> Shared:
    """What can be compared between two groups.

    Args:
        regions: Metrics on regions, too.
        only: Names of metrics; all unless given.
        skip_unlike: Leave a metric out whose cards differ, instead of refusing it.

    Raises:
        DataError: when cards of a metric differ, no metric is shared, or ``only`` names one that is not there.
    """
    members = [*control.members, *group.members]
    _require_known(only or [], members)
    left_out: list[tuple[str, str]] = []
    found: dict[str, list[Quantity]] = {}
    for kind in ("metrics", "sets"):
        wanted = _names(members, kind, left_out)
        if only is not None:
            wanted = [name for name in wanted if name in only]
            left_out = [(name, reason) for name, reason in left_out if name in only]
        found[kind] = []
        for name in wanted:
            unlike = _unlike(name, kind, members)
            if unlike and not skip_unlike:
                raise DataError(f"{unlike}; {NOT_COMPARED}")
            if unlike:
                left_out.append((name, unlike))
            else:
                found[kind].append(_quantity(name, kind, members[0]))
    if regions:
        for item in _on_regions(found["metrics"], members):
            unlike = _unlike_region(item.region, members)
            if unlike and not skip_unlike:
                raise DataError(f"{unlike}; {NOT_COMPARED}")
            if unlike:
                left_out.append((item.name, unlike))
            else:
                found["metrics"].append(item)
    if not found["metrics"] and not found["sets"]:
        raise DataError(_nothing_shared(control, group, members, only, left_out))
    return Shared(found["metrics"], found["sets"], left_out)


def _names(members: Sequence[Member], kind: str, left_out: list[tuple[str, str]]) -> list[str]:
    """The metrics that every evaluation has, in the control's order; the others are put to those left out."""
    each = [_entries(member, kind) for member in members]
    for name in dict.fromkeys(name for entries in each for name in entries):
        lacking = [str(member.directory) for member, entries in zip(members, each, strict=True) if name not in entries]
        if lacking:
            left_out.append((name, f"{name} was not measured in {_some(lacking)}"))
    return [name for name in each[0] if all(name in entries for entries in each)]


def _require_known(names: Sequence[str], members: Sequence[Member]) -> None:
    known = list(_measured(members))
    for name in names:
        if name not in known:
            raise DataError(f"--metrics: {name!r} was not measured{closest(name, known)}")


def _measured(members: Sequence[Member]) -> dict[str, None]:
    kinds = ("metrics", "sets")
    return dict.fromkeys(name for member in members for kind in kinds for name in _entries(member, kind))


def _entries(member: Member, kind: str) -> dict[str, dict[str, Any]]:
    found = member.results.summary.get(kind)
    entries = found if isinstance(found, dict) else {}
    columns = member.results.numbers.columns
    return {
        str(name): item
        for name, item in entries.items()
        if isinstance(item, dict) and (kind == "sets" or name in columns)
    }


def _unlike(name: str, kind: str, members: Sequence[Member]) -> str:
    """How a metric differs between evaluations; empty when it does not."""
    first = members[0]
    ours = _told(_entries(first, kind)[name])
    for member in members[1:]:
        theirs = _told(_entries(member, kind)[name])
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if ours.get(key) != theirs.get(key):
                return (
                    f"metric {name}: {key} is {_shown(ours.get(key))} in {first.directory} and "
                    f"{_shown(theirs.get(key))} in {member.directory}"
                )
    return ""


def _unlike_region(region: str, members: Sequence[Member]) -> str:
    """Which runs mean something else by a region; empty when none does, or no recipe says what it is."""
    meant = [(member, _region(region, member)) for member in members]
    said = [(member, spec) for member, spec in meant if spec is not None]
    for member, spec in said[1:]:
        if spec != said[0][1]:
            return (
                f"region {region}: is {json.dumps(said[0][1])} in {said[0][0].directory} and "
                f"{json.dumps(spec)} in {member.directory}"
            )
    return ""


def _region(region: str, member: Member) -> dict[str, Any] | None:
    recipe = with_defaults(member.recipe or {})
    spec = recipe["evaluation"]["regions"].get(region) if recipe is not None else None
    return spec if isinstance(spec, dict) else None


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    card = entry.get("card")
    told = {f"card entry {str(key)!r}": value for key, value in card.items()} if isinstance(card, dict) else {}
    return {**told, "higher_is_better": entry.get("higher_is_better"), "ideal": entry.get("ideal")}


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value)


def _quantity(name: str, kind: str, member: Member) -> Quantity:
    entry = _entries(member, kind)[name]
    ideal = entry.get("ideal")
    direction = Direction(bool(entry.get("higher_is_better")), None if ideal is None else float(ideal))
    card = entry.get("card")
    return Quantity(name, name, "", direction, card if isinstance(card, dict) else {})


def _on_regions(quantities: Iterable[Quantity], members: Sequence[Member]) -> list[Quantity]:
    by_name = {item.name: item for item in quantities}
    found = []
    for column in map(str, members[0].results.numbers.columns):
        metric, at, region = column.partition(AT)
        everywhere = all(column in member.results.numbers.columns for member in members)
        if at and everywhere and metric in by_name:
            whole = by_name[metric]
            found.append(Quantity(column, metric, region, whole.direction, whole.card))
    return found


def _nothing_shared(
    control: Group,
    group: Group,
    members: Sequence[Member],
    only: Sequence[str] | None,
    left_out: Sequence[tuple[str, str]],
) -> str:
    measured = dict.fromkeys(
        name for member in members for kind in ("metrics", "sets") for name in _entries(member, kind)
    )
    reasons = "".join(f"\n  {reason}" for _, reason in left_out)
    asked = f" of those asked for ({', '.join(only)})" if only is not None else ""
    return (
        f"{control.name} and {group.name} share no metric{asked} that can be compared; "
        f"measured: {', '.join(measured) or 'none'}{reasons}"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
