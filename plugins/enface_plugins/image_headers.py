"""Size, planes and depth of an image file, from its header."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from enface_plugins.image_files import ORIENTATION, bits_and_pages

GREY = ("1", "L", "LA", "I", "F")
TURNED = 5
"""First orientation of EXIF in which rows and columns are swapped."""
SAMPLE = 100
"""Files that are searched for 16 bits, evenly spread over a dataset."""


@dataclass(frozen=True)
class Header:
    """Facts from the header of an image file.

    Attributes:
        size: Width and height as a viewer shows the image.
        kind: Mode of Pillow, or the number of planes if it has none, such as ``5 planes``; ``16-bit`` is prefixed.
        planes: Number of planes without transparency.
        depth: Bits per sample, 8 or 16.
    """

    size: tuple[int, int]
    kind: str
    planes: int
    depth: int


def read_header(path: Path) -> Header | None:
    """Return the header of an image file; None if it cannot be read."""
    try:
        if path.suffix.lower() == ".npy":
            return _from_array(np.load(path, mmap_mode="r", allow_pickle=False))
        try:
            with Image.open(path) as image:
                return _from_pillow(image, path)
        except UnidentifiedImageError:
            return _from_tiff(path)
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception:
        return None


def warn_of_rounding(files: Sequence[Path], depth: int) -> None:
    """Warn if a pack of 8 bits is made of files of 16 bits, by the headers of some of them.

    Args:
        depth: Bits per sample of the pack, 8 or 16.
    """
    if depth > 8:
        return
    headers = {path: read_header(path) for path in files[:: -(-len(files) // SAMPLE) or 1]}
    deeper = [path for path, header in headers.items() if header is not None and header.depth > depth]
    if deeper:
        warnings.warn(
            f"{len(deeper)} of {len(headers)} examined images have 16 bits, such as {deeper[0]}, and are rounded to 8; "
            "data.depth: 16 keeps them",
            stacklevel=3,
        )


def _from_array(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Header:
    height, width = array.shape[:2]
    return _plain((width, height), array.shape[2] if array.ndim == 3 else 1, 8 if array.dtype == np.uint8 else 16)


def _from_pillow(image: Image.Image, path: Path) -> Header:
    width, height = image.size
    turned = image.getexif().get(ORIENTATION, 1) >= TURNED
    bits, pages = bits_and_pages(image, path)
    depth = 16 if bits > 8 or image.mode.startswith("I") else 8
    planes = 1 if image.mode in GREY or image.mode.startswith("I;") else 3
    size = (height, width) if turned else (width, height)
    if pages > 1:
        return _plain(size, pages, depth)
    kind = "L" if image.mode.startswith("I") else image.mode
    return Header(size, f"16-bit {kind}" if depth == 16 else kind, planes, depth)


def _from_tiff(path: Path) -> Header:
    """Read a TIFF file of more planes than Pillow opens; the shortest side is that of the planes."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        planes, *sides = sorted(series.shape)
        height, width = [side for side in series.shape if side != planes] if len(series.shape) == 3 else sides
        return _plain((width, height), planes, 8 if series.dtype == np.uint8 else 16)


def _plain(size: tuple[int, int], planes: int, depth: int) -> Header:
    kind = f"{planes} planes" if planes > 1 else "1 plane"
    return Header(size, f"16-bit {kind}" if depth == 16 else kind, planes, depth)
