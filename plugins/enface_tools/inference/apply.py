"""A trained network on image files: what to write where, fitting to the network's size, outputs as PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from enface.data.images import list_images, read_image

# The pack's own, so that a network sees a photograph as it saw its training images.
from enface.data.pack import centered
from enface.data.packing import resized
from enface.errors import DataError, EnfaceError
from enface.recipe.models import DataModel
from enface.system.atomic import atomic_write
from enface.train.build import output_of

Pixels = npt.NDArray[np.uint8]
# Decoding and resizing leave Python's lock; more threads than this wait for the disk or the network.
THREADS = min(8, os.cpu_count() or 1)
COLUMNS = 10
MOST_PAIRS = 100
MOST_PIXELS = 50_000_000
GAP = 4


@dataclass(frozen=True)
class Job:
    """An image file and the file its output is written to."""

    source: Path
    output: Path


def plan(images: Sequence[Path], out: Path, grid: Path | None = None) -> list[Job]:
    """A job for each image file given or found below a folder given; files of a folder keep their paths in it.

    What lies in ``out`` is not taken for input when ``out`` lies in a folder given.

    Args:
        grid: A further file that will be written.

    Raises:
        DataError: when something given does not exist or holds no image, two images would be written to one file,
            or an input would be overwritten, naming them.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; outputs go into a folder")
    jobs: dict[Path, Job] = {}
    for given in images:
        for source, name in _found(given, out):
            job = Job(source, out / PurePosixPath(name).with_suffix(".png"))
            other = jobs.setdefault(job.output, job)
            if other.source != source and not _one_file(other.source, source):
                raise DataError(
                    f"{other.source} and {source} would both be written to {job.output}; "
                    "rename one, or apply them one by one with an --out each"
                )
    if not jobs:
        raise DataError("no image is given; name image files or folders of them")
    _refuse_overwriting(list(jobs.values()), grid)
    return list(jobs.values())


def _found(given: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """(file, path below ``out``) of what one argument names."""
    if given.is_file():
        yield given, given.name
        return
    if not given.is_dir():
        state = "is neither a file nor a folder" if given.exists() else "does not exist"
        raise DataError(f"{given} {state}; name image files or folders of them")
    folder, target = given.resolve(), out.resolve()
    if folder == target:
        raise DataError(f"{given} is the folder of the images; give --out another one")
    inner = f"{target.relative_to(folder).as_posix()}/" if target.is_relative_to(folder) else None
    names = [name for name in list_images(given) if inner is None or not name.startswith(inner)]
    if not names:
        raise DataError(f"image folder {given} holds no image but what lies in {out}")
    yield from ((given / name, name) for name in names)


def _refuse_overwriting(jobs: Sequence[Job], grid: Path | None) -> None:
    if grid is not None and any(job.output == grid for job in jobs):
        raise DataError(
            f"an output and the grid would both be written to {grid}; rename that image, or leave out --grid"
        )
    inputs = {_identity(job.source): job.source for job in jobs}
    for output in [job.output for job in jobs] + ([grid] if grid else []):
        identity = _identity(output)
        if identity is not None and identity in inputs:
            raise DataError(f"{output} would overwrite the input {inputs[identity]}; give --out another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file share, whatever links lead to it."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _one_file(first: Path, second: Path) -> bool:
    return _identity(first) is not None and _identity(first) == _identity(second)


# ------------------------------------------------------------------ fitting


def stretched(image: Pixels, size: int) -> Pixels:
    """All of an image (H, W, 3) as a square, its aspect not kept: what packing does."""
    return resized(image, size)


def cropped(image: Pixels, size: int) -> Pixels:
    """The middle square of an image (H, W, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(np.ascontiguousarray(image[top : top + side, left : left + side]), size)


def padded(image: Pixels, size: int) -> Pixels:
    """All of an image (H, W, 3) with its aspect kept, the edge repeated to a square."""
    height, width = image.shape[:2]
    if height == width:
        return resized(image, size)
    # Resized before it is padded: the square around a long strip might not fit into memory.
    share = size / max(height, width)
    tall, wide = max(1, round(height * share)), max(1, round(width * share))
    small = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.LANCZOS))
    above, before = (size - tall) // 2, (size - wide) // 2
    return np.pad(small, ((above, size - tall - above), (before, size - wide - before), (0, 0)), mode="edge")


FITS: Mapping[str, Callable[[Pixels, int], Pixels]] = {"stretch": stretched, "crop": cropped, "pad": padded}
"""Ways to make an image square, by name."""


# ------------------------------------------------------------------ applying


def device_of(name: str) -> torch.device:
    """The device of a name: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.

    Raises:
        EnfaceError: when CUDA is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise EnfaceError("device cuda is asked for, but torch finds no CUDA device here")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and there) else "cpu")


