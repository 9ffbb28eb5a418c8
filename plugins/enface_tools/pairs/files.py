"""The image files of a folder by name, and how names are shown."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from enface.data.images import IMAGE_EXTENSIONS, list_images
from enface.errors import DataError

# Listed so that they are refused by name, not overlooked.
LISTED = (*IMAGE_EXTENSIONS, "gif")
SHOWN = 10
LONGEST = 240


@dataclass(frozen=True)
class Files:
    """The images of a folder, in natural order.

    Attributes:
        role: What they are, in the plural: ``outputs``, ``targets`` or ``sources``.
        names: Their paths below the folder, with forward slashes.
        stems: The same without extension, in Unicode's composed form (NFC), for one system writes a name's
            accents apart and another does not.
    """

    role: str
    root: Path
    names: tuple[str, ...]
    stems: tuple[str, ...]

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self.root / self.names[index]


def scan(root: Path, role: str) -> Files:
    """The images below a folder.

    Raises:
        DataError: when it is no folder, cannot be read or holds no image, or two images differ by their extension
            only.
    """
    require_folder(root, role)
    names = list_images(root, LISTED)
    stems = tuple(unicodedata.normalize("NFC", os.path.splitext(name)[0]) for name in names)
    first: dict[str, str] = {}
    for name, stem in zip(names, stems, strict=True):
        other = first.setdefault(stem, name)
        if other != name:
            raise DataError(
                f"{role}: {shown(other)} and {shown(name)} in {root} have one name but for the extension; "
                "keep one of them"
            )
    return Files(role, root, tuple(names), stems)


def require_folder(root: Path, role: str) -> None:
    """Raises DataError when there is no such folder, naming it."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"folder of {role} {root} {state}; name the folder the images are in")


def shown(text: str) -> str:
    """A name fit for a message: one line, not too long."""
    text = plain(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 60]}...{text[-57:]}"


def plain(text: str) -> str:
    """A text without characters that a terminal would act on."""
    return text if text.isprintable() else repr(text)


def listed(items: Sequence[str], show: Callable[[str], str] = shown) -> str:
    """The first ten names, and how many more there are."""
    more = f", ... and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(show, items[:SHOWN])) + more
