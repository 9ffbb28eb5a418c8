"""Metrics over batches of images, over regions of them, and over the whole set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from enface_tools.evaluate.features import Digests, FeatureSet, Flags, Numbers, digests
from enface_tools.evaluate.metrics import FeatureMetric, GalleryMetric, Metric, SetMetric
from enface_tools.evaluate.results import AT, Scores

# On a CPU, a batch should fit into the cache; much smaller batches are slowed by weights and kernel launches.
BATCH_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 20}
MAX_BATCH = 64

Array = TypeVar("Array", Flags, Numbers)


@dataclass
class BatchScores:
    """Metrics of a batch of N images; small enough to keep, or to write to disk.

    Attributes:
        numbers: For each metric, and ``METRIC@REGION``, float32 (N,); NaN if an image has no such region.
        outputs: For each feature metric, the features of the outputs, float32 (N, D).
        targets: The features of the targets, likewise.
        digests: Digests of the pixels of each ``target`` and, if known, ``source``, (N,); empty if nothing needs them.
        fallbacks: For metrics with a fallback, True for each output and target that needed it, (N, 2).
        undetected: For regions that are searched for, True for each image in whose target nothing was found, (N,).
        shares: Each layer's share of every image, (N, L), and by name of each region, if the generator has layers.
    """

    numbers: dict[str, Numbers] = field(default_factory=dict)
    outputs: dict[str, Numbers] = field(default_factory=dict)
    targets: dict[str, Numbers] = field(default_factory=dict)
    digests: dict[str, Digests] = field(default_factory=dict)
    fallbacks: dict[str, Flags] = field(default_factory=dict)
    undetected: dict[str, Flags] = field(default_factory=dict)
    shares: dict[str, Numbers] = field(default_factory=dict)


class Measure:
    """Measures outputs against targets, both rounded to the bits of the data.

    A saved image has these, so an output has the same numbers before and after it is saved.

    Args:
        metrics: By name, built and on the device of the images.
        depth: Bits per sample, 8 or 16.
        digests: Digest the pixels of targets and sources even if no metric compares features.
    """

    def __init__(self, metrics: Mapping[str, Metric], *, depth: int = 8, digests: bool = False) -> None:
        self.metrics = dict(metrics)
        self._depth = depth
        self._digests = digests or any(isinstance(metric, FeatureMetric) for metric in metrics.values())

    @torch.no_grad()
    def batch(
        self,
        output: Tensor,
        target: Tensor,
        regions: Mapping[str, Tensor] | None = None,
        *,
        undetected: Mapping[str, Tensor] | None = None,
        source: Tensor | None = None,
        target_features: Mapping[str, Numbers] | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> BatchScores:
        """Measure a batch.

        Args:
            output: float (N, C, H, W) in [0, 1]; ``target`` likewise.
            regions: Weights (N or 1, 1, H, W) >= 0 of each region, by name.
            undetected: :attr:`BatchScores.undetected`.
            source: The images that the outputs were made from, like ``output``, if known.
            target_features: :attr:`BatchScores.targets` of another batch with the same targets, to compute them once.
            values: Further values that metrics request; a metric is left out without its own.
        """
        values = values or {}
        scores = BatchScores(undetected={name: flags.cpu().numpy() for name, flags in (undetected or {}).items()})
        output, target = rounded(output, self._depth), rounded(target, self._depth)
        if self._digests:
            images = {"target": target} if source is None else {"target": target, "source": source}
            scores.digests = {name: digests(of_role, self._depth) for name, of_role in images.items()}
        for name, metric in self.metrics.items():
            if not values.keys() >= {*metric.requests}:
                continue
            outputs, targets = metric.fallback(output), metric.fallback(target)
            if outputs is not None and targets is not None:
                scores.fallbacks[name] = torch.stack([outputs, targets], 1).cpu().numpy()
            if isinstance(metric, FeatureMetric):
                scores.outputs[name] = _array(metric.features(output))
                known = target_features
                scores.targets[name] = _array(metric.features(target)) if known is None else known[name]
                continue
            scores.numbers[name] = _array(
                metric(output, target, **{item: values[item].float() for item in metric.requests})
            )
            if regions and metric.has_regional:
                scores.numbers |= _by_region(metric, name, output, target, regions)
        return scores

    def gather(self, batches: Iterable[BatchScores], identities: npt.NDArray[np.object_] | None = None) -> Scores:
        """Join batches, in order, and compute the metrics that need all images.

        Args:
            identities: Of each image, (N,). Default: every target shows a different person.
        """
        batches = list(batches)
        columns = {
            name: _joined([batch.numbers[name] for batch in batches])
            for name in (batches[0].numbers if batches else ())
        }
        sets: dict[str, float] = {}
        caveats: list[str] = []
        for name, metric in self.metrics.items():
            if not isinstance(metric, (SetMetric, GalleryMetric)):
                continue
            images = _feature_set(name, batches, identities)
            if isinstance(metric, SetMetric):
                sets[name] = images.distance(metric)
            else:
                columns[name] = images.matched(metric)
            caveats += [f"{name} {sentence}" for sentence in images.caveats(metric)]
        # In the order of the metrics, each followed by its regions.
        order = [column for name in self.metrics for column in columns if column.partition(AT)[0] == name]
        fallbacks = _joined_by_name([batch.fallbacks for batch in batches])
        undetected = _joined_by_name([batch.undetected for batch in batches])
        shares = _joined_by_name([batch.shares for batch in batches])
        table = pd.DataFrame({name: columns[name] for name in order})
        return Scores(table, sets, caveats, fallbacks, undetected, shares)


def _feature_set(metric: str, batches: Sequence[BatchScores], identities: npt.NDArray[np.object_] | None) -> FeatureSet:
    targets = np.concatenate([batch.digests["target"] for batch in batches])
    sources = [batch.digests["source"] for batch in batches if "source" in batch.digests]
    return FeatureSet(
        outputs=_joined([batch.outputs[metric] for batch in batches]),
        targets=_joined([batch.targets[metric] for batch in batches]),
        people=targets if identities is None else identities.astype(str),
        target_digests=targets,
        source_digests=np.concatenate(sources) if sources else None,
    )


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


def rounded(image: Tensor, depth: int = 8) -> Tensor:
    """An image in [0, 1] as float32, rounded to 8 or 16 bits, half up, as saving it does."""
    levels = 2**depth - 1
    return image.float().mul(levels).add(0.5).floor().clamp(0, levels).div(levels)


def card_of(metric: Metric, depth: int = 8) -> dict[str, str]:
    """A metric's card with the rounding that all metrics share."""
    return {**metric.card, "rounding": f"output and target to {depth} bits"}


def _joined(arrays: list[Numbers]) -> Numbers:
    # Features of many images are large; a single array is not copied.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _joined_by_name(batches: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in (batches[0] if batches else ())}


def _array(values: Tensor) -> Numbers:
    array: Numbers = values.float().cpu().numpy()
    return array