@dataclass
class Applier:
    """Writes a network's outputs for image files, a batch at a time; memory does not grow with their number.

    Images are read, fitted, scaled to [-1, 1] and shown to the network as evaluation does it, in float32; outputs
    are clipped to [-1, 1].

    Args:
        network: A generator in eval mode, on ``device``.
        data: The recipe's ``data``, for the sizes: images are fitted to the size they are packed at, and their
            middle is used.
        fit: One of :data:`FITS`.
    """

    network: nn.Module
    data: DataModel
    device: torch.device
    fit: str = "stretch"
    batch: int = 32

    def __call__(
        self, jobs: Sequence[Job], sheet: Sheet | None = None, progress: Callable[[int, int], None] | None = None
    ) -> list[str]:
        """Do the jobs.

        Returns:
            For each image that could not be read, why not, in the order of the jobs.

        Raises:
            DataError: when an output cannot be written, naming it.
            EnfaceError: when a batch does not fit into the device's memory.
        """
        failed: list[str] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(jobs), self.batch):
                part = range(start, min(start + self.batch, len(jobs)))
                read = dict(zip(part, pool.map(self._read, [jobs[index].source for index in part]), strict=True))
                failed += [item for item in read.values() if isinstance(item, str)]
                sources = {index: item for index, item in read.items() if not isinstance(item, str)}
                outputs = dict(zip(sources, self._outputs(list(sources.values())), strict=True))
                list(pool.map(_save, outputs.values(), [jobs[index].output for index in outputs]))
                if sheet is not None:
                    sheet.add(sources, outputs)
                if progress is not None:
                    progress(part.stop, len(jobs))
        return failed

    def _read(self, path: Path) -> Pixels | str:
        """An image as the network sees it, uint8 (S, S, 3); or why it cannot be read."""
        try:
            image = FITS[self.fit](read_image(path), self.data.packed_size)
        except DataError as error:
            return str(error)
        return centered(image.transpose(2, 0, 1), self.data.size).transpose(1, 2, 0)

    def _outputs(self, sources: list[Pixels]) -> list[Pixels]:
        if not sources:
            return []
        pixels = torch.from_numpy(np.stack(sources)).permute(0, 3, 1, 2).to(self.device)
        try:
            with torch.inference_mode():
                output = output_of(self.network, (pixels.float() / 127.5 - 1).contiguous())
        except torch.OutOfMemoryError as error:
            raise EnfaceError(
                f"{len(sources)} images do not fit into the memory of {self.device}; give a smaller --batch"
            ) from error
        return list(_bytes(output))


def _bytes(output: Tensor) -> Pixels:
    """Outputs (N, 3, S, S) in [-1, 1] as uint8 (N, S, S, 3), rounded as evaluation's pictures are."""
    unit = ((output.float() + 1) / 2).clamp(0, 1)
    whole = unit.mul(255).add(0.5).clamp(0, 255).to(torch.uint8)
    found: Pixels = whole.permute(0, 2, 3, 1).cpu().numpy()
    return found


def _save(image: Pixels, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as beside:
            Image.fromarray(image).save(beside, format="PNG")
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error})") from error


@dataclass
class Sheet:
    """A picture of inputs over outputs, for at most a hundred images spread evenly over all.

    Args:
        count: How many images there are.
        size: Their height and width.
    """

    count: int
    size: int
    _pairs: list[Pixels] = field(default_factory=list)
    _chosen: set[int] = field(init=False)

    def __post_init__(self) -> None:
        most = max(1, min(MOST_PAIRS, MOST_PIXELS // (2 * self.size**2), self.count))
        self._chosen = set(np.linspace(0, self.count - 1, most).round().astype(int).tolist())

    def add(self, sources: Mapping[int, Pixels], outputs: Mapping[int, Pixels]) -> None:
        """Take those that are shown from among these, by their place among all images."""
        for index in sorted(self._chosen & sources.keys()):
            self._pairs.append(np.concatenate([sources[index], outputs[index]]))

    def save(self, path: Path) -> bool:
        """Write the picture; whether there was anything to show."""
        if not self._pairs:
            return False
        columns = min(COLUMNS, len(self._pairs))
        lines = -(-len(self._pairs) // columns)
        tall, wide = 2 * self.size + GAP, self.size + GAP
        canvas = np.zeros((lines * tall - GAP, columns * wide - GAP, 3), np.uint8)
        for place, pair in enumerate(self._pairs):
            top, left = place // columns * tall, place % columns * wide
            canvas[top : top + 2 * self.size, left : left + self.size] = pair
        _save(canvas, path)
        return True
