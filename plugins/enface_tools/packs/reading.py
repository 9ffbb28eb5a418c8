"""Read a dataset's images into a pack's arrays, in this process or in several; they do not load torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from enface.errors import DataError
from enface.plugin.bases import DataInfo, Dataset
from enface.plugin.manager import load_plugins
from enface.system.processes import cores
from enface_tools.packs.image_format import ImageFormat

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 60
"""Images that a process is given together; neighbours, which may share what is expensive to compute."""
AHEAD = 4
"""Jobs per process that are handed out at a time, which bounds the memory."""
LOST = "lost.npy"
"""Array of the share of each image that fitting changes, float32 (N,); only while a pack is made."""
T = TypeVar("T")
Failures = dict[int, str]
"""Error messages of unreadable images, by their place in the table."""


@dataclass(frozen=True)
class DatasetRef:
    """A dataset that another process can build: the place of its class, and checked arguments."""

    module: str
    name: str
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, component: type, arguments: Mapping[str, Any]) -> DatasetRef | None:
        """Return the reference; None if the class cannot be imported by its name or an argument cannot be sent."""
        reference = cls(component.__module__, component.__qualname__, dict(arguments))
        if not _is_plain(reference.arguments):
            return None
        try:
            return reference if reference.component() is component else None
        except (ImportError, AttributeError):
            return None

    def component(self) -> type:
        """Return the class."""
        component: type = attrgetter(self.name)(import_module(self.module))
        return component


def _is_plain(value: Any) -> bool:
    # Another process unpickles the arguments before it loads the plugin, which may define any other class.
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | Path | DataInfo)


@dataclass(frozen=True)
class ReadSpec:
    """Everything a process needs to build the dataset and read images.

    Attributes:
        plugins: Files and modules to load first, because one may bring an image format.
        use: The dataset's name.
        params: Its parameters, as a recipe gives them.
        format: Shape and samples of the images in the pack.
        data: The same for the dataset.
        reference: The dataset's class and checked arguments; None if they cannot be sent.
    """

    plugins: tuple[str, ...]
    use: str
    params: Mapping[str, Any]
    format: ImageFormat
    data: DataInfo
    reference: DatasetRef | None = None

    def build(self) -> Dataset:
        """Build the dataset. Raise PluginError if a plugin cannot be loaded."""
        manager = load_plugins(self.plugins)
        if self.reference is not None:
            dataset = self.reference.component()(**self.reference.arguments)
        else:
            # The catalog loads every component of every plugin, and most of them load torch.
            from enface.plugin.catalog import Catalog

            dataset = Catalog(manager).build("dataset", self.use, self.params, self.data)
        return with_format(dataset, self.data)


def with_format(dataset: Any, data: DataInfo) -> Dataset:
    """Set the planes and the depth that a dataset is to read."""
    assert isinstance(dataset, Dataset)
    dataset.channels, dataset.depth = data.channels, data.depth
    return dataset


def fill_arrays(folder: Path, table: pd.DataFrame, spec: ReadSpec, dataset: Dataset) -> Iterator[tuple[int, Failures]]:
    """Read every image of a table into the existing ``images.npy``, and its regions into ``regions.npy``.

    Args:
        dataset: Read from if one process suffices.

    Yields:
        (number of images, error messages by index) of each chunk, in the order of completion.

    Raises DataError if a process dies.
    """
    starts = range(0, len(table), CHUNK)
    jobs = ((start, _records(table, start, min(start + CHUNK, len(table)))) for start in starts)
    yield from run_jobs(jobs, len(starts), spec, dataset, partial(PackReader, folder))


def run_jobs(
    jobs: Iterable[tuple[Any, ...]], count: int, spec: ReadSpec, dataset: Dataset, make: Callable[..., Callable[..., T]]
) -> Iterator[T]:
    """Call a function that reads a dataset once per job, in this process or in several.

    Memory does not grow with the number of jobs: at most :data:`AHEAD` per process are handed out at a time.

    Args:
        jobs: Arguments of each call.
        count: Number of jobs.
        dataset: Read from if one process suffices.
        make: Returns the function of a process, from a dataset and the pack's format; other processes unpickle it.

    Yields:
        The function's results, in the order of completion.

    Raises DataError if a process dies.
    """
    workers = min(cores(), count)
    if workers == 1:
        call = make(dataset, spec.format)
        yield from (call(*job) for job in jobs)
        return
    # A forked child of a process with running torch threads can hang; a spawned one cannot.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_init_worker, initargs=(make, spec)) as pool:
        pending: set[Future[T]] = set()
        try:
            for job in jobs:
                pending.add(pool.submit(_call, *job))
                # Before the next job is made.
                if len(pending) >= AHEAD * workers:
                    yield from _completed(pending)
            while pending:
                yield from _completed(pending)
        except BrokenProcessPool as error:
            raise DataError(f"a worker process reading dataset {spec.use} died; is memory short?") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _completed(pending: set[Future[T]]) -> Iterator[T]:
    """Wait for at least one job, and remove those that are done from ``pending``."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        pending.remove(future)
        yield future.result()


def _records(table: pd.DataFrame, start: int, stop: int) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.iloc[start:stop].to_dict("records")]


class PackReader:
    """Reads images of a dataset into a pack's arrays."""

    def __init__(self, folder: Path, dataset: Dataset, form: ImageFormat) -> None:
        self._dataset = dataset
        self._format = form
        self._images, self._lost = (np.lib.format.open_memmap(folder / name, "r+") for name in ("images.npy", LOST))
        regions = folder / "regions.npy"
        self._regions = np.lib.format.open_memmap(regions, "r+") if dataset.region_names else None

    def __call__(self, first: int, rows: list[dict[str, Any]]) -> tuple[int, Failures]:
        """Read the images of some rows, the first of which has index ``first``.

        Returns:
            Their number, and error messages by index.
        """
        failed = {}
        for index, row in enumerate(rows, first):
            try:
                image = self._dataset.image(row)
                self._images[index] = self._format.image(image, row["key"])
                self._lost[index] = self._format.lost(image.shape[:2])
                if self._regions is not None:
                    self._regions[index] = self._format.regions(self._dataset.regions(row))
            except DataError as error:
                failed[index] = str(error)
            except Exception as error:
                failed[index] = f"image {row['key']}: {type(error).__name__}: {error}"
        return len(rows), failed


_function: Callable[..., Any] | None = None


def _init_worker(make: Callable[..., Callable[..., Any]], spec: ReadSpec) -> None:
    global _function
    # Ctrl-C reaches every process of the terminal; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread each, because there is a process for each core: for a torch that is loaded later, or already.
    os.environ["OMP_NUM_THREADS"] = "1"
    dataset = spec.build()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    _function = make(dataset, spec.format)


def _call(*job: Any) -> Any:
    assert _function is not None
    return _function(*job)
