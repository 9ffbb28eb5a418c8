"""What image files say of themselves before they are decoded: size, mode, and why one cannot be measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from enface.errors import DataError
from enface_tools.pairs.files import SHOWN, shown

# Opening a header is mostly Python, which threads do not share; they are for disks that answer slowly.
THREADS = min(4, os.cpu_count() or 1)
CHUNK = 256
GREY, COLOUR = ("1", "L"), ("RGB",)
LOSSY = ("JPEG", "MPO")
# Orientations (EXIF) of cameras held upright; width and height change places.
TURNED = (5, 6, 7, 8)


@dataclass(frozen=True)
class Header:
    """An image file that can be measured.

    Attributes:
        size: Width and height in pixels, as a viewer shows it.
        grey: Whether it has no colour.
        lossy: Whether its format loses detail (JPEG).
        stamp: The file's size in bytes and time of change in nanoseconds.
        file: What two names of one file share.
    """

    size: tuple[int, int]
    grey: bool
    lossy: bool
    stamp: tuple[int, int]
    file: tuple[int, int]


def read_headers(
    paths: Sequence[Path], role: str, progress: Callable[[int], None] = lambda count: None
) -> list[Header]:
    """The headers of some images.

    Args:
        role: What the images are, in the plural, for messages.
        progress: Told how many more are done.

    Raises:
        DataError: when some cannot be measured, naming each of the first ten, why, and what to do.
    """
    found: list[Header] = []
    wrong: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        for chunk in pool.map(_some, chunks):
            for item in chunk:
                if isinstance(item, str):
                    wrong.append(item)
                else:
                    found.append(item)
            progress(len(chunk))
    if wrong:
        more = f"\n  ... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        lines = "\n  ".join(wrong[:SHOWN])
        raise DataError(f"{len(wrong)} of {len(paths)} {role} cannot be measured:\n  {lines}{more}")
    return found


def _some(paths: Iterable[Path]) -> list[Header | str]:
    return [_header(path) for path in paths]


def _header(path: Path) -> Header | str:
    """The header of a file, or what is wrong with it."""
    name = shown(str(path))
    try:
        state = path.stat()
        if not state.st_size:
            return f"{name} is empty (0 bytes): write or copy it again"
        with Image.open(path) as image:
            complaint = _complaint(image)
            size = image.size[::-1] if _turned(image) else image.size
            grey, lossy = image.mode in GREY, image.format in LOSSY
    # Damaged files make Pillow raise nearly anything.
    except Exception as error:
        return f"{name} cannot be read ({shown(str(error)) or type(error).__name__}): mend or remove it"
    if complaint:
        return f"{name} {complaint}"
    return Header(size, grey, lossy, (state.st_size, state.st_mtime_ns), (state.st_dev, state.st_ino))


def _complaint(image: Image.Image) -> str:
    """Why an image's pixels are not what a metric would be told they are; empty when they are."""
    if getattr(image, "is_animated", False):
        return "holds several pictures: save the one to be measured as a PNG"
    # Pillow cuts 16-bit colour to 8 bits without a word; only the raw mode tells.
    raw = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.mode.startswith(("I", "F")) or ";16" in raw:
        return "has more than 8 bits a channel: save it with 8 bits, scaled as you want it seen"
    if image.has_transparency_data:
        return "has an alpha channel: lay it over a background and save it as RGB"
    if image.mode == "P":
        return "has a palette: save it as RGB"
    if image.mode not in GREY + COLOUR:
        return f"is in {image.mode}: save it as RGB"
    return ""


def _turned(image: Image.Image) -> bool:
    # Of a PNG without EXIF data Pillow would decode all to look for some behind the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in TURNED
