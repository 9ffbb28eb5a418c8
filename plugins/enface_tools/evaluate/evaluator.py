"""Evaluation of a network on a split of a run's data: metrics of each image, pictures, and two baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from enface.data.images import center_crop, planes_of
from enface.data.pairs import Indices
from enface.plugin.components import DataInfo
from enface.plugin.hooks import Validation
from enface.training.build import build_generator, values_of
from enface.training.checkpoint import SUFFIX, read_state
from enface.training.run import Run
from enface_tools.evaluate.build import build_metrics
from enface_tools.evaluate.caveats import average_caveats, metric_networks, run_caveats
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.grid import grid, shown, to_pixels
from enface_tools.evaluate.layers import MASKS, Column, has_layers, layer_shares, write_layers
from enface_tools.evaluate.measure import BatchScores, Measure, batch_for, unit
from enface_tools.evaluate.metrics import Metric
from enface_tools.evaluate.models import CheckpointInfo, SelfPairs, Summary
from enface_tools.evaluate.pictures import PictureWriter
from enface_tools.evaluate.regions import build_regions, region_weights
from enface_tools.evaluate.results import Scores, write_results
from enface_tools.evaluate.sampling import (
    balanced,
    evaluation_info,
    fixed_pairs,
    fixed_partners,
    fixed_targets,
    without_self_pairs,
)
from enface_tools.evaluate.splits import evaluation_folder
from enface_tools.evaluate.summary import Summarizer

GRID = 12

Progress = Callable[[int, int], None]
Keep = Callable[[Mapping[str, Tensor]], None]
Make = Callable[[Column], Mapping[str, Tensor]]
"""Returns the ``output`` for a batch in [-1, 1], and further values that metrics request."""


@dataclass
class Evaluator:
    """Measures a network on one split of a run's data.

    Outputs are clipped to [0, 1]; they are compared with targets in float32. Pairs whose source is their target are
    left out unless the recipe has ``evaluation.self_pairs``: copying such a source is perfect. The pairs and the
    masks of metrics are those of the split, whatever the recipe's seed is.

    Args:
        split: ``test`` or ``val``.

    Attributes:
        metrics: Available metrics, by name.
        unavailable: Reasons why the others are not available, by name.
        rows: Rows of source and target in the table, for each pair.
        self_pairs: Number of the split's pairs whose source is their target, measured or left out.

    Raises:
        DataError: if no pair is left.
    """

    run: Run
    split: str = "test"
    metrics: dict[str, Metric] = field(init=False)
    unavailable: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        run = self.run
        info = evaluation_info(run)
        built, self.unavailable = build_metrics(run.loaded, info)
        self.metrics = {name: metric.to(run.engine.device) for name, metric in built.items()}
        self.rows, self.self_pairs = self._draw()
        self._columns = run.batches(tuple(self.rows))
        self._values = self._requested(info)
        self._measure = Measure(self.metrics, depth=info.depth)
        regions, absent = build_regions(run.loaded, info, self._columns.names)
        self._regions = {name: region.to(run.engine.device) for name, region in regions.items()}
        self.unavailable |= absent

    def _draw(self) -> tuple[dict[str, Indices], SelfPairs]:
        run, recipe = self.run, self.run.recipe
        pairs = fixed_pairs(run, run.rows[self.split])
        sources = np.sort(pairs.sources)
        targets = fixed_targets(run, pairs, sources)
        kept, self_pairs = without_self_pairs(
            sources == targets,
            measured=recipe.evaluation.self_pairs,
            refusal=f"pairs: the target of every {self.split} image is the image itself, so no pair is left to "
            "measure; change pairs.source or pairs.target, or measure these pairs with evaluation.self_pairs: true",
        )
        chosen = kept[balanced(run.pack.table.iloc[sources[kept]], recipe.evaluation.images)]
        partners = fixed_partners(run, pairs, sources[chosen])
        return {"source": sources[chosen], "target": targets[chosen], **partners}, self_pairs

    def _requested(self, info: DataInfo) -> list[str]:
        """Remove metrics that request what neither generator nor data have; return the generator's values requested."""
        requests = {name: metric.requests for name, metric in self.metrics.items()}
        if not any(requests.values()):
            return []
        with torch.random.fork_rng():
            provided = build_generator(self.run.loaded, info).provides
        known = {*provided, *self._columns.names}
        for name, names in requests.items():
            missing = [item for item in names if item not in known]
            if missing:
                del self.metrics[name]
                self.unavailable[name] = f"it requests {missing[0]!r}, which neither the generator nor the data has"
        return sorted({item for name in self.metrics for item in requests[name] if item in provided})

    def values(self, network: nn.Module, *more: str) -> Make:
        """Return a function that computes a network's output, what metrics request of it, and some more values."""
        return lambda column: values_of(network, column, {"output", *self._values, *more})

    def validate(self, network: nn.Module) -> dict[str, Validation]:
        """Each metric's mean over the split, or its number for the whole set, with its score."""
        scores = self.measure(self.values(network), regions=False)
        return {name: _validation(scores, name, metric.direction) for name, metric in self.metrics.items()}

    @torch.no_grad()
    def measure(
        self,
        make: Make,
        progress: Progress | None = None,
        *,
        regions: bool = True,
        keep: Keep | None = None,
    ) -> Scores:
        """Measure outputs for all sources.

        Batches are distributed round-robin over ranks; every rank receives the full result.

        Args:
            make: Computes the outputs of a batch, and what metrics request of the generator. A metric whose requests
                it does not return is left out.
            regions: Also measure each region of the recipe's ``evaluation.regions``.
            keep: Called on the main process with the images of each batch, in order.
        """
        engine = self.run.engine
        batches = list(self._batches())
        measured: list[tuple[int, BatchScores]] = []
        done = 0
        kept = engine.any(keep is not None)
        for start in range(0, len(batches), engine.processes):
            number = start + engine.rank
            images = None
            if number < len(batches):
                batch, images = self._measured(make, batches[number], regions=regions)
                measured.append((number, batch))
            if kept:
                # One batch per rank at a time bounds the memory.
                for gathered in engine.gather(images and {name: image.cpu() for name, image in images.items()}):
                    if gathered is not None and keep is not None:
                        keep(gathered)
            done += sum(len(rows["source"]) for rows in batches[start : start + engine.processes])
            if progress is not None:
                progress(done, len(self))
        every = dict(item for ranks in engine.gather(measured) for item in ranks)
        scores = None
        if engine.is_main:
            identities = self.run.pack.table["identity"].to_numpy()[self.rows["source"]]
            scores = self._measure.gather([every[number] for number in range(len(batches))], identities)
        shared: Scores = engine.broadcast(scores)
        return shared

    def _measured(
        self, make: Make, rows: Mapping[str, Indices], *, regions: bool
    ) -> tuple[BatchScores, dict[str, Tensor]]:
        column = self.column(rows)
        made = make(column)
        images = {"source": unit(column("source")), "output": unit(made["output"]), "target": unit(column("target"))}
        weights, undetected = region_weights(self._regions if regions else {}, column)
        known = {*made, *self._columns.names}
        requests = [metric.requests for metric in self.metrics.values() if known.issuperset(metric.requests)]
        made = {**made, **{name: column(name) for names in requests for name in names if name not in made}}
        batch = self._measure.batch(
            images["output"],
            images["target"],
            weights,
            undetected=undetected,
            source=images["source"],
            values=made,
        )
        if MASKS in made:
            batch.shares = layer_shares(made[MASKS], weights)
        return batch, images

    def __len__(self) -> int:
        return len(self.rows["source"])

    def baselines(self) -> dict[str, Scores]:
        """Scores of copying the source, if it has as many planes as the target, and of the mean training target."""
        mean = mean_target(self.run).to(self.run.engine.device)
        planes = self.run.info.channels
        same = planes["source"] == planes["target"]
        copied = {"source": self.measure(lambda column: {"output": column("source")})} if same else {}
        expanded = self.measure(lambda column: {"output": mean.expand(len(column("source")), -1, -1, -1)})
        return {**copied, "mean_target": expanded}

    def about(self) -> pd.DataFrame:
        """The table's columns for each source image, with the key of its target."""
        table = self.run.pack.table
        about = table.iloc[self.rows["source"]].reset_index(drop=True)
        about.insert(1, "target_key", table["key"].to_numpy()[self.rows["target"]])
        return about

    def column(self, rows: Mapping[str, Indices]) -> Column:
        """Return a function that gathers a column of some rows."""
        return partial(self._columns.gather, rows=rows)

    def images(self, network: nn.Module, rows: Mapping[str, Indices]) -> dict[str, Tensor]:
        """``source``, ``output`` and ``target`` of some rows, in [0, 1] on the CPU."""
        column = self.column(rows)
        with torch.no_grad():
            images = {"source": column("source"), "target": column("target"), **values_of(network, column)}
        return {name: unit(image).cpu() for name, image in images.items()}

    def _batches(self) -> Iterator[dict[str, Indices]]:
        size = self.run.recipe.evaluation.batch or batch_for(self.run.engine.device, math.prod(self.run.info.size))
        for start in range(0, len(self), size):
            yield {role: rows[start : start + size] for role, rows in self.rows.items()}


