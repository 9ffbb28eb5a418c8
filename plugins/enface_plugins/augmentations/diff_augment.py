"""Differentiable augmentation of a discriminator's input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import pad

from enface import Augmentation

Policy = Literal["color", "translation", "cutout"]


class DiffAugment(Augmentation):
    """Random color, translation and cutout of each image, differentiable throughout.

    color: brightness + u, then saturation times 2v about each pixel's grey, then contrast times w + 1/2 about the
    image's mean, with u in [-1/2, 1/2) and v, w in [0, 1) (the paper's values, for images in [-1, 1] here).
    Images that are not RGB have no saturation. translation: by up to an eighth of each side, padded with zeros. cutout:
    a rectangle of half the height and half the width becomes zero.
    After Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020.

    With a ``target`` the strength adapts as in Karras et al., "Training generative adversarial networks with limited
    data" (ADA), NeurIPS 2020: it rises while the mean sign of the critic's logits of real images is above the target,
    which indicates overfitting, and falls while it is below. The strength is saved in checkpoints. The sign of a logit
    is a verdict only in a game whose boundary is 0: ``hinge`` or ``vanilla``. That of ``lsgan`` is 0.5, and the logits
    of ``wgan`` and the relativistic ones have none, so leave ``target`` out with these.

    Translations are by whole pixels, because gradients of resampling are not reproducible on CUDA.

    Args:
        policy: Changes to apply, in this order.
        strength: Probability of each change for each image; the initial one if it adapts.
        target: Desired mean sign of the critic's logits of real images, such as 0.6; null keeps the strength fixed.
        reach: Number of critic updates in which the strength can go from 0 to 1.
    """

    level: Tensor

    def __init__(
        self,
        *,
        policy: tuple[Policy, ...] = ("color", "translation", "cutout"),
        strength: Annotated[float, Ge(0), Le(1)] = 1.0,
        target: Annotated[float, Gt(0), Le(1)] | None = None,
        reach: Annotated[int, Ge(1)] = 10_000,
    ) -> None:
        super().__init__()
        self.changes = [{"color": _color, "translation": _translation, "cutout": _cutout}[name] for name in policy]
        self.target, self.reach = target, reach
        self.adaptive = target is not None
        self.register_buffer("level", torch.tensor(strength, dtype=torch.float64))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"target": 0.6, "reach": 10}

    def forward(self, image: Tensor) -> Tensor:
        for change in self.changes:
            selected = torch.rand(len(image), 1, 1, 1, device=image.device) < self.level
            image = torch.where(selected, change(image), image)
        return image

    def observe(self, certainty: float) -> None:
        assert self.target is not None
        sign = 1 if certainty > self.target else -1
        self.level.add_(sign / self.reach).clamp_(0, 1)


def _color(image: Tensor) -> Tensor:
    brightness, saturation, contrast = torch.rand(3, len(image), 1, 1, 1, device=image.device)
    image = image + (brightness - 0.5)
    if image.shape[1] == 3:
        grey = image.mean(1, keepdim=True)
        image = (image - grey) * (2 * saturation) + grey
    mean = image.mean((1, 2, 3), keepdim=True)
    return (image - mean) * (contrast + 0.5) + mean


def _translation(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    vertical, horizontal = height // 8, width // 8
    padded = pad(image, (horizontal, horizontal, vertical, vertical))
    tops = torch.randint(2 * vertical + 1, (len(image),)).tolist()
    lefts = torch.randint(2 * horizontal + 1, (len(image),)).tolist()
    corners = zip(padded, tops, lefts, strict=True)
    return torch.stack([one[:, top : top + height, left : left + width] for one, top, left in corners])


def _cutout(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    rows, columns = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
    # The rectangle's centre may lie anywhere, so part of it may lie outside the image.
    centre = torch.rand(2, len(image), 1, device=image.device)
    down = (rows - centre[0] * height).abs() <= height / 4
    across = (columns - centre[1] * width).abs() <= width / 4
    return image * ~(down[:, None, :, None] & across[:, None, None, :])
