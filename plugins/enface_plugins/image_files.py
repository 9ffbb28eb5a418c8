"""Image files: list a folder, read and write a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from enface import DataError, atomic_write, natural_key, planes_of, to_depth

Pixels = npt.NDArray[np.uint8 | np.uint16]
PICTURE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff")
IMAGE_EXTENSIONS = (*PICTURE_EXTENSIONS, "npy")
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's mode of each number of planes."""
BITS_PER_SAMPLE, ORIENTATION = 258, 274
"""Tags of TIFF and EXIF."""
FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Steps along rows and columns for each orientation; from 5 on, after rows and columns are swapped."""
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
# Formats whose only integers wider than 8 bits are 16-bit ones, which Pillow may convert to its 32-bit mode "I".
WIDENED = ("PNG", "PPM")


class _RefusedError(Exception):
    """A file that is whole but holds no image of the requested form."""


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


def read_image(path: Path, planes: int = 3, depth: int = 8) -> Pixels:
    """Read an image as uint8 or uint16 (H, W, C), as a viewer shows it.

    The camera's orientation (EXIF) is applied, samples are scaled to the depth, palettes and CMYK are converted, and an
    animation gives its first frame. Colour profiles are not applied. One plane of a colour image is its luma (ITU-R
    BT.601); three planes of a grey image repeat it. Transparent pixels are laid over black because their colours are
    arbitrary, unless ``planes`` is 2 (grey and alpha) or 4 (RGB and alpha).

    A TIFF file may have any number of planes, also as pages of one size. A NumPy file (``.npy``) is (H, W) or
    (H, W, C), uint8, uint16, or floating-point in [0, 1].

    Args:
        planes: C.
        depth: Bits per sample, 8 or 16.

    Raises DataError if the file cannot be read, its pixels have no known range, or it has another number of planes,
    naming it.
    """
    try:
        samples = _from_numpy(path, depth) if path.suffix.lower() == ".npy" else _from_picture(path, planes)
        return to_depth(_arranged(samples, planes), depth)
    except _RefusedError as error:
        raise DataError(f"image {path} cannot be read: {error}") from error
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"image {path} cannot be read ({reason}); repair or remove it") from error


def _from_numpy(path: Path, depth: int) -> Pixels:
    samples: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if samples.ndim not in (2, 3) or not samples.size:
        raise _RefusedError(f"its shape is {samples.shape}; (H, W) or (H, W, C) is needed")
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.dtype.kind == "f":
        # Not "min < 0 or max > 1", which is false for NaN.
        if not (samples.min() >= 0 and samples.max() <= 1):
            raise _RefusedError(f"its {samples.dtype} values are not all in [0, 1]")
        levels = 2**depth - 1
        samples = np.floor(samples.astype(np.float64) * levels + 0.5).astype(np.uint8 if depth == 8 else np.uint16)
    elif samples.dtype not in (np.uint8, np.uint16):
        raise _RefusedError(f"its values are {samples.dtype}; uint8, uint16, or floating-point in [0, 1] is needed")
    whole: Pixels = np.array(samples)
    return whole


def _from_picture(path: Path, planes: int) -> Pixels:
    try:
        opened = Image.open(path)
    except UnidentifiedImageError:
        # Pillow opens no TIFF file of more than four planes.
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        return _from_tiff(path, planes)
    with opened:
        bits, pages = bits_and_pages(opened, path)
        if pages > 1 or (bits > 8 and len(opened.getbands()) > 1):
            samples = _from_tiff(path, planes) if opened.format == "TIFF" else _from_png(path, planes)
            return _upright(samples, opened.getexif().get(ORIENTATION, 1))
        # In place, and without a needless conversion: the copies would take a twentieth of the time of packing.
        ImageOps.exif_transpose(opened, in_place=True)
        return _from_pillow(opened, opened.format or "", planes)


def bits_and_pages(image: Image.Image, path: Path) -> tuple[int, int]:
    """Return the bits per sample and the number of pages of one size, which Pillow's mode does not contain."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24], 1
    if not isinstance(image, TiffImageFile):
        return 8, 1
    bits, size, pages = max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))), image.size, image.n_frames
    if pages > 1:
        image.seek(1)
        # A smaller second page is a preview.
        pages = pages if image.size == size else 1
        image.seek(0)
    return bits, pages


def _from_pillow(image: Image.Image, file_format: str, planes: int) -> Pixels:
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and file_format in WIDENED):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode in ("I", "F"):
        raise _RefusedError(f"its pixels ({image.mode}, 32 bits) have no known range; save it with 8 or 16 bits")
    if planes not in MODES:
        raise _RefusedError(f"its mode is {image.mode}, and {planes} planes are requested; see data.channels")
    if image.has_transparency_data and planes in (1, 3):
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    elif image.mode not in MODES.values():
        # From a palette or CMYK, Pillow makes grey by other weights than from RGB, or not at all.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    samples = np.array(image if image.mode == MODES[planes] else image.convert(MODES[planes]))
    return samples if samples.ndim == 3 else samples[..., None]


