"""Reading a dataset's images into a pack's files, in this process or in several; torch is not loaded for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import DataError
from enface.plugin.bases import DataInfo, Dataset
from enface.plugin.manager import load_plugins
from enface.system.processes import cores

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 60
"""Images that a process is handed at once; neighbours, for what is dear may be shared by them."""
AHEAD = 4
"""Chunks that are handed out, or wait to be, for each process. What is handed out is in memory; the rest is not."""


@dataclass(frozen=True)
class DatasetRef:
    """A dataset for another process: where its class is found when its plugin is loaded, and checked arguments."""

    module: str
    name: str
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, component: type, arguments: Mapping[str, Any]) -> DatasetRef | None:
        """The same of a class; None where it is not found by its name, or an argument cannot be sent."""
        made = cls(component.__module__, component.__qualname__, dict(arguments))
        if not _is_plain(made.arguments):
            return None
        try:
            return made if made.component() is component else None
        except (ImportError, AttributeError):
            return None

    def component(self) -> type:
        """The class."""
        found: type = attrgetter(self.name)(import_module(self.module))
        return found


def _is_plain(value: Any) -> bool:
    # Another process reads the arguments before it loads the plugin, which may have brought any other class.
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | Path | DataInfo)


@dataclass(frozen=True)
class ReadSpec:
    """How a process makes the dataset for itself.

    Attributes:
        plugins: Files and modules to load first, for an image format may come with them.
        use: The dataset's name.
        params: As a recipe gives them.
        size: Height and width of the images in the pack.
        made: The dataset's class and checked arguments; None where they cannot be sent.
    """

    plugins: tuple[str, ...]
    use: str
    params: Mapping[str, Any]
    size: int
    made: DatasetRef | None = None

    def build(self) -> Dataset:
        """The dataset.

        Raises:
            PluginError: when a plugin cannot be loaded.
        """
        manager = load_plugins(self.plugins)
        if self.made is not None:
            dataset = self.made.component()(**self.made.arguments)
        else:
            # The catalog asks every plugin for all its components, and most of these load torch.
            from enface.plugin.catalog import Catalog

            dataset = Catalog(manager).build("dataset", self.use, self.params, DataInfo(self.size))
        assert isinstance(dataset, Dataset)
        return dataset


def fill(folder: Path, table: pd.DataFrame, order: ReadSpec, dataset: Dataset) -> Iterator[tuple[int, dict[int, str]]]:
    """Read every image of a table into ``images.npy``, and its regions into ``regions.npy``, which are there.

    Memory does not grow with the table: only :data:`AHEAD` chunks for each process are handed out at a time.

    Args:
        dataset: Read from where one process is enough.

    Yields:
        (images done, index -> what is wrong with it) a chunk, in the order in which they are done.

    Raises:
        DataError: when a process dies.
    """
    chunks = [(start, min(start + CHUNK, len(table))) for start in range(0, len(table), CHUNK)]
    workers = min(cores(), len(chunks))
    if workers == 1:
        job = PackReader(folder, dataset, order.size)
        for start, stop in chunks:
            yield stop - start, job(start, _records(table, start, stop))
        return
    # A forked child of a process with running torch threads can hang; a fresh one cannot.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(folder, order)) as pool:
        running: dict[Future[dict[int, str]], int] = {}
        try:
            for start, stop in chunks:
                if len(running) >= AHEAD * workers:
                    yield from _finished(running)
                running[pool.submit(_work, start, _records(table, start, stop))] = stop - start
            while running:
                yield from _finished(running)
        except BrokenProcessPool as error:
            raise DataError(f"a worker process reading dataset {order.use} died; is memory short?") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[dict[int, str]], int]) -> Iterator[tuple[int, dict[int, str]]]:
    """Waits for at least one chunk; takes those that are done out of what runs."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def _records(table: pd.DataFrame, start: int, stop: int) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.iloc[start:stop].to_dict("records")]


class PackReader:
    """Reads images of a dataset into a pack's files."""

    def __init__(self, folder: Path, dataset: Dataset, size: int) -> None:
        self._dataset = dataset
        self._size = size
        self._images = np.lib.format.open_memmap(folder / "images.npy", "r+")
        regions = bool(dataset.region_names)
        self._regions = np.lib.format.open_memmap(folder / "regions.npy", "r+") if regions else None

    def __call__(self, first: int, rows: list[dict[str, Any]]) -> dict[int, str]:
        """Read the images from place ``first`` on; place -> what is wrong, of those that cannot be read."""
        failed = {}
        for index, row in enumerate(rows, first):
            try:
                image = _checked(self._dataset.image(row), row)
                self._images[index] = resized(image, self._size)
                if self._regions is not None:
                    self._regions[index] = _resized_map(self._dataset.regions(row), self._size)
            except DataError as error:
                failed[index] = str(error)
            except Exception as error:
                failed[index] = f"image {row['key']}: {type(error).__name__}: {error}"
        return failed


_job: PackReader | None = None


def _start(folder: Path, order: ReadSpec) -> None:
    global _job
    # Ctrl-C reaches every process of the terminal; the parent alone says what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # There is a process for each core already. For a torch that is loaded later, and for one that is.
    os.environ["OMP_NUM_THREADS"] = "1"
    dataset = order.build()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    _job = PackReader(folder, dataset, order.size)


def _work(first: int, rows: list[dict[str, Any]]) -> dict[int, str]:
    assert _job is not None
    return _job(first, rows)


def _checked(image: npt.NDArray[np.uint8], row: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"image {row['key']} is {image.dtype} {image.shape}; uint8 (H, W, 3) is needed")
    return image


def resized(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) as the pack holds it: size x size, by Lanczos, its aspect not kept."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _resized_map(regions: npt.NDArray[np.uint8] | None, size: int) -> npt.NDArray[np.uint8]:
    if regions is None:
        return np.zeros((size, size), np.uint8)
    if regions.shape == (size, size):
        return regions
    return np.asarray(Image.fromarray(regions).resize((size, size), Image.Resampling.NEAREST))
