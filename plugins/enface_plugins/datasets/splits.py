"""Folders that name splits: ``train``, ``val`` and ``test`` around, inside or before the folders of images."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from enface import DataError
from enface_plugins.image_files import list_images

SPLITS = ("train", "val", "test")
SPLIT_NAMES = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "val": "val",
        "valid": "val",
        "validation": "val",
        "dev": "val",
        "test": "test",
        "testing": "test",
    }
)
"""Split by the name of a folder, in lower case."""
ROLES = ("source", "target")
RoleFolders = dict[str, dict[str, Path]]
"""Folders by split and role; the split is empty if the folders name none."""


def split_named(name: str) -> str | None:
    """Return the split that a folder's name stands for, in any case; None for any other name."""
    return SPLIT_NAMES.get(name.lower())


def split_folders(root: Path) -> dict[str, Path]:
    """Return the folders in ``root`` that name splits, by split; empty if only ``train`` or none is there.

    Raises:
        DataError: if two of them stand for one split, or some do and none is ``train``.
    """
    return _several(_named(root), root)


def role_folders(root: Path, source: str, target: str) -> RoleFolders:
    """Return the folders of sources and targets, by split.

    The splits are folders around the roles (``train/source``), inside them (``source/train``) or the beginning of
    their names (``trainA``, ``train_A``). Without any, the result is ``{"": {"source": ..., "target": ...}}``, and
    the folders may be missing.

    Raises:
        DataError: if the folders name splits in two of these ways, or not the same ones for both roles.
    """
    names = dict(zip(ROLES, (source, target), strict=True))
    plain = {role: root / name for role, name in names.items()}
    inside = {role: _named(folder) for role, folder in plain.items()}
    around = {role: _around(root, name) for role, name in names.items()}
    joined = {role: _joined(root, name) for role, name in names.items()}
    ways = [way for way in (inside, around, joined) if any(way.values())]
    if not ways or (ways == [inside] and all(set(folders) == {"train"} for folders in inside.values())):
        return {"": plain}
    if len(ways) > 1 or (ways[0] is not inside and any(folder.is_dir() for folder in plain.values())):
        raise DataError(
            f"{root} names its splits in more than one way, or holds {source} or {target} beside its split folders; "
            "keep one way, or set data.root to one of them"
        )
    return _for_both_roles(ways[0], root)


def image_folders(root: Path) -> list[Path]:
    """Return the folders in ``root`` that may hold images, by name; empty if it cannot be read."""
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        # Listing the images names what is wrong with the folder.
        return []


