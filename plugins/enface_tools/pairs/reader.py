"""Batches of decoded images, read ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from enface import read_image
from enface.errors import DataError
from enface_tools.pairs.checks import Size
from enface_tools.pairs.files import MAX_LISTED, printable
from enface_tools.pairs.matching import MatchedImages

Pixels = npt.NDArray[np.uint8]
Column = list[Future[Pixels | str]]
AHEAD = 2
"""Batches that are decoded while one is measured."""


class PairReader:
    """Reads images of pairs. Memory holds a few batches, regardless of the number of pairs.

    Args:
        size: Width and height of the images read.
        resized: Roles whose images are resized if they differ in size.
    """

    def __init__(self, matched: MatchedImages, size: Size, resized: Sequence[str], threads: int) -> None:
        self._matched, self._size, self._resized, self._threads = matched, size, resized, threads

    def __call__(self, batches: Iterable[Sequence[int]]) -> Iterator[dict[str, Tensor]]:
        """Read ``output``, ``target`` and, if there are sources, ``source`` of each batch.

        Args:
            batches: Indices of outputs.

        Yields:
            Images as float32 (N, 3, H, W) in [0, 1].

        Raises:
            DataError: if images of a batch cannot be read, naming the first ten.
        """
        waiting: deque[dict[str, Column]] = deque()
        pool = ThreadPoolExecutor(self._threads)
        try:
            for rows in batches:
                waiting.append(self._submit(pool, rows))
                if len(waiting) > AHEAD:
                    yield _collect(waiting.popleft())
            while waiting:
                yield _collect(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, rows: Sequence[int]) -> dict[str, Column]:
        outputs = self._matched.outputs
        paths = {"outputs": [outputs.path(row) for row in rows]}
        for role, (files, partner) in self._matched.partners.items():
            paths[role] = [files.path(int(partner[row])) for row in rows]
        return {
            role.removesuffix("s"): [pool.submit(self._read, path, role in self._resized) for path in of_role]
            for role, of_role in paths.items()
        }

    def _read(self, path: Path, resized: bool) -> Pixels | str:
        """Return an image (H, W, 3), or why it cannot be read."""
        try:
            image: Pixels = read_image(path)
        except DataError as error:
            return printable(str(error))
        if image.shape[1::-1] == self._size:
            return image
        if not resized:
            return f"image {printable(str(path))} differs in size from its header; save it again"
        # Pillow widens its filters when it shrinks an image, so there is no aliasing.
        return np.asarray(Image.fromarray(image).resize(self._size, Image.Resampling.BICUBIC))


def _collect(batch: dict[str, Column]) -> dict[str, Tensor]:
    read = {name: [job.result() for job in column] for name, column in batch.items()}
    failed = [item for column in read.values() for item in column if isinstance(item, str)]
    if failed:
        more = f"\n  ... and {len(failed) - MAX_LISTED} more" if len(failed) > MAX_LISTED else ""
        raise DataError("\n  ".join(dict.fromkeys(failed[:MAX_LISTED])) + more)
    return {name: _unit([item for item in column if not isinstance(item, str)]) for name, column in read.items()}


def _unit(images: Sequence[Pixels]) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return pixels.contiguous().float() / 255
