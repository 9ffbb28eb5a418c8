"""The discriminator that also tells who it is, from where and in which light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from torch import Tensor, nn

from enface import DataInfo, Discriminator, RecipeError
from enface_plugins.discriminators.blocks import Verdict, classes_of

USUAL = ("identity", "pose", "light")
# Each line but the first begins with the layer that halves the size.
_LAYOUT = ((32, 64), (64, 64, 128), (128, 96, 192), (192, 128, 256), (256, 160, 320))
_SMALLEST = 32


class Attributes(Discriminator):
    """Judges the whole image, and classifies it: one trunk with a head for real or fake and one for each column.

    The trunk has 14 3x3 convolutions with batch norm and ELU, four of them of stride 2, and averages what is left over
    the image; each head is linear. Trained to classify real images, its heads teach a generator to draw a face that is
    recognised as that person, pose or light. After Tran, Yin and Liu, "Disentangled representation learning GAN for
    pose-invariant face recognition" (DR-GAN), CVPR 2017. There "fake" is one more identity; here it has a head of its
    own, so that any adversarial loss can be used.

    The classes are those of the whole data, as ``COLUMN_class`` counts them. Judged against it, a term sees a head's
    logits as ``real_pose_logits`` and ``fake_pose_logits``.

    Shapes: image (N, 3, H, H) in [-1, 1] -> ``logits`` (N,); for each column ``COLUMN_logits`` (N, classes); and
    ``features``: the trunk's activations at H, H/2, H/4, H/8 and H/16, rounded up.

    Args:
        columns: Columns of the data to classify. By default those of identity, pose and light that the data has.
        width: Factor on the trunk's channel counts, which are then rounded to a multiple of 8.

    Raises:
        RecipeError: when the data lacks a column, or the images are below 32 px.
    """

    def __init__(
        self, *, columns: tuple[str, ...] | None = None, width: Annotated[float, Gt(0)] = 1.0, data: DataInfo
    ) -> None:
        super().__init__()
        if data.size < _SMALLEST:
            raise RecipeError(
                f"attributes needs images of at least {_SMALLEST} px, these have {data.size}; use larger images, or "
                "projection with fewer levels"
            )
        if columns is None:
            columns = tuple(name for name in USUAL if name in data.classes)
        classes = {name: classes_of("attributes", name, data) for name in columns}
        self.stages, channels = nn.ModuleList(), 3
        for number, layout in enumerate(_LAYOUT):
            stage = nn.Sequential()
            for place, wanted in enumerate(layout):
                outputs = max(8, 8 * round(wanted * width / 8))
                stage.append(_layer(channels, outputs, stride=2 if number > 0 and place == 0 else 1))
                channels = outputs
            self.stages.append(stage)
        self.judge = nn.Linear(channels, 1)
        # A list, for a column's name may be any text and a module's may not.
        self.heads = nn.ModuleList(nn.Linear(channels, count) for count in classes.values())
        self.named = tuple(f"{name}_logits" for name in classes)
        self.provides = ("logits", "features", *self.named)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"width": 0.125}

    def forward(self, image: Tensor) -> Verdict:
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        code = image.mean((2, 3))
        classified = {name: head(code) for name, head in zip(self.named, self.heads, strict=True)}
        return {"logits": self.judge(code).squeeze(1), "features": tuple(features), **classified}


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    # No bias: the batch norm has one.
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.normal_(conv.weight, 0.0, 0.02)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ELU())
