"""Metrics over batches of images, over regions of them, and over the whole set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from enface_tools.evaluate.metrics import FeatureMetric, GalleryMetric, Metric, SetMetric
from enface_tools.evaluate.results import AT, Scores

Numbers = npt.NDArray[np.float32]
# On a CPU, a batch should fit into the cache; much smaller batches are slowed by weights and kernel launches.
BATCH_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 20}
MAX_BATCH = 64


@dataclass
class BatchScores:
    """Metrics of a batch of N images; small enough to keep, or to write to disk.

    Attributes:
        numbers: For each metric, and ``METRIC@REGION``, float32 (N,); NaN if an image has no such region.
        outputs: For each feature metric, the features of the outputs, float32 (N, D).
        targets: The features of the targets, likewise.
    """

    numbers: dict[str, Numbers] = field(default_factory=dict)
    outputs: dict[str, Numbers] = field(default_factory=dict)
    targets: dict[str, Numbers] = field(default_factory=dict)


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
        target_features: Mapping[str, Numbers] | None = None,
    ) -> BatchScores:
        """Measure a batch.

        Args:
            output: float (N, 3, H, W) in [0, 1]; ``target`` likewise.
            regions: Weights (N or 1, 1, H, W) >= 0 of each region, by name.
            target_features: :attr:`BatchScores.targets` of another batch with the same targets, to compute them once.
        """
        scores = BatchScores()
        output, target = output.float(), target.float()
        for name, metric in self.metrics.items():
            if isinstance(metric, FeatureMetric):
                scores.outputs[name] = _array(metric.features(output))
                known = target_features
                scores.targets[name] = _array(metric.features(target)) if known is None else known[name]
                continue
            scores.numbers[name] = _array(metric(output, target))
            if regions and metric.has_regional:
                scores.numbers |= _by_region(metric, name, output, target, regions)
        return scores

    def gather(self, batches: Iterable[BatchScores], identities: npt.NDArray[np.object_] | None = None) -> Scores:
        """Join batches, in order, and compute the metrics that need all images.

        Args:
            identities: Of each image, (N,). Default: every image shows a different person.
        """
        batches = list(batches)
        columns = {
            name: _joined([batch.numbers[name] for batch in batches])
            for name in (batches[0].numbers if batches else ())
        }
        sets: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if not isinstance(metric, FeatureMetric):
                continue
            outputs = _joined([batch.outputs[name] for batch in batches])
            targets = _joined([batch.targets[name] for batch in batches])
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
        return Scores(pd.DataFrame({name: columns[name] for name in order}), sets)


def _by_region(
    metric: Metric, name: str, output: Tensor, target: Tensor, regions: Mapping[str, Tensor]
) -> dict[str, Numbers]:
    weights = torch.cat([item.to(output).expand(len(output), -1, -1, -1) for item in regions.values()], dim=1)
    # An empty region has no number, whatever the metric returns for it.
    present = (weights > 0).flatten(2).any(2)
    numbers = torch.where(present, metric.regional(output, target, weights), torch.nan)
    return {f"{name}{AT}{region}": _array(values) for region, values in zip(regions, numbers.T, strict=True)}


def batch_for(device: torch.device, pixels: int) -> int:
    """Batch size for images of ``pixels`` pixels."""
    return max(1, min(MAX_BATCH, BATCH_PIXELS.get(device.type, BATCH_PIXELS["cpu"]) // pixels))


def unit(image: Tensor) -> Tensor:
    """An image in [-1, 1] as float32 in [0, 1], clipped, as metrics expect it."""
    return ((image.float() + 1) / 2).clamp(0, 1)


def _joined(arrays: list[Numbers]) -> Numbers:
    # Features of many images are large; a single array is not copied.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _array(values: Tensor) -> Numbers:
    array: Numbers = values.float().cpu().numpy()
    return array
