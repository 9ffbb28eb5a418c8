"""Apply a trained network to image files: plan the outputs, fit images to the network's size, write PNGs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from enface import list_images, read_image
from enface.data.images import resized

# The same resizing as packing, so that photographs are prepared like the training images.
from enface.data.pack import center_crop
from enface.errors import DataError, EnfaceError
from enface.recipe.load import load_recipe
from enface.recipe.models import DataModel
from enface.system.atomic import atomic_write
from enface.system.messages import Progress, Reporter, Silent
from enface.training.build import output_of
from enface.training.run import Run
from enface_tools.evaluate.checkpoints import open_network
from enface_tools.evaluate.grid import Pixels, grid as image_grid, to_pixels
from enface_tools.evaluate.run import require_run

# Decoding and resizing release the GIL; more threads than this wait for the disk.
THREADS = min(8, os.cpu_count() or 1)
GRID_COLUMNS = 10
GRID_GAP = 4
GRID_MAX_PAIRS = 100
GRID_MAX_PIXELS = 50_000_000


def apply(
    run: Run | Path | str,
    images: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    checkpoint: Path | str | None = None,
    average: bool = True,
    fit: str = "stretch",
    grid: bool = False,
    batch: int = 32,
    device: str = "auto",
    progress: Reporter | None = None,
) -> list[Path]:
    """Write a trained network's outputs for image files. The run's data is not needed.

    Args:
        run: A run, or its directory.
        images: Image files, and folders to search; outputs keep their paths within a folder.
        out: Folder of the outputs, ``NAME.png`` for each image; default: ``RUN/outputs``.
        checkpoint: A checkpoint file; default: the latest of the run.
        average: Use the running average of the weights if the checkpoint has one.
        fit: Way to make an image square: one of :data:`FITS`.
        grid: Also write ``grid.png`` with inputs above outputs.
        batch: Images per batch.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: Receives messages and progress; default: silent.

    Returns:
        The files written, in the order of the images, without the grid.

    Raises:
        DataError: if an image does not exist or would be overwritten; nothing is written then. Also if images could
            not be read, after all others were written.
        CheckpointError: if there is no checkpoint, or it does not fit the recipe.
        EnfaceError: if ``run`` is not a run directory, ``fit`` is unknown, or the device is not available or has too
            little memory.
    """
    directory, reporter = run.directory if isinstance(run, Run) else Path(run), progress or Silent()
    require_run(directory)
    if fit not in FITS:
        raise EnfaceError(f"no fit is called {fit!r}; known: {', '.join(FITS)}")
    folder = directory / "outputs" if out is None else Path(out)
    paths = [images] if isinstance(images, Path | str) else images
    grid_path = folder / "grid.png" if grid else None
    tasks, target = plan_tasks([Path(path) for path in paths], folder, grid_path), device_of(device)
    loaded = load_recipe(directory)
    network, _ = open_network(loaded, directory, Path(checkpoint) if checkpoint else None, target, raw=not average)
    data = loaded.recipe.data
    translator = ImageTranslator(network, data, target, fit, batch)
    pairs = PairGrid(len(tasks), data.size) if grid else None
    with reporter.progress("applying") as report:
        errors = translator(tasks, pairs, report)
    if grid_path is not None and pairs is not None and pairs.save(grid_path):
        reporter.say(f"grid: {grid_path}")
    written = [task.output for task in tasks if task not in errors]
    reporter.say(f"{len(written)} images written to {folder}")
    if errors:
        reasons = "\n  ".join(errors.values())
        raise DataError(f"{len(errors)} of {len(tasks)} images could not be read:\n  {reasons}")
    return written


@dataclass(frozen=True)
class ImageTask:
    """An image file and the file of its output."""

    source: Path
    output: Path


def plan_tasks(images: Sequence[Path], out: Path, grid: Path | None = None) -> list[ImageTask]:
    """A task for each image file; files of a folder keep their paths within it.

    If ``out`` lies within one of the folders, its content is not used as input.

    Args:
        images: Image files, and folders to search.
        grid: A further file that will be written.

    Raises:
        DataError: if a path does not exist or has no image, two images have the same output, or an output would
            overwrite an input, naming them.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give --out a folder")
    tasks: dict[Path, ImageTask] = {}
    for path in images:
        for source, name in _sources(path, out):
            task = ImageTask(source, out / PurePosixPath(name).with_suffix(".png"))
            other = tasks.setdefault(task.output, task)
            if other.source != source and not _same_file(other.source, source):
                raise DataError(
                    f"{other.source} and {source} would both be written to {task.output}; "
                    "rename one, or apply them separately, each with its own --out"
                )
    if not tasks:
        raise DataError("no image is given; name image files or folders of them")
    _refuse_overwriting(list(tasks.values()), grid)
    return list(tasks.values())


