"""Apply a trained network to image files: plan the outputs, read images, write outputs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from enface import list_images, read_image, write_image

# The same fitting as packing, so that photographs are prepared like the training images.
from enface.data.images import Size, center_crop, px
from enface.errors import DataError, EnfaceError
from enface.plugin.components import Generator
from enface.recipe.load import load_recipe
from enface.recipe.models import DataModel, Fit
from enface.system.messages import Progress, Reporter, Silent
from enface.training.build import values_of
from enface.training.run import Run
from enface_tools.evaluate.checkpoints import open_network
from enface_tools.evaluate.grid import Pixels, grid as image_grid, shown, to_pixels, to_samples
from enface_tools.evaluate.layers import has_layers, layer_names, layer_requests, layer_rows, layer_values
from enface_tools.evaluate.measure import unit
from enface_tools.evaluate.run import require_run
from enface_tools.inference.tiles import Tiling
from enface_tools.packs.image_format import ImageFormat

# Decoding and resizing release the GIL; more threads than this wait for the disk.
THREADS = min(8, os.cpu_count() or 1)
SIZES = ("trained", "native")
GRID_COLUMNS = 10
GRID_GAP = 4
# Pictures beside the outputs: of all of them, and the suffix of those of each one.
GRID, LAYERS = "grid.png", ".layers.png"
LAYERS_GAP = 2
GRID_MAX_PAIRS = 100
GRID_MAX_PIXELS = 50_000_000


def apply(
    run: Run | Path | str,
    images: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    checkpoint: Path | str | None = None,
    average: bool = True,
    fit: Fit | None = None,
    size: str = "trained",
    tile: int | None = None,
    overlap: int = 64,
    grid: bool = False,
    layers: bool = False,
    batch: int = 32,
    device: str = "auto",
    progress: Reporter | None = None,
) -> list[Path]:
    """Write a trained network's outputs for image files. The run's data is not needed.

    Args:
        run: A run, or its directory.
        images: Image files, and folders to search; outputs keep their paths within a folder.
        out: Folder of the outputs, ``NAME.png`` for each image; default: ``RUN/outputs``. Outputs of another number
            of planes than 1 or 3 are also written as ``NAME.npy``.
        checkpoint: A checkpoint file; default: the latest of the run.
        average: Use the running average of the weights if the checkpoint has one.
        fit: Way to fit an image to the network's size, ``crop``, ``pad`` or ``stretch``; default: as in training.
        size: ``trained``, or ``native`` to keep each image's own size, if the network is fully convolutional.
        tile: Height and width of the tiles into which large images are cut; only with ``native``; default: none.
        overlap: Pixels that neighbouring tiles share.
        grid: Also write ``grid.png`` with inputs above outputs.
        layers: Also write ``NAME.layers.png``: the source, what was moved, mirrored and painted, the masks, the flow
            and the output, side by side. Only for a generator that provides ``masks``, such as ``warp``.
        batch: Images per batch.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: Receives messages and progress; default: silent.

    Returns:
        The files written, in the order of the images, without the grid.

    Raises:
        DataError: if an image does not exist or would be overwritten; nothing is written then. Also if images could
            not be read, after all others were written.
        CheckpointError: if there is no checkpoint, or it does not fit the recipe.
        EnfaceError: if ``run`` is not a run directory, ``fit`` or ``size`` is unknown or not possible, ``tile`` is
            given without ``native`` or with ``layers``, the generator has no layers or
            needs more than the source, or the device is not available or has too little memory.
    """
    directory, reporter = run.directory if isinstance(run, Run) else Path(run), progress or Silent()
    require_run(directory)
    for name, value, known in (("fit", fit, (None, *get_args(Fit))), ("size", size, SIZES)):
        if value not in known:
            raise EnfaceError(f"no {name} is called {value!r}; known: {', '.join(filter(None, known))}")
    if tile is not None and size != "native":
        raise EnfaceError("tiles are cut at an image's own size; add --size native, or leave out --tile")
    if tile is not None and layers:
        raise EnfaceError("layers are not drawn in tiles; leave out --tile or --layers")
    folder = directory / "outputs" if out is None else Path(out)
    paths = [images] if isinstance(images, Path | str) else images
    grid_path = folder / GRID if grid else None
    loaded, target = load_recipe(directory), device_of(device)
    data = loaded.recipe.data
    beside = [".npy"] * (data.channels.target not in (1, 3)) + [LAYERS] * layers
    tasks = plan_tasks([Path(path) for path in paths], folder, grid_path, beside)
    network, _ = open_network(loaded, directory, Path(checkpoint) if checkpoint else None, target, raw=not average)
    tiling = _tiling(network, loaded.recipe.generator.use, tile, overlap) if size == "native" else None
    if layers:
        check_layers(network, loaded.recipe.generator.use)
    translator = ImageTranslator(network, data, target, fit, batch, tiling, layers)
    pairs = PairGrid(len(tasks), data.image_size) if grid else None
    with reporter.progress("applying") as report:
        errors = translator(tasks, pairs, report)
    if grid_path is not None and pairs is not None and pairs.save(grid_path):
        reporter.say(f"grid: {grid_path}")
    written = [task.output for task in tasks if task not in errors]
    if translator.fitted:
        action = {"crop": "cropped to", "pad": "padded to", "stretch": "stretched to"}[fit or data.fit]
        remedy = "" if network.multiple is None else "; --size native keeps their own size"
        reporter.say(f"{translator.fitted} images were {action} the shape of {px(data.image_size)} px{remedy}")
    if translator.pictures:
        reporter.say(f"layers: NAME{LAYERS} shows {', '.join(translator.pictures)}, from left to right")
    reporter.say(f"{len(written)} images written to {folder}")
    if errors:
        reasons = "\n  ".join(errors.values())
        raise DataError(f"{len(errors)} of {len(tasks)} images could not be read:\n  {reasons}")
    return written


def _tiling(network: Generator, name: str, tile: int | None, overlap: int) -> Tiling:
    if network.multiple is None:
        raise EnfaceError(f"generator {name} accepts only the size that it was trained at; use --size trained")
    return Tiling(network.multiple, tile, overlap)


def check_layers(network: Generator, name: str) -> None:
    """Raise EnfaceError if a generator has no layers to draw, or needs more than the source for them."""
    if not has_layers(network):
        raise EnfaceError(f"generator {name} has no layers (it provides no masks, as warp does); leave out --layers")
    more = [column for value in layer_requests(network) for column in network.provides[value] if column != "source"]
    if more:
        raise EnfaceError(f"the layers of generator {name} need {more[0]} beside the source; leave out --layers")


@dataclass(frozen=True)
class ImageTask:
    """An image file and the file of its output."""

    source: Path
    output: Path


def plan_tasks(
    images: Sequence[Path], out: Path, grid: Path | None = None, beside: Sequence[str] = ()
) -> list[ImageTask]:
    """A task for each image file; files of a folder keep their paths within it.

    If ``out`` lies within one of the folders, its content is not used as input.

    Args:
        images: Image files, and folders to search.
        grid: A further file that will be written.
        beside: Suffixes of further files that will be written beside each output.

    Raises:
        DataError: if a path does not exist or has no image, two files that will be written are the same, or one would
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
    _refuse_overwriting(list(tasks.values()), grid, beside)
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


