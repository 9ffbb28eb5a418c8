"""Image pairs in the usual layouts of image translation: two folders, or side by side in one file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import DataError, Dataset, Row
from enface_plugins.datasets.layouts import recognise
from enface_plugins.datasets.people import compiled, name_groups
from enface_plugins.datasets.splits import (
    ROLES,
    RoleFolders,
    role_folders,
    split_folders,
    split_over,
    warn_of_images_beside,
)
from enface_plugins.image_files import files_fingerprint, list_images, read_image
from enface_plugins.image_headers import warn_of_rounding

REVISION = 2
"""Increase with any change to the table, which cached packs hold."""


@dataclass(frozen=True)
class _Pair:
    """A pair of images.

    Attributes:
        split: The split that folders name; empty without such folders.
        stem: Path in the folder of a role, without extension.
        names: The same with extension, by role.
    """

    split: str
    stem: str
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.split}/{self.stem}" if self.split else self.stem


class PairedFolders(Dataset):
    """Pairs of a source and a target, matched by name.

    Folders called ``train``, ``val`` (``validation``, ``valid``, ``dev``) and ``test``, in any case, define the split:
    with images side by side in them, around or inside the folders of sources and targets (``train/source``,
    ``source/train``), or as the beginning of their names (``trainA``, ``trainB``). The column ``split`` holds their
    values, and the recipe's ``data.split`` follows them. Names may repeat in different splits.

    Columns: ``pair`` (the name), ``role`` (``source`` or ``target``), ``identity``, and ``split`` if folders name it.

    Args:
        root: The folder.
        layout: ``folders``: a folder of sources and one of targets, matched by path without extension.
            ``side_by_side``: each image in ``root`` is a source and a target of equal width, side by side.
        source: Folder of sources in ``root`` (layout ``folders``); ``A`` for ``trainA``.
        target: Folder of targets in ``root`` (layout ``folders``); ``B`` for ``trainB``.
        source_side: The half that is the source (layout ``side_by_side``).
        identity: A regular expression with a group ``identity``, searched in each pair's name (the path in its
            folder, without extension), which names the person: ``^(?P<identity>\\d+)_`` for ``007_01`` and
            ``007_02``. Default: each pair is a person of its own.
    """

    aliases = ("aligned", "pix2pix", "paired", "paired_image", "paired_image_folder", "folder")
    pairs: ClassVar[dict[str, Any]] = {
        "source": {"where": {"role": "source"}},
        "target": {"same": ["pair"], "where": {"role": "target"}},
    }

    def __init__(
        self,
        *,
        root: Path,
        layout: Literal["folders", "side_by_side"] = "folders",
        source: str = "source",
        target: str = "target",
        source_side: Literal["left", "right"] = "left",
        identity: str | None = None,
    ) -> None:
        self._root = root.expanduser()
        self._halves = layout == "side_by_side"
        self._roles = {"source": source, "target": target}
        self._source_side = source_side
        self._identity = None if identity is None else compiled(identity, "data.identity")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Write three pairs, each image of one colour."""
        for index, role in enumerate(ROLES):
            (folder / role).mkdir()
            for number in range(3):
                colour = (80 * number, 100 * index, 60)
                Image.new("RGB", (16, 16), colour).save(folder / role / f"{number}.png")
        return {"root": str(folder)}

    @classmethod
    def split(cls, params: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The split that folders name, if they do."""
        return split_over(cls.named_splits(params), given)

    @classmethod
    def named_splits(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The splits that folders name: several of ``train``, ``val`` and ``test``, or none."""
        return tuple(split for split in cls(**{**params, "root": Path(params["root"])})._folders if split)

    def rows(self) -> Iterator[Row]:
        """The source and the target of each pair, in natural order within a split.

        Raises:
            DataError: when a folder is missing or empty, an image has no counterpart, two share a name, or ``identity``
                does not match a name.
        """
        people = self._people()
        for pair, person in zip(self._pairs, people, strict=True):
            about = {"identity": person, "pair": pair.name, **({"split": pair.split} if pair.split else {})}
            prefix = f"{pair.split}/" if pair.split else ""
            for role in ROLES:
                yield {"key": f"{role}/{prefix}{pair.names[role]}", "role": role, **about}

    def image(self, row: Row) -> npt.NDArray[np.uint8 | np.uint16]:
        """The image of a row.

        Raises:
            DataError: when it cannot be read, or both halves are in one image of odd width.
        """
        role, _, name = str(row["key"]).partition("/")
        split, name = ("", name) if "" in self._folders else name.split("/", 1)
        path = self._folders[split][role] / name
        return self._half(path, role) if self._halves else read_image(path, self.channels[role], self.depth)

    def fingerprint(self) -> str:
        """Digest of the names, sizes and modification times of the files; warns of 16 bits that are rounded to 8."""
        digests = [str(REVISION)]
        for split, folders in self._folders.items():
            for role in ROLES[:1] if self._halves else ROLES:
                names = [pair.names[role] for pair in self._pairs if pair.split == split]
                warn_of_rounding([folders[role] / name for name in names], self.depth)
                digests.append(f"{split}{files_fingerprint(folders[role], names)}")
        return "-".join(digests)

    @cached_property
    def _folders(self) -> RoleFolders:
        """The folders by split and role."""
        if self._halves:
            splits = split_folders(self._root) or {"": self._root}
            return {split: dict.fromkeys(ROLES, folder) for split, folder in splits.items()}
        if self._roles["source"] == self._roles["target"]:
            raise DataError(f"data.source and data.target are the same folder, {self._root / self._roles['source']}")
        return role_folders(self._root, self._roles["source"], self._roles["target"])

    @cached_property
    def _pairs(self) -> list[_Pair]:
        """All pairs; warns of images that are in no split and of names that look grouped."""
        warn_of_images_beside(self._folders, self._root, self._roles.values())
        pairs = [pair for split, folders in self._folders.items() for pair in self._matched(split, folders)]
        groups = name_groups([pair.stem for pair in pairs]) if self._identity is None else None
        if groups:
            warnings.warn(
                f"the names of the {len(pairs)} pairs in {self._root} look grouped, such as "
                f"{' and '.join(groups.example)}. If each group is one person, set data.identity: "
                f"'{groups.pattern}' ({groups.groups} people): now every pair counts as another person, so intervals "
                "are too narrow and a person may be in two splits. If not, set data.identity: '(?P<identity>.+)'.",
                stacklevel=2,
            )
        return pairs

    def _people(self) -> list[str]:
        """The identity of each pair."""
        if self._identity is None:
            return [pair.name for pair in self._pairs]
        matches = [self._identity.search(pair.stem) for pair in self._pairs]
        unmatched = [pair.stem for pair, match in zip(self._pairs, matches, strict=True) if match is None]
        if unmatched:
            raise DataError(
                f"data.identity: {self._identity.pattern!r} does not match {len(unmatched)} of {len(matches)} names in "
                f"{self._root}: {', '.join(unmatched[:10])}; extend it, or remove these pairs"
            )
        return [match["identity"] or "" for match in matches if match is not None]

    def _matched(self, split: str, folders: Mapping[str, Path]) -> Iterator[_Pair]:
        """The pairs of one split."""
        if self._halves:
            for stem, name in _by_stem(folders["source"]).items():
                yield _Pair(split, stem, dict.fromkeys(ROLES, name))
            return
        self._require_folders(folders)
        names = {role: _by_stem(folders[role]) for role in ROLES}
        _require_counterparts(names, folders)
        for stem in names["source"]:
            yield _Pair(split, stem, {role: names[role][stem] for role in ROLES})

    def _require_folders(self, folders: Mapping[str, Path]) -> None:
        missing = [folder for folder in folders.values() if not folder.exists()]
        if folders["source"].resolve() == folders["target"].resolve():
            raise DataError(f"data.source and data.target are the same folder, {folders['source']}")
        if not missing or not self._root.is_dir():
            return
        try:
            keys = {key: value for key, value in recognise(self._root).data.items() if key != "root"}
        except DataError as error:
            raise DataError(f"image folder {missing[0]} does not exist; {error}") from error
        raise DataError(
            f"image folder {missing[0]} does not exist; {self._root} looks like "
            f"{', '.join(f'{key}: {value}' for key, value in keys.items())}; set these keys of data"
        )

    def _half(self, path: Path, role: str) -> npt.NDArray[np.uint8 | np.uint16]:
        both = read_image(path, self.channels[role], self.depth)
        width = both.shape[1]
        if width % 2:
            raise DataError(
                f"image {path} is {width} pixels wide; a source and a target side by side need an even width"
            )
        left = (role == "source") == (self._source_side == "left")
        return both[:, : width // 2] if left else both[:, width // 2 :]


def _require_counterparts(names: Mapping[str, Mapping[str, str]], folders: Mapping[str, Path]) -> None:
    problems = []
    for role, other in (ROLES, ROLES[::-1]):
        unmatched = [name for stem, name in names[role].items() if stem not in names[other]]
        if unmatched:
            more = f" and {len(unmatched) - 10} more" if len(unmatched) > 10 else ""
            problems.append(
                f"{len(unmatched)} images in {folders[role]} have no counterpart of the same name in "
                f"{folders[other]}: {', '.join(unmatched[:10])}{more}"
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
