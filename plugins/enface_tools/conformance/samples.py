"""Sample inputs by name, and comparisons of results.

``output target source partner`` and names ending in ``_image`` are images. Names ending in ``features``, ``logits``,
``code``, ``regions`` or ``class`` are what they are called, those beginning with ``same`` are 0.0 or 1.0 for each
image, and ``a b labels`` are the codes and classes that a term's ``inputs`` usually renames to them. ``flow`` is into
:data:`FIELDS` images, which ``masks`` blend with ``painted``; names ending in ``_flow`` and ``_visible`` are what the
data knows of them. Any other name is unknown (:func:`unknown_names`) and gets a column of integers (N,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface_tools.conformance.fixture import BATCH, CLASSES, SIZE, Size
from enface_tools.conformance.rules import RuleViolation

COLUMN_IMAGES = ("target", "source", "partner")
IMAGES = ("output", *COLUMN_IMAGES)
POSES = CLASSES["pose"]
CODE = 12
FIELDS = 3
SHIFT = 6.0
"""Largest component of a sample flow, in pixels."""
SAME_RTOL, SAME_ATOL = 1e-4, 1e-5
"""Another order of the same float32 sums changes their last digits, and a deep network's features the fourth."""


class SampleCritic:
    """A critic as a regulariser sees it: images to logits, differentiable twice."""

    def __init__(self, planes: int = 3) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Conv2d(planes, 4, 4, 4), nn.Softplus(), nn.Conv2d(4, 1, 4, 4))

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        return {"logits": self.network(image)}


def smooth_images(seed: int, size: Size = SIZE, count: int = BATCH, planes: int = 3) -> Tensor:
    """Face-like images: smooth, in [-1, 1]; (count, planes, H, W)."""
    coarse = torch.rand(count, planes, 6, 6, generator=_generator(seed)) * 1.8 - 0.9
    return functional.interpolate(coarse, size=size, mode="bilinear")


def sample_input(name: str, draw: int = 0, planes: int = 3) -> Any:
    """Sample the input of a name; each ``draw`` gives another sample. Images and ``judge`` are of ``planes`` planes."""
    seed = sum(map(ord, name)) + 1000 * draw
    if name == "step":
        return 3 + draw
    if name == "judge":
        return SampleCritic(planes)
    if is_image(name):
        return smooth_images(seed, planes=planes)
    if is_field(name):
        return sample_field(name, draw)
    if name.endswith("features"):
        return tuple(torch.randn(BATCH, 4, 8, 8, generator=_generator(seed + layer)) for layer in range(2))
    if name in ("real_logits", "fake_logits"):
        return torch.randn(BATCH, 1, 5, 5, generator=_generator(seed))
    if name.endswith("logits"):
        return torch.randn(BATCH, POSES, generator=_generator(seed))
    if name in ("a", "b") or name.endswith("code"):
        return torch.randn(BATCH, CODE, generator=_generator(seed)) * 0.3
    if name.endswith("regions"):
        return _regions()
    classes = (torch.arange(BATCH) + draw) % POSES
    return (classes % 2).float() if name.startswith("same") else classes


def is_image(name: str) -> bool:
    """Return True if the name is of images (N, C, H, W)."""
    return name in (*IMAGES, "painted") or name.endswith("_image")


def is_field(name: str) -> bool:
    """Return True if the name is of flows, masks or visibilities, which have the images' height and width."""
    return name in ("flow", "masks") or is_known_field(name)


def is_known_field(name: str) -> bool:
    """Return True if the name is of a flow or visibility that the data knows."""
    return name.endswith(("_flow", "_visible"))


def sample_field(name: str, draw: int = 0, size: Size = SIZE) -> Tensor:
    """Sample flows, masks or a visibility: smooth, for images of ``size``."""
    planes = {"flow": 2 * FIELDS, "masks": FIELDS + 1}.get(name, 1 if name.endswith("_visible") else 2)
    values = smooth_images(sum(map(ord, name)) + 1000 * draw, size, planes=planes)
    if name == "masks":
        return (4 * values).softmax(1)
    if name.endswith("_visible"):
        return (values > -0.3).float()
    return SHIFT * (values.reshape(BATCH, FIELDS, 2, *values.shape[-2:]) if name == "flow" else values)


