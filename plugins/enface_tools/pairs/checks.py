"""Whether outputs, targets and sources fit each other, told from their headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface.errors import DataError
from enface_tools.pairs.files import Files, listed, shown
from enface_tools.pairs.headers import Header, read_headers
from enface_tools.pairs.matching import Matched

Size = tuple[int, int]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Checked:
    """Folders of which every image can be measured.

    Attributes:
        size: Width and height of all targets.
        stamps: For each output, text that changes when a file it is measured with does.
        resized: For each role, the sizes of images that are not as large as the targets; empty where all are.
        lossy: For each role, how many images were saved with loss of detail.
    """

    size: Size
    stamps: Sequence[str]
    resized: dict[str, list[Size]]
    lossy: dict[str, int]


def check(matched: Matched, *, resize: bool, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Open the header of every image that is needed.

    Args:
        resize: Allow outputs and sources of other sizes than the targets'.
        progress: Called with (files done, files in all).

    Raises:
        DataError: when an image cannot be measured, or is not as its target, naming it and what to do.
    """
    roles = [(matched.outputs, np.arange(len(matched)))]
    roles.append((matched.targets, np.unique(matched.target_of)))
    if matched.sources is not None and matched.source_of is not None:
        roles.append((matched.sources, np.unique(matched.source_of)))
    total, done = sum(len(rows) for _, rows in roles), 0
    found: dict[str, dict[int, Header]] = {}

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    for files, rows in roles:
        headers = read_headers([files.path(row) for row in rows.tolist()], files.role, count)
        found[files.role] = dict(zip(rows.tolist(), headers, strict=True))
    size = _one_size(matched.targets, found["targets"])
    resized = {
        files.role: _other_sizes(files, found[files.role], size, resize)
        for files, _ in roles
        if files is not matched.targets
    }
    _same_kind(matched, matched.target_of, matched.targets, found)
    if matched.sources is not None and matched.source_of is not None:
        _same_kind(matched, matched.source_of, matched.sources, found)
    lossy = {role: sum(header.lossy for header in headers.values()) for role, headers in found.items()}
    return Checked(size, _stamps(matched, found), resized, lossy)


def _one_size(files: Files, headers: dict[int, Header]) -> Size:
    """The size of all targets."""
    first, size = next((row, header.size) for row, header in headers.items())
    for row, header in headers.items():
        if header.size != size:
            raise DataError(
                f"{files.role} are of several sizes: {shown(files.names[first])} is {_px(size)}, "
                f"{shown(files.names[row])} is {_px(header.size)}; evaluate one size at a time, or resize them"
            )
    return size


def _other_sizes(files: Files, headers: dict[int, Header], size: Size, resize: bool) -> list[Size]:
    others = {row: header.size for row, header in headers.items() if header.size != size}
    if others and not resize:
        row, other = next(iter(others.items()))
        raise DataError(
            f"{len(others)} of {len(headers)} {files.role} are not as large as the targets ({_px(size)}): "
            f"{shown(files.names[row])} is {_px(other)}; --resize resizes them (bicubic) and says so in the result"
        )
    return sorted(set(others.values()))


def _same_kind(matched: Matched, partner: Indices, files: Files, found: dict[str, dict[int, Header]]) -> None:
    """Refuse an output that is its partner's file, or has colour where that has none."""
    mixed = []
    for row, other in enumerate(partner.tolist()):
        mine, theirs = found["outputs"][row], found[files.role][other]
        if mine.file == theirs.file and files.role == "targets":
            raise DataError(
                f"output {shown(matched.outputs.names[row])} and its target {shown(files.names[other])} "
                "are one file, by a link; it would be measured against itself"
            )
        if mine.grey != theirs.grey:
            mixed.append(matched.outputs.names[row])
    if mixed:
        grey = found["outputs"][matched.outputs.names.index(mixed[0])].grey
        raise DataError(
            f"{len(mixed)} outputs are {'grey' if grey else 'in colour'}, their {files.role} "
            f"{'in colour' if grey else 'grey'}: {listed(mixed)}; save both as RGB, or both grey"
        )


def _stamps(matched: Matched, found: dict[str, dict[int, Header]]) -> list[str]:
    stamps = []
    sources = None if matched.source_of is None else matched.source_of.tolist()
    for row, target in enumerate(matched.target_of.tolist()):
        parts = [(matched.outputs, row), (matched.targets, target)]
        if matched.sources is not None and sources is not None:
            parts.append((matched.sources, sources[row]))
        stamps.append("\0".join(f"{files.names[at]}\0{found[files.role][at].stamp}" for files, at in parts))
    return stamps


def _px(size: Size) -> str:
    return f"{size[0]} x {size[1]} px"