def _refuse_overwriting(tasks: Sequence[ImageTask], grid: Path | None, beside: Sequence[str]) -> None:
    if grid is not None and any(task.output == grid for task in tasks):
        raise DataError(f"an output and the grid would both be written to {grid}; rename that image, or omit --grid")
    inputs = {_file_id(task.source): task.source for task in tasks}
    outputs = {task.output: task.source for task in tasks}
    others = {task.output.with_suffix(suffix): task.source for task in tasks for suffix in beside}
    for path in outputs.keys() & others.keys():
        raise DataError(f"{outputs[path]} and {others[path]} would both write {path}; rename one")
    for output in [*outputs, *others, *([grid] if grid else [])]:
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
        data: The recipe's ``data``: images are fitted to the packed size and cropped to their centre.
        fit: Way to fit images; default: that of ``data``.
        batch: Images per batch.
        tiling: Keeps the size of images instead, one by one.
        layers: Also write ``NAME.layers.png``; not in tiles.

    Attributes:
        fitted: Number of images whose shape was changed so far.
        pictures: Names of the pictures of the layers, from left to right.
    """

    network: Generator
    data: DataModel
    device: torch.device
    fit: Fit | None = None
    batch: int = 32
    tiling: Tiling | None = None
    layers: bool = False
    fitted: int = field(init=False, default=0)
    pictures: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._half = (2**self.data.depth - 1) / 2
        self._format = replace(
            ImageFormat.of(self.data), channels=(self.data.channels.source,), fit=self.fit or self.data.fit
        )

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
        batch = 1 if self.tiling else self.batch
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(tasks), batch):
                part = range(start, min(start + batch, len(tasks)))
                read = dict(zip(part, pool.map(self._read, [tasks[index].source for index in part]), strict=True))
                errors |= {tasks[index]: item for index, item in read.items() if isinstance(item, str)}
                sources = {index: item for index, item in read.items() if not isinstance(item, str)}
                results, sheets = self._outputs([image for image, _ in sources.values()])
                self.fitted += sum(fitted for _, fitted in sources.values())
                outputs = dict(zip(sources, results, strict=True))
                samples = [to_samples(output[None], self.data.depth)[0] for output in outputs.values()]
                paths = [tasks[index].output for index in outputs]
                list(pool.map(write_image, paths, samples))
                list(pool.map(write_image, [path.with_suffix(LAYERS) for path in paths], sheets))
                if grid is not None:
                    grid.add({index: unit(image) for index, (image, _) in sources.items()}, outputs)
                if progress is not None:
                    progress(part.stop, len(tasks))
        return errors

    def _read(self, path: Path) -> tuple[Tensor, bool] | str:
        """The network's input (C, H, W) in [-1, 1], and True if its shape was changed; or why it cannot be read."""
        try:
            image = read_image(path, self.data.channels.source, self.data.depth)
        except DataError as error:
            return str(error)
        fitted = False
        if self.tiling is None:
            fitted = self._format.lost(image.shape[:2]) > 0
            image = center_crop(self._format.image(image).transpose(2, 0, 1), self.data.image_size).transpose(1, 2, 0)
        # A copy, because torch warns of arrays of Pillow, which are read-only.
        return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float().div_(self._half).sub_(1), fitted

    def _outputs(self, sources: list[Tensor]) -> tuple[list[Tensor], list[Pixels]]:
        """Outputs (C, H, W) in [0, 1] on the CPU, and the pictures of the layers if these are drawn."""
        if not sources:
            return [], []
        network = self._with_layers if self.layers else self._network
        try:
            with torch.inference_mode():
                source = torch.stack(sources).contiguous().to(self.device)
                result = self.tiling(network, source) if self.tiling else network(source)
        except torch.OutOfMemoryError as error:
            choice = "--tile" if self.tiling else "--batch"
            raise EnfaceError(
                f"{len(sources)} images do not fit into the memory of {self.device}; choose a smaller {choice}"
            ) from error
        result, planes = unit(result).cpu(), self.data.channels.target
        # Three planes for each picture follow those of the output.
        pictures = [to_pixels(image) for image in torch.split(result[:, planes:], 3, dim=1)] if self.layers else []
        sheets = [image_grid([row], gap=LAYERS_GAP) for row in zip(*pictures, strict=True)]
        return list(result[:, :planes]), sheets

    def _network(self, source: Tensor) -> Tensor:
        return values_of(self.network, {"source": source}.__getitem__)["output"]

    def _with_layers(self, source: Tensor) -> Tensor:
        """The output and, in further planes, the pictures of the layers: (N, C + 3 P, H, W) in [-1, 1]."""
        values = layer_values(self.network, {"source": source}.__getitem__)
        names = layer_names(self.network, values["masks"].shape[1])
        # One by one, because each image has a scale of its own for the flow.
        single = [{name: value[place : place + 1] for name, value in values.items()} for place in range(len(source))]
        rows = [layer_rows(one, names)[0] for one in single]
        self.pictures = list(rows[0])
        pictures = torch.cat([torch.cat(list(row.values()), dim=1) for row in rows])
        return torch.cat([values["output"], 2 * pictures - 1], dim=1)


