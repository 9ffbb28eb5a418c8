"""Recognise how a folder arranges its pairs, from the names of folders and files and the shapes of a few images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from enface import DataError
from enface_plugins.datasets.multipie import NAME as MULTIPIE_NAME
from enface_plugins.datasets.people import name_groups
from enface_plugins.datasets.splits import ROLES, image_folders, path_splits, role_folders, split_folders, split_named
from enface_plugins.image_files import list_images, read_image
from enface_plugins.image_headers import read_header

Kind = Literal["folders", "side_by_side", "labelled", "multipie"]
ROLE_NAMES = (
    *(("source", "target"), ("A", "B"), ("input", "output"), ("input", "target"), ("lq", "gt"), ("lq", "hq")),
    *(("lr", "hr"), ("src", "dst"), ("src", "tgt"), ("before", "after"), ("low", "high"), ("blur", "sharp")),
    *(("noisy", "clean"), ("degraded", "clean"), ("profile", "frontal"), ("profile", "front"), ("x", "y")),
)
"""Usual names of the folders of sources and targets, in lower or upper case."""
LABEL_WORDS = {
    **dict.fromkeys(("yaw", "pose", "angle", "view", "p", "y"), "pose"),
    **dict.fromkeys(("light", "lights", "illum", "illumination", "l"), "light"),
}
"""Column by the word before a number in a file name."""
SAMPLE = 16
SEAM = 3.0
"""Mean difference between the two middle columns of images side by side, relative to the median of all columns."""
LABEL = re.compile(r"(?P<word>[A-Za-z]*)(?P<number>[+-]?\d+)")


@dataclass(frozen=True)
class Layout:
    """The arrangement of the pairs in a folder.

    Attributes:
        kind: ``folders`` (sources and targets matched by name), ``side_by_side`` (both in one image), ``labelled``
            (labels in file names) or ``multipie``.
        root: The folder.
        pairs: Number of pairs; of images, if ``kind`` is ``labelled`` or ``multipie``.
        splits: Number of pairs (or images) of each split that the folders name; empty if they name none.
        source: Name of the folder of sources (kind ``folders``), such as ``A`` of ``trainA``.
        target: Name of the folder of targets (kind ``folders``).
        pattern: Pattern of the dataset ``labelled_folder`` (kind ``labelled``).
        identity: Suggested pattern of the person in a pair's name, which matches all names; None if names do not look
            grouped.
        people: Number of different persons by ``identity``, ``pattern`` or the names of Multi-PIE; 0 if unknown.
        doubt: Sentence about what was guessed and should be checked; empty if nothing was.
    """

    kind: Kind
    root: Path
    pairs: int
    splits: Mapping[str, int] = field(default_factory=dict)
    source: str = "source"
    target: str = "target"
    pattern: str | None = None
    identity: str | None = None
    people: int = 0
    doubt: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The keys of a recipe's ``data`` that read this folder, without defaults."""
        root = str(self.root)
        if self.kind == "multipie":
            return {"use": "multipie", "root": root}
        if self.kind == "labelled":
            return {"use": "labelled_folder", "root": root, "pattern": self.pattern}
        keys: dict[str, Any] = {"use": "paired_folders", "root": root}
        if self.kind == "side_by_side":
            keys["layout"] = "side_by_side"
        elif (self.source, self.target) != ROLES:
            keys |= {"source": self.source, "target": self.target}
        return keys | ({"identity": self.identity} if self.identity else {})


def recognise(folder: Path) -> Layout:
    """Return the layout of a folder of image pairs.

    In this order: file names of Multi-PIE; folders of sources and targets, by their usual names or because exactly
    two folders hold files of the same names; images twice as wide as high, or with an edge in the middle, which hold
    both; file names with labels.
    Each may be divided by folders that name splits.

    Raises:
        DataError: if the folder is missing, holds no image or is arranged in another way; lists the layouts.
    """
    root = folder.expanduser()
    names = list_images(root)
    problems: list[str] = []
    layout = _multipie(root, names) or _roles(root, problems) or _side_by_side(root, names) or _labelled(root, names)
    if layout is not None:
        return layout
    raise DataError(
        f"{root}: the arrangement of its {len(names)} images is not recognised (the first is {names[0]!r}"
        f"{''.join(f'; {problem}' for problem in problems[:1])}); use one of "
        "source/ and target/ with files of the same names, images that hold source and target side by side, file names "
        "with a person and labels such as 007_yaw-045.png, or the names of Multi-PIE; each may be divided by folders "
        "train/, val/ and test/"
    )


def _multipie(root: Path, names: list[str]) -> Layout | None:
    matches = [match for name in names if (match := MULTIPIE_NAME.match(PurePosixPath(name).name))]
    if len(matches) < 0.9 * len(names):
        return None
    return Layout("multipie", root, len(names), _counts(root, names), people=len({match[1] for match in matches}))


