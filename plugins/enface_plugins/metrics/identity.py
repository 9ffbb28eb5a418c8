"""Whether the output shows the target's person."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cosine_similarity

from enface_plugins.metrics.recognition import RecogniserMetric


class Identity(RecogniserMetric):
    """Cosine of what a face recogniser makes of output and of target: how much the output is the target's person.

    The recogniser is dlib's (``pip install "enface[identity]"``), 128 numbers for the biggest face found, or of the
    whole image where none is found: King, "High quality face recognition with deep metric learning", dlib's blog, 2017.
    It is meant for Euclidean distances, below 0.6 for one person; by cosine, unlike people are near 0.9 too, so compare
    with the baselines rather than with 1. Or it is a file of yours, such as an ArcFace network, shown the whole image.
    Identity kept through frontalization is measured so by Huang, Zhang, Li and He, "Beyond face rotation", ICCV 2017.

    dlib takes some tenths of a second for each image it did not see before, on the CPU. Its landmarks' model was
    trained on iBUG 300-W, whose terms exclude commercial use. TorchScript can read and write files: use a file you
    trust.

    Shapes: output, target (N, 3, H, W) in [0, 1] -> (N,). Range: [-1, 1], 1 for the same image.

    Args:
        recogniser: A file of your own: TorchScript (``.pt``, ``.ts``) or ONNX (``.onnx``), images (N, 3, size, size) ->
            embeddings (N, D); dlib's recogniser unless given.
        size: Height and width in pixels of the images that the file takes; needed with one.
        range: What the file wants black and white to be, lowest first: [-1, 1], [0, 1], [0, 255].
        colour: Order of the channels that the file takes.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not take such images, gives no embeddings, or is not in eval mode.
    """

    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # Rounding may leave [-1, 1] by a hair.
        return cosine_similarity(self.recogniser(output), self.recogniser(target)).clamp(-1, 1)
