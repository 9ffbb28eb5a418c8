"""Match outputs with their targets and sources by file name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface_tools.pairs.files import ImageFiles, listed, shown

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MatchedImages:
    """Output ``i`` belongs to target ``target_of[i]`` and source ``source_of[i]``.

    Attributes:
        unused: For each role, the number of images without an output.
    """

    outputs: ImageFiles
    targets: ImageFiles
    sources: ImageFiles | None
    target_of: Indices
    source_of: Indices | None
    unused: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.outputs.names)

    @property
    def partners(self) -> dict[str, tuple[ImageFiles, Indices]]:
        """``targets`` and, if there are any, ``sources``: their files, and the index that belongs to each output."""
        partners = {"targets": (self.targets, self.target_of)}
        if self.sources is not None and self.source_of is not None:
            partners["sources"] = (self.sources, self.source_of)
        return partners


def match(
    outputs: ImageFiles, targets: ImageFiles, sources: ImageFiles | None, key: str | None, *, subset: bool
) -> MatchedImages:
    """Match names without extension, or group 1 of ``key`` in them.

    Sources are matched by whole names if every output has one, even with ``key``: several outputs may share a target,
    but each was made from a source of its own.

    Args:
        key: A regular expression. Names with equal group 1 belong together; several outputs may share a target.
        subset: Allow targets and sources without an output.

    Raises:
        DataError: naming the images without a partner, or the mistake in ``key``.
    """
    pattern = compile_pattern(key, "--key") if key is not None else None
    target_of, unused = _partners(outputs, targets, pattern, subset)
    counts = {"targets": unused}
    source_of = None
    if sources is not None:
        by_name = set(outputs.stems) <= set(sources.stems)
        source_of, counts["sources"] = _partners(outputs, sources, None if by_name else pattern, subset)
    return MatchedImages(outputs, targets, sources, target_of, source_of, counts)


def compile_pattern(pattern: str, option: str) -> re.Pattern[str]:
    """Compile a regular expression that has a group 1.

    Raises:
        DataError: if it is invalid or has no group, naming the option.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{option} {shown(pattern)} is not a regular expression: {error}") from error
    if not compiled.groups:
        raise DataError(f"{option} {shown(pattern)} has no group; put the common part of the names in parentheses")
    return compiled


def first_groups(names: Sequence[str], pattern: re.Pattern[str], option: str, role: str) -> list[str]:
    """Search each name for a pattern and return group 1.

    Raises:
        DataError: if names do not contain it, naming them.
    """
    groups = [hit.group(1) if (hit := pattern.search(name)) else None for name in names]
    without = [name for name, group in zip(names, groups, strict=True) if group is None]
    if without:
        raise DataError(
            f"{option} {shown(pattern.pattern)} matches nothing in {len(without)} {role}: {listed(without)}"
        )
    return [group for group in groups if group is not None]


def _partners(
    outputs: ImageFiles, others: ImageFiles, pattern: re.Pattern[str] | None, subset: bool
) -> tuple[Indices, int]:
    """Return each output's index into ``others``, and the number of ``others`` without an output."""
    if pattern is None:
        keys, other_keys = list(outputs.stems), list(others.stems)
    else:
        keys, other_keys = (first_groups(files.stems, pattern, "--key", files.role) for files in (outputs, others))
    index_of: dict[str, int] = {}
    for index, name in enumerate(other_keys):
        first = index_of.setdefault(name, index)
        if first != index:
            raise DataError(
                f"{others.role}: {shown(others.names[first])} and {shown(others.names[index])} have one key, "
                f"{shown(name)}, so an output of that key would have two; change --key to tell them apart"
            )
    alone = [outputs.names[index] for index, name in enumerate(keys) if name not in index_of]
    wanted = set(keys)
    unused = [others.names[index] for index, name in enumerate(other_keys) if name not in wanted]
    if alone or (unused and not subset):
        raise _unmatched(outputs, others, alone, unused, keys, other_keys)
    return np.array([index_of[name] for name in keys], np.int64), len(unused)


def _unmatched(
    outputs: ImageFiles,
    others: ImageFiles,
    alone: Sequence[str],
    unused: Sequence[str],
    keys: list[str],
    other_keys: list[str],
) -> DataError:
    lines = [
        f"{len(outputs.names)} outputs in {outputs.root} and {len(others.names)} {others.role} in {others.root} "
        "do not belong together"
    ]
    if alone:
        lines.append(f"{len(alone)} outputs without a {others.role.removesuffix('s')}: {listed(alone)}")
    if unused:
        lines.append(f"{len(unused)} {others.role} without an output: {listed(unused)}")
    folded = {name.casefold(): name for name in other_keys}
    differ = [(name, folded[name.casefold()]) for name in keys if folded.get(name.casefold(), name) != name]
    if differ:
        lines.append(f"{shown(differ[0][0])} and {shown(differ[0][1])} differ in upper and lower case; rename one")
    elif len(alone) == len(outputs.names):
        lines.append("no name is in both folders; if names agree in a part only, give it as --key REGEX")
    elif not alone:
        lines.append(f"--subset skips the {others.role} without an output")
    return DataError("\n  ".join(lines))
