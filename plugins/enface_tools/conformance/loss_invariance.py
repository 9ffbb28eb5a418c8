"""Rules for losses: what must not change their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import Constant, Loss
from enface.train.terms import Term
from enface_tools.conformance.fixture import BATCH, Subject
from enface_tools.conformance.loss_sides import (
    Inputs,
    Side,
    claimed,
    learnt,
    new_loss,
    new_sides,
    require_close,
    require_same_gradients,
    seen,
    sides,
)
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import Judge, over

ORDER = (2, 0, 3, 1)
HALF_RTOL, HALF_ATOL = 0.05, 5e-3
"""bfloat16 has 8 bits, so an image or logit of about 1 is off by up to 0.004, and its square by twice that."""
OTHER_RTOL, OTHER_ATOL = 1e-3, 1e-4
"""A compiler or a GPU fuses and reorders sums, and a GPU's own transcendental functions err more."""


@rule("batch order")
def _order(subject: Subject) -> None:
    """The mean is the same for another order of the batch, and the map is reordered with it."""
    loss = claimed(subject)
    _require_fixed_draws(loss)
    for (side, straight), (_, turned) in zip(seen(subject), seen(subject, _turned), strict=True):
        require_close(turned.mean(), straight.mean(), f"{side.name}: the mean of a reordered batch")
        if loss.per_image and straight.dim() and len(straight) == BATCH:
            told = f"{side.name}: the map of a reordered batch; if images are judged together, set per_image = False"
            require_close(turned, straight[list(ORDER)], told)


@rule("half batches")
def _halves(subject: Subject) -> None:
    """The mean of two half batches' means is the whole batch's, so that 'accumulate' changes nothing."""
    loss = claimed(subject)
    if not loss.per_image:
        raise NotAsked("it judges images together (per_image = False)")
    _require_fixed_draws(loss)
    for (side, whole), (_, first), (_, second) in zip(
        seen(subject), seen(subject, _first_half), seen(subject, _second_half), strict=True
    ):
        told = f"{side.name}: the mean of half batches; if images are judged together, set per_image = False"
        require_close((first.mean() + second.mean()) / 2, whole.mean(), told)


@rule("channels last")
def _channels_last(subject: Subject) -> None:
    """Images in channels_last memory give the same numbers and gradients."""
    for (side, wanted, gradients), other in zip(learnt(subject), new_sides(subject), strict=True):
        try:
            found, others = other.taught(_in_channels_last(other.inputs()))
        except RuntimeError as error:
            raise BrokenRule(
                f"{side.name}: {error}; reshape and flatten take any layout where view does not"
            ) from error
        require_close(found, wanted, f"{side.name} in channels_last")
        require_same_gradients(others, gradients, f"{side.name} in channels_last")


@rule("half precision")
def _half(subject: Subject) -> None:
    """What comes from a bfloat16 network gives nearly the same value."""
    for (side, exact), other in zip(seen(subject), new_sides(subject), strict=True):
        halved = {
            name: over(value, lambda item: item.bfloat16() if item.is_floating_point() else item)
            for name, value in other.inputs().items()
        }
        # By the way that training takes.
        found = Term(side.name, _by_name(other), {name: name for name in halved}, Constant(value=1.0))(halved)
        wanted = exact.mean()
        if not math.isclose(float(found), float(wanted), rel_tol=HALF_RTOL, abs_tol=HALF_ATOL):
            raise BrokenRule(
                f"{side.name} gives {float(found):.4g} for inputs that were rounded to bfloat16 and"
                f" {float(wanted):.4g} for the same unrounded; differences below 0.004 cannot be relied on"
            )


@rule("torch.compile")
def _compiles(subject: Subject) -> None:
    """Compiled, it gives the same numbers and gradients, or it says why it cannot be compiled."""
    loss = claimed(subject)
    if loss.uncompilable_reason:
        raise NotAsked(f"uncompilable_reason: {loss.uncompilable_reason}")
    for (side, wanted, gradients), eager in zip(learnt(subject), new_sides(subject), strict=True):
        inputs, told = eager.inputs(), f"{side.name} compiled by {subject.backend}"
        torch._dynamo.reset()
        try:
            found, others = Side(eager.name, torch.compile(eager.function, backend=subject.backend)).taught(inputs)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise BrokenRule(
                f"{told} raises {type(error).__name__}: {reason}; mend it, or say why in 'uncompilable_reason'"
            ) from error
        finally:
            torch._dynamo.reset()
        if loss.deterministic:
            require_close(found, wanted, told, rtol=OTHER_RTOL, atol=OTHER_ATOL)
            require_same_gradients(others, gradients, told)


@rule("CUDA")
def _cuda(subject: Subject) -> None:
    """On a CUDA device it gives the same numbers as on the processor."""
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device")
    for (side, wanted), moved in zip(seen(subject), sides(new_loss(subject).to("cuda")), strict=True):
        with _exact_convolutions():
            found = moved({name: _on_cuda(value) for name, value in moved.inputs().items()}).cpu()
        if not bool(found.isfinite().all()):
            raise BrokenRule(f"{side.name} gives numbers that are not finite on CUDA")
        if claimed(subject).deterministic:
            require_close(found, wanted, f"{side.name} on CUDA", rtol=OTHER_RTOL, atol=OTHER_ATOL)


def _on_cuda(value: Any) -> Any:
    if isinstance(value, Judge):
        value.network.to("cuda")
        return value
    return over(value, lambda item: item.cuda())


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Convolutions in float32 rather than TF32, whose 10 bits would be the largest difference."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _turned(inputs: Inputs) -> Inputs:
    return {name: over(value, lambda item: item[list(ORDER)]) for name, value in inputs.items()}


def _first_half(inputs: Inputs) -> Inputs:
    return {name: over(value, lambda item: item[: BATCH // 2]) for name, value in inputs.items()}


def _second_half(inputs: Inputs) -> Inputs:
    return {name: over(value, lambda item: item[BATCH // 2 :]) for name, value in inputs.items()}


def _in_channels_last(inputs: Inputs) -> Inputs:
    def change(item: Tensor) -> Tensor:
        return item.contiguous(memory_format=torch.channels_last) if item.dim() == 4 else item

    return {name: over(value, change) for name, value in inputs.items()}


def _by_name(side: Side) -> Callable[..., Tensor]:
    return lambda **inputs: side(inputs)


def _require_fixed_draws(loss: Loss) -> None:
    if not loss.deterministic:
        raise NotAsked("it draws anew for each place of the batch (deterministic = False)")


INVARIANCE_RULES = (_order, _halves, _channels_last, _half, _compiles, _cuda)
