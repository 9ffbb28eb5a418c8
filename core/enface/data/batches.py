"""The tensors of a batch, by the names that terms ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from enface.data.augment import Moves
from enface.data.pack import Pack
from enface.data.pairs import Indices
from enface.errors import DataError
from enface.plugin.schema import closest

LabelFlip = Literal["negate"] | Mapping[Any, Any]


class Batches:
    """The tensors of a batch by name, gathered from a pack on a device.

    Names: ``source target partner`` are images, float (N, 3, H, W) in [-1, 1]; a column of the table is the
    source's value, ``COLUMN_class`` its index among the values that occur; with ``target_`` or ``partner_``
    before it, the other image's; ``same_COLUMN`` is 1.0 where source and partner agree; ``ROLE_regions`` is the
    region map, int64 (N, H, W).

    Args:
        size: Height and width of the images given; the pack's, or less of it.
        channels_last: Give images in this memory format.
        mirror: How labels change where an image is mirrored, as in a recipe's ``augment.flip.mirror``.
        sharpen: By how much targets are sharpened in training, as in a recipe's ``augment.sharpen``.

    Raises:
        DataError: when a mirrored label does not occur in the data.
    """

    def __init__(
        self,
        pack: Pack,
        roles: tuple[str, ...],
        device: torch.device,
        size: int,
        *,
        channels_last: bool = False,
        mirror: Mapping[str, LabelFlip] | None = None,
        sharpen: float | None = None,
    ) -> None:
        self.pack = pack
        self.roles = roles
        self.size = size
        self._sharpen = sharpen
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._resident = _resident(pack.images, device)
        self._crops = Crops(pack.images, size)
        self._region_crops = None if pack.regions is None else Crops(pack.regions, size)
        # Taken from the table once: a column is as long as the data, and a step needs a batch of it.
        self._values = {str(name): pack.table[name].to_numpy() for name in pack.table.columns}
        self._mirrored = {name: _mirrored(name, self._values, how) for name, how in (mirror or {}).items()}
        self._codes: dict[str, tuple[Indices, Indices]] = {}
        self._numeric = [str(name) for name, kind in pack.table.dtypes.items() if kind.kind in "iufb"]

    @property
    def names(self) -> list[str]:
        """Every name that can be asked for."""
        prefixes = ["", *(f"{role}_" for role in self.roles if role != "source")]
        found = list(self.roles)
        for prefix in prefixes:
            found += [f"{prefix}{name}" for name in self._numeric]
            found += [f"{prefix}{name}_class" for name in self.pack.table.columns if name != "key"]
        if "partner" in self.roles:
            found += [f"same_{name}" for name in self.pack.table.columns if name != "key"]
        if self.pack.regions is not None:
            found += [f"{role}_regions" for role in self.roles]
        return found

    def batch(self, names: Sequence[str], rows: Mapping[str, Indices], moves: Mapping[str, Moves]) -> dict[str, Tensor]:
        """What :meth:`gather` gives in training for each of some names; the images of all roles in one go."""
        roles = [name for name in names if name in self.roles]
        if self._resident is None or len(roles) < 2 or len({role in moves for role in roles}) > 1:
            return {name: self.gather(name, rows, moves) for name in names}
        # On a device a handful of small kernels takes as long for one role as for three.
        move = Moves.joined([moves[role] for role in roles]) if moves else None
        images = self._images(np.concatenate([rows[role] for role in roles]), move)
        found = dict(zip(roles, torch.split(images, [len(rows[role]) for role in roles]), strict=True))
        if self._sharpen is not None and "target" in found:
            found["target"] = sharpened(found["target"], self._sharpen)
        return {name: found[name] if name in found else self.gather(name, rows, moves) for name in names}

    def gather(self, name: str, rows: Mapping[str, Indices], moves: Mapping[str, Moves] | None = None) -> Tensor:
        """The tensor of a name for these rows.

        Args:
            moves: How each role's images are looked at in training, in the middle where a role has none. Unless
                given, nothing of ``augment`` is done.
        """
        training = moves is not None
        moves = moves or {}
        if name in self.roles:
            images = self._images(rows[name], moves.get(name))
            sharpen = self._sharpen if training and name == "target" else None
            return images if sharpen is None else sharpened(images, sharpen)
        if name.startswith("same_") and name not in self._numeric:
            column = name.removeprefix("same_")
            first, second = (self._labels(column, rows[role], moves.get(role)) for role in ("source", "partner"))
            return self._tensor((first == second).astype(np.float32))
        role, rest = self._role(name)
        if rest == "regions" and self._region_crops is not None:
            return self._tensor(self._region_crops(rows[role], moves.get(role)).astype(np.int64))
        if rest in self._numeric:
            values = self._labels(rest, rows[role], moves.get(role))
            return self._tensor(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
        return self._tensor(self._classes(rest.removesuffix("_class"), rows[role], moves.get(role)))

    def _role(self, name: str) -> tuple[str, str]:
        for role in self.roles:
            if name.startswith(f"{role}_") and name not in self.pack.table.columns:
                return role, name.removeprefix(f"{role}_")
        return "source", name

    def _labels(self, column: str, rows: Indices, move: Moves | None) -> npt.NDArray[Any]:
        values = self._values[column][rows]
        if move is None or column not in self._mirrored:
            return values
        return np.where(move.flipped, self._mirrored[column][rows], values)

    def _classes(self, column: str, rows: Indices, move: Moves | None) -> Indices:
        if column not in self._codes:
            known, codes = np.unique(self._values[column].astype(object), return_inverse=True)
            mirrored = self._mirrored.get(column, self._values[column])
            self._codes[column] = (codes.astype(np.int64), np.searchsorted(known, mirrored).astype(np.int64))
        codes, mirrored_codes = self._codes[column]
        return codes[rows] if move is None else np.where(move.flipped, mirrored_codes[rows], codes[rows])

    def _images(self, rows: Indices, move: Moves | None) -> Tensor:
        # In channels_last there is nothing to lay out anew: a pack's pixels lie so.
        if self._resident is not None:
            pixels = gathered(self._resident, rows, self.size, move)
            # A device divides bytes as it reads them; a host's arithmetic is quicker on floats.
            return (pixels / 127.5).sub_(1).contiguous(memory_format=self._format)
        pixels = self._tensor(self._crops(rows, move))
        return pixels.float().div_(127.5).sub_(1).contiguous(memory_format=self._format)

    def _tensor(self, values: npt.NDArray[np.generic]) -> Tensor:
        return sent(values, self._device)


def sent(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device; the host does not wait until it is there."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


class Crops:
    """The ``size`` x ``size`` pixels of some images that their moves show, or the middle ones.

    Args:
        images: (N, 3, H, W) or (N, H, W), in memory or mapped.
    """

    def __init__(self, images: npt.NDArray[np.uint8], size: int) -> None:
        self._planes = images.ndim == 4
        self._pixels = images.transpose(0, 2, 3, 1) if self._planes else images
        self._size = size

    def __call__(self, rows: Indices, move: Moves | None = None) -> npt.NDArray[np.uint8]:
        """Those of some images.

        Args:
            rows: Which of them.

        Returns:
            (M, 3, size, size), channels last in memory, or (M, size, size); nothing that is shared with the images.
        """
        height, width = self._pixels.shape[1:3]
        top, left, flipped = _shown(len(rows), (height, width), self._size, move)
        before = -min(top.min(initial=0), left.min(initial=0))
        beyond = max(before, top.max(initial=0) + self._size - height, left.max(initial=0) + self._size - width)
        if beyond > 0:
            frame = [(0, 0), (beyond, beyond), (beyond, beyond), (0, 0)][: self._pixels.ndim]
            windows = self._views(np.pad(self._pixels[rows], frame, mode="edge"))
            shown = windows[np.arange(len(rows)), top + beyond, left + beyond]
        else:
            shown = self._windows[rows, top, left]
        shown = np.ascontiguousarray(shown)
        shown = shown.transpose(0, 3, 1, 2) if self._planes else shown
        _mirror(shown, np.flatnonzero(flipped))
        return shown

    @cached_property
    def _windows(self) -> npt.NDArray[np.uint8]:
        # DatasetRef once: it takes as long as to copy fifteen images.
        return self._views(self._pixels)

    def _views(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # Every window as a view: one gather copies whole lines, where an index for each pixel takes ten times as long.
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (self._size, self._size), axis=(1, 2))
        return np.moveaxis(windows, 3, -1) if self._planes else windows


def _shown(
    count: int, sides: tuple[int, int], size: int, move: Moves | None
) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Of each image the first row and column that are shown, and whether it is mirrored."""
    if move is not None:
        return move.top, move.left, move.flipped
    top, left = (np.full(count, (side - size) // 2) for side in sides)
    return top, left, np.zeros(count, bool)


def _mirror(images: npt.NDArray[np.uint8], which: Indices) -> None:
    """Turn some images left to right, in place."""
    # torch turns pixels of three bytes at once and NumPy byte by byte; one image at a time stays in the cache.
    tensor = torch.from_numpy(images)
    for index in which.tolist():
        one = tensor[index : index + 1]
        one.copy_(one.flip(-1))


def gathered(pixels: Tensor, rows: Indices, size: int, move: Moves | None = None) -> Tensor:
    """What :class:`Crops` gives, from images that lie on a device.

    Args:
        pixels: (N, H, W, 3).
        rows: Which of them.

    Returns:
        (M, 3, size, size), channels last in memory.
    """
    height, width = pixels.shape[1:3]
    top, left, flipped = _shown(len(rows), (height, width), size, move)
    steps = np.arange(size)
    down = (top[:, None] + steps).clip(0, height - 1)
    across = (left[:, None] + np.where(flipped[:, None], steps[::-1], steps)).clip(0, width - 1)
    # In one piece, for a device is asked as many times as there are; and one gather for all images at once, where a
    # library's crop loops over them, or resamples.
    where = sent(np.concatenate([rows[:, None], down, across], axis=1), pixels.device)
    image, line, place = where[:, :1, None], where[:, 1 : 1 + size, None], where[:, None, 1 + size :]
    return pixels[image, line, place].permute(0, 3, 1, 2)


def sharpened(images: Tensor, amount: float) -> Tensor:
    """Images with ``amount`` of their difference to their own blur (Gaussian, sigma 1 px) added: an unsharp mask.

    Args:
        images: float (N, 3, H, W) in [-1, 1]; so is what is returned, clipped, in the same memory format.

    Source:
        Sharpened targets: Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure
        Synthetic Data, ICCVW 2021, section 3.3.
    """
    return images.lerp(gaussian_blur(images, [5, 5], [1.0, 1.0]), -amount).clamp(-1, 1)


def _mirrored(column: str, table: Mapping[str, npt.NDArray[Any]], how: LabelFlip) -> npt.NDArray[Any]:
    """A column's labels, every image mirrored."""
    where = f"augment.flip.mirror.{column}"
    if column not in table:
        raise DataError(f"{where}: no column {column!r} in the data{closest(column, table)}")
    values = table[column]
    if how == "negate" and values.dtype.kind not in "iuf":
        raise DataError(f"{where}: the column is not of numbers; give a map from value to value")
    known = np.unique(values.astype(object))
    if how == "negate":
        turned = {value: -value for value in known}
    else:
        turned = {value: _looked_up(how, value) for value in known}
    for value, other in turned.items():
        if other not in known:
            raise DataError(f"{where}: the mirror of {value} is {other}, which the data does not have")
    return np.array([turned[value] for value in values], dtype=values.dtype)


def _looked_up(how: Mapping[Any, Any], value: Any) -> Any:
    """What a map has for a value; the value itself where it has nothing."""
    # The keys of a resolved recipe are text, and a whole number may have been typed for a column of fractions.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return next((how[key] for key in (value, str(value), str(whole)) if key in how), value)


def _resident(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor | None:
    """The pack on the device, (N, H, W, 3), when it takes less than half of what is free there."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return None
    # Channels last, so that the colours of a pixel are gathered together.
    return torch.from_numpy(np.array(images.transpose(0, 2, 3, 1), order="C")).to(device)