def _roles(root: Path, problems: list[str]) -> Layout | None:
    for source, target, doubt in _role_candidates(root):
        try:
            folders = role_folders(root, source, target)
        except DataError as error:
            problems.append(str(error))
            continue
        if not all(folder.is_dir() for roles in folders.values() for folder in roles.values()):
            continue
        stems = {split: _matched(roles) for split, roles in folders.items()}
        count = sum(map(len, stems.values()))
        if not count:
            continue
        groups = name_groups([stem for split in stems.values() for stem in split])
        return Layout(
            *("folders", root, count, {split: len(items) for split, items in stems.items() if split}, source, target),
            identity=groups.pattern if groups else None,
            people=groups.groups if groups else 0,
            doubt=doubt,
        )
    return None


def _role_candidates(root: Path) -> Iterator[tuple[str, str, str]]:
    """Names of the folders of sources and targets, and a remark on a guess."""
    for source, target in ROLE_NAMES:
        for first, second in dict.fromkeys(
            (change(source), change(target)) for change in (str, str.lower, str.upper, str.capitalize)
        ):
            yield first, second, ""
    for place in (root, *split_folders(root).values()):
        others = [path.name for path in image_folders(place) if split_named(path.name) is None]
        if len(others) == 2:
            first, second = others
            yield first, second, f"{first} was taken for the folder of sources and {second} for that of targets"
            return


def _matched(folders: Mapping[str, Path]) -> list[str]:
    """The stems that both folders have."""
    try:
        source, target = ([name.rpartition(".")[0] for name in list_images(folders[role])] for role in ROLES)
    except DataError:
        return []
    both = set(target)
    return [stem for stem in source if stem in both]


def _side_by_side(root: Path, names: list[str]) -> Layout | None:
    chosen = names[:: max(1, len(names) // SAMPLE)][:SAMPLE]
    doubt = "the left half was taken for the source"
    if not all(_is_double(root / name) for name in chosen):
        if not _have_seams([root / name for name in chosen]):
            return None
        doubt = f"images have an edge in the middle, so each was taken for two side by side; {doubt}"
    splits = path_splits(root, names)
    kept = [name for name in names if name in splits] if splits else names
    groups = name_groups([(_below_split(name) if splits else name).rpartition(".")[0] for name in kept])
    return Layout(
        *("side_by_side", root, len(kept), _counts(root, names)),
        identity=groups.pattern if groups else None,
        people=groups.groups if groups else 0,
        doubt=doubt,
    )


def _is_double(path: Path) -> bool:
    """Return True if an image is twice as wide as high."""
    header = read_header(path)
    return header is not None and header.size[0] == 2 * header.size[1]


def _have_seams(files: Sequence[Path]) -> bool:
    """Return True if images of an even width usually change far more in the middle than between other columns."""
    seams = []
    for file in files:
        try:
            steps = np.abs(np.diff(read_image(file, 1)[..., 0].astype(int), axis=1)).mean(0)
        except DataError:
            continue
        if len(steps) < 3 or len(steps) % 2 == 0:
            return False
        seams.append(steps[len(steps) // 2] / max(float(np.median(steps)), 1.0))
    return bool(seams) and float(np.median(seams)) > SEAM


def _labelled(root: Path, names: list[str]) -> Layout | None:
    pattern = _label_pattern([PurePosixPath(name).stem for name in names])
    if pattern is None:
        return None
    matches = [match for name in names if (match := re.search(pattern, name))]
    people = Counter(match["identity"] for match in matches)
    if len(matches) < len(names) or max(people.values(), default=0) < 2:
        return None
    columns = re.compile(pattern).groupindex
    frontal = {match["identity"] for match in matches if "pose" in columns and float(match["pose"]) == 0}
    doubt = ""
    if len(frontal) < len(people):
        doubt = f"{len(people) - len(frontal)} of {len(people)} people have no image at pose 0; set pairs.target"
    return Layout("labelled", root, len(names), _counts(root, names), pattern=pattern, people=len(people), doubt=doubt)


def _label_pattern(stems: Sequence[str]) -> str | None:
    """A pattern of names such as ``007_yaw-045``: the person first, then words and numbers; None for other names."""
    parts = [stem.split("_") for stem in stems]
    if len(parts[0]) < 2 or len({len(items) for items in parts}) > 1:
        return None
    labels, columns = [], {"identity"}
    for place in range(1, len(parts[0])):
        matches = [LABEL.fullmatch(items[place]) for items in parts]
        words = {match["word"] for match in matches if match is not None}
        if None in matches or len(words) != 1:
            return None
        word = words.pop()
        signed = any(match["number"][0] in "+-" for match in matches if match is not None)
        column = LABEL_WORDS.get(word.lower(), word.lower() or ("pose" if signed else f"label{place}"))
        if column in columns:
            return None
        columns.add(column)
        labels.append(f"{word}(?P<{column}>[+-]?\\d+)")
    if not columns & {"pose"}:
        return None
    return "(?P<identity>[^/_]+)_" + "_".join(labels)


def _counts(root: Path, names: Sequence[str]) -> dict[str, int]:
    """Number of images in each split."""
    counts = Counter(path_splits(root, names).values())
    return {split: counts[split] for split in split_folders(root)}


def _below_split(name: str) -> str:
    return name.partition("/")[2]
