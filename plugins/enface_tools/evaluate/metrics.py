"""Base classes of metrics, the kind of component that this tool brings."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from enface.plugin.bases import Component
from enface.plugin.schema import requested_arguments
from enface_tools.evaluate.direction import Direction


class Metric(nn.Module, Component):
    """A number per image: ``forward(output, target)`` of float32 (N, C, H, W) in [0, 1] -> (N,).

    Further argument names of ``forward`` are requests, as for losses: values that the generator provides, or columns of
    the batch. Without one of them the metric is unavailable; baselines, which no generator made, have no such metric.

    ``__init__`` raises :class:`~enface.errors.WeightsError` if weights are missing; the report then shows the
    reason in place of numbers.

    Attributes:
        higher_is_better: True if better outputs have higher numbers.
        ideal: Number of a perfect output, if a number may be too high as well as too low; else None.
        bounds: Lowest and highest possible number, if there are bounds.
        unit: Unit of its numbers, as ``dB``; empty for a pure number.
        default: True if it is measured when a recipe or command names no metrics.
    """

    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float | None] = None
    bounds: ClassVar[tuple[float, float] | None] = None
    unit: ClassVar[str] = ""
    default: ClassVar[bool] = False

    @cached_property
    def requests(self) -> tuple[str, ...]:
        """Names that it requests beside ``output`` and ``target``: its further arguments without a default."""
        arguments = list(requested_arguments(self.forward).items())[2:]
        return tuple(name for name, parameter in arguments if parameter.default is parameter.empty)

    @property
    def direction(self) -> Direction:
        """The direction in which values are better."""
        return Direction(self.higher_is_better, self.ideal)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the metric at each pixel, (N, C, H, W), if it is a mean over pixels; ``mask`` in a recipe needs it."""
        raise NotImplementedError(f"{type(self).__name__}.map")

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Return the metric over regions of each image; by default the weighted mean of its map.

        Args:
            weights: float32 (N or 1, R, H, W), >= 0; R regions at once, so that shared features are computed only once.

        Returns:
            (N, R); NaN for an image whose weights are 0 everywhere in a region.
        """
        return weighted_mean(self.map(output, target), weights)

    @property
    def has_regional(self) -> bool:
        """True if the metric can measure regions of an image (:meth:`regional`)."""
        return type(self).map is not Metric.map or type(self).regional is not Metric.regional

    @property
    def card(self) -> dict[str, str]:
        """Facts that must agree for two numbers to be comparable: implementation, version, digest of weights, crop."""
        raise NotImplementedError(f"{type(self).__name__}.card")

    @property
    def fallback_words(self) -> tuple[str, str]:
        """Two clauses for the caveat on images with a fallback: what failed in them, and the effect on the numbers."""
        return "", ""

    def fallback(self, image: Tensor) -> Tensor | None:
        """Return (N,), True for each image that the metric treats otherwise, such as one without a detected face.

        Evaluation counts them in a caveat, by pose. None, the default, if there are no such images.
        """
        return None

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of a map over each image.

    Args:
        values: (N, C, h, w); if it is smaller than the weights, these are averaged down to its size.
        weights: (N or 1, R, H, W), >= 0.

    Returns:
        (N, R); NaN for an image whose weights are 0 everywhere.
    """
    each = values.mean(1, keepdim=True)
    weights = nn.functional.interpolate(weights, each.shape[-2:], mode="area")
    return (each * weights).flatten(2).sum(2) / weights.flatten(2).sum(2)


class FeatureMetric(Metric):
    """Base class of metrics on features of whole images.

    There is no ``forward``, because the features of all outputs and targets are gathered first.
    """

    def features(self, image: Tensor) -> Tensor:
        """Return features of images in [0, 1], float32 (N, C, H, W) -> float32 (N, D).

        NaN for an image without features, which a :class:`GalleryMetric` leaves out.
        """
        raise NotImplementedError(f"{type(self).__name__}.features")

    def caveat(self, outputs: int, references: int) -> str:
        """Return a sentence to read before the number, if it has too few images; by default an empty one.

        Its subject, the metric's name, is put before it.

        Args:
            references: Number of distinct targets, or of people in the gallery.
        """
        return ""


class SetMetric(FeatureMetric):
    """One number for all outputs, compared with all targets. Each distinct target counts once.

    Attributes:
        min_images: Minimum number of outputs, and of distinct targets.
    """

    min_images: ClassVar[int] = 2

    def distance(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> float:
        """Return the number for features (N, D) and (M, D) of independent images."""
        raise NotImplementedError(f"{type(self).__name__}.distance")

    def clustered_distance(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        targets: npt.NDArray[np.float32],
        target_identities: npt.NDArray[Any],
    ) -> float:
        """Return the number for features (N, D) and (M, D) of known people; by default :meth:`distance`.

        Override it if images of one person, which are not independent, bias the number.

        Args:
            identities: (N,), the person in each output.
            target_identities: (M,).
        """
        return self.distance(outputs, targets)


class GalleryMetric(FeatureMetric):
    """A number per image from matching it against a gallery, the first target of each identity that has features.

    Outputs that were made from their own person's gallery image are not matched and have no number.

    Attributes:
        min_people: Minimum number of people in the gallery.
        pooled: True if an image's number depends on other probes, as by a threshold on the scores of all.
    """

    min_people: ClassVar[int] = 2
    pooled: ClassVar[bool] = False

    def matched(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        gallery: npt.NDArray[np.float32],
        gallery_identities: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        """Return the numbers, (N,); all NaN if there are too few scores, which :meth:`caveat` then states.

        Args:
            outputs: Features of the probes, (N, D), of ``identities`` (N,).
            gallery: Features of the gallery, (G, D), of ``gallery_identities`` (G,).
        """
        raise NotImplementedError(f"{type(self).__name__}.matched")