def unknown_names(names: Iterable[str]) -> list[str]:
    """Return the names whose meaning is unknown."""
    endings = ("features", "logits", "code", "regions", "class")
    known = ("step", "judge", "labels", "a", "b", *CLASSES)
    return [
        name
        for name in names
        if not (is_image(name) or is_field(name) or name in known or name.endswith(endings) or name.startswith("same"))
    ]


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Apply a change to each tensor of an input."""
    if isinstance(value, tuple):
        return tuple(map_tensors(item, change) for item in value)
    return change(value) if isinstance(value, Tensor) else value


def flat_tensors(value: Any) -> list[Tensor]:
    """Every tensor of an input or result, in order; the items of a dict in the order of their names."""
    if isinstance(value, dict):
        value = tuple(value[name] for name in sorted(value))
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in flat_tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def leaf_copy(tensor: Tensor) -> Tensor:
    """A copy that collects its gradient if it is of floating point."""
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def surrogate_loss(value: Any) -> Tensor:
    """A scalar with a gradient into every tensor of a result."""
    return torch.stack([item.float().square().mean() + item.float().mean() for item in flat_tensors(value)]).sum()


def relative_rms(actual: Any, expected: Any) -> float:
    """Largest root mean square difference between the tensors of two results, relative to the expected one's own RMS.

    Infinite if shapes differ or a value is not finite.
    """
    pairs = zip(_listed(actual), _listed(expected), strict=True)
    return max(_relative_rms(one, other) for one, other in pairs)


def _listed(value: Any) -> list[Tensor]:
    tensors = flat_tensors(tuple(value) if isinstance(value, list) else value)
    assert tensors, "there is something to compare"
    return tensors


def _relative_rms(actual: Tensor, expected: Tensor) -> float:
    if actual.shape != expected.shape or not bool(actual.isfinite().all()):
        return math.inf
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    size, difference = float(expected.square().mean().sqrt()), float((actual - expected).square().mean().sqrt())
    return 0.0 if difference == 0 else difference / size if size else math.inf


def require_rms_close(actual: Any, expected: Any, message: str, tolerance: float = 1e-4) -> None:
    """Raise RuleViolation if the :func:`relative_rms` of two results exceeds the tolerance.

    Args:
        message: The comparison, and how to fix a difference.
    """
    difference = relative_rms(actual, expected)
    if math.isinf(difference):
        raise RuleViolation(f"{message} (not finite, of another shape, or nonzero where 0 is expected)")
    if not difference <= tolerance:
        raise RuleViolation(f"{message} (relative difference {difference:.2g}, at most {tolerance:g} is allowed)")


def require_close(
    actual: Tensor,
    expected: Tensor,
    quantity: str,
    remedy: str = "",
    *,
    rtol: float = SAME_RTOL,
    atol: float = SAME_ATOL,
) -> None:
    """Raise RuleViolation with the largest difference if two tensors are not equal within a tolerance."""
    remedy = remedy and f"; {remedy}"
    if actual.shape != expected.shape:
        raise RuleViolation(f"{quantity} has shape {tuple(actual.shape)}, not {tuple(expected.shape)}{remedy}")
    if not torch.allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True):
        most = (actual - expected).abs().max()
        size = expected.abs().max()
        raise RuleViolation(f"{quantity} differs by up to {most:.3g}, with values up to {size:.3g}{remedy}")


def require_unchanged(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Raise RuleViolation if an input was changed in place."""
    changed = [name for name, value in after.items() if not torch.equal(before[name], value)]
    if changed:
        raise RuleViolation(f"it changes {', '.join(changed)} in place; work on a copy (out of place, or .clone())")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _regions() -> Tensor:
    """A face (1) before a background (0), int64 (N, SIZE, SIZE)."""
    regions = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int64)
    regions[:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 1
    return regions
