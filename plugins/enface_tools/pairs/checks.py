"""Check from the headers that outputs, targets and sources can be measured against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from enface.errors import DataError
from enface_tools.pairs.files import ImageFiles, listed, shown
from enface_tools.pairs.headers import ImageHeader, read_headers
from enface_tools.pairs.matching import Indices, MatchedImages

Size = tuple[int, int]
Headers = dict[int, ImageHeader]


@dataclass(frozen=True)
class CheckedImages:
    """Properties of images that can all be measured.

    Attributes:
        size: Width and height of all targets.
        stamps: For each output, a text that changes if a file it is measured with changes.
        resized: For each role, the sizes that differ from the targets'; empty if there are none.
        lossy: For each role, the number of JPEG files.
    """

    size: Size
    stamps: Sequence[str]
    resized: dict[str, list[Size]]
    lossy: dict[str, int]


def check(matched: MatchedImages, *, resize: bool, progress: Callable[[int, int], None] | None = None) -> CheckedImages:
    """Read the header of every image that is needed.

    Args:
        resize: Allow outputs and sources of another size than the targets'.
        progress: Called with the number of files read, and of all files.

    Raises:
        DataError: if an image cannot be measured or does not fit its target, naming it and the remedy.
    """
    needed = [(matched.outputs, np.arange(len(matched)))]
    needed += [(files, np.unique(indices)) for files, indices in matched.partners.values()]
    total, done = sum(len(indices) for _, indices in needed), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    headers: dict[str, Headers] = {}
    for files, indices in needed:
        read = read_headers([files.path(index) for index in indices.tolist()], files.role, count)
        headers[files.role] = dict(zip(indices.tolist(), read, strict=True))
    size = _one_size(matched.targets, headers["targets"])
    resized = {
        files.role: _other_sizes(files, headers[files.role], size, resize)
        for files, _ in needed
        if files is not matched.targets
    }
    for files, partner in matched.partners.values():
        _refuse_unlike(matched.outputs, files, partner, headers)
    lossy = {role: sum(header.lossy for header in of_role.values()) for role, of_role in headers.items()}
    return CheckedImages(size, _stamps(matched, headers), resized, lossy)


def _one_size(files: ImageFiles, headers: Headers) -> Size:
    """Return the size of all targets."""
    first, size = next((index, header.size) for index, header in headers.items())
    for index, header in headers.items():
        if header.size != size:
            raise DataError(
                f"{files.role} are of several sizes: {shown(files.names[first])} is {_px(size)}, "
                f"{shown(files.names[index])} is {_px(header.size)}; evaluate one size at a time, or resize them"
            )
    return size


def _other_sizes(files: ImageFiles, headers: Headers, size: Size, resize: bool) -> list[Size]:
    others = {index: header.size for index, header in headers.items() if header.size != size}
    if others and not resize:
        index, other = next(iter(others.items()))
        raise DataError(
            f"{len(others)} of {len(headers)} {files.role} differ in size from the targets ({_px(size)}): "
            f"{shown(files.names[index])} is {_px(other)}; --resize resizes them (bicubic) and notes it in the result"
        )
    return sorted(set(others.values()))


def _refuse_unlike(outputs: ImageFiles, files: ImageFiles, partner: Indices, headers: dict[str, Headers]) -> None:
    """Refuse an output that is the same file as its target, or of which only one of the two is grey."""
    mixed = []
    for row, index in enumerate(partner.tolist()):
        output, other = headers["outputs"][row], headers[files.role][index]
        if output.file == other.file and files.role == "targets":
            raise DataError(
                f"output {shown(outputs.names[row])} and its target {shown(files.names[index])} "
                "are one file, by a link; it would be measured against itself"
            )
        if output.grey != other.grey:
            mixed.append(row)
    if mixed:
        grey = headers["outputs"][mixed[0]].grey
        raise DataError(
            f"{len(mixed)} outputs are {'grey' if grey else 'in colour'}, their {files.role} "
            f"{'in colour' if grey else 'grey'}: {listed([outputs.names[row] for row in mixed])}; "
            "save both as RGB, or both grey"
        )


def _stamps(matched: MatchedImages, headers: dict[str, Headers]) -> list[str]:
    columns = [(matched.outputs, np.arange(len(matched))), *matched.partners.values()]
    return [
        "\0".join(
            f"{files.names[index]}\0{headers[files.role][index].stamp}"
            for files, index in ((files, int(indices[row])) for files, indices in columns)
        )
        for row in range(len(matched))
    ]


def _px(size: Size) -> str:
    return f"{size[0]} x {size[1]} px"
