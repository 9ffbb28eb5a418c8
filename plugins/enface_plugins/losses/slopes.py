"""The slope of a critic at images, which its regularisers bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Judge = Callable[[Tensor], dict[str, Any]]
"""A critic: images (N, 3, H, W) -> what it provides, among it ``logits``."""


def slopes(judge: Judge, images: Tensor) -> Tensor:
    """The gradient of each image's summed logits with respect to the image, (N, 3, H, W); itself differentiable.

    Of a patch critic's logits the sum over positions is taken, and the mean over scales, as if it were one judge.
    """
    images = images.detach().requires_grad_()
    logits = judge(images)["logits"]
    scales = logits if isinstance(logits, tuple) else (logits,)
    total = torch.stack([scale.float().sum() for scale in scales]).mean()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient


def squared_norm(gradient: Tensor) -> Tensor:
    """Of each image's gradient, (N, 3, H, W) -> (N,)."""
    return gradient.float().flatten(1).square().sum(1)
