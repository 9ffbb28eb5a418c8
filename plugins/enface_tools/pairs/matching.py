"""Which target and which source belong to an output, by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface_tools.pairs.files import Files, listed, shown

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matched:
    """Output ``i`` of the folder belongs to target ``targets[i]`` and source ``sources[i]``.

    Attributes:
        unused: For each role, how many images no output belongs to.
    """

    outputs: Files
    targets: Files
    sources: Files | None
    target_of: Indices
    source_of: Indices | None
    unused: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.outputs.names)


def match(outputs: Files, targets: Files, sources: Files | None, key: str | None, *, subset: bool) -> Matched:
    """Match by whole name without extension, or by the part of it that ``key`` finds.

    A source belongs to the output of its whole name where every output has one, even when there is a ``key``:
    many outputs may share a target, but each was made from a source of its own.

    Args:
        key: A regular expression; its group 1 is what an output's name and a target's have in common. Several
            outputs may belong to one target.
        subset: Allow targets and sources that no output belongs to.

    Raises:
        DataError: naming the images left without a partner, or what is wrong with ``key``.
    """
    pattern = compiled(key, "--key") if key is not None else None
    targets_of, unused = _partners(outputs, targets, pattern, subset)
    counts = {"targets": unused}
    sources_of = None
    if sources is not None:
        whole = set(outputs.stems) <= set(sources.stems)
        sources_of, counts["sources"] = _partners(outputs, sources, None if whole else pattern, subset)
    return Matched(outputs, targets, sources, targets_of, sources_of, counts)


def compiled(pattern: str, option: str) -> re.Pattern[str]:
    """A regular expression that has a group 1.

    Raises:
        DataError: when it has none, or is not one, naming the option it was given as.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{option} {shown(pattern)} is not a regular expression: {error}") from error
    if not found.groups:
        raise DataError(f"{option} {shown(pattern)} has no group; put what names have in common into parentheses")
    return found


def grouped(names: Sequence[str], pattern: re.Pattern[str], option: str, role: str) -> list[str]:
    """Group 1 of a pattern, searched in each of some names.

    Raises:
        DataError: when it is not found in some of them, naming these.
    """
    found = [hit.group(1) if (hit := pattern.search(name)) else None for name in names]
    without = [name for name, group in zip(names, found, strict=True) if group is None]
    if without:
        raise DataError(f"{option} {shown(pattern.pattern)} is not found in {len(without)} {role}: {listed(without)}")
    return [group for group in found if group is not None]


def _partners(outputs: Files, others: Files, pattern: re.Pattern[str] | None, subset: bool) -> tuple[Indices, int]:
    """For each output the index of its partner, and how many of ``others`` have no output."""
    if pattern is None:
        mine, theirs = list(outputs.stems), list(others.stems)
    else:
        mine, theirs = (grouped(files.stems, pattern, "--key", files.role) for files in (outputs, others))
    place: dict[str, int] = {}
    for index, name in enumerate(theirs):
        other = place.setdefault(name, index)
        if other != index:
            raise DataError(
                f"{others.role}: {shown(others.names[other])} and {shown(others.names[index])} have one key, "
                f"{shown(name)}, so an output of that key would have two; make --key tell them apart"
            )
    wanted = set(mine)
    alone = [outputs.names[index] for index, name in enumerate(mine) if name not in place]
    unused = [others.names[index] for index, name in enumerate(theirs) if name not in wanted]
    if alone or (unused and not subset):
        raise _unmatched(outputs, others, alone, unused, mine, theirs)
    return np.array([place[name] for name in mine], np.int64), len(unused)


def _unmatched(
    outputs: Files, others: Files, alone: Sequence[str], unused: Sequence[str], mine: list[str], theirs: list[str]
) -> DataError:
    one = others.role.removesuffix("s")
    lines = [
        f"{len(outputs.names)} outputs in {outputs.root} and {len(others.names)} {others.role} in {others.root} "
        "do not belong together"
    ]
    if alone:
        lines.append(f"{len(alone)} outputs without a {one}: {listed(alone)}")
    if unused:
        lines.append(f"{len(unused)} {others.role} without an output: {listed(unused)}")
    folded = {name.casefold(): name for name in theirs}
    differ = [(name, folded[name.casefold()]) for name in mine if folded.get(name.casefold(), name) != name]
    if differ:
        lines.append(f"{shown(differ[0][0])} and {shown(differ[0][1])} differ in upper and lower case; rename one")
    elif len(alone) == len(outputs.names):
        lines.append("no name is in both folders; if names agree in a part only, give it as --key REGEX")
    elif not alone:
        lines.append(f"--subset leaves out the {others.role} without an output")
    return DataError("\n  ".join(lines))
