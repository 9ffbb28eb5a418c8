"""Call a loss as its terms do, and rules on what must not change its values: order, memory, precision, device."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import AdversarialLoss, Constant, CriticLoss, Loss
from enface.plugin.schema import requested_arguments
from enface.training.terms import Term
from enface_tools.conformance.fixture import BATCH, Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import (
    COLUMN_IMAGES,
    SampleCritic,
    flat_tensors,
    is_known_field,
    leaf_copy,
    map_tensors,
    require_close,
    sample_input,
    unknown_names,
)

Inputs = dict[str, Any]
Gradients = dict[str, list[Tensor]]
Change = Callable[[Inputs], Inputs]
GRADIENT_RTOL = 0.25
"""Relative to a gradient's norm. Near its kink, rounding can flip a ReLU, maximum or modulus and with it that place's
whole gradient; in a deep network that is an eighth of the norm. A wrong gradient is off by all of it."""
ORDER = (2, 0, 3, 1)
HALF_RTOL, HALF_ATOL = 0.05, 5e-3
"""bfloat16 has 8 bits, so an image or logit of about 1 is off by up to 0.004, and its square by twice that."""
DEVICE_RTOL, DEVICE_ATOL = 1e-3, 1e-4
"""A compiler or a GPU fuses and reorders sums, and a GPU's transcendental functions are less exact."""