def _sources(path: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """(file, name below ``out``) of each image at a path."""
    if path.is_file():
        yield path, path.name
        return
    if not path.is_dir():
        state = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise DataError(f"{path} {state}; name image files or folders of them")
    folder, target = path.resolve(), out.resolve()
    if folder == target:
        raise DataError(f"{path} is the folder of the images; give --out another one")
    outputs = f"{target.relative_to(folder).as_posix()}/" if target.is_relative_to(folder) else None
    names = [name for name in list_images(path) if outputs is None or not name.startswith(outputs)]
    if not names:
        raise DataError(f"image folder {path} has no image outside of {out}")
    yield from ((path / name, name) for name in names)


def _refuse_overwriting(tasks: Sequence[ImageTask], grid: Path | None) -> None:
    if grid is not None and any(task.output == grid for task in tasks):
        raise DataError(f"an output and the grid would both be written to {grid}; rename that image, or omit --grid")
    inputs = {_file_id(task.source): task.source for task in tasks}
    for output in [task.output for task in tasks] + ([grid] if grid else []):
        file_id = _file_id(output)
        if file_id is not None and file_id in inputs:
            raise DataError(f"{output} would overwrite the input {inputs[file_id]}; give --out another folder")


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file, which all its links share."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _same_file(first: Path, second: Path) -> bool:
    return _file_id(first) is not None and _file_id(first) == _file_id(second)


# ------------------------------------------------------------------ fitting


def stretched(image: Pixels, size: int) -> Pixels:
    """The whole image (H, W, 3) as a square, ignoring its aspect ratio; the same as in packing."""
    return resized(image, size)


def cropped(image: Pixels, size: int) -> Pixels:
    """The central square of an image (H, W, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(np.ascontiguousarray(image[top : top + side, left : left + side]), size)


def padded(image: Pixels, size: int) -> Pixels:
    """The whole image (H, W, 3) with its aspect ratio, padded to a square by repeating its edge."""
    height, width = image.shape[:2]
    if height == width:
        return resized(image, size)
    # Resize before padding: the square around a long strip might not fit into memory.
    scale = size / max(height, width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    small = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.LANCZOS))
    above, before = (size - tall) // 2, (size - wide) // 2
    return np.pad(small, ((above, size - tall - above), (before, size - wide - before), (0, 0)), mode="edge")


FITS: Mapping[str, Callable[[Pixels, int], Pixels]] = {"stretch": stretched, "crop": cropped, "pad": padded}
"""Ways to make an image square, by name."""


# ------------------------------------------------------------------ applying


def device_of(name: str) -> torch.device:
    """The device called ``cpu``, ``cuda`` or ``auto`` (CUDA if available).

    Raises:
        EnfaceError: if CUDA is requested but not available.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise EnfaceError("device cuda is not available: torch finds no CUDA device")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and available) else "cpu")


