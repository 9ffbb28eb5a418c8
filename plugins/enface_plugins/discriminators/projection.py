"""The projection discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Discriminator, RecipeError, px
from enface_plugins.discriminators.blocks import DiscriminatorOutput, class_count, conv, spectral_norm


class Projection(Discriminator):
    """Whole-image discriminator conditioned on a class: an image must look real and belong to its class.

    psi(phi(x)) + <embed(label), phi(x)>: phi is a residual network whose last activations are summed over the image,
    psi is linear, and embed is one vector per class. ``levels`` residual blocks halve the size by averaging and one
    more keeps it; each has two 3x3 convolutions with ReLU. Every layer and the embedding have spectral norm. After
    Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018. The sum, and with it the logits, grows with the
    image size.

    ``label`` is the image's class, counted from 0: ``inputs: {label: target_pose_class}`` with ``column: pose``.

    Shapes: image (N, C, H, W) in [-1, 1], label (N,) int64 in [0, classes) -> ``logits`` (N,), and ``features``: the
    outputs of the ``levels + 1`` blocks, at 1/2, ..., 1/2^levels, 1/2^levels of the size, rounded down.

    Args:
        column: Column of the data with the label's classes.
        width: Channels of the first block; each further one has twice as many, up to 8 times.
        levels: Number of times the size is halved.

    Raises:
        RecipeError: when the data has no such column, the images are too small, or a label is not one of its classes.
    """

    def __init__(
        self,
        *,
        column: str,
        width: Annotated[int, Ge(1)] = 64,
        levels: Annotated[int, Ge(1), Le(7)] = 4,
        data: DataInfo,
    ) -> None:
        super().__init__()
        _check_size(data.size, levels)
        self.column, self.classes = column, class_count("projection", column, data)
        widths = [data.channels["target"], *(width * min(2**level, 8) for level in range(levels))]
        blocks = [_Residual(widths[i], widths[i + 1], halve=True, first=i == 0) for i in range(levels)]
        self.blocks = nn.ModuleList([*blocks, _Residual(widths[-1], widths[-1], halve=False)])
        self.psi = spectral_norm(nn.Linear(widths[-1], 1))
        self.embed = spectral_norm(nn.Embedding(self.classes, widths[-1]))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"column": "pose", "width": 4, "levels": 2}

    def forward(self, image: Tensor, label: Tensor) -> DiscriminatorOutput:
        self._check_label(label)
        features = []
        for block in self.blocks:
            image = block(image)
            features.append(image)
        phi = image.relu().sum((2, 3))
        logits = self.psi(phi).squeeze(1) + (self.embed(label) * phi).sum(1)
        return {"logits": logits, "features": tuple(features)}

    def _check_label(self, label: Tensor) -> None:
        hint = f"use inputs: {{label: target_{self.column}_class}}"
        if label.is_floating_point():
            raise RecipeError(f"projection: the label is a floating-point number, not a class; {hint}")
        # This waits for the device, but without it CUDA would abort with an error that does not mention the recipe.
        if bool(((label < 0) | (label >= self.classes)).any()):
            raise RecipeError(
                f"projection: a label is not one of the {self.classes} classes of column {self.column!r}, "
                f"0 to {self.classes - 1}; {hint}"
            )


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution if channels or size change.

    Args:
        first: True for the block on the image, which must not pass through a ReLU.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve = halve
        inner = outputs if first else inputs
        self.body = nn.Sequential(
            nn.Identity() if first else nn.ReLU(),
            conv(inputs, inner, kernel=3, spectral=True),
            nn.ReLU(),
            conv(inner, outputs, kernel=3, spectral=True),
        )
        changes = halve or inputs != outputs
        self.shortcut = conv(inputs, outputs, kernel=1, spectral=True) if changes else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        features = self.body(image) + self.shortcut(image)
        return functional.avg_pool2d(features, 2) if self.halve else features


def _check_size(size: tuple[int, int], levels: int) -> None:
    if min(size) >= 2**levels:
        return
    fitting = max((fewer for fewer in range(1, levels) if min(size) >= 2**fewer), default=None)
    hint = f"use levels: {fitting} or larger images" if fitting else "use larger images"
    raise RecipeError(
        f"projection with levels: {levels} needs images of at least {2**levels} px, these have {px(size)}; {hint}"
    )