def path_splits(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the split of each image below the top folders that name splits; empty if ``root`` has no such folders.

    Warns of images outside these folders, which are in no split.

    Args:
        names: Paths relative to ``root``, with forward slashes.
    """
    folders = {folder.name: split for split, folder in split_folders(root).items()}
    if not folders:
        return {}
    tops = {name: name.partition("/")[0] for name in names}
    warn_outside(root, folders, [name for name, top in tops.items() if top not in folders])
    return {name: folders[top] for name, top in tops.items() if top in folders}


def split_over(names: Collection[str], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's ``data.split`` over the splits that files name in a column ``split``.

    Keys that are not given follow the names. Without a ``test`` among them, ``val`` is the test split.

    Args:
        names: Of ``train``, ``val`` and ``test``; others are ignored. Fewer than two define nothing.
        given: The keys in the recipe.

    Raises:
        DataError: if the given keys contradict the names.
    """
    known = [name for name in SPLITS if name in names]
    if len(known) < 2:
        return given
    test = "test" if "test" in known else "val"
    val = ["val"] if "val" in known and test != "val" else []
    split = {"by": "split", "train": ["train"], "val": val, "test": [test], **given}
    if not _fits(split, val):
        form = f"{{by: split, train: [train], val: [{''.join(val)}], test: [{test}]}}"
        raise DataError(
            f"contradicts the splits that the data names ({', '.join(known)}); remove data.split, or write {form}"
            + ("" if val else " (val: 0.1 takes that share of the people of train)")
        )
    if test == "val" and "test" not in given:
        warnings.warn("the data names no test split, so val is held out as the test split", stacklevel=3)
    return split


def _fits(split: Mapping[str, Any], named: list[str]) -> bool:
    """Return True if a split goes by the names, uses each once, and takes no number where ``val`` is ``named``."""
    train, val, test = (part if isinstance(part, list) else [] for part in (split[name] for name in SPLITS))
    used = [*train, *val, *test]
    return (
        split["by"] == "split"
        and "train" in train
        and "test" not in [*train, *val]
        and bool(test)
        and len(used) == len(set(used))
        and not (named and split["val"] and not val)
    )


def warn_of_images_beside(folders: RoleFolders, root: Path, roles: Iterable[str]) -> None:
    """Warn of images that are skipped because they lie beside the folders that name splits.

    Args:
        folders: From :func:`role_folders`.
        root: The folder that holds them all.
        roles: Names of the folders of sources and targets in it.
    """
    used = {folder for by_role in folders.values() for folder in by_role.values()}
    bases = {folder.parent for folder in used} & {root, *(root / role for role in roles)}
    for base in sorted(bases) if "" not in folders else []:
        tops = [folder.name for folder in used if folder.parent == base]
        warn_outside(base, tops, [name for name in list_images(base) if name.partition("/")[0] not in tops])


def warn_outside(root: Path, folders: Iterable[str], outside: list[str]) -> None:
    """Warn of images that are skipped because they are outside the folders that name splits."""
    if outside:
        warnings.warn(
            f"{len(outside)} images in {root} are outside its split folders ({', '.join(sorted(folders))}) and are "
            f"skipped; the first is {outside[0]!r}",
            stacklevel=4,
        )


def _around(root: Path, name: str) -> dict[str, Path]:
    return {split: folder / name for split, folder in _named(root).items() if (folder / name).is_dir()}


def _joined(root: Path, name: str) -> dict[str, Path]:
    pattern = re.compile(rf"(?P<split>[A-Za-z]+?)[_-]?{re.escape(name)}")
    matches = [(pattern.fullmatch(path.name), path) for path in image_folders(root)]
    named = [(split_named(match["split"]), path) for match, path in matches if match]
    return _by_split([(split, path) for split, path in named if split is not None], root)


def _named(root: Path) -> dict[str, Path]:
    named = [(split_named(path.name), path) for path in image_folders(root)]
    return _by_split([(split, path) for split, path in named if split is not None], root)


def _by_split(named: Iterable[tuple[str, Path]], root: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for split, path in named:
        if split in folders:
            raise DataError(f"{root}: {folders[split].name} and {path.name} both stand for {split}; join them")
        folders[split] = path
    return {split: folders[split] for split in SPLITS if split in folders}


def _several(folders: dict[str, Path], root: Path) -> dict[str, Path]:
    """The folders if they name more than one split; a lone ``train`` defines none."""
    if folders and "train" not in folders:
        names = " and ".join(path.name for path in folders.values())
        raise DataError(f"{root} holds {names} and no train; add it, or rename or remove what names no split")
    return folders if len(folders) > 1 else {}


def _for_both_roles(folders: Mapping[str, dict[str, Path]], root: Path) -> RoleFolders:
    source, target = (folders[role] for role in ROLES)
    if set(source) != set(target):
        listed = [", ".join(folder.relative_to(root).as_posix() for folder in folders[role].values()) for role in ROLES]
        raise DataError(
            f"{root}: sources and targets name different splits (sources: {listed[0] or 'none'}; targets: "
            f"{listed[1] or 'none'}); each split needs both"
        )
    if set(source) == {"train"}:
        return {"": {role: folders[role]["train"] for role in ROLES}}
    _several(source, root)
    return {split: {role: folders[role][split] for role in ROLES} for split in source}
