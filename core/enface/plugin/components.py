"""Base classes of everything a recipe can name with ``use:``.

A component's recipe name is its class name in snake case, its kind is the base class below, and its
keyword-only, typed ``__init__`` is its schema. Images are float tensors (N, 3, H, W) in [-1, 1] everywhere
in training; metrics see them in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn, optim

from enface.plugin.bases import Component as Component
from enface.plugin.bases import DataInfo as DataInfo
from enface.plugin.bases import Dataset as Dataset
from enface.plugin.bases import Row as Row
from enface.plugin.bases import Targets as Targets
from enface.plugin.direction import Direction
from enface.plugin.launchers import Launcher as Launcher


class Schedule(Component, ABC):
    """A number that depends on the step, counted from 0 at the start of the stage."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The value at ``step``."""

    @property
    def metric(self) -> str | None:
        """The metric of the recipe whose validation values it follows; None when it depends on the step alone."""
        return None

    def observe(self, value: float) -> None:
        """Take note of a validation value of ``metric``."""

    def state(self) -> dict[str, float]:
        """What it has noted, as a checkpoint keeps it."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from a :meth:`state`."""


class Constant(Schedule):
    """The same value at every step; a plain number in a recipe means this.

    Args:
        value: The value.
    """

    def __init__(self, *, value: float) -> None:
        self.value = value

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"value": 0.5}

    def __call__(self, step: int) -> float:
        return self.value


Schedulable = float | Schedule
"""Annotation of a parameter that may be a number or a schedule in a recipe; see :func:`as_schedule`."""


def as_schedule(value: Schedulable) -> Schedule:
    """Return ``value`` if it is a schedule, else a :class:`Constant` of it."""
    return value if isinstance(value, Schedule) else Constant(value=float(value))


Unit = Literal["", "per pixel", "per image", "per feature", "per patch", "per logit", "per batch"]
"""What one number of a loss's map belongs to."""


class Loss(nn.Module, Component):
    """A map of errors, never weighted and never reduced: the term masks, averages and weights it.

    ``forward``'s argument names are requests: columns of the batch (``source target partner pose ...``), what
    the generator provides (``output ...``), ``step``, or, for a term that is ``against:`` a discriminator,
    ``real_* fake_*`` of what that provides (``real_logits fake_features ...``). It runs in float32.

    Returns (from ``forward``): (N, C, H, W), or (N,).

    The attributes are what it claims; ``enface test-plugin`` holds it to them.

    Attributes:
        unit: What one number of the map belongs to; when empty, it is told from the map's shape.
        distance: It is 0 where output equals target, and nowhere less.
        non_negative: It is never below 0, as any distance.
        per_image: Each image's numbers depend on that image alone, so that a batch's mean is the mean of its halves'.
        deterministic: The same inputs give the same numbers.
        stateful: Its buffers change while it is used, and so belong into a checkpoint.
        uncompilable_reason: Why ``torch.compile`` cannot take it; empty when it can.
    """

    unit: ClassVar[Unit] = ""
    distance: ClassVar[bool] = False
    non_negative: ClassVar[bool] = False
    per_image: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    stateful: ClassVar[bool] = False
    uncompilable_reason: ClassVar[str] = ""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class CriticLoss(Loss):
    """A loss for a discriminator alone, such as a regulariser: :meth:`critic` is minimised by it.

    Its term must be ``against:`` that discriminator. Argument names are requests; beside ``real_* fake_*`` of what
    the discriminator provides there are ``real_image`` and ``fake_image`` (what it was shown, (N, 3, H, W)) and
    ``judge``, a function from images to what it provides, in float32 and differentiable twice.
    """

    def critic(self, *args: Any, **kwargs: Any) -> Tensor:
        """The discriminator's map of errors, to be minimised by it."""
        raise NotImplementedError(f"{type(self).__name__}.critic")


class AdversarialLoss(CriticLoss):
    """A two-player loss: ``forward`` is the generator's side and :meth:`critic` the discriminator's."""


class Augmentation(nn.Module, Component):
    """A random, differentiable change to the images (N, 3, H, W) in [-1, 1] that a discriminator is shown.

    It is applied to real and fake images alike, for the discriminator and for the generator, so that neither learns
    to make it (Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020).

    Attributes:
        adaptive: Whether :meth:`observe` is to be called.
    """

    adaptive: bool = False

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def observe(self, certainty: float) -> None:
        """Take note of the mean sign of the discriminator's answers to real images, in [-1, 1]."""


