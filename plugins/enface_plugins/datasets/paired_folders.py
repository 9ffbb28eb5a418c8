"""Image pairs in the usual layouts of image translation: two folders, or side by side in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import DataError, Dataset, Row, files_fingerprint, list_images, read_image

ROLES = ("source", "target")


class PairedFolders(Dataset):
    """Pairs of a source and a target, matched by name; each pair is one identity with that name.

    Args:
        root: The folder.
        layout: ``folders``: a folder of sources and one of targets, matched by path without extension.
            ``side_by_side``: each image in ``root`` is a source and a target of equal width, side by side.
        source: Folder of sources in ``root`` (layout ``folders``).
        target: Folder of targets in ``root`` (layout ``folders``).
        source_side: The half that is the source (layout ``side_by_side``).
    """

    pairs: ClassVar[dict[str, Any]] = {
        "source": {"where": {"role": "source"}},
        "target": {"same": ["identity"], "where": {"role": "target"}},
    }

    def __init__(
        self,
        *,
        root: Path,
        layout: Literal["folders", "side_by_side"] = "folders",
        source: str = "source",
        target: str = "target",
        source_side: Literal["left", "right"] = "left",
    ) -> None:
        self._root = root.expanduser()
        self._halves = layout == "side_by_side"
        self._folders = {"source": self._root / source, "target": self._root / target}
        self._source_side = source_side

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Write three pairs, each image of one colour."""
        for index, role in enumerate(ROLES):
            (folder / role).mkdir()
            for number in range(3):
                colour = (80 * number, 100 * index, 60)
                Image.new("RGB", (16, 16), colour).save(folder / role / f"{number}.png")
        return {"root": str(folder)}

    def rows(self) -> Iterator[Row]:
        """The source and the target of each pair, in natural order.

        Raises:
            DataError: when a folder is missing or empty, an image has no counterpart, or two share a name.
        """
        for stem in self._names["source"]:
            for role in ROLES:
                yield {"key": f"{role}/{self._names[role][stem]}", "identity": stem, "role": role}

    def image(self, row: Row) -> npt.NDArray[np.uint8]:
        """The image of a row.

        Raises:
            DataError: when it cannot be read, or both halves are in one image of odd width.
        """
        role, _, name = str(row["key"]).partition("/")
        if self._halves:
            return self._half(self._root / name, role)
        return read_image(self._folders[role] / name)

    def fingerprint(self) -> str:
        """Digest of the names, sizes and modification times of the files."""
        if self._halves:
            return files_fingerprint(self._root, self._names["source"].values())
        return "-".join(files_fingerprint(folder, self._names[role].values()) for role, folder in self._folders.items())

    @cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        """Stem -> path relative to its folder, for each role."""
        if self._halves:
            return dict.fromkeys(ROLES, _by_stem(self._root))
        if self._folders["source"].resolve() == self._folders["target"].resolve():
            raise DataError(f"data.source and data.target are the same folder, {self._folders['source']}")
        names = {role: _by_stem(folder) for role, folder in self._folders.items()}
        self._require_counterparts(names)
        return names

    def _half(self, path: Path, role: str) -> npt.NDArray[np.uint8]:
        both = read_image(path)
        width = both.shape[1]
        if width % 2:
            raise DataError(
                f"image {path} is {width} pixels wide; a source and a target side by side need an even width"
            )
        left = (role == "source") == (self._source_side == "left")
        return both[:, : width // 2] if left else both[:, width // 2 :]

    def _require_counterparts(self, names: dict[str, dict[str, str]]) -> None:
        problems = []
        for role, other in (ROLES, ROLES[::-1]):
            unmatched = [name for stem, name in names[role].items() if stem not in names[other]]
            if unmatched:
                more = f" and {len(unmatched) - 10} more" if len(unmatched) > 10 else ""
                problems.append(
                    f"{len(unmatched)} images in {self._folders[role]} have no counterpart of the same name in "
                    f"{self._folders[other]}: {', '.join(unmatched[:10])}{more}"
                )
        if problems:
            raise DataError("\n".join(problems))


def _by_stem(folder: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in list_images(folder):
        stem = name.rpartition(".")[0]
        if stem in names:
            raise DataError(f"{folder} holds {names[stem]} and {name}, which differ only in the extension; keep one")
        names[stem] = name
    return names
