"""Image files: list a folder, read a file as RGB."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from enface import DataError, natural_key

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
# Formats whose only integers wider than 8 bits are 16-bit ones, which Pillow may convert to its 32-bit mode "I".
WIDENED = ("PNG", "PPM")


def list_images(root: Path, extensions: Iterable[str] = IMAGE_EXTENSIONS) -> list[str]:
    """Return the paths of the images under a folder, relative to it with forward slashes, in natural order.

    Links are followed. Names that begin with a dot are skipped, because file managers keep previews there.

    Args:
        extensions: Extensions of image files, in any case, with or without the dot.

    Raises DataError if ``root`` is not a readable folder or contains no image, naming it.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"image folder {root} {state}; set the dataset's 'root' to the folder of images")
    endings = tuple(f".{item.lower().lstrip('.')}" for item in extensions)
    names = [name for name in _walk(root) if name.lower().endswith(endings)]
    if not names:
        raise DataError(f"image folder {root} holds no image ({', '.join(endings) or 'no extension is allowed'})")
    return sorted(names, key=natural_key)


def files_fingerprint(root: Path, names: Iterable[str]) -> str:
    """Return a digest of the files' names, sizes and modification times.

    Raises DataError if a file cannot be accessed, naming it.
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
    """Read an image as uint8 (H, W, 3), as a viewer shows it.

    The camera's orientation (EXIF) is applied, 16-bit grey is scaled to 8 bits, palettes are converted, transparent
    pixels are laid over black because their colours are arbitrary, and an animation gives its first frame. Colour
    profiles are not applied.

    Raises DataError if the file cannot be read or its pixels have no known range, naming it.
    """
    try:
        with Image.open(path) as opened:
            # In place, and without a needless conversion: the copies would take a twentieth of the time of packing.
            ImageOps.exif_transpose(opened, in_place=True)
            return np.array(_rgb(opened, opened.format or ""))
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"image {path} cannot be read ({reason}); repair or remove it") from error


def _rgb(image: Image.Image, file_format: str) -> Image.Image:
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and file_format in WIDENED):
        values = np.asarray(image).astype(np.uint32)
        # 65535 / 255 is 257, so this rounds to the nearest.
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels ({image.mode}, 32 bits) have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _walk(root: Path) -> Iterator[str]:
    # A link to a parent folder would be followed for ever, so each folder is entered once.
    entered: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
        real = os.path.realpath(folder)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted((name for name in below if not name.startswith(".")), key=natural_key)
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