def _validation(scores: Scores, name: str, direction: Direction) -> Validation:
    if name in scores.sets:
        return Validation(scores.sets[name], direction.score(scores.sets[name]))
    # Values below and above an ideal one may have an ideal mean, although each is far from it.
    compared = float(direction.compared(scores.images[name]).mean())
    return Validation(scores.mean(name), direction.change.score(compared))


def mean_target(run: Run) -> Tensor:
    """The mean of the targets drawn for all training sources: float (C, H, W) in [-1, 1]."""
    pairs = fixed_pairs(run, run.rows["train"])
    targets, counts = np.unique(fixed_targets(run, pairs, pairs.sources), return_counts=True)
    size, planes = run.info.size, run.info.channels["target"]
    total = np.zeros((planes, *size), np.float64)
    for start in range(0, len(targets), 256):
        chunk = slice(start, start + 256)
        images = planes_of(center_crop(run.pack.images[targets[chunk]], size), planes)
        total += np.tensordot(counts[chunk].astype(np.float64), images, axes=1)
    return torch.from_numpy(total / counts.sum() / ((2**run.info.depth - 1) / 2) - 1).float()


def evaluate_network(
    evaluator: Evaluator,
    network: nn.Module,
    progress: Progress | None = None,
    *,
    folder: Path | None = None,
    checkpoint: CheckpointInfo | None = None,
    baselines: Mapping[str, Scores] | None = None,
) -> Summary | None:
    """Evaluate a network and write tables, pictures and the summary.

    All processes call this and measure a part each; the main one writes.

    Args:
        folder: Of the files; default: the run's ``evaluation``, or ``evaluation/val`` for the validation split.
        checkpoint: The checkpoint that the network is from.
        baselines: Result of :meth:`Evaluator.baselines`, to compute it once for several networks.

    Returns:
        Contents of ``summary.json``; None except on the main process.
    """
    run = evaluator.run
    network.eval()
    folder = folder or evaluation_folder(run.directory, evaluator.split)
    wanted = run.recipe.evaluation.pictures and run.engine.is_main
    pictures = PictureWriter(folder, len(evaluator)) if wanted else None
    keep = pictures.add if pictures else None
    masks = [MASKS] if has_layers(network) else []
    scores = evaluator.measure(evaluator.values(network, *masks), progress, keep=keep)
    baselines = evaluator.baselines() if baselines is None else baselines
    if not run.engine.is_main:
        return None
    about = evaluator.about()
    networks = metric_networks(run.loaded)
    recipe = run.recipe
    people, average = None, []
    if checkpoint is not None:
        path = run.checkpoints / f"{checkpoint.file}{SUFFIX}"
        people = read_state(path).get("people")
        average = average_caveats(recipe, path) if checkpoint.weights == "average" else []
    summary = Summarizer(
        about,
        scores,
        baselines,
        evaluator.metrics,
        networks=networks,
        depth=run.info.depth,
    ).summary(
        kind="run",
        name=recipe.name,
        split=evaluator.split,
        self_pairs=evaluator.self_pairs,
        step=run.step,
        checkpoint=checkpoint,
        unavailable=evaluator.unavailable,
        caveats=[*average, *run_caveats(run, networks, evaluator.split, people), *scores.caveats],
    )
    write_results(folder, about, scores, baselines, summary)
    if pictures is not None:
        pictures.close()
    save_grid(evaluator, network, about, folder / "grid.png")
    write_layers(folder, network, evaluator.column(grid_rows(evaluator, about)), scores.shares, about)
    about_network = {} if checkpoint is None else {"checkpoint": checkpoint.file, "weights": checkpoint.weights}
    run.log("evaluated", split=evaluator.split, **about_network, values=summary.means)
    return summary


def save_grid(evaluator: Evaluator, network: nn.Module, about: pd.DataFrame, path: Path) -> None:
    """Write a grid with rows of sources, outputs and targets, and one column per identity."""
    images = evaluator.images(network, grid_rows(evaluator, about))
    lines = [to_pixels(shown(images[name])) for name in ("source", "output", "target")]
    Image.fromarray(grid(lines, gap=2, border=2)).save(path)


def grid_rows(evaluator: Evaluator, about: pd.DataFrame) -> dict[str, Indices]:
    """Return the rows of the images in a grid, one per identity."""
    chosen = []
    for number, (_, group) in enumerate(list(about.groupby("identity"))[:GRID]):
        # A stride coprime to most counts of poses and lights, so that neighbours differ in pose and light.
        chosen.append(int(group.index[number * 7 % len(group)]))
    return {role: indices[chosen] for role, indices in evaluator.rows.items()}
