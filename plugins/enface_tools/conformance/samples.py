"""Sample inputs by the names that components ask for.

``output target source partner`` and names ending in ``_image`` are images; names ending in ``features``, ``logits``,
``code``, ``regions`` or ``class`` are what they are called, those beginning with ``same`` say 0.0 or 1.0 of each
image, and ``a b labels`` are the codes and classes that a term's ``inputs`` usually renames to them. Nothing says what
any other name means: it gets an integer column (N,), and is :func:`guessed`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface_tools.conformance.fixture import BATCH, CLASSES, SIZE

COLUMN_IMAGES = ("target", "source", "partner")
IMAGES = ("output", *COLUMN_IMAGES)
POSES = CLASSES["pose"]
CODE = 12


class Judge:
    """A critic as a regulariser sees it: images to logits, differentiable twice."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Softplus(), nn.Conv2d(4, 1, 4, 4))

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        return {"logits": self.network(image)}


def smooth(seed: int, size: int = SIZE, count: int = BATCH) -> Tensor:
    """Face-like images: smooth, in [-1, 1]; (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 6, 6, generator=_generator(seed)) * 1.8 - 0.9
    return functional.interpolate(coarse, size=size, mode="bilinear")


def sample(name: str, draw: int = 0) -> Any:
    """An input of a name; for each ``draw`` another one."""
    seed = sum(map(ord, name)) + 1000 * draw
    if name == "step":
        return 3 + draw
    if name == "judge":
        return Judge()
    if is_image(name):
        return smooth(seed)
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
    """Whether a name is of images (N, 3, H, W)."""
    return name in IMAGES or name.endswith("_image")


def guessed(names: Iterable[str]) -> list[str]:
    """Those of the names of which nothing says what they mean."""
    endings = ("features", "logits", "code", "regions", "class")
    known = ("step", "judge", "labels", "a", "b", *CLASSES)
    return [
        name
        for name in names
        if not (is_image(name) or name in known or name.endswith(endings) or name.startswith("same"))
    ]


def asked(function: Callable[..., Any]) -> list[str]:
    """The argument names of a component's function: what it requests."""
    return list(inspect.signature(function).parameters)


def over(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """An input with a change made to each of its tensors."""
    if isinstance(value, tuple):
        return tuple(over(item, change) for item in value)
    return change(value) if isinstance(value, Tensor) else value


def tensors(value: Any) -> list[Tensor]:
    """Every tensor of an input or result, in order; of a dict in the order of its names."""
    if isinstance(value, dict):
        value = tuple(value[name] for name in sorted(value))
    if isinstance(value, tuple):
        return [found for item in value for found in tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def leaf(tensor: Tensor) -> Tensor:
    """A copy that collects its gradient, where there can be one."""
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _regions() -> Tensor:
    """A face (1) before a background (0), int64 (N, SIZE, SIZE)."""
    regions = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int64)
    regions[:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 1
    return regions
