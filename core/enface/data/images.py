"""Image files: listing a folder and reading one as RGB, for datasets and for whoever applies a network."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from enface.errors import DataError

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
# Formats whose only integers wider than 8 bits are 16-bit ones, which Pillow may widen to its 32-bit mode "I".
WIDENED = ("PNG", "PPM")


def list_images(root: Path, extensions: Iterable[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Paths of the images under a folder, relative to it with forward slashes, in natural order.

    Links are followed. Names that begin with a dot are left out: file managers put previews there that look like
    images and are none.

    Args:
        extensions: Which files are images, in any case, with or without the dot.

    Raises:
        DataError: when ``root`` is not a folder that can be read, or holds no image, naming it.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"image folder {root} {state}; set the dataset's 'root' to the folder of images")
    endings = tuple(f".{item.lower().lstrip('.')}" for item in extensions)
    found = [name for name in _walk(root) if name.lower().endswith(endings)]
    if not found:
        raise DataError(f"image folder {root} holds no image ({', '.join(endings) or 'no extension is allowed'})")
    return sorted(found, key=natural)


def natural(text: str) -> tuple[list[str | int], str]:
    """A sorting key in which ``2`` comes before ``10``."""
    # Text and digits alternate in what split returns, so like is always compared with like.
    parts = re.split(r"(\d+)", text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text


def files_fingerprint(root: Path, names: Iterable[str]) -> str:
    """Digest of the files' names, sizes and times of change.

    Raises:
        DataError: when one cannot be asked for, naming it.
    """
    digest = hashlib.sha256()
    for name in names:
        try:
            state = (root / name).stat()
        except OSError as error:
            raise DataError(f"image {root / name} cannot be read ({error.strerror})") from error
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """An image as uint8 (H, W, 3), as a viewer shows it.

    The camera's orientation (EXIF) is applied; 16-bit grey is scaled to 8 bits, not cut; palettes are looked up;
    what is transparent is laid over black, because the colour a file holds there means nothing. Of an animation
    it is the first picture. Colour profiles are not applied.

    Raises:
        DataError: when it cannot be read or its pixels have no known range, naming the file.
    """
    try:
        with Image.open(path) as opened:
            # In place, and not converted to what it is: copies would be a twentieth of packing it.
            ImageOps.exif_transpose(opened, in_place=True)
            return np.array(_rgb(opened, opened.format or ""))
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"image {path} cannot be read ({reason}); mend or remove it") from error


def _rgb(image: Image.Image, file_format: str) -> Image.Image:
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and file_format in WIDENED):
        values = np.asarray(image).astype(np.uint32)
        # 65535 / 255 is 257, so this is rounding to the nearest.
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels ({image.mode}, 32 bits) have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _walk(root: Path) -> Iterator[str]:
    # A link to a folder above it would be walked for ever; a folder is entered once, whatever leads to it.
    entered: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
        real = os.path.realpath(folder)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted((name for name in below if not name.startswith(".")), key=natural)
        for name in names:
            if not name.startswith("."):
                yield _text((Path(folder) / name).relative_to(root).as_posix(), root)


def _refuse_folder(error: OSError) -> NoReturn:
    raise DataError(f"folder {error.filename} cannot be read ({error.strerror})") from error


def _text(name: str, root: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"file name {name!r} in {root} is not UTF-8; rename the file") from error
    return name
