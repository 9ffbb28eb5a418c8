"""Base classes of everything that a recipe names with ``use:``.

The recipe name of a component is its class name in snake case, its kind is its base class, and its keyword-only, typed
``__init__`` is its schema. Images are float tensors (N, C, H, W) in [-1, 1] in training and in [0, 1] for metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor, nn, optim

from enface.plugin.bases import (
    Component as Component,
    DataInfo as DataInfo,
    Dataset as Dataset,
    Row as Row,
    Targets as Targets,
)


class Schedule(Component, ABC):
    """A number that depends on the step, counted from 0 at the start of the stage."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the value at ``step``."""

    @property
    def metric(self) -> str | None:
        """The metric whose validation values the schedule follows; None if it depends on the step alone."""
        return None

    def observe(self, value: float, score: float) -> None:
        """Record a validation of ``metric``.

        Args:
            value: The metric's mean.
            score: A number that is higher if the metric is better, whatever its direction.
        """

    def state(self) -> dict[str, float]:
        """Return the state for a checkpoint."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Restore a :meth:`state`."""


class Constant(Schedule):
    """The same value at every step; a plain number in a recipe builds it.

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
"""Quantity that one number of a loss's map refers to."""


class Loss(nn.Module, Component):
    """A map of errors, not weighted and not reduced; the term masks, averages and weights it.

    Argument names of ``forward`` are requests: columns of the batch (``source target partner pose ...``), values that
    the generator provides (``output ...``), ``step``, or, in a term ``against:`` a discriminator, ``real_* fake_*``
    values that the discriminator provides (``real_logits fake_features ...``). It runs in float32.

    Returns (from ``forward``): (N, C, H, W), or (N,).

    The attributes are promises that ``enface test-plugin`` checks.

    Attributes:
        unit: Quantity that one number of the map refers to; if empty, derived from the map's shape.
        distance: The loss is 0 where output equals target and non-negative elsewhere.
        non_negative: The loss is never negative.
        per_image: The numbers of an image depend on that image alone.
        deterministic: Equal inputs give equal numbers.
        paired: It compares the critic's values of each target with those of its own output, so that an augmentation
            of the critic's images draws once for both.
        stateful: Buffers change during training and are saved in checkpoints. A critic of several scales has one state
            for each. All parts and processes of an update start from the same buffers, and their mean is kept.
        uncompilable_reason: Reason why ``torch.compile`` does not support it; empty if it does.
        hints: Advice by requested name, for the message that nothing provides it.
    """

    unit: ClassVar[Unit] = ""
    distance: ClassVar[bool] = False
    non_negative: ClassVar[bool] = False
    per_image: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    paired: ClassVar[bool] = False
    stateful: ClassVar[bool] = False
    uncompilable_reason: ClassVar[str] = ""
    hints: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class CriticLoss(Loss):
    """A loss for a discriminator alone, such as a regulariser, which minimises :meth:`critic`.

    Its term must be ``against:`` that discriminator. Argument names are requests: ``real_* fake_*`` values that the
    discriminator provides, ``real_image`` and ``fake_image`` (its inputs, (N, C, H, W)), and ``judge``, the
    discriminator as a function of images, in float32 and twice differentiable.
    """

    def critic(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the map of errors that the discriminator minimises."""
        raise NotImplementedError(f"{type(self).__name__}.critic")


class AdversarialLoss(CriticLoss):
    """A two-player loss: the generator minimises ``forward``, the discriminator :meth:`critic`."""


class Augmentation(nn.Module, Component):
    """A random, differentiable augmentation of the images (N, C, H, W) in [-1, 1] that a discriminator sees.

    Applied to real and fake images in both players' phases, so that it does not leak into outputs (Zhao et al.,
    "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020). Both get their own random numbers, as
    there, unless a loss of the phase is ``paired``. Further columns of the discriminator stay as they are.

    Attributes:
        adaptive: True if :meth:`observe` is to be called, once an update of the discriminator.
    """

    adaptive: bool = False

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def observe(self, certainty: float) -> None:
        """Record the mean sign of the discriminator's logits of real images, in [-1, 1]."""


class Mask(nn.Module, Component):
    """Weights >= 0 of pixels, (N or 1, 1, H, W); argument names of ``forward`` are requests, as for losses."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class Generator(nn.Module, Component):
    """The network that computes the output.

    ``forward(wants, **columns)`` receives the set of names that active terms request and, as keyword arguments, the
    batch columns that these need. It computes nothing else and returns at least the names in ``wants``.

    Attributes:
        provides: Names that it can compute -> batch columns that each is computed from.
        multiple: Number that height and width must be divisible by, if it accepts images of any size (fully
            convolutional); None if it accepts only the size that it was built for.
        encoder_part: The part that maps an image to its code, a tensor (N, ...), if the image is used for nothing
            else. ``forward`` then also accepts the code as ``encoded_COLUMN`` in place of the column, and a stage that
            freezes the part may set ``cache_codes: true``. Empty if there is no such part.
        uncompilable_reason: Reason why ``torch.compile`` does not support it; empty if it does.
    """

    encoder_part: ClassVar[str] = ""
    uncompilable_reason: ClassVar[str] = ""

    provides: Mapping[str, tuple[str, ...]] = MappingProxyType({"output": ("source",)})
    multiple: int | None = None

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Parts that ``freeze:`` may name."""
        return {}

    # Open signatures, so that a subclass naming the columns it asks for is no override error to type checkers.
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        raise NotImplementedError(f"{type(self).__name__}.forward")


GeneratorBuilder = Callable[[DataInfo], Generator]
"""Annotation of a parameter that is another generator in a recipe; the component builds it for the data it needs."""


class Discriminator(nn.Module, Component):
    """A network that classifies images as real or generated; the first argument of ``forward`` is (N, C, H, W).

    Further argument names are requests for batch columns (``source`` for a conditional critic). ``forward`` returns a
    dict with the names in ``provides``: ``logits``, a tensor or a tuple with a tensor per scale, and ``features``, a
    tuple of tensors.

    Attributes:
        provides: Names in the dict that ``forward`` returns.
        logit_scales: Number of tensors in ``logits``, if that is a tuple.
        once_differentiable_reason: Reason why it supports no gradient penalty; empty if it does.
        uncompilable_reason: Reason why ``torch.compile`` does not support it; empty if it does.
    """

    provides: tuple[str, ...] = ("logits", "features")
    logit_scales: int = 1
    once_differentiable_reason: ClassVar[str] = ""
    uncompilable_reason: ClassVar[str] = ""

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__}.forward")


class Optimizer(Component, ABC):
    """Builds an optimizer. Keyword parameters of ``__init__`` are its options in a recipe."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], lr: float) -> optim.Optimizer:
        """Return the optimizer.

        Its state must be tensors and numbers. If it has methods ``train`` and ``eval``, as schedule-free optimizers do,
        networks are evaluated with the weights that ``eval`` puts in place.

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
    "optimizer": Optimizer,
}