@dataclass(frozen=True)
class Side:
    """A function of a loss that a term may call: ``forward``, or ``critic`` of an adversarial loss."""

    name: str
    function: Callable[..., Tensor]

    @property
    def requests(self) -> list[str]:
        """Names of the requested inputs."""
        return list(requested_arguments(self.function))

    def inputs(self, draw: int = 0) -> Inputs:
        """Sample inputs."""
        return {name: sample_input(name, draw) for name in self.requests}

    def trains(self, name: str) -> bool:
        """Return True if the input ``name`` comes from the network that this side trains."""
        if self.name == "critic":
            return name == "judge" or (name.startswith(("real_", "fake_")) and not name.endswith("_image"))
        return not (name in COLUMN_IMAGES or is_known_field(name) or name.startswith(("real_", "same")))

    def __call__(self, inputs: Mapping[str, Any], seed: int = 0) -> Tensor:
        """Compute the map, with random numbers from ``seed``.

        Raises:
            Skipped: when it fails on an input of unknown meaning.
        """
        torch.manual_seed(seed)
        try:
            values = self.function(**inputs)
        except Exception as error:
            unknown = unknown_names(inputs)
            if not unknown:
                raise
            raise Skipped(
                f"it raises {type(error).__name__}, perhaps because the meaning of {', '.join(unknown)} is unknown and"
                f" a column (N,) of integers was passed ({error})"
            ) from error
        if not isinstance(values, Tensor):
            raise RuleViolation(f"{self.name} returns {type(values).__name__}; return a tensor")
        return values

    def backward(self, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Return the map, and for each name the gradients of the map's mean that reach it."""
        leaves = {name: map_tensors(value, leaf_copy) for name, value in inputs.items()}
        # Clones, because a network's output is not a leaf either, and torch forbids in-place changes of leaves.
        values = self({name: map_tensors(value, torch.clone) for name, value in leaves.items()})
        if values.requires_grad:
            values.mean().backward()  # type: ignore[no-untyped-call]
        gradients = {
            name: [item.grad for item in _trainable(value) if item.grad is not None] for name, value in leaves.items()
        }
        return values.detach(), gradients


def _trainable(value: Any) -> list[Tensor]:
    return list(value.network.parameters()) if isinstance(value, SampleCritic) else flat_tensors(value)


def shared_loss(fixture: Fixture) -> Loss:
    """The loss, built once, to read its declared properties and not to be called."""

    def build() -> Loss:
        loss = fixture.build()
        assert isinstance(loss, Loss)
        # As a stage does.
        return loss.requires_grad_(False)

    return fixture.cached("loss", build)


def new_loss(fixture: Fixture) -> Loss:
    """A new loss, as a stage builds it; a copy, because pretrained weights take long to read."""
    return copy.deepcopy(shared_loss(fixture))


def sides_of(loss: Loss) -> list[Side]:
    """The functions that terms call."""
    forward, critic = Side("forward", loss.forward), Side("critic", getattr(loss, "critic", loss.forward))
    if isinstance(loss, AdversarialLoss):
        return [forward, critic]
    return [critic] if isinstance(loss, CriticLoss) else [forward]


def new_sides(fixture: Fixture) -> list[Side]:
    """The sides of a new loss."""
    return sides_of(new_loss(fixture))


def loss_maps(fixture: Fixture, change: Change = dict) -> list[tuple[Side, Tensor]]:
    """(side, map) of a new loss for changed sample inputs; computed once per change."""

    def compute() -> list[tuple[Side, Tensor]]:
        return [(side, side(change(side.inputs())).detach()) for side in new_sides(fixture)]

    return fixture.cached(("maps", change), compute)


def loss_gradients(fixture: Fixture, change: Change = dict) -> list[tuple[Side, Tensor, Gradients]]:
    """(side, map, gradients) of a new loss for changed sample inputs; computed once per change."""

    def compute() -> list[tuple[Side, Tensor, Gradients]]:
        return [(side, *side.backward(change(side.inputs()))) for side in new_sides(fixture)]

    return fixture.cached(("gradients", change), compute)


def _require_same_gradients(actual: Gradients, expected: Gradients, case: str) -> None:
    """Raise RuleViolation if gradients differ."""
    for name, items in expected.items():
        if len(actual[name]) != len(items):
            raise RuleViolation(f"{case} not the same tensors of {name} get a gradient")
        for one, other in zip(actual[name], items, strict=True):
            difference, norm = float((one - other).norm()), float(other.norm())
            if not difference <= GRADIENT_RTOL * norm + torch.finfo(torch.float32).tiny:
                raise RuleViolation(f"{case} the gradient of {name} differs by {difference:.3g}, with norm {norm:.3g}")


_JOINTLY = "if images are evaluated jointly, set per_image = False"


@rule("batch order")
def _batch_order(fixture: Fixture) -> None:
    """Another order of the batch gives the same mean, and reorders the map."""
    loss = shared_loss(fixture)
    require_deterministic(loss)
    for (side, original), (_, reordered) in zip(loss_maps(fixture), loss_maps(fixture, _reordered), strict=True):
        require_close(reordered.mean(), original.mean(), f"{side.name}: the mean of a reordered batch")
        if loss.per_image and original.dim() and len(original) == BATCH:
            require_close(reordered, original[list(ORDER)], f"{side.name}: the map of a reordered batch", _JOINTLY)


@rule("half batches")
def _half_batches(fixture: Fixture) -> None:
    """The mean over two half batches' means is the whole batch's, so that 'accumulate' changes nothing."""
    loss = shared_loss(fixture)
    if not loss.per_image:
        raise Skipped("it evaluates images jointly (per_image = False)")
    require_deterministic(loss)
    for (side, whole), (_, first), (_, second) in zip(
        loss_maps(fixture), loss_maps(fixture, first_half), loss_maps(fixture, second_half), strict=True
    ):
        mean = (first.mean() + second.mean()) / 2
        require_close(mean, whole.mean(), f"{side.name}: the mean over half batches", _JOINTLY)


@rule("channels last")
def _channels_last(fixture: Fixture) -> None:
    """Images in channels_last memory give the same numbers and gradients."""
    for (side, expected, gradients), other in zip(loss_gradients(fixture), new_sides(fixture), strict=True):
        try:
            actual, reached = other.backward(_in_channels_last(other.inputs()))
        except RuntimeError as error:
            raise RuleViolation(
                f"{side.name}: {error}; use reshape or flatten, which take any memory layout, instead of view"
            ) from error
        require_close(actual, expected, f"{side.name}: the map in channels_last")
        _require_same_gradients(reached, gradients, f"{side.name}: in channels_last")


@rule("half precision")
def _half_precision(fixture: Fixture) -> None:
    """Outputs of a bfloat16 network give nearly the same value."""
    for (side, exact), other in zip(loss_maps(fixture), new_sides(fixture), strict=True):
        halved = {
            name: map_tensors(value, lambda item: item.bfloat16() if item.is_floating_point() else item)
            for name, value in other.inputs().items()
        }
        # Through a term, as in training.
        mean = Term(side.name, _by_name(other), {name: name for name in halved}, Constant(value=1.0))(halved)
        expected = exact.mean()
        if not math.isclose(float(mean), float(expected), rel_tol=HALF_RTOL, abs_tol=HALF_ATOL):
            raise RuleViolation(
                f"{side.name} gives {float(mean):.4g} for inputs rounded to bfloat16 and {float(expected):.4g} for the"
                " original ones; do not rely on differences below 0.004"
            )


@rule("torch.compile")
def _compiles(fixture: Fixture) -> None:
    """Compiled, it gives the same numbers and gradients, or it declares why it cannot be compiled."""
    loss = shared_loss(fixture)
    if loss.uncompilable_reason:
        raise Skipped(f"uncompilable_reason: {loss.uncompilable_reason}")
    for (side, expected, gradients), eager in zip(loss_gradients(fixture), new_sides(fixture), strict=True):
        inputs, case = eager.inputs(), f"{side.name}: compiled by {fixture.backend}"
        torch._dynamo.reset()
        try:
            compiled = Side(eager.name, torch.compile(eager.function, backend=fixture.backend))
            actual, reached = compiled.backward(inputs)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise RuleViolation(
                f"{case} it raises {type(error).__name__}: {reason}; fix it, or give an 'uncompilable_reason'"
            ) from error
        finally:
            torch._dynamo.reset()
        if loss.deterministic:
            require_close(actual, expected, f"{case} the map", rtol=DEVICE_RTOL, atol=DEVICE_ATOL)
            _require_same_gradients(reached, gradients, case)


@rule("CUDA")
def _cuda(fixture: Fixture) -> None:
    """It gives the same numbers on a CUDA device as on the CPU."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    for (side, expected), moved in zip(loss_maps(fixture), sides_of(new_loss(fixture).to("cuda")), strict=True):
        with _exact_convolutions():
            actual = moved({name: _on_cuda(value) for name, value in moved.inputs().items()}).cpu()
        if not bool(actual.isfinite().all()):
            raise RuleViolation(f"{side.name} gives numbers that are not finite on CUDA")
        if shared_loss(fixture).deterministic:
            require_close(actual, expected, f"{side.name}: the map on CUDA", rtol=DEVICE_RTOL, atol=DEVICE_ATOL)


def _on_cuda(value: Any) -> Any:
    if isinstance(value, SampleCritic):
        value.network.to("cuda")
        return value
    return map_tensors(value, lambda item: item.cuda())


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Convolutions in float32 instead of TF32, whose 10 bits would be the largest difference."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _reordered(inputs: Inputs) -> Inputs:
    return {name: map_tensors(value, lambda item: item[list(ORDER)]) for name, value in inputs.items()}


def first_half(inputs: Inputs) -> Inputs:
    """Return the inputs of the first half of the images."""
    return {name: map_tensors(value, lambda item: item[: BATCH // 2]) for name, value in inputs.items()}


def second_half(inputs: Inputs) -> Inputs:
    """Return the inputs of the second half of the images."""
    return {name: map_tensors(value, lambda item: item[BATCH // 2 :]) for name, value in inputs.items()}


def _in_channels_last(inputs: Inputs) -> Inputs:
    def change(item: Tensor) -> Tensor:
        return item.contiguous(memory_format=torch.channels_last) if item.dim() == 4 else item

    return {name: map_tensors(value, change) for name, value in inputs.items()}


def _by_name(side: Side) -> Callable[..., Tensor]:
    return lambda **inputs: side(inputs)


def require_deterministic(loss: Loss) -> None:
    """Raise Skipped if the loss declares that it draws random numbers."""
    if not loss.deterministic:
        raise Skipped("it draws other random numbers for each place in the batch (deterministic = False)")


INVARIANCE_RULES = (_batch_order, _half_batches, _channels_last, _half_precision, _compiles, _cuda)
