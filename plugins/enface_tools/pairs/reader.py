"""Batches of decoded images, read ahead of their use by threads."""

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

from enface.data.images import read_image
from enface.errors import DataError
from enface_tools.pairs.checks import Size
from enface_tools.pairs.files import SHOWN, plain
from enface_tools.pairs.matching import Matched

Pixels = npt.NDArray[np.uint8]
AHEAD = 2
"""Batches that are decoded while one is measured."""


class Reader:
    """Reads the images of some pairs; memory holds a few batches, however many pairs there are.

    Args:
        size: Width and height that images are to have.
        resized: The roles whose images are brought to that size where they have another one.
    """

    def __init__(self, matched: Matched, size: Size, resized: Sequence[str], threads: int) -> None:
        self._matched, self._size, self._resized, self._threads = matched, size, resized, threads

    def __call__(self, batches: Iterable[range]) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """Each batch's rows with its ``output``, ``target`` and, where there are any, ``source``.

        Yields:
            Images as float32 (N, 3, H, W) in [0, 1].

        Raises:
            DataError: when images of a batch cannot be read, naming the first ten.
        """
        waiting: deque[tuple[range, dict[str, list[Future[Pixels | str]]]]] = deque()
        pool = ThreadPoolExecutor(self._threads)
        try:
            for rows in batches:
                jobs = {
                    name: [pool.submit(self._read, path, role in self._resized) for path in paths]
                    for name, (role, paths) in self._paths(rows).items()
                }
                waiting.append((rows, jobs))
                if len(waiting) > AHEAD:
                    yield _ready(*waiting.popleft())
            while waiting:
                yield _ready(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _paths(self, rows: range) -> dict[str, tuple[str, list[Path]]]:
        matched = self._matched
        found = {
            "output": ("outputs", [matched.outputs.path(row) for row in rows]),
            "target": ("targets", [matched.targets.path(int(matched.target_of[row])) for row in rows]),
        }
        if matched.sources is not None and matched.source_of is not None:
            found["source"] = ("sources", [matched.sources.path(int(matched.source_of[row])) for row in rows])
        return found

    def _read(self, path: Path, resized: bool) -> Pixels | str:
        """An image (H, W, 3), or why there is none."""
        try:
            image = read_image(path)
        except DataError as error:
            return plain(str(error))
        if image.shape[1::-1] == self._size:
            return image
        if not resized:
            return f"image {plain(str(path))} is not of the size its header says; save it again"
        # Pillow's filters widen with the step when they shrink an image, so nothing is aliased.
        return np.asarray(Image.fromarray(image).resize(self._size, Image.Resampling.BICUBIC))


def _ready(rows: range, jobs: dict[str, list[Future[Pixels | str]]]) -> tuple[range, dict[str, Tensor]]:
    read = {name: [job.result() for job in column] for name, column in jobs.items()}
    failed = [item for column in read.values() for item in column if isinstance(item, str)]
    if failed:
        more = f"\n  ... and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        raise DataError("\n  ".join(dict.fromkeys(failed[:SHOWN])) + more)
    return rows, {name: _unit([item for item in column if not isinstance(item, str)]) for name, column in read.items()}


def _unit(images: Sequence[Pixels]) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return pixels.contiguous().float() / 255