class Mask(nn.Module, Component):
    """Weights >= 0 over the image, (N or 1, 1, H, W); ``forward``'s argument names are requests, as a loss's."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class Generator(nn.Module, Component):
    """The network that makes the output.

    ``forward(wants, **columns)`` gets the set of names that active terms ask for and, by argument name, the
    batch's columns these need; it computes nothing else and returns at least the names in ``wants``.

    Attributes:
        provides: For each name it can compute, the columns of the batch that name is computed from.
        encoder_part: The part that turns an image into its code, one tensor (N, ...), where that is all that is done
            with the image: ``forward`` then takes the code as ``encoded_COLUMN`` in the column's place, and a stage
            that freezes the part may say ``cache_codes: true``. Empty where there is no such part.
        uncompilable_reason: Why ``torch.compile`` cannot take it; empty when it can.
    """

    encoder_part: ClassVar[str] = ""
    uncompilable_reason: ClassVar[str] = ""

    provides: Mapping[str, tuple[str, ...]] = MappingProxyType({"output": ("source",)})

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The parts that ``freeze:`` may name."""
        return {}

    # Open signatures, so that a subclass naming the columns it asks for is no override error to type checkers.
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class Discriminator(nn.Module, Component):
    """A network that judges images; ``forward``'s first argument is the image (N, 3, H, W).

    Further argument names are requests for columns of the batch (``source`` for a conditional critic).
    ``forward`` returns a dict holding the names in ``provides``: ``logits`` a tensor (or a tuple of tensors, one
    a scale), ``features`` a tuple of tensors.

    Attributes:
        provides: The names in what ``forward`` returns.
        once_differentiable_reason: Why no gradient penalty can be taken of it; empty when one can.
        uncompilable_reason: Why ``torch.compile`` cannot take it; empty when it can.
    """

    provides: tuple[str, ...] = ("logits", "features")
    once_differentiable_reason: ClassVar[str] = ""
    uncompilable_reason: ClassVar[str] = ""

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class Metric(nn.Module, Component):
    """A number for each image: ``forward(output, target)`` in [0, 1], float32 (N, 3, H, W) -> (N,).

    ``__init__`` raises :class:`~enface.errors.WeightsError` when weights it needs are missing; the report then
    says so and shows no number.

    Attributes:
        higher_is_better: Whether a better output has a higher number.
        ideal: The number of a perfect output, where one may be too high as well as too low; else None.
        bounds: The lowest and the highest number there can be, where there are such.
        default: Whether it is measured where none is asked for by name.
    """

    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float | None] = None
    bounds: ClassVar[tuple[float, float] | None] = None
    default: ClassVar[bool] = False

    @property
    def direction(self) -> Direction:
        """Which of its values are better."""
        return Direction(self.higher_is_better, self.ideal)

    def score(self, value: float) -> float:
        """A number that is higher where ``value``, one of this metric's, is better."""
        return self.direction.score(value)

    def map(self, output: Tensor, target: Tensor) -> Tensor:
        """The metric at each pixel, (N, C, H, W), where it is a mean of such; a recipe's ``mask`` needs it."""
        raise NotImplementedError(f"{type(self).__name__}.map")

    def regional(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The metric over parts of each image: the mean of its map, weighed. A metric may know better.

        Args:
            weights: float32 (N or 1, R, H, W), >= 0; R parts at once, for what they share is dear.

        Returns:
            (N, R); NaN for an image whose weights are 0 everywhere in that part.
        """
        return weighted_mean(self.map(output, target), weights)

    @property
    def has_regional(self) -> bool:
        """Whether it can measure a part of an image (:meth:`regional`)."""
        return type(self).map is not Metric.map or type(self).regional is not Metric.regional

    @property
    def card(self) -> dict[str, str]:
        """What makes two numbers comparable: implementation, version, weights' digest, data range, crop."""
        raise NotImplementedError(f"{type(self).__name__}.card")

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of a map over each image, weighed.

    Args:
        values: (N, C, h, w); where it is smaller than the weights, these are averaged down to it.
        weights: (N or 1, R, H, W), >= 0.

    Returns:
        (N, R); NaN for an image whose weights are 0 everywhere.
    """
    each = values.mean(1, keepdim=True)
    weights = nn.functional.interpolate(weights, each.shape[-2:], mode="area")
    return (each * weights).flatten(2).sum(2) / weights.flatten(2).sum(2)


class FeatureMetric(Metric):
    """A metric that looks at features of whole images; what it does with them its subclasses say.

    It has no ``forward``: the features of all outputs and targets are gathered first.
    """

    def features(self, image: Tensor) -> Tensor:
        """What it sees in images in [0, 1], float32 (N, 3, H, W) -> float32 (N, D)."""
        raise NotImplementedError(f"{type(self).__name__}.features")


class SetMetric(FeatureMetric):
    """One number for all outputs together, against all targets.

    Attributes:
        min_images: How many images there must be.
    """

    min_images: ClassVar[int] = 2

    def distance(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> float:
        """The number, of features (N, D) and (M, D)."""
        raise NotImplementedError(f"{type(self).__name__}.distance")


class GalleryMetric(FeatureMetric):
    """A number for each image, found by looking for it in a gallery: the first target of each identity."""

    def matched(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        gallery: npt.NDArray[np.float32],
        gallery_identities: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        """The numbers, (N,).

        Args:
            outputs: Features of what is looked for, (N, D), and ``identities`` (N,) whose they are.
            gallery: Features of where it is looked for, (G, D), and ``gallery_identities`` (G,).
        """
        raise NotImplementedError(f"{type(self).__name__}.matched")


class Optimizer(Component, ABC):
    """Builds an optimizer. Keyword parameters of ``__init__`` are its options in a recipe."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], lr: float) -> optim.Optimizer:
        """Return the optimizer.

        Its state must be tensors and numbers, so that a checkpoint can hold it. If it has methods ``train`` and
        ``eval``, as schedule-free optimizers do, the network is evaluated with the weights that ``eval`` puts in place.

        Args:
            groups: Parameter groups of torch.optim: ``params`` and options that go before those of the optimizer.
            lr: Learning rate at the first step. The trainer sets the ``lr`` of every group before each step.
        """


KINDS: Mapping[str, type] = {
    "loss": Loss,
    "mask": Mask,
    "discriminator": Discriminator,
    "augmentation": Augmentation,
    "schedule": Schedule,
    "generator": Generator,
    "dataset": Dataset,
    "metric": Metric,
    "optimizer": Optimizer,
    "launcher": Launcher,
}
