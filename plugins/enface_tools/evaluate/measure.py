"""Metrics over batches of images, over parts of them, and over all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from enface.plugin.components import FeatureMetric, GalleryMetric, Metric, SetMetric

Numbers = npt.NDArray[np.float32]
# On a CPU what a batch needs should fit into its cache; smaller ones wait for weights and for starting each operation.
BATCH_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 20}
MOST_BATCH = 64
AT = "@"
"""Between a metric's name and a region's, in the name of a column."""


@dataclass
class Part:
    """What was found of a batch of N images; small enough to be kept, or written to disk.

    Attributes:
        numbers: For each metric, and ``METRIC@REGION``, float32 (N,); NaN where an image has no such region.
        outputs: For each metric of features, those of the outputs, float32 (N, D).
        targets: Likewise of the targets.
    """

    numbers: dict[str, Numbers] = field(default_factory=dict)
    outputs: dict[str, Numbers] = field(default_factory=dict)
    targets: dict[str, Numbers] = field(default_factory=dict)


@dataclass
class Measured:
    """What was found of all images.

    Attributes:
        images: A row an image, a column a metric and ``METRIC@REGION``.
        sets: For each set metric its number; NaN where there are too few images.
    """

    images: pd.DataFrame
    sets: dict[str, float]

    def mean(self, column: str) -> float:
        """The mean over the images that have such a number; NaN when none has."""
        return float(self.images[column].mean())


class Measure:
    """Measures outputs against targets.

    Args:
        metrics: By name, built and on the device of the images.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = dict(metrics)

    @torch.no_grad()
    def batch(
        self,
        output: Tensor,
        target: Tensor,
        regions: Mapping[str, Tensor] | None = None,
        *,
        seen: Mapping[str, Numbers] | None = None,
    ) -> Part:
        """What the metrics say of a batch.

        Args:
            output: float (N, 3, H, W) in [0, 1]; ``target`` likewise.
            regions: Weights (N or 1, 1, H, W) >= 0 of each region by its name.
            seen: The :attr:`Part.targets` of another batch that had the same targets.
        """
        part = Part()
        output, target = output.float(), target.float()
        for name, metric in self.metrics.items():
            if isinstance(metric, FeatureMetric):
                part.outputs[name] = _plain(metric.features(output))
                part.targets[name] = _plain(metric.features(target)) if seen is None else seen[name]
                continue
            part.numbers[name] = _plain(metric(output, target))
            if regions and metric.has_regional:
                part.numbers |= _by_region(metric, name, output, target, regions)
        return part

    def gather(self, parts: Iterable[Part], identities: npt.NDArray[np.object_] | None = None) -> Measured:
        """All parts as one, in their order.

        Args:
            identities: Of each image, (N,); each image is somebody else unless given.
        """
        found = list(parts)
        columns = {
            name: _joined([part.numbers[name] for part in found]) for name in (found[0].numbers if found else ())
        }
        sets: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if not isinstance(metric, FeatureMetric):
                continue
            outputs, targets = (
                _joined([getattr(part, side)[name] for part in found]) for side in ("outputs", "targets")
            )
            if isinstance(metric, SetMetric):
                enough = len(outputs) >= metric.min_images
                sets[name] = float(metric.distance(outputs, targets)) if enough else float("nan")
            elif isinstance(metric, GalleryMetric):
                people = np.arange(len(outputs)) if identities is None else identities.astype(str)
                _, first = np.unique(people, return_index=True)
                first.sort()
                columns[name] = metric.matched(outputs, people, targets[first], people[first])
        # In the order of the metrics, each followed by its regions.
        order = [column for name in self.metrics for column in columns if column.partition(AT)[0] == name]
        return Measured(pd.DataFrame({name: columns[name] for name in order}), sets)


def _by_region(
    metric: Metric, name: str, output: Tensor, target: Tensor, regions: Mapping[str, Tensor]
) -> dict[str, Numbers]:
    weights = torch.cat([item.to(output).expand(len(output), -1, -1, -1) for item in regions.values()], dim=1)
    # What a metric gives where there is nothing to measure is not for it to decide.
    there = (weights > 0).flatten(2).any(2)
    found = torch.where(there, metric.regional(output, target, weights), torch.nan)
    return {f"{name}{AT}{region}": _plain(values) for region, values in zip(regions, found.T, strict=True)}


def batch_for(device: torch.device, pixels: int) -> int:
    """How many images of so many pixels are measured at a time."""
    return max(1, min(MOST_BATCH, BATCH_PIXELS.get(device.type, BATCH_PIXELS["cpu"]) // pixels))


def unit(image: Tensor) -> Tensor:
    """An image in [-1, 1] as metrics see it: float32 in [0, 1], clipped."""
    return ((image.float() + 1) / 2).clamp(0, 1)


def _joined(parts: list[Numbers]) -> Numbers:
    # Features of many images are large; what is whole already is not copied.
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _plain(values: Tensor) -> Numbers:
    found: Numbers = values.float().cpu().numpy()
    return found