def _from_png(path: Path, planes: int) -> Pixels:
    """Read a PNG file of 16 bits with several planes, of which Pillow gives 8 bits."""
    samples = _package("imagecodecs").png_decode(path.read_bytes())
    return _flattened(samples, planes) if samples.shape[2] in (2, 4) else samples


def _from_tiff(path: Path, planes: int) -> Pixels:
    """Read a TIFF file of more than four planes, of several pages, or of 16 bits with several planes."""
    _package("imagecodecs")
    with _package("tifffile").TiffFile(path) as file:
        series, page = file.series[0], file.pages[0]
        photometric = page.photometric.name
        samples, axes = series.asarray(), series.axes
        alpha = page.extrasamples[-1].name if page.extrasamples else ""
    if photometric not in ("RGB", "MINISBLACK"):
        raise _RefusedError(f"its mode is {photometric}, {samples.dtype} {samples.shape}; save it as RGB or grey")
    if samples.ndim != 3:
        raise _RefusedError(f"it has {samples.shape[0]} pages of {samples.shape[-1]} planes; save each page as a file")
    samples = samples if axes.endswith("YXS") else np.moveaxis(samples, 0, 2)
    if samples.dtype not in (np.uint8, np.uint16):
        raise _RefusedError(f"its mode is {photometric}, {samples.dtype}; save it with 8 or 16 bits")
    if alpha == "ASSOCALPHA" and planes == samples.shape[2] - 1:
        # Already multiplied by alpha.
        alpha, samples = "", samples[..., :-1]
    return _flattened(samples, planes) if alpha == "UNASSALPHA" else samples


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise _RefusedError(f'such files need {name}, which is not installed: pip install "enface[images]"') from error


def _flattened(samples: Pixels, planes: int) -> Pixels:
    """Lay samples (H, W, C), the last of which is alpha, over black, unless that plane is requested."""
    if planes not in (1, 3):
        return samples
    levels = np.iinfo(samples.dtype).max
    colours = samples[..., :-1].astype(np.uint64) * samples[..., -1:]
    return ((2 * colours + levels) // (2 * levels)).astype(samples.dtype)


def _arranged(samples: Pixels, planes: int) -> Pixels:
    """Return samples (H, W, C) with a number of planes. Raise ValueError if that is no conversion of colour."""
    given = samples.shape[2]
    if given == planes:
        return samples
    if planes in (2, 4) and given in (1, 3):
        opaque = np.full((*samples.shape[:2], 1), np.iinfo(samples.dtype).max, samples.dtype)
        return np.concatenate([_arranged(samples, planes - 1), opaque], axis=2)
    if {given, planes} != {1, 3}:
        raise _RefusedError(f"it has {given} planes, and {planes} are requested; see data.channels")
    arranged: Pixels = planes_of(samples.transpose(2, 0, 1), planes).transpose(1, 2, 0)
    return arranged


def _upright(samples: Pixels, orientation: int) -> Pixels:
    """Apply an orientation of EXIF to samples (H, W, C)."""
    samples = samples.swapaxes(0, 1) if orientation >= 5 else samples
    down, across = FLIPS.get(orientation, (1, 1))
    return samples[::down, ::across]


def write_image(path: Path, samples: Pixels) -> list[Path]:
    """Write samples uint8 or uint16 (H, W, C) as a PNG file, which keeps their depth.

    Unless C is 1 or 3, the picture shows the first three planes, or the first one, and a NumPy file of the same name
    (``.npy``) has all.

    Returns:
        The files.

    Raises DataError if a file cannot be written, naming it.
    """
    shown = samples if samples.shape[2] in (1, 3) else samples[..., : 3 if samples.shape[2] > 3 else 1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            if samples.dtype == np.uint16 and shown.shape[2] == 3:
                temporary.write_bytes(_package("imagecodecs").png_encode(np.ascontiguousarray(shown)))
            else:
                Image.fromarray(shown if shown.shape[2] == 3 else shown[..., 0]).save(temporary, format="PNG")
        if shown is samples:
            return [path]
        array = path.with_suffix(".npy")
        with atomic_write(array) as temporary, temporary.open("wb") as file:
            np.save(file, samples, allow_pickle=False)
        return [path, array]
    except (OSError, _RefusedError) as error:
        raise DataError(f"cannot write {path} ({getattr(error, 'strerror', None) or error})") from error


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
