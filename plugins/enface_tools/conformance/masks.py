"""Rules for masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.errors import DataError, EnfaceError, WeightsError
from enface.plugin.components import Mask, Targets
from enface.plugin.schema import requested_arguments
from enface_tools.conformance.fixture import BATCH, SIZE, Fixture, Size
from enface_tools.conformance.networks import batch_column, required_arguments
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import flat_tensors, map_tensors, require_rms_close, require_unchanged
from enface_tools.conformance.variants import Variant, finite, require_works, variant_rules

SIZES = (32, SIZE)
STEPS = (0, 7, 1000, 1)
HEIGHTS = (0.94, 0.9, 0.84)
REGIONS = ("background", "head", "eyes", "mouth")
# Colors by region, and ellipses: region, center and half axes, (x, y) as shares of the side.
_COLORS = np.array([(90, 110, 130), (224, 172, 140), (40, 30, 30), (170, 70, 70)], np.uint8)
_ELLIPSES = (
    (1, 0.5, 0.52, 0.32, 0.42),
    (2, 0.38, 0.42, 0.05, 0.03),
    (2, 0.62, 0.42, 0.05, 0.03),
    (3, 0.5, 0.74, 0.11, 0.04),
)


def drawn_targets(size: Size, count: int, planes: int = 3) -> Targets:
    """Faces drawn of ellipses, each of another height, and their region maps."""
    sides = (size, size) if isinstance(size, int) else size
    regions = np.stack([_face(sides, height) for height in HEIGHTS[:count]])
    images = np.ascontiguousarray(np.resize(_COLORS, (len(_COLORS), planes))[regions].transpose(0, 3, 1, 2))
    return Targets(tuple(f"drawn {number}" for number in range(len(images))), images, regions, REGIONS)


def _face(size: tuple[int, int], height: float) -> npt.NDArray[np.uint8]:
    down, across = ((np.arange(side) + 0.5) / side for side in size)
    face = np.zeros(size, np.uint8)
    for region, x, y, wide, high in _ELLIPSES:
        inside = ((across[None] - x) / wide) ** 2 + ((down[:, None] - y) / (high * height)) ** 2 <= 1
        face[inside] = region
    return face


def _mask(fixture: Fixture, size: int = SIZE) -> Mask:
    """Build a mask; one that is built from training targets gets drawn ones."""
    try:
        mask: Mask = fixture.build(size, lambda count: drawn_targets(size, count))
    except DataError as error:
        # A mask that needs photographs fails on drawings; its author can test it with parameters that name some.
        raise Skipped(f"from drawn training targets: {str(error).splitlines()[0]}") from error
    return mask


def _shared_mask(fixture: Fixture, size: int = SIZE) -> Mask:
    """One mask for all rules that need no new one, because detecting landmarks is slow."""
    return fixture.cached(("mask", size), lambda: _mask(fixture, size))


def _inputs(mask: Mask, size: int = SIZE, step: int = 0) -> dict[str, Any]:
    """The required inputs; of the optional ones only the target's region maps, which the drawn targets have."""
    return {name: step if name == "step" else batch_column(name, size) for name in _names(mask)}


def _names(mask: Mask) -> list[str]:
    names = [*required_arguments(mask.forward), *({"target_regions"} & set(requested_arguments(mask.forward)))]
    return list(dict.fromkeys(names))


def _weights(mask: Mask, size: int = SIZE, step: int = 0) -> Tensor:
    weights = mask(**_inputs(mask, size, step))
    if not isinstance(weights, Tensor):
        raise RuleViolation(f"it gives {type(weights).__name__}; weights are a tensor")
    return weights


@rule("shape")
def _shape(fixture: Fixture) -> None:
    """Its weights are (N or 1, 1, H, W) for images of two sizes, or it refuses a size with an error that names it."""
    for size in SIZES:
        try:
            mask = _shared_mask(fixture, size)
        except WeightsError:
            raise
        except EnfaceError as error:
            if str(size) not in str(error):
                raise RuleViolation(f"it refuses {size} px, but the error does not name that size: {error}") from error
            continue
        shape = tuple(_weights(mask, size).shape)
        if len(shape) != 4 or shape[0] not in (1, BATCH) or shape[1:] != (1, size, size):
            expected = f"(N or 1, 1, {size}, {size})"
            raise RuleViolation(f"for {BATCH} images of {size} px the weights are {shape}, not {expected}")


