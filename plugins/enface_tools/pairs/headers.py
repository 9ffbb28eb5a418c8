"""Headers of image files: size, mode, and reasons why an image cannot be measured. Pixels are not decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from enface.errors import DataError
from enface_tools.pairs.files import MAX_LISTED, shown

# Opening a header is mostly Python, which threads do not share; they help on slow disks.
THREADS = min(4, os.cpu_count() or 1)
CHUNK = 256
GREY, COLOUR = ("1", "L"), ("RGB",)
LOSSY = ("JPEG", "MPO")
# EXIF orientations that swap width and height.
ROTATED = (5, 6, 7, 8)


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image that can be measured.

    Attributes:
        size: Width and height in pixels after the EXIF orientation is applied.
        grey: True if the image has no colour.
        lossy: True if the format is JPEG.
        stamp: Size of the file in bytes and time of change in nanoseconds.
        file: Device and inode, which are equal for two names of one file.
    """

    size: tuple[int, int]
    grey: bool
    lossy: bool
    stamp: tuple[int, int]
    file: tuple[int, int]


def read_headers(
    paths: Sequence[Path], role: str, progress: Callable[[int], None] = lambda count: None
) -> list[ImageHeader]:
    """Read the headers of images.

    Args:
        role: ``outputs``, ``targets`` or ``sources``, for messages.
        progress: Called with the number of files read since the last call.

    Raises:
        DataError: if images cannot be measured, naming the first ten, the reason and the remedy.
    """
    headers: list[ImageHeader] = []
    refused: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        for chunk in pool.map(_read_chunk, chunks):
            headers += [item for item in chunk if isinstance(item, ImageHeader)]
            refused += [item for item in chunk if isinstance(item, str)]
            progress(len(chunk))
    if refused:
        more = f"\n  ... and {len(refused) - MAX_LISTED} more" if len(refused) > MAX_LISTED else ""
        lines = "\n  ".join(refused[:MAX_LISTED])
        raise DataError(f"{len(refused)} of {len(paths)} {role} cannot be measured:\n  {lines}{more}")
    return headers


def _read_chunk(paths: Iterable[Path]) -> list[ImageHeader | str]:
    return [_read(path) for path in paths]


def _read(path: Path) -> ImageHeader | str:
    """Return the header of a file, or why the image cannot be measured."""
    name = shown(str(path))
    try:
        state = path.stat()
        if not state.st_size:
            return f"{name} is empty (0 bytes): write or copy it again"
        with Image.open(path) as image:
            reason = _refusal(image)
            size = image.size[::-1] if _is_rotated(image) else image.size
            grey, lossy = image.mode in GREY, image.format in LOSSY
    # Damaged files make Pillow raise nearly any exception.
    except Exception as error:
        return f"{name} cannot be read ({shown(str(error)) or type(error).__name__}): fix or remove it"
    if reason:
        return f"{name} {reason}"
    return ImageHeader(size, grey, lossy, (state.st_size, state.st_mtime_ns), (state.st_dev, state.st_ino))


def _refusal(image: Image.Image) -> str:
    """Return why decoding would change an image's pixels, and the remedy; empty if it would not."""
    if getattr(image, "is_animated", False):
        return "holds several pictures: save the one to be measured as a PNG"
    # Pillow cuts 16-bit colour to 8 bits silently; only the raw mode shows it.
    raw = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.mode.startswith(("I", "F")) or ";16" in raw:
        return "has more than 8 bits a channel: scale it to 8 bits and save it again"
    if image.has_transparency_data:
        return "has an alpha channel: lay it over a background and save it as RGB"
    if image.mode == "P":
        return "has a palette: save it as RGB"
    if image.mode not in GREY + COLOUR:
        return f"is in {image.mode}: save it as RGB"
    return ""


def _is_rotated(image: Image.Image) -> bool:
    # Pillow would decode a PNG without EXIF data to search for some behind the pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return False
    return image.getexif().get(ExifTags.Base.Orientation) in ROTATED
