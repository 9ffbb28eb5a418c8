"""The codes that a frozen encoder gives of images: each computed once, kept on disk, and read back for a batch."""

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

from enface.data.augment import Augment, Moves
from enface.data.batches import Batches, sent
from enface.data.pairs import Indices
from enface.errors import DataError
from enface.train.engine import Engine

ENCODED = "encoded_"
# A fixed number together, whatever a batch draws: an image's code has the same bits in every run, resumed or not.
BLOCK = 16


class FeatureCache:
    """A batch's columns as :class:`Batches` gives them, and ``encoded_ROLE``: the code of that role's image.

    A code is computed when it is first asked for, along with those of its neighbours in the split. All are in a file
    without a name, as large as the codes of all images in all their views, of which only what is filled takes room;
    the system takes it back however the process ends. So memory does not grow with the data.

    Args:
        columns: Gives the images, and every other column.
        encoder: Images float (N, 3, H, W) in [-1, 1] to codes (N, ...); at rest, and it learns nothing.
        rows: Of the pack: those that can be asked for.
        augment: How images may be looked at.
        folder: Where the file is put.
    """

    def __init__(
        self, columns: Batches, encoder: nn.Module, rows: Indices, augment: Augment, engine: Engine, folder: Path
    ) -> None:
        self._columns, self._encoder, self._engine, self._folder = columns, encoder, engine, folder
        self._rows = np.unique(rows)
        self._views = augment.views
        self._filled = np.zeros((self._views.count, len(self._rows)), bool)
        self._store: _Store | None = None

    def __len__(self) -> int:
        """How many codes there can be: images times views."""
        return self._filled.size

    def batch(self, names: Sequence[str], rows: Mapping[str, Indices], moves: Mapping[str, Moves]) -> dict[str, Tensor]:
        """What :meth:`Batches.batch` gives, and the codes that are named.

        Raises:
            DataError: when there is no room on disk.
        """
        plain = [name for name in names if not name.startswith(ENCODED)]
        found = self._columns.batch(plain, rows, moves)
        for name in names:
            if name.startswith(ENCODED):
                role = name.removeprefix(ENCODED)
                found[name] = self._codes(rows[role], moves.get(role))
        return found

    def _codes(self, rows: Indices, move: Moves | None) -> Tensor:
        places = np.searchsorted(self._rows, rows)
        views = self._views.number(move) if move is not None else np.zeros(len(rows), np.int64)
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
        """Compute the codes of a block of the split's rows in one view."""
        rows = self._rows[first : first + BLOCK]
        images = self._columns.gather("source", {"source": rows}, {"source": self._views.moves(view, len(rows))})
        with self._engine.autocast():
            code: Tensor = self._encoder(images)
        if self._store is None:
            self._store = _Store(self._folder, len(self), code)
        self._store.write(view * len(self._rows) + first, code)
        self._filled[view, first : first + BLOCK] = True


class _Store:
    """Tensors of one shape in a file, by number.

    Args:
        like: Some, of the shape (N, ...) and type that all have.
    """

    def __init__(self, folder: Path, count: int, like: Tensor) -> None:
        self._folder, self._shape, self._dtype = folder, like.shape[1:], like.dtype
        self._size = like[0].numel() * like.element_size()
        self._total = count * self._size
        with self._said():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._file.truncate(self._total)
        self._map: npt.NDArray[np.uint8] = np.memmap(self._file, np.uint8, "r", shape=(count, self._size))

    def write(self, first: int, values: Tensor) -> None:
        """Keep (N, ...) as the ones from ``first`` on."""
        # Not through the map: a full disk would end the process there and then, without a word.
        bits = values.cpu().contiguous().view(torch.uint8).numpy()
        with self._said():
            self._file.seek(first * self._size)
            self._file.write(bits.tobytes())
            self._file.flush()

    def read(self, numbers: Indices, device: torch.device) -> Tensor:
        """Those of some numbers, (N, ...)."""
        return sent(self._map[numbers], device).view(self._dtype).reshape(len(numbers), *self._shape)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._folder}: {error.strerror or error}; the codes of all images take up to "
                f"{self._total / 1e9:.1f} GB there. Make room, or leave out 'cache_codes'"
            ) from error
