"""Gradient of a critic with respect to its images, which regularisers bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Critic = Callable[[Tensor], dict[str, Any]]
"""A critic as a function: images (N, C, H, W) -> what it provides, including ``logits``."""


def critic_gradient(critic: Critic, images: Tensor) -> Tensor:
    """Return the gradient of each image's logits with respect to the image, (N, C, H, W); itself differentiable.

    A patch critic's logits are summed over positions and averaged over scales.
    """
    images = images.detach().requires_grad_()
    logits = critic(images)["logits"]
    scales = logits if isinstance(logits, tuple) else (logits,)
    total = torch.stack([scale.float().sum() for scale in scales]).mean()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient


def squared_norm(gradient: Tensor) -> Tensor:
    """Return the squared norm of each image's gradient, (N, C, H, W) -> (N,)."""
    return gradient.float().flatten(1).square().sum(1)
