"""Outputs of any system measured against their targets, a few images in memory at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import PIL
import torch
from torch import Tensor
from torchvision.utils import save_image

from enface.errors import DataError, EnfaceError
from enface.plugin.catalog import Catalog
from enface_tools.evaluate.measure import Measure, Measured, Part, batch_for
from enface_tools.evaluate.results import SUMMARY, PictureWriter, write_results
from enface_tools.evaluate.summary import Summary
from enface_tools.pairs import labels
from enface_tools.pairs import metrics as choosing
from enface_tools.pairs import output as places
from enface_tools.pairs import regions as parts
from enface_tools.pairs.checks import check
from enface_tools.pairs.files import scan
from enface_tools.pairs.matching import match
from enface_tools.pairs.metrics import Built
from enface_tools.pairs.reader import Reader
from enface_tools.pairs.shards import OUTPUT, Shards, joined

THREADS = min(8, os.cpu_count() or 1)
GRID = 12
SKEWED = 0.01
"""Two sides' ratios that differ by less are the same shape, rounded to whole pixels."""

Progress = Callable[[int, int], None]


class Regions(Protocol):
    """Parts of the images to be measured by themselves.

    Attributes:
        about: Text that changes when the same images would be given other weights.
    """

    about: str

    def __call__(self, target: Tensor) -> Mapping[str, Tensor]:
        """Weights (N or 1, 1, H, W) >= 0 of each region by its name, for targets (N, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Options:
    """How folders are matched and measured.

    Attributes:
        metrics: Names; the usual ones unless given.
        overrides: ``metrics.NAME.KEY=VALUE``, and ``regions.NAME.KEY=VALUE`` for parts of the images.
        key: A regular expression whose group 1 an output's name and its target's have in common.
        identity: A regular expression whose group 1 says whose image an output is.
        labels: A CSV file of what else is known.
        subset: Allow targets and sources without an output.
        resize: Bring outputs and sources to the targets' size.
        batch: Images at a time; by their size unless given.
        pictures: Of how many images pictures are written.
        bootstrap: Resamples for the intervals.
        regions: Parts of the images to be measured by themselves.
    """

    metrics: Sequence[str] | None = None
    overrides: Sequence[str] = ()
    key: str | None = None
    identity: str | None = None
    labels: Path | None = None
    subset: bool = False
    resize: bool = False
    batch: int | None = None
    pictures: int = 1000
    bootstrap: int = 1000
    seed: int = 0
    regions: Regions | None = None


@dataclass
class FolderEvaluation:
    """Outputs in one folder, measured against targets in another.

    Everything is checked when it is made; nothing is written or decoded before :meth:`__call__`.

    Args:
        folders: ``outputs``, ``targets`` and perhaps ``sources``.
        out: Where results go; ``evaluations/NAME`` of the outputs' folder unless given.
        checking: Told how many headers are read, of how many.

    Raises:
        DataError: when images do not belong together or cannot be measured, naming them.
        RecipeError: when a metric or a parameter is not known.
    """

    folders: Mapping[str, Path]
    out: Path | None
    catalog: Catalog
    device: torch.device
    options: Options = field(default_factory=Options)
    checking: Progress | None = None

    folder: Path = field(init=False)
    about: pd.DataFrame = field(init=False)
    built: Built = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        of_regions = [item for item in options.overrides if item.startswith(parts.SETS)]
        others = [item for item in options.overrides if item not in of_regions]
        chosen = choosing.choose(self.catalog, options.metrics, others)
        places.check_folders(self.folders)
        self.folder = places.results_folder(self.out, self.folders)
        found = {role: scan(path, role) for role, path in self.folders.items()}
        self._matched = match(
            found["outputs"], found["targets"], found.get("sources"), options.key, subset=options.subset
        )
        self.about = labels.about(self._matched, options.identity, options.labels, chosen)
        self._checked = check(self._matched, resize=options.resize, progress=self.checking)
        self.built = choosing.build(self.catalog, chosen, self._checked.size)
        metrics = {name: metric.to(self.device) for name, metric in self.built.metrics.items()}
        regions, missing = parts.build_regions(self.catalog, of_regions, self._checked.size)
        self.built = replace(self.built, metrics=metrics, unavailable={**self.built.unavailable, **missing})
        if regions is not None:
            self.options = replace(options, regions=regions)
        self._measure = Measure(metrics)
        self._reader = Reader(
            self._matched, self._checked.size, [role for role, sizes in self._checked.resized.items() if sizes], THREADS
        )
        self._shards = Shards(self.folder / places.WORK, self._checked.stamps, self._settings())

    def __len__(self) -> int:
        return len(self._matched)

    @property
    def begun(self) -> bool:
        """Whether an earlier call was interrupted."""
        return self._shards.begun

    @property
    def measured(self) -> int:
        """How many images earlier calls measured, just as this one would."""
        missing = set(self._shards.missing())
        return sum(len(rows) for number, rows in enumerate(self._shards.rows) if number not in missing)

    def __call__(self, progress: Progress | None = None) -> dict[str, Any]:
        """Measure what is not measured yet, and write tables, pictures and the summary.

        Args:
            progress: Told how many images are measured, of how many.

        Returns:
            What ``summary.json`` holds.

        Raises:
            DataError: when an image cannot be decoded, or a result not be written, naming it. What was measured
                before is kept.
        """
        work = places.claim(self.folder, self.folders)
        self._fill(progress or (lambda done, total: None))
        try:
            # An earlier summary would stand beside new pictures if this were interrupted.
            (self.folder / SUMMARY).unlink(missing_ok=True)
            self._pictures()
            summary = self._write()
        except OSError as error:
            raise DataError(f"cannot write into {self.folder} ({error.strerror or error})") from error
        shutil.rmtree(work, ignore_errors=True)
        return summary

    # ------------------------------------------------------------------ measuring

    def _fill(self, progress: Progress) -> None:
        """Measure the shards that are missing."""
        missing = self._shards.missing()
        done = len(self) - sum(len(self._shards.rows[number]) for number in missing)
        numbers = iter(missing)
        parts: dict[str, list[Part]] = {}
        number = -1
        for rows, images in self._reader(rows for number in missing for rows in self._batches(number)):
            if not parts:
                number = next(numbers)
            for owner, part in self._batch(images).items():
                parts.setdefault(owner, []).append(part)
            done += len(rows)
            if rows.stop == self._shards.rows[number].stop:
                self._shards.save(number, {owner: joined(found) for owner, found in parts.items()})
                parts = {}
            progress(done, len(self))

    def _batches(self, number: int) -> Iterator[range]:
        rows = self._shards.rows[number]
        for start in range(rows.start, rows.stop, self._batch_size):
            yield range(start, min(start + self._batch_size, rows.stop))

    def _batch(self, images: Mapping[str, Tensor]) -> dict[str, Part]:
        there = {name: image.to(self.device) for name, image in images.items()}
        target = there.pop("target")
        regions = None if self.options.regions is None else self.options.regions(target)
        found: dict[str, Part] = {}
        try:
            for owner, image in there.items():
                seen = found[OUTPUT].targets if found else None
                found[owner] = self._measure.batch(image, target, regions, seen=seen)
            return found
        except torch.OutOfMemoryError as error:
            raise EnfaceError(
                f"{len(target)} images do not fit into the memory of {self.device}; give a smaller --batch"
            ) from error

    @property
    def _batch_size(self) -> int:
        width, height = self._checked.size
        return self.options.batch or batch_for(self.device, width * height)

    def _settings(self) -> str:
        """Text that changes when the same images would be measured differently."""
        cards = {name: [type(metric).__module__, metric.card] for name, metric in self._measure.metrics.items()}
        regions = None if self.options.regions is None else self.options.regions.about
        return json.dumps([cards, self._checked.size, regions, self._resizing()], sort_keys=True)

    def _resizing(self) -> dict[str, str]:
        """For each role whose images are resized, how."""
        width, height = self._checked.size
        found = {}
        for role, sizes in self._checked.resized.items():
            if sizes:
                was = f"{sizes[0][0]} x {sizes[0][1]}" if len(sizes) == 1 else f"{len(sizes)} sizes"
                found[role] = f"{was} to {width} x {height} px, bicubic, antialiased, 8 bits (Pillow {PIL.__version__})"
        return found

    # ------------------------------------------------------------------ results

    def _write(self) -> dict[str, Any]:
        identities = self.about["identity"].to_numpy()
        found = {owner: self._measure.gather([self._shards.load(owner)], identities) for owner in self._owners}
        measured, baselines = found.pop(OUTPUT), found
        numbers = Summary(
            self.about,
            measured,
            baselines,
            self._measure.metrics,
            networks=self.built.networks,
            bootstrap=self.options.bootstrap,
            seed=self.options.seed,
        ).numbers()
        for item in (*numbers["metrics"].values(), *numbers["sets"].values()):
            item["card"] = {**item["card"], **{f"resized {role}": how for role, how in self._resizing().items()}}
        summary = {
            **{"kind": "pairs", "name": self.folder.resolve().name, "split": None, "step": None, "checkpoint": None},
            **numbers,
            "unavailable": dict(self.built.unavailable),
            "cautions": self._cautions(measured),
        }
        write_results(self.folder, self.about, measured, baselines, summary)
        return summary

    @property
    def _owners(self) -> tuple[str, ...]:
        return (OUTPUT,) if self._matched.sources is None else (OUTPUT, "source")

    def _pictures(self) -> None:
        """Pictures of the first images, and a small one of some spread over all."""
        count = min(len(self), self.options.pictures)
        writer = PictureWriter(self.folder, count, sources=self._matched.sources is not None)
        size = self._batch_size
        for _, images in self._reader(range(start, min(start + size, count)) for start in range(0, count, size)):
            writer.add(images)
        writer.close()
        chosen = np.unique(np.linspace(0, len(self) - 1, min(len(self), GRID)).round().astype(int)).tolist()
        shown = [images for _, images in self._reader(range(row, row + 1) for row in chosen)]
        tiles = [images[name] for name in ("source", "output", "target") if name in shown[0] for images in shown]
        save_image(torch.cat(tiles), self.folder / "grid.png", nrow=len(chosen), padding=2)

    def _cautions(self, measured: Measured) -> list[str]:
        found = []
        for role, sizes in self._checked.resized.items():
            if sizes:
                found.append(f"The {role} were resized before they were measured: {self._resizing()[role]}.")
            width, height = self._checked.size
            if any(abs(wide * height / (high * width) - 1) > SKEWED for wide, high in sizes):
                found.append(f"Some {role} are of another shape than their targets and were stretched.")
        found += [
            f"{count} of the {role} are JPEG files: what that format lost is part of the numbers."
            for role, count in self._checked.lossy.items()
            if count
        ]
        found += [
            f"{count} {role} have no output and are left out." for role, count in self._matched.unused.items() if count
        ]
        empty = [str(name) for name in measured.images.columns if measured.images[name].isna().all()]
        found += [f"{name} could not be measured on any image." for name in empty]
        return found
