"""Codes of a frozen encoder, computed once per image and cached on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from enface.data.augment import Augment, CropFlip
from enface.data.batches import Batches, to_device
from enface.data.pairs import Indices
from enface.errors import DataError
from enface.training.build import ENCODED
from enface.training.engine import Engine
from enface_tools.feature_cache.space import CropFlipSpace

# Codes are computed in fixed blocks, so that an image's code has the same bits in every run, resumed or not.
BLOCK = 16


class FeatureCache:
    """Batch columns of :class:`Batches`, and ``encoded_ROLE``, the code of that role's image.

    A code is computed at the first request, together with its block of the split. Codes are stored in an unnamed sparse
    file, which the system removes however the process ends, so that memory does not grow with the data.

    Args:
        columns: Source of images and all other columns.
        encoder: Frozen, in eval mode: float (N, C, H, W) in [-1, 1] -> codes (N, ...).
        rows: Rows of the pack that may be requested.
        augment: The augmentation; its views are cached separately.
        folder: Folder of the file.
    """

    def __init__(
        self, columns: Batches, encoder: nn.Module, rows: Indices, augment: Augment, engine: Engine, folder: Path
    ) -> None:
        self._columns, self._encoder, self._engine, self._folder = columns, encoder, engine, folder
        self._rows = np.unique(rows)
        self._views = CropFlipSpace.of(augment)
        self._filled = np.zeros((self._views.count, len(self._rows)), bool)
        self._store: _Store | None = None

    def __len__(self) -> int:
        """Return the number of possible codes: images times views."""
        return self._filled.size

    def batch(
        self, names: Sequence[str], rows: Mapping[str, Indices], moves: Mapping[str, CropFlip]
    ) -> dict[str, Tensor]:
        """Return the columns of :meth:`Batches.batch` and the requested codes. Raises DataError if the disk is full."""
        plain = [name for name in names if not name.startswith(ENCODED)]
        batch = self._columns.batch(plain, rows, moves)
        for name in names:
            if name.startswith(ENCODED):
                role = name.removeprefix(ENCODED)
                batch[name] = self._codes(rows[role], moves.get(role))
        return batch

    def _codes(self, rows: Indices, move: CropFlip | None) -> Tensor:
        places = np.searchsorted(self._rows, rows)
        views = self._views.index(move) if move is not None else np.zeros(len(rows), np.int64)
        missing = ~self._filled[views, places]
        blocks = np.unique(np.stack([views[missing], places[missing] // BLOCK]), axis=1)
        for view, block in blocks.T:
            self._fill(int(view), int(block) * BLOCK)
        assert self._store is not None
        code = self._store.read(views * len(self._rows) + places, self._engine.device)
        if self._engine.channels_last and code.dim() == 4:
            code = code.contiguous(memory_format=torch.channels_last)
        return code

    @torch.no_grad()
    def _fill(self, view: int, first: int) -> None:
        """Compute the codes of a block of rows in one view."""
        rows = self._rows[first : first + BLOCK]
        images = self._columns.gather("source", {"source": rows}, {"source": self._views.at(view, len(rows))})
        with self._engine.autocast():
            code: Tensor = self._encoder(images)
        if self._store is None:
            self._store = _Store(self._folder, len(self), code)
        self._store.write(view * len(self._rows) + first, code)
        self._filled[view, first : first + BLOCK] = True


class _Store:
    """Tensors of one shape in a file, by index.

    Args:
        like: Example (N, ...) with the shape and dtype of all.
    """

    def __init__(self, folder: Path, count: int, like: Tensor) -> None:
        self._folder, self._shape, self._dtype = folder, like.shape[1:], like.dtype
        self._size = like[0].numel() * like.element_size()
        self._total = count * self._size
        with self._explained():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._file.truncate(self._total)
        self._map: npt.NDArray[np.uint8] = np.memmap(self._file, np.uint8, "r", shape=(count, self._size))

    def write(self, first: int, values: Tensor) -> None:
        """Store (N, ...) at the indices from ``first``."""
        # Not through the memory map: a full disk would kill the process with SIGBUS.
        bits = values.cpu().contiguous().view(torch.uint8).numpy()
        with self._explained():
            self._file.seek(first * self._size)
            self._file.write(bits.tobytes())
            self._file.flush()

    def read(self, numbers: Indices, device: torch.device) -> Tensor:
        """Return the tensors of some indices, (N, ...)."""
        return to_device(self._map[numbers], device).view(self._dtype).reshape(len(numbers), *self._shape)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._folder}: {error.strerror or error}; cached codes take up to "
                f"{self._total / 1e9:.1f} GB there. Free some space, or remove 'cache_codes'"
            ) from error
