"""The tensors of a batch, by the names that losses request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from enface.data.augment import CropFlip
from enface.data.images import Pixels, Size, planes_of
from enface.data.pack import Pack
from enface.data.pairs import Indices
from enface.errors import DataError
from enface.plugin.schema import closest

LabelFlip = Literal["negate"] | Mapping[Any, Any]
BatchColumn = Callable[[Mapping[str, Indices], Mapping[str, CropFlip]], npt.NDArray[Any]]
"""Returns a further column of a batch, (N, ...), for the rows of each role and the crops and flips of their images."""


class Batches:
    """The tensors of a batch by name, gathered from a pack on a device.

    Names: ``source target partner`` are images, float (N, C, H, W) in [-1, 1]; a column of the table is the
    source's value, ``COLUMN_class`` its index among the values that occur; prefixed with ``target_`` or ``partner_``,
    the other image's; ``same_COLUMN`` is 1.0 where source and partner agree; ``ROLE_regions`` is the region map,
    int64 (N, H, W).

    Args:
        size: Height and width of the returned images, at most the pack's.
        channels: Number of planes of ``source`` (and ``partner``) and ``target`` images; default: all of the pack.
        channels_last: Return images in this memory format.
        mirror: How labels change if an image is flipped, as in a recipe's ``augment.flip.mirror``.
        sharpen: Amount by which targets are sharpened in training, as in a recipe's ``augment.sharpen``.
        further: Columns that plugins compute, by name.

    Raises DataError if a mirrored label does not occur in the data.
    """

    def __init__(
        self,
        pack: Pack,
        roles: tuple[str, ...],
        device: torch.device,
        size: Size,
        *,
        channels: Mapping[str, int] | None = None,
        channels_last: bool = False,
        mirror: Mapping[str, LabelFlip] | None = None,
        sharpen: float | None = None,
        further: Mapping[str, BatchColumn] | None = None,
    ) -> None:
        self.pack = pack
        self._further = further or {}
        self.roles = roles
        self.size = size
        planes = channels or dict.fromkeys(("source", "target"), pack.info.channels)
        self._planes = {role: planes["target" if role == "target" else "source"] for role in roles}
        # The value that becomes 0 in [-1, 1].
        self._half = (2**pack.info.depth - 1) / 2
        self._sharpen = sharpen
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._resident = _resident(pack.images, device)
        self._cropper = Cropper(pack.images, size)
        self._region_cropper = None if pack.regions is None else Cropper(pack.regions, size)
        # Converted once: a column is as long as the data, and a step needs one batch of it.
        self._values = {str(name): pack.table[name].to_numpy() for name in pack.table.columns}
        self._mirrored = {name: _mirrored_labels(name, self._values, how) for name, how in (mirror or {}).items()}
        self._codes: dict[str, tuple[Indices, Indices]] = {}
        self._numeric = [str(name) for name, kind in pack.table.dtypes.items() if kind.kind in "iufb"]

    @property
    def names(self) -> list[str]:
        """Every name that can be requested."""
        labels = [str(name) for name in self.pack.table.columns if name != "key"]
        names = list(self.roles)
        for prefix in ["", *(f"{role}_" for role in self.roles if role != "source")]:
            names += [f"{prefix}{name}" for name in self._numeric]
            names += [f"{prefix}{name}_class" for name in labels]
        if "partner" in self.roles:
            names += [f"same_{name}" for name in labels]
        if self.pack.regions is not None:
            names += [f"{role}_regions" for role in self.roles]
        return [*names, *self._further]

    def batch(
        self, names: Sequence[str], rows: Mapping[str, Indices], crops: Mapping[str, CropFlip]
    ) -> dict[str, Tensor]:
        """Gather several names for training, as :meth:`gather` does for each; the images of all roles together."""
        roles = [name for name in names if name in self.roles]
        if self._resident is None or len(roles) < 2 or len({(role in crops, self._planes[role]) for role in roles}) > 1:
            return {name: self.gather(name, rows, crops) for name in names}
        # A device takes as long to launch a handful of small kernels for one role as for three.
        crop = CropFlip.concatenate([crops[role] for role in roles]) if crops else None
        pixels = self._images(np.concatenate([rows[role] for role in roles]), crop, self._planes[roles[0]])
        images = dict(zip(roles, torch.split(pixels, [len(rows[role]) for role in roles]), strict=True))
        if self._sharpen is not None and "target" in images:
            images["target"] = sharpen(images["target"], self._sharpen)
        return {name: images[name] if name in images else self.gather(name, rows, crops) for name in names}

    def gather(self, name: str, rows: Mapping[str, Indices], crops: Mapping[str, CropFlip] | None = None) -> Tensor:
        """Return the tensor of a name for these rows.

        Args:
            crops: Each role's crops and flips in training; a role without any is cropped in the middle. Default:
                no augmentation at all.
        """
        training = crops is not None
        crops = crops or {}
        if name in self.roles:
            images = self._images(rows[name], crops.get(name), self._planes[name])
            amount = self._sharpen if training and name == "target" else None
            return images if amount is None else sharpen(images, amount)
        if name in self._further:
            return self._tensor(self._further[name](rows, crops))
        if name.startswith("same_") and name not in self._numeric:
            column = name.removeprefix("same_")
            first, second = (self._labels(column, rows[role], crops.get(role)) for role in ("source", "partner"))
            return self._tensor((first == second).astype(np.float32))
        role, rest = self._role(name)
        if rest == "regions" and self._region_cropper is not None:
            return self._tensor(self._region_cropper(rows[role], crops.get(role)).astype(np.int64))
        if rest in self._numeric:
            values = self._labels(rest, rows[role], crops.get(role))
            return self._tensor(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
        return self._tensor(self._classes(rest.removesuffix("_class"), rows[role], crops.get(role)))

    def _role(self, name: str) -> tuple[str, str]:
        for role in self.roles:
            if name.startswith(f"{role}_") and name not in self.pack.table.columns:
                return role, name.removeprefix(f"{role}_")
        return "source", name

    def _labels(self, column: str, rows: Indices, crop: CropFlip | None) -> npt.NDArray[Any]:
        values = self._values[column][rows]
        if crop is None or column not in self._mirrored:
            return values
        return np.where(crop.flipped, self._mirrored[column][rows], values)

    def _classes(self, column: str, rows: Indices, crop: CropFlip | None) -> Indices:
        if column not in self._codes:
            known, codes = np.unique(self._values[column].astype(object), return_inverse=True)
            mirrored = self._mirrored.get(column, self._values[column])
            self._codes[column] = (codes.astype(np.int64), np.searchsorted(known, mirrored).astype(np.int64))
        codes, mirrored_codes = self._codes[column]
        return codes[rows] if crop is None else np.where(crop.flipped, mirrored_codes[rows], codes[rows])

    def _images(self, rows: Indices, crop: CropFlip | None, planes: int) -> Tensor:
        # A pack's pixels are channels last, so that format needs no copy.
        if self._resident is not None:
            pixels: Tensor = planes_of(gather_crops(self._resident, rows, self.size, crop), planes)
            # A device divides bytes as it reads them; a host's arithmetic is faster on floats.
            scaled = pixels / self._half if pixels.dtype == torch.uint8 else pixels.float().div_(self._half)
            return scaled.sub_(1).contiguous(memory_format=self._format)
        pixels = planes_of(self._tensor(self._cropper(rows, crop)), planes)
        return pixels.float().div_(self._half).sub_(1).contiguous(memory_format=self._format)

    def _tensor(self, values: npt.NDArray[np.generic]) -> Tensor:
        return to_device(values, self._device)


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; the host does not wait for the transfer."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class Cropper:
    """Crops images to a height and width.

    Args:
        images: (N, C, H, W) or (N, H, W), in memory or memory-mapped.
    """

    def __init__(self, images: Pixels, size: Size) -> None:
        self._planes = images.ndim == 4
        self._pixels = images.transpose(0, 2, 3, 1) if self._planes else images
        self._size = size

    def __call__(self, rows: Indices, crop: CropFlip | None = None) -> Pixels:
        """Crop the images of some rows.

        Args:
            crop: Default: the middle of each image.

        Returns:
            (M, C, height, width), channels last in memory, or (M, height, width); a copy.
        """
        height, width = self._pixels.shape[1:3]
        top, left, flipped = _corners(len(rows), (height, width), self._size, crop)
        before = -min(top.min(initial=0), left.min(initial=0))
        beyond = max(before, top.max(initial=0) + self._size[0] - height, left.max(initial=0) + self._size[1] - width)
        if beyond > 0:
            frame = [(0, 0), (beyond, beyond), (beyond, beyond), (0, 0)][: self._pixels.ndim]
            windows = self._views(np.pad(self._pixels[rows], frame, mode="edge"))
            cropped = windows[np.arange(len(rows)), top + beyond, left + beyond]
        else:
            cropped = self._windows[rows, top, left]
        cropped = np.ascontiguousarray(cropped)
        cropped = cropped.transpose(0, 3, 1, 2) if self._planes else cropped
        _flip(cropped, np.flatnonzero(flipped))
        return cropped

    @cached_property
    def _windows(self) -> Pixels:
        # Cached: making the view takes as long as copying fifteen images.
        return self._views(self._pixels)

    def _views(self, pixels: Pixels) -> Pixels:
        # Every window as a view: one gather copies whole lines, ten times as fast as an index for each pixel.
        windows = np.lib.stride_tricks.sliding_window_view(pixels, self._size, axis=(1, 2))
        return np.moveaxis(windows, 3, -1) if self._planes else windows


def _corners(
    count: int, sides: Size, size: Size, crop: CropFlip | None
) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Return first rows, first columns and flips of ``count`` images."""
    if crop is not None:
        return crop.top, crop.left, crop.flipped
    top, left = (np.full(count, (side - inner) // 2) for side, inner in zip(sides, size, strict=True))
    return top, left, np.zeros(count, bool)


def _flip(images: Pixels, rows: Indices) -> None:
    """Flip some images left to right, in place."""
    # torch moves a pixel's three bytes together, NumPy byte by byte; one image at a time stays in the cache.
    tensor = torch.from_numpy(images)
    for index in rows.tolist():
        image = tensor[index : index + 1]
        image.copy_(image.flip(-1))


def gather_crops(pixels: Tensor, rows: Indices, size: Size, crop: CropFlip | None = None) -> Tensor:
    """Crop images that are on a device, as :class:`Cropper` does on the host.

    Args:
        pixels: (N, H, W, C).
        rows: Indices of M images.

    Returns:
        (M, C, height, width), channels last in memory; int32 if images have 16 bits.
    """
    height, width = pixels.shape[1:3]
    top, left, flipped = _corners(len(rows), (height, width), size, crop)
    lines, steps = (np.arange(side) for side in size)
    down = (top[:, None] + lines).clip(0, height - 1)
    across = (left[:, None] + np.where(flipped[:, None], steps[::-1], steps)).clip(0, width - 1)
    # One transfer of all indices, and one gather of all images; a library's crop loops over them, or resamples.
    indices = to_device(np.concatenate([rows[:, None], down, across], axis=1), pixels.device)
    image, line, place = indices[:, :1, None], indices[:, 1 : 1 + size[0], None], indices[:, None, 1 + size[0] :]
    # CUDA indexes no uint16.
    wide = pixels.dtype == torch.uint16
    crops = (pixels.view(torch.int16) if wide else pixels)[image, line, place].permute(0, 3, 1, 2)
    return crops.int() & 0xFFFF if wide else crops


def sharpen(images: Tensor, amount: float) -> Tensor:
    """Add ``amount`` of the difference between images and their blur (Gaussian, sigma 1 px): an unsharp mask.

    Args:
        images: float (N, C, H, W) in [-1, 1]; the result is clipped to that, in the same memory format.

    Source:
        Sharpened targets: Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure
        Synthetic Data, ICCVW 2021, section 3.3.
    """
    return images.lerp(gaussian_blur(images, [5, 5], [1.0, 1.0]), -amount).clamp(-1, 1)


def _mirrored_labels(column: str, table: Mapping[str, npt.NDArray[Any]], how: LabelFlip) -> npt.NDArray[Any]:
    """Return a column's labels for flipped images."""
    key = f"augment.flip.mirror.{column}"
    if column not in table:
        raise DataError(f"{key}: no column {column!r} in the data{closest(column, table)}")
    values = table[column]
    if how == "negate" and values.dtype.kind not in "iuf":
        raise DataError(f"{key}: the column is not numeric; give a map from value to value")
    known = np.unique(values.astype(object))
    mirrored = {value: -value if how == "negate" else _lookup(how, value) for value in known}
    for value, other in mirrored.items():
        if other not in known:
            raise DataError(f"{key}: the mirror of {value} is {other}, which the data does not have")
    return np.array([mirrored[value] for value in values], dtype=values.dtype)


def _lookup(labels: Mapping[Any, Any], value: Any) -> Any:
    """Return a value's mirror; default: the value itself."""
    # The keys of a resolved recipe are text, and a whole number may stand for a value of a column of floats.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return next((labels[key] for key in (value, str(value), str(whole)) if key in labels), value)


def _resident(images: Pixels, device: torch.device) -> Tensor | None:
    """Copy the pack to a CUDA device, (N, H, W, C), if that takes less than half of its free memory."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return None
    # Channels last, so that the colours of a pixel are gathered together.
    return torch.from_numpy(np.array(images.transpose(0, 2, 3, 1), order="C")).to(device)