@dataclass
class PairGrid:
    """A picture of inputs above outputs, for at most 100 images evenly spaced among all.

    Args:
        count: Number of all images.
        size: Height and width of the tiles, in which larger and smaller images are shown whole.
    """

    count: int
    size: Size
    _pairs: list[Pixels] = field(default_factory=list)
    _chosen: set[int] = field(init=False)

    def __post_init__(self) -> None:
        limit = max(1, min(GRID_MAX_PAIRS, GRID_MAX_PIXELS // (2 * math.prod(self.size)), self.count))
        self._chosen = set(np.linspace(0, self.count - 1, limit).round().astype(int).tolist())

    def add(self, sources: Mapping[int, Tensor], outputs: Mapping[int, Tensor]) -> None:
        """Keep the chosen ones of these images (C, H, W) in [0, 1], given by their index among all."""
        form = ImageFormat(self.size, fit="pad")
        for index in sorted(self._chosen & sources.keys()):
            pair = (to_pixels(shown(images[index][None]))[0] for images in (sources, outputs))
            self._pairs.append(np.concatenate([form.image(image) for image in pair]))

    def save(self, path: Path) -> bool:
        """Write the picture; return False if there is no image to show."""
        rows = [self._pairs[start : start + GRID_COLUMNS] for start in range(0, len(self._pairs), GRID_COLUMNS)]
        if rows:
            write_image(path, image_grid(rows, gap=GRID_GAP))
        return bool(rows)
