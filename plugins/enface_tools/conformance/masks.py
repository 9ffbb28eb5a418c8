"""Rules for masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.errors import DataError, EnfaceError, WeightsError
from enface.plugin.components import Mask, Targets
from enface_tools.conformance.comparing import agree, refuse_changed
from enface_tools.conformance.fixture import BATCH, SIZE, Subject
from enface_tools.conformance.networks import column, required
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import asked, over, tensors

SIZES = (32, SIZE)
STEPS = (0, 7, 1000, 1)
HEIGHTS = (0.94, 0.9, 0.84)
REGIONS = ("background", "head", "eyes", "mouth")
# Their colours, and where they lie: the ellipses' middles and half axes, (x, y) as shares of the side.
_COLOURS = np.array([(90, 110, 130), (224, 172, 140), (40, 30, 30), (170, 70, 70)], np.uint8)
_SHAPES = (
    (1, 0.5, 0.52, 0.32, 0.42),
    (2, 0.38, 0.42, 0.05, 0.03),
    (2, 0.62, 0.42, 0.05, 0.03),
    (3, 0.5, 0.74, 0.11, 0.04),
)


def drawn_targets(size: int, count: int) -> Targets:
    """Faces drawn of ellipses, no two of the same height, and their region maps."""
    regions = np.stack([_face(size, height) for height in HEIGHTS[:count]])
    images = np.ascontiguousarray(_COLOURS[regions].transpose(0, 3, 1, 2))
    return Targets(tuple(f"drawn {number}" for number in range(len(images))), images, regions, REGIONS)


def _face(size: int, height: float) -> npt.NDArray[np.uint8]:
    at = (np.arange(size) + 0.5) / size
    found = np.zeros((size, size), np.uint8)
    for region, x, y, wide, high in _SHAPES:
        inside = ((at[None] - x) / wide) ** 2 + ((at[:, None] - y) / (high * height)) ** 2 <= 1
        found[inside] = region
    return found


def _mask(subject: Subject, size: int = SIZE) -> Mask:
    """A new mask; what is made from training targets gets drawn ones."""
    try:
        made: Mask = subject.build(size, lambda count: drawn_targets(size, count))
    except DataError as error:
        # A mask that needs photographs says so of drawings; its author can test it with parameters that name some.
        raise NotAsked(f"from drawn training targets: {str(error).splitlines()[0]}") from error
    return made


def _shared(subject: Subject, size: int = SIZE) -> Mask:
    """One mask for all rules that need no new one; finding landmarks takes its time."""
    return subject.once(("mask", size), lambda: _mask(subject, size))


def _inputs(mask: Mask, size: int = SIZE, step: int = 0) -> dict[str, Any]:
    """What it asks for; of what it can do without, only the region maps, which the drawn targets have."""
    names = [*required(mask.forward), *(name for name in asked(mask.forward) if name == "target_regions")]
    return {name: step if name == "step" else column(name, size) for name in dict.fromkeys(names)}


def _weights(mask: Mask, size: int = SIZE, step: int = 0) -> Tensor:
    found = mask(**_inputs(mask, size, step))
    if not isinstance(found, Tensor):
        raise BrokenRule(f"it gives {type(found).__name__}; weights are a tensor")
    return found


@rule("shape")
def _shape(subject: Subject) -> None:
    """Its weights are (N or 1, 1, H, W) for images of two sizes, or it refuses a size by an error that names it."""
    for size in SIZES:
        try:
            mask = _shared(subject, size)
        except WeightsError:
            raise
        except EnfaceError as error:
            if str(size) not in str(error):
                raise BrokenRule(f"refusing {size} px, its error does not name that size: {error}") from error
            continue
        found = tuple(_weights(mask, size).shape)
        if len(found) != 4 or found[0] not in (1, BATCH) or found[1:] != (1, size, size):
            raise BrokenRule(f"for {BATCH} images of {size} px the weights are {found}; (N or 1, 1, {size}, {size})")


@rule("range")
def _range(subject: Subject) -> None:
    """At every step its weights are finite and none is negative, and not all are always 0."""
    mask = _shared(subject)
    weights = torch.stack([_weights(mask, step=step) for step in STEPS])
    if not weights.isfinite().all():
        raise BrokenRule("a weight is not finite")
    if float(weights.min()) < 0:
        raise BrokenRule(f"a weight is {float(weights.min()):.3g}; below 0 it would reward errors")
    if not float(weights.max()) > 0:
        raise BrokenRule("every weight is 0, so its term would teach nothing")


@rule("dtype")
def _dtype(subject: Subject) -> None:
    """Its weights are numbers of float32, as the errors that they weigh."""
    found = _weights(_shared(subject)).dtype
    if found != torch.float32:
        raise BrokenRule(f"its weights are {found}; return .float()")


@rule("no gradient")
def _no_gradient(subject: Subject) -> None:
    """Nothing is learnt through its weights."""
    if _weights(_shared(subject)).requires_grad:
        raise BrokenRule("its weights take a gradient, and no optimizer has a mask's parameters; register buffers")


@rule("same again")
def _same_again(subject: Subject) -> None:
    """The same inputs give the same weights."""
    mask = _shared(subject)
    if not torch.equal(_weights(mask), _weights(mask)):
        raise BrokenRule("the same inputs give other weights the second time")


@rule("resume at any step")
def _resume(subject: Subject) -> None:
    """A new one gives the weights at a step that one in use gives: no checkpoint keeps a mask's state."""
    used = _mask(subject)
    for step in STEPS:
        inside = _weights(used, step=step)
        if not torch.equal(_weights(_mask(subject), step=step), inside):
            raise BrokenRule(f"at step {step} a new mask gives other weights; only 'step' and inputs may matter")


@rule("no in-place change")
def _no_in_place_change(subject: Subject) -> None:
    """Its inputs are the same after it ran."""
    mask = _shared(subject)
    inputs = _inputs(mask)
    shown = {name: item for name, item in inputs.items() if isinstance(item, Tensor)}
    before = {name: item.clone() for name, item in shown.items()}
    mask(**inputs)
    refuse_changed(before, shown)


@rule("half precision")
def _half_precision(subject: Subject) -> None:
    """Inputs that were rounded to bf16 give nearly the same weights."""
    mask = _shared(subject)
    inputs = _inputs(mask)
    if not any(item.is_floating_point() for item in tensors(inputs)):
        raise NotAsked("it asks for no images")
    found = mask(**{name: over(item, _rounded) for name, item in inputs.items()})
    agree(found, mask(**inputs), "inputs rounded to bf16 give other weights", 0.1)


def _rounded(item: Tensor) -> Tensor:
    """As it comes from a network under bf16 autocast and is then given to a mask."""
    return item.bfloat16().float() if item.is_floating_point() else item


@rule("CUDA")
def _cuda(subject: Subject) -> None:
    """On a CUDA device its weights are there and the same."""
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device here")
    mask = _mask(subject)
    inputs, wanted = _inputs(mask), _weights(mask)
    moved = {name: over(item, lambda one: one.to("cuda")) for name, item in inputs.items()}
    found = mask.to("cuda")(**moved)
    if not found.is_cuda:
        raise BrokenRule("on a CUDA device its weights are on the CPU; register them as a buffer")
    agree(found, wanted, "on CUDA its weights are others than on the CPU", 1e-3)


MASK_RULES = (
    *(_shape, _range, _dtype, _no_gradient, _same_again, _resume),
    *(_no_in_place_change, _half_precision, _cuda),
)
