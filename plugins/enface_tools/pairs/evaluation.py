"""Measure outputs of another system against their targets, with a few batches in memory at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch
from PIL import Image
from torch import Tensor

from enface.errors import DataError, EnfaceError, RecipeError
from enface.plugin.components import DataInfo
from enface.recipe.load import LoadedRecipe
from enface.system.messages import Reporter, Silent
from enface_tools.evaluate.build import build_metrics
from enface_tools.evaluate.caveats import metric_networks
from enface_tools.evaluate.features import Digests
from enface_tools.evaluate.grid import grid, to_pixels
from enface_tools.evaluate.measure import BatchScores, Measure, batch_for, card_of
from enface_tools.evaluate.metrics import Metric
from enface_tools.evaluate.models import SelfPairs, Summary
from enface_tools.evaluate.pictures import PictureWriter
from enface_tools.evaluate.regions import Region, build_regions, region_weights
from enface_tools.evaluate.results import SUMMARY, Scores, write_results
from enface_tools.evaluate.sampling import without_self_pairs
from enface_tools.evaluate.summary import Summarizer
from enface_tools.inference.apply import device_of
from enface_tools.pairs.checks import CheckedImages, check
from enface_tools.pairs.files import listed, scan, without_extras
from enface_tools.pairs.labels import label_table
from enface_tools.pairs.matching import Indices, MatchedImages, match
from enface_tools.pairs.output import WORK, check_folders, claim, results_folder
from enface_tools.pairs.reader import PairReader
from enface_tools.pairs.recipe import PairsOptions, default_metrics, load_pairs_recipe
from enface_tools.pairs.shards import OUTPUT, SIDES, ScoreShards, join_batches, select_rows

THREADS = min(8, os.cpu_count() or 1)
GRID = 12
MAX_STRETCH = 0.01
"""Relative difference of aspect ratios that rounding to whole pixels explains."""

Progress = Callable[[int, int], None]


@dataclass
class PairsEvaluation:
    """Outputs in one folder, measured against targets in another.

    Everything is checked on construction; nothing is decoded or written before :meth:`__call__`.

    Args:
        folders: ``outputs``, ``targets`` and perhaps ``sources``.
        out: Results folder; default: ``evaluations/NAME`` with the name of the outputs' folder.
        checking: Called with the number of headers read, and of all headers.
        reporter: Receives messages and progress while missing weights of metrics are fetched.

    Attributes:
        loaded: The recipe of these options.
        folder: The results folder.
        about: One row per output: keys, identity and labels.
        metrics: Metrics that can be computed, by name.
        unavailable: Reasons why other metrics, and regions as ``region NAME``, cannot.

    Raises:
        DataError: if images do not belong together or cannot be measured, naming them.
        RecipeError: if a metric, mask or parameter is unknown or does not fit the images.
    """

    folders: Mapping[str, Path]
    out: Path | None
    options: PairsOptions = field(default_factory=PairsOptions)
    checking: Progress | None = None
    reporter: Reporter = field(default_factory=Silent)

    loaded: LoadedRecipe = field(init=False)
    folder: Path = field(init=False)
    about: pd.DataFrame = field(init=False)
    metrics: dict[str, Metric] = field(init=False)
    unavailable: dict[str, str] = field(init=False)
    _regions: dict[str, Region] = field(init=False)
    _matched: MatchedImages = field(init=False)
    _checked: CheckedImages = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        self.loaded = load_pairs_recipe(options)
        self._recipe = self.loaded.recipe
        self._device = device_of(self._recipe.engine.device)
        check_folders(self.folders)
        self.folder = results_folder(self.out, self.folders)
        files = {role: scan(path, role) for role, path in self.folders.items()}
        outputs = without_extras(files["outputs"], files["targets"])
        if extras := [name for name in files["outputs"].names if name not in outputs.names]:
            self.reporter.say(f"left out, because 'enface apply' writes it beside outputs: {listed(extras)}")
            files["outputs"] = outputs
        self._matched = match(
            files["outputs"], files["targets"], files.get("sources"), options.key, subset=options.subset
        )
        self.about = label_table(self._matched, options.identity, options.labels, self._recipe.metrics)
        self._checked = check(self._matched, resize=options.resize, progress=self.checking)
        self.loaded.plugins.hook.fetch_requirements(
            loaded=self.loaded, kinds=("mask", "metric"), reporter=self.reporter
        )
        self._build()
        resized = [role for role, sizes in self._checked.resized.items() if sizes]
        self._reader = PairReader(self._matched, self._checked.size, resized, THREADS)
        self._shards = ScoreShards(self.folder / WORK, self._checked.stamps, self._settings())

    def __len__(self) -> int:
        return len(self._matched)

    @property
    def begun(self) -> bool:
        """True if an earlier call was interrupted."""
        return self._shards.begun

    @property
    def measured(self) -> int:
        """The number of images that earlier calls measured with the same settings."""
        return len(self) - sum(len(self._shards.rows[number]) for number in self._shards.missing())

    def __call__(self, progress: Progress | None = None) -> Summary:
        """Measure the images that are not measured yet, and write tables, pictures and the summary.

        Args:
            progress: Called with the number of images measured, and of all images.

        Returns:
            Contents of ``summary.json``.

        Raises:
            DataError: if an image cannot be decoded or a result cannot be written, naming it, or if every source is
                its target. Numbers of images measured before are kept.
        """
        work = claim(self.folder, self.folders)
        self._measure_missing(progress or (lambda done, total: None))
        images = (OUTPUT,) if self._matched.sources is None else (OUTPUT, "source")
        scores = {image: self._shards.load(image) for image in images}
        kept, self_pairs = self._without_self_pairs(scores[OUTPUT].digests)
        try:
            # An interruption here must not leave an earlier summary beside new pictures.
            (self.folder / SUMMARY).unlink(missing_ok=True)
            self._write_pictures(kept)
            summary = self._write_results(scores, kept, self_pairs)
        except OSError as error:
            raise DataError(f"cannot write into {self.folder} ({error.strerror or error})") from error
        shutil.rmtree(work, ignore_errors=True)
        return summary

    # ------------------------------------------------------------------ measuring

    def _build(self) -> None:
        """Build metrics and regions for the size of the targets."""
        (width, height), loaded = self._checked.size, self.loaded
        masked = [name for name, spec in self._recipe.metrics.items() if spec.mask is not None]
        if masked and width != height:
            place = loaded.place(("metrics", masked[0], "mask"))
            raise RecipeError(f"{place}: a mask is square, but the images are {width} x {height} px; use a region")
        # The smaller side is what a metric may find too small.
        info = DataInfo((height, width))
        optional = default_metrics(loaded.catalog) if self.options.metrics is None else ()
        metrics, self.unavailable = build_metrics(loaded, info, optional)
        for name in [name for name, metric in metrics.items() if metric.requests]:
            self.unavailable[name] = f"it requests {metrics.pop(name).requests[0]!r}, which image files lack"
        if not metrics:
            reasons = "\n  ".join(f"{name}: {reason}" for name, reason in self.unavailable.items())
            raise EnfaceError(f"no metric can be measured:\n  {reasons}")
        regions, missing = build_regions(loaded, info, ["target"], (height, width))
        self.metrics = {name: metric.to(self._device) for name, metric in metrics.items()}
        self._regions = {name: region.to(self._device) for name, region in regions.items()}
        self.unavailable |= missing
        self._measure = Measure(self.metrics, digests=True)

    def _measure_missing(self, progress: Progress) -> None:
        """Measure and write the shards that are missing."""
        missing = self._shards.missing()
        done = len(self) - sum(len(self._shards.rows[number]) for number in missing)
        batches = [(number, rows) for number in missing for rows in self._batches(number)]
        scores: dict[str, list[BatchScores]] = {}
        for (number, rows), images in zip(batches, self._reader(rows for _, rows in batches), strict=True):
            for image, of_batch in self._measure_batch(images).items():
                scores.setdefault(image, []).append(of_batch)
            done += len(rows)
            if rows.stop == self._shards.rows[number].stop:
                self._shards.save(number, {image: join_batches(of_image) for image, of_image in scores.items()})
                scores = {}
            progress(done, len(self))

    def _batches(self, number: int) -> Iterator[range]:
        rows = self._shards.rows[number]
        for start in range(rows.start, rows.stop, self._batch_size):
            yield range(start, min(start + self._batch_size, rows.stop))

    def _measure_batch(self, images: Mapping[str, Tensor]) -> dict[str, BatchScores]:
        """Measure ``output`` and, if there is one, ``source``."""
        columns = {name: image.to(self._device) for name, image in images.items()}
        target, source = columns.pop("target"), columns.get("source")
        regions, undetected = region_weights(self._regions, {"target": 2 * target - 1}.__getitem__)
        scores: dict[str, BatchScores] = {}
        try:
            for name, image in columns.items():
                features = scores[OUTPUT].targets if scores else None
                scores[name] = self._measure.batch(
                    image, target, regions, undetected=undetected, source=source, target_features=features
                )
            return scores
        except torch.OutOfMemoryError as error:
            raise EnfaceError(
                f"{len(target)} images do not fit into the memory of {self._device}; give a smaller --batch"
            ) from error

    @property
    def _batch_size(self) -> int:
        width, height = self._checked.size
        return self._recipe.evaluation.batch or batch_for(self._device, width * height)

    def _settings(self) -> str:
        """Return a text that changes if the same images would be measured differently."""
        cards = {name: [type(metric).__module__, card_of(metric)] for name, metric in self.metrics.items()}
        regions = {name: self._recipe.evaluation.regions[name].model_dump(mode="json") for name in self._regions}
        return json.dumps([SIDES, cards, self._checked.size, regions, self._resizing()], sort_keys=True)

    def _resizing(self) -> dict[str, str]:
        """Describe, for each role whose images are resized, how."""
        width, height = self._checked.size
        method = f"to {width} x {height} px, bicubic, antialiased, 8 bits (Pillow {PIL.__version__})"
        resizing = {}
        for role, sizes in self._checked.resized.items():
            if sizes:
                before = f"{sizes[0][0]} x {sizes[0][1]}" if len(sizes) == 1 else f"{len(sizes)} sizes"
                resizing[role] = f"{before} {method}"
        return resizing

    # ------------------------------------------------------------------ results

    def _without_self_pairs(self, digests: Mapping[str, Digests]) -> tuple[Indices, SelfPairs | None]:
        """The outputs to count: without those whose source has the pixels of their target, unless options say so."""
        if "source" not in digests:
            return np.arange(len(self)), None
        return without_self_pairs(
            digests["source"] == digests["target"],
            measured=self.options.self_pairs,
            refusal="every source is the target of its output; measure such pairs with --self-pairs",
        )

    def _write_results(
        self, measured: Mapping[str, BatchScores], kept: Indices, self_pairs: SelfPairs | None
    ) -> Summary:
        about = self.about.iloc[kept].reset_index(drop=True)
        batches = {image: select_rows(scores, kept) for image, scores in measured.items()}
        identities = about["identity"].to_numpy()
        baselines = {image: self._measure.gather([batch], identities) for image, batch in batches.items()}
        scores = baselines.pop(OUTPUT)
        summary = Summarizer(
            about,
            scores,
            baselines,
            self.metrics,
            networks=metric_networks(self.loaded),
        ).summary(
            kind="pairs",
            name=self.folder.resolve().name,
            split=None,
            self_pairs=self_pairs,
            step=None,
            checkpoint=None,
            unavailable=self.unavailable,
            caveats=[*self._caveats(scores), *_repeated(about, batches[OUTPUT].digests), *scores.caveats],
        )
        for metric in summary.all_metrics.values():
            metric.card |= {f"resized {role}": how for role, how in self._resizing().items()}
        write_results(self.folder, about, scores, baselines, summary)
        return summary

    def _write_pictures(self, rows: Indices) -> None:
        """Write pictures of the first of some images, and a grid of images spread evenly over all of them."""
        shown = rows[: self.options.pictures].tolist()
        writer = PictureWriter(self.folder, len(shown), sources=self._matched.sources is not None)
        size = self._batch_size
        for images in self._reader(shown[start : start + size] for start in range(0, len(shown), size)):
            writer.add(images)
        writer.close()
        places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), GRID)).round().astype(int))
        columns = list(self._reader([row] for row in rows[places].tolist()))
        lines = [
            [to_pixels(images[name])[0] for images in columns]
            for name in ("source", "output", "target")
            if name in columns[0]
        ]
        Image.fromarray(grid(lines, gap=2, border=2)).save(self.folder / "grid.png")

    def _caveats(self, scores: Scores) -> list[str]:
        caveats = []
        width, height = self._checked.size
        for role, sizes in self._checked.resized.items():
            if sizes:
                caveats.append(f"The {role} were resized before they were measured: {self._resizing()[role]}.")
            if any(abs(wide * height / (high * width) - 1) > MAX_STRETCH for wide, high in sizes):
                caveats.append(f"Some {role} have another aspect ratio than their targets and were stretched.")
        caveats += [
            f"{count} of the {role} are JPEG files: the loss of that format is part of the numbers."
            for role, count in self._checked.lossy.items()
            if count
        ]
        caveats += [
            f"{count} {role} have no output and were skipped." for role, count in self._matched.unused.items() if count
        ]
        empty = [str(name) for name in scores.images.columns if scores.images[name].isna().all()]
        caveats += [f"{name} could not be measured on any image." for name in empty]
        return caveats


def _repeated(about: pd.DataFrame, digests: Mapping[str, Digests]) -> list[str]:
    """A caveat if targets that occur more than once count as several people."""
    targets, people = len(np.unique(digests["target"])), about["identity"].nunique()
    if targets >= people:
        return []
    return [
        f"The targets are {targets} different images, but count as {people} people, so intervals are too narrow; "
        "give --identity."
    ]