@rule("range")
def _range(fixture: Fixture) -> None:
    """At every step its weights are finite and non-negative, and not always all 0."""
    mask = _shared_mask(fixture)
    weights = torch.stack([_weights(mask, step=step) for step in STEPS])
    if not weights.isfinite().all():
        raise RuleViolation("a weight is not finite")
    if float(weights.min()) < 0:
        raise RuleViolation(f"a weight is {float(weights.min()):.3g}; a negative weight would reward errors")
    if not float(weights.max()) > 0:
        raise RuleViolation("every weight is 0, so its term would have no effect")


@rule("dtype")
def _dtype(fixture: Fixture) -> None:
    """Its weights are float32, as the errors that they weight."""
    dtype = _weights(_shared_mask(fixture)).dtype
    if dtype != torch.float32:
        raise RuleViolation(f"its weights are {dtype}; return .float()")


@rule("no gradient")
def _no_gradient(fixture: Fixture) -> None:
    """No gradient passes through its weights."""
    if _weights(_shared_mask(fixture)).requires_grad:
        raise RuleViolation("its weights take a gradient, and no optimizer has a mask's parameters; register buffers")


@rule("deterministic")
def _deterministic(fixture: Fixture) -> None:
    """The same inputs give the same weights."""
    mask = _shared_mask(fixture)
    if not torch.equal(_weights(mask), _weights(mask)):
        raise RuleViolation("the same inputs give other weights the second time")


@rule("resume at any step")
def _resume(fixture: Fixture) -> None:
    """At each step, a new mask gives the same weights as one in use, because checkpoints store no mask's state."""
    used = _mask(fixture)
    for step in STEPS:
        expected = _weights(used, step=step)
        if not torch.equal(_weights(_mask(fixture), step=step), expected):
            raise RuleViolation(f"at step {step} a new mask gives other weights; use only 'step' and the inputs")


@rule("no in-place change")
def _no_in_place_change(fixture: Fixture) -> None:
    """The inputs stay unchanged."""
    mask = _shared_mask(fixture)
    inputs = _inputs(mask)
    tensors = {name: item for name, item in inputs.items() if isinstance(item, Tensor)}
    before = {name: item.clone() for name, item in tensors.items()}
    mask(**inputs)
    require_unchanged(before, tensors)


@rule("half precision")
def _half_precision(fixture: Fixture) -> None:
    """Inputs rounded to bf16 give nearly the same weights."""
    mask = _shared_mask(fixture)
    inputs = _inputs(mask)
    if not any(item.is_floating_point() for item in flat_tensors(inputs)):
        raise Skipped("it requests no images")
    weights = mask(**{name: map_tensors(item, _rounded) for name, item in inputs.items()})
    require_rms_close(weights, mask(**inputs), "inputs rounded to bf16 give other weights", 0.1)


def _rounded(item: Tensor) -> Tensor:
    """Round to bf16, like a network's output under autocast before a mask gets it."""
    return item.bfloat16().float() if item.is_floating_point() else item


@rule("CUDA")
def _cuda(fixture: Fixture) -> None:
    """On a CUDA device its weights are on that device, and the same as on the CPU."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    mask = _mask(fixture)
    inputs, expected = _inputs(mask), _weights(mask)
    moved = {name: map_tensors(item, lambda one: one.to("cuda")) for name, item in inputs.items()}
    weights = mask.to("cuda")(**moved)
    if not weights.is_cuda:
        raise RuleViolation("on a CUDA device its weights are on the CPU; register them as a buffer")
    require_rms_close(weights, expected, "on CUDA its weights differ from those on the CPU", 1e-3)


def _variant(fixture: Fixture, variant: Variant) -> None:
    try:
        mask = variant.build(fixture, lambda count: drawn_targets(variant.size, count, variant.target))
    except DataError as error:
        raise Skipped(f"from drawn training targets: {str(error).splitlines()[0]}") from error
    if mask is None:
        return
    weights = mask(**{name: variant.column(name) for name in _names(mask)})
    shape = tuple(weights.shape)
    works = len(shape) == 4 and shape[0] in (1, BATCH) and shape[1:] == (1, *variant.size) and finite(weights)
    require_works(variant, works, f"its weights are {shape}, or not finite")


MASK_RULES = (
    *(_shape, _range, _dtype, _no_gradient, _deterministic, _resume),
    *(_no_in_place_change, _half_precision, _cuda),
    *variant_rules(_variant),
)