@dataclass
class ImageTranslator:
    """Writes a network's outputs for image files, batch by batch in constant memory.

    Images are read, fitted, scaled to [-1, 1] and passed to the network as in evaluation, in float32; outputs are
    clipped to [-1, 1].

    Args:
        network: A generator in eval mode, on ``device``.
        data: The recipe's ``data``, for the sizes: images are fitted to the packed size and cropped to their centre.
        fit: One of :data:`FITS`.
        batch: Images per batch.
    """

    network: nn.Module
    data: DataModel
    device: torch.device
    fit: str = "stretch"
    batch: int = 32

    def __call__(
        self, tasks: Sequence[ImageTask], grid: PairGrid | None = None, progress: Progress | None = None
    ) -> dict[ImageTask, str]:
        """Translate all images that can be read.

        Returns:
            An error message for each image that could not be read.

        Raises:
            DataError: if an output cannot be written, naming it.
            EnfaceError: if a batch does not fit into the device's memory.
        """
        errors: dict[ImageTask, str] = {}
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(tasks), self.batch):
                part = range(start, min(start + self.batch, len(tasks)))
                read = dict(zip(part, pool.map(self._read, [tasks[index].source for index in part]), strict=True))
                errors |= {tasks[index]: item for index, item in read.items() if isinstance(item, str)}
                sources = {index: item for index, item in read.items() if not isinstance(item, str)}
                outputs = dict(zip(sources, self._outputs(list(sources.values())), strict=True))
                list(pool.map(_save, outputs.values(), [tasks[index].output for index in outputs]))
                if grid is not None:
                    grid.add(sources, outputs)
                if progress is not None:
                    progress(part.stop, len(tasks))
        return errors

    def _read(self, path: Path) -> Pixels | str:
        """The network's input uint8 (S, S, 3), or the reason why the image cannot be read."""
        try:
            image = FITS[self.fit](read_image(path), self.data.packed_size)
        except DataError as error:
            return str(error)
        return center_crop(image.transpose(2, 0, 1), self.data.size).transpose(1, 2, 0)

    def _outputs(self, sources: list[Pixels]) -> list[Pixels]:
        if not sources:
            return []
        pixels = torch.from_numpy(np.stack(sources)).permute(0, 3, 1, 2).to(self.device)
        try:
            with torch.inference_mode():
                output = output_of(self.network, (pixels.float() / 127.5 - 1).contiguous())
        except torch.OutOfMemoryError as error:
            raise EnfaceError(
                f"{len(sources)} images do not fit into the memory of {self.device}; choose a smaller --batch"
            ) from error
        return list(output_pixels(output))


def output_pixels(output: Tensor) -> Pixels:
    """Outputs (N, 3, S, S) in [-1, 1] as uint8 (N, S, S, 3), rounded as in evaluation."""
    return to_pixels(((output.float() + 1) / 2).clamp(0, 1))


def _save(image: Pixels, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            Image.fromarray(image).save(temporary, format="PNG")
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error})") from error


@dataclass
class PairGrid:
    """A picture of inputs above outputs, for at most 100 images evenly spaced among all.

    Args:
        count: Number of all images.
        size: Their height and width.
    """

    count: int
    size: int
    _pairs: list[Pixels] = field(default_factory=list)
    _chosen: set[int] = field(init=False)

    def __post_init__(self) -> None:
        limit = max(1, min(GRID_MAX_PAIRS, GRID_MAX_PIXELS // (2 * self.size**2), self.count))
        self._chosen = set(np.linspace(0, self.count - 1, limit).round().astype(int).tolist())

    def add(self, sources: Mapping[int, Pixels], outputs: Mapping[int, Pixels]) -> None:
        """Keep the chosen ones of these images, given by their index among all."""
        for index in sorted(self._chosen & sources.keys()):
            self._pairs.append(np.concatenate([sources[index], outputs[index]]))

    def save(self, path: Path) -> bool:
        """Write the picture; return False if there is no image to show."""
        rows = [self._pairs[start : start + GRID_COLUMNS] for start in range(0, len(self._pairs), GRID_COLUMNS)]
        if rows:
            _save(image_grid(rows, gap=GRID_GAP), path)
        return bool(rows)
