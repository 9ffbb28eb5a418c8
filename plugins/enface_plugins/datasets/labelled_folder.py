"""A folder of images labelled by their file names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import DataError, Dataset, Row
from enface_plugins.datasets.people import compiled
from enface_plugins.datasets.splits import SPLIT_NAMES, path_splits, split_folders, split_named, split_over
from enface_plugins.image_files import IMAGE_EXTENSIONS, files_fingerprint, list_images, read_image
from enface_plugins.image_headers import warn_of_rounding

# Names of images in a batch, and the column this dataset writes itself.
RESERVED = ("key", "source", "target", "partner")
# Stricter than int() and float(): "nan", "1_000" and numbers too long for a table remain text.
INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


class LabelledFolder(Dataset):
    """Images in a folder and its subfolders, labelled by a pattern over their paths.

    With ``pattern: '(?P<identity>\\d+)_yaw(?P<pose>[+-]\\d+)'`` the file ``007/007_yaw-045.png`` is identity
    ``007`` at pose -45. A column of numbers becomes numeric; identities remain text.

    Top folders called ``train``, ``val`` (``validation``, ``valid``, ``dev``) and ``test``, in any case, define the
    split: the column ``split`` holds their values, and the recipe's ``data.split`` follows them. A group ``split`` of
    the pattern finds such names elsewhere in the path.

    Args:
        root: The folder.
        pattern: A regular expression with named groups, searched in each image's path relative to ``root`` (with
            forward slashes). Each group becomes a column; one must be ``identity``. Images that do not match are
            skipped, with a warning.
        extensions: File name extensions of images.
    """

    aliases = ("labeled_folder", "image_folder", "folder")
    pairs: ClassVar[dict[str, Any]] = {"target": {"same": ["identity"], "where": {"pose": 0}}}

    def __init__(self, *, root: Path, pattern: str, extensions: tuple[str, ...] = IMAGE_EXTENSIONS) -> None:
        self._root = root.expanduser()
        self._pattern = _checked(pattern)
        self._extensions = extensions

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Write two people from three sides, each image of one colour."""
        for number in range(6):
            name = f"{number // 3:03}_yaw{45 * (number % 3 - 1):+04}.png"
            Image.new("RGB", (16, 16), (40 * number, 90, 60)).save(folder / name)
        return {"root": str(folder), "pattern": r"(?P<identity>\d+)_yaw(?P<pose>[+-]\d+)"}

    @classmethod
    def split(cls, params: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The split that top folders or the group ``split`` name, if they do."""
        root = Path(params["root"])
        if "(?P<split>" not in params["pattern"] or not root.is_dir():
            return split_over(split_folders(root), given)
        return split_over(set(cls(**{**params, "root": root})._splits().values()), given)

    def rows(self) -> Iterator[Row]:
        """One row per matching image, in natural order.

        Raises:
            DataError: when the folder is missing or empty, no image matches, or a ``split`` is unknown.
        """
        splits = self._splits()
        # A group finds the split of matching images only, folders that of all images in them.
        names = self._names if "split" in self._pattern.groupindex else list(splits) or self._names
        matches = {name: self._matches[name] for name in names if name in self._matches}
        self._report_unmatched([name for name in names if name not in matches], len(matches))
        columns = {
            group: _values(group, [match[group] or "" for match in matches.values()])
            for group in self._pattern.groupindex
            if group != "split"
        }
        for index, name in enumerate(matches):
            about = {group: values[index] for group, values in columns.items()}
            yield {"key": name, **about, **({"split": splits[name]} if splits else {})}

    def image(self, row: Row) -> npt.NDArray[np.uint8 | np.uint16]:
        """The image of a row."""
        return read_image(self._root / str(row["key"]), max(self.channels.values()), self.depth)

    def fingerprint(self) -> str:
        """Digest of the names, sizes and modification times of the files; warns of 16 bits that are rounded to 8."""
        warn_of_rounding([self._root / name for name in self._matches], self.depth)
        # The split is not in the names' pattern, and decides about the table that cached packs hold.
        prefix = "split-" if "split" in self._pattern.groupindex or split_folders(self._root) else ""
        return prefix + files_fingerprint(self._root, self._names)

    def _splits(self) -> dict[str, str]:
        """The split of each image; empty if neither the pattern nor top folders name splits."""
        if "split" not in self._pattern.groupindex:
            return path_splits(self._root, self._names)
        splits = {name: split_named(match["split"] or "") for name, match in self._matches.items()}
        for name, split in splits.items():
            if split is None:
                raise DataError(
                    f"data.pattern: the group 'split' is {self._matches[name]['split']!r} in {name!r}, which names no "
                    f"split ({', '.join(SPLIT_NAMES)}); rename the group if it is another label"
                )
        return {name: split for name, split in splits.items() if split is not None}

    @cached_property
    def _matches(self) -> dict[str, re.Match[str]]:
        return {name: match for name in self._names if (match := self._pattern.search(name))}

    @cached_property
    def _names(self) -> list[str]:
        return list_images(self._root, self._extensions)

    def _report_unmatched(self, unmatched: list[str], matched: int) -> None:
        if not matched:
            raise DataError(
                f"no image in {self._root} matches the pattern {self._pattern.pattern!r}; "
                f"the first of {len(unmatched)} file names is {unmatched[0]!r}"
            )
        if unmatched:
            warnings.warn(
                f"{len(unmatched)} of {len(unmatched) + matched} images in {self._root} do not match the pattern "
                f"{self._pattern.pattern!r} and are skipped; the first is {unmatched[0]!r}",
                stacklevel=3,
            )


def _checked(pattern: str) -> re.Pattern[str]:
    expression = compiled(pattern, "data.pattern")
    taken = [name for name in RESERVED if name in expression.groupindex]
    if taken:
        raise DataError(f"data.pattern: the group name {taken[0]!r} is reserved; choose another")
    return expression


def _values(group: str, texts: Sequence[str]) -> list[Any]:
    if group == "identity":
        return list(texts)
    for pattern, kind in ((INTEGER, int), (DECIMAL, float)):
        if all(pattern.fullmatch(text) for text in texts):
            return [kind(text) for text in texts]
    return list(texts)
