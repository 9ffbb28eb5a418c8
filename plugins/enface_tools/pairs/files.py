"""Image files of a folder, and how their names are shown in messages."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from enface import IMAGE_EXTENSIONS, list_images
from enface.errors import DataError
from enface_tools.inference.apply import GRID, LAYERS

# GIF files are listed, too, so that they are refused by name instead of ignored; arrays lie beside their pictures.
EXTENSIONS = (*(extension for extension in IMAGE_EXTENSIONS if extension != "npy"), "gif")
MAX_LISTED = 10
MAX_LENGTH = 240


@dataclass(frozen=True)
class ImageFiles:
    """The images of a folder in natural order.

    Attributes:
        role: ``outputs``, ``targets`` or ``sources``.
        names: Paths relative to the folder, with forward slashes.
        stems: The same without extension, in Unicode's composed form (NFC), because file systems differ in how they
            store accents.
    """

    role: str
    root: Path
    names: tuple[str, ...]
    stems: tuple[str, ...]

    def path(self, index: int) -> Path:
        """The path of an image."""
        return self.root / self.names[index]


def scan(root: Path, role: str) -> ImageFiles:
    """List the images below a folder.

    Raises:
        DataError: if it is not a folder, cannot be read or holds no image, or if two names differ only in their
            extension.
    """
    require_folder(root, role)
    names = list_images(root, EXTENSIONS)
    stems = tuple(unicodedata.normalize("NFC", os.path.splitext(name)[0]) for name in names)
    first: dict[str, str] = {}
    for name, stem in zip(names, stems, strict=True):
        other = first.setdefault(stem, name)
        if other != name:
            raise DataError(
                f"{role}: {shown(other)} and {shown(name)} in {root} differ only in their extension; keep one of them"
            )
    return ImageFiles(role, root, tuple(names), stems)


def without_extras(outputs: ImageFiles, targets: ImageFiles) -> ImageFiles:
    """Leave out pictures that ``enface apply`` writes beside its outputs, unless they have a target.

    These are ``grid.png`` with ``--grid``, and ``NAME.layers.png`` with ``--layers``.
    """
    names = dict(zip(outputs.names, outputs.stems, strict=True))
    kept = {
        name: stem
        for name, stem in names.items()
        if stem in targets.stems or (name != GRID and not name.endswith(LAYERS))
    }
    return replace(outputs, names=tuple(kept), stems=tuple(kept.values()))


def require_folder(root: Path, role: str) -> None:
    """Raise DataError if a folder does not exist, naming it."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"folder of {role} {root} {state}; name the folder that contains the images")


def shown(text: str) -> str:
    """Return a name for a message: printable, on one line, shortened."""
    text = printable(text)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 60]}...{text[-57:]}"


def printable(text: str) -> str:
    """Escape a text that contains control characters, which a terminal would obey."""
    return text if text.isprintable() else repr(text)


def listed(items: Sequence[str], show: Callable[[str], str] = shown) -> str:
    """Join the first ten names, and count the others."""
    more = f", ... and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(map(show, items[:MAX_LISTED])) + more
