"""A discriminator that also classifies identity, pose and light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from torch import Tensor, nn

from enface import DataInfo, Discriminator, RecipeError, px
from enface_plugins.discriminators.blocks import DiscriminatorOutput, class_count

DEFAULT_COLUMNS = ("identity", "pose", "light")
# In each line but the first, the first layer halves the size.
_LAYOUT = ((32, 64), (64, 64, 128), (128, 96, 192), (192, 128, 256), (256, 160, 320))
_SMALLEST = 32


class Attributes(Discriminator):
    """Whole-image discriminator that also classifies: one trunk, a head for real or fake and a head per column.

    The trunk has 14 3x3 convolutions with batch norm and ELU, four of them of stride 2, and averages its activations
    over the image; each head is linear. Trained to classify real images, the heads teach a generator to synthesise a
    face that is recognised as that person, pose or light. After Tran, Yin and Liu, "Disentangled representation
    learning GAN for pose-invariant face recognition" (DR-GAN), CVPR 2017. There "fake" is one more identity; here it
    has its own head, so that any adversarial loss can be used.

    The classes are those of the whole data, as counted by ``COLUMN_class``. A term ``against`` it requests a head's
    logits as ``real_pose_logits`` and ``fake_pose_logits``.

    Shapes: image (N, C, H, W) in [-1, 1] -> ``logits`` (N,); for each column ``COLUMN_logits`` (N, classes); and
    ``features``: the trunk's activations at 1, 1/2, 1/4, 1/8 and 1/16 of the size, rounded up.

    Args:
        columns: Columns of the data to classify. Default: those of identity, pose and light that the data has.
        width: Factor on the trunk's channel counts, which are then rounded to a multiple of 8.

    Raises:
        RecipeError: when the data lacks a column, or a side of the images is below 32 px.
    """

    def __init__(
        self, *, columns: tuple[str, ...] | None = None, width: Annotated[float, Gt(0)] = 1.0, data: DataInfo
    ) -> None:
        super().__init__()
        if data.shorter_side < _SMALLEST:
            raise RecipeError(
                f"attributes needs images of at least {_SMALLEST} px, these have {px(data.size)}; "
                "use larger images, or projection with fewer levels"
            )
        if columns is None:
            columns = tuple(name for name in DEFAULT_COLUMNS if name in data.classes)
        classes = {name: class_count("attributes", name, data) for name in columns}
        self.stages, channels = nn.ModuleList(), data.channels["target"]
        for number, layout in enumerate(_LAYOUT):
            stage = nn.Sequential()
            for index, unscaled in enumerate(layout):
                outputs = max(8, 8 * round(unscaled * width / 8))
                stage.append(_layer(channels, outputs, stride=2 if number > 0 and index == 0 else 1))
                channels = outputs
            self.stages.append(stage)
        self.judge = nn.Linear(channels, 1)
        # A list, because not every column name is a valid module name.
        self.heads = nn.ModuleList(nn.Linear(channels, count) for count in classes.values())
        self.class_logits = tuple(f"{name}_logits" for name in classes)
        self.provides = ("logits", "features", *self.class_logits)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 0.125}

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        code = image.mean((2, 3))
        class_logits = {name: head(code) for name, head in zip(self.class_logits, self.heads, strict=True)}
        return {"logits": self.judge(code).squeeze(1), "features": tuple(features), **class_logits}


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    # No bias: the batch norm has one.
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ELU())
