"""Similarity of identity by a face recogniser."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cosine_similarity

from enface_plugins.metrics.recognition import RecogniserMetric


class Identity(RecogniserMetric):
    """Cosine similarity of a face recogniser's embeddings of output and target: how well identity is preserved.

    The default recogniser is dlib's (``pip install "enface[identity]"``): 128 numbers for the largest face, or for the
    whole image if no face is detected, which a caveat counts. King, "High quality face recognition with deep metric
    learning", dlib's blog, 2017. It was trained for Euclidean distances, below 0.6 for the same person; the cosine of
    different people is near 0.9 as well, so compare with the baselines rather than with 1. A file, such as an ArcFace
    network, receives the image's largest centred square instead. Huang, Zhang, Li and He, "Beyond face rotation", ICCV
    2017, measure in this way how well frontalization preserves identity.

    dlib runs on the CPU and takes a few tenths of a second for each new image. Its landmark model was trained on iBUG
    300-W, whose terms exclude commercial use. TorchScript can read and write files: use only files you trust.

    Shapes: output, target (N, 3 or 1, H, W) in [0, 1] -> (N,). Range: [-1, 1], 1 for the same image.

    Args:
        recogniser: TorchScript (``.pt``, ``.ts``) or ONNX file (``.onnx``) that maps images (N, 3, size, size) to
            embeddings (N, D) (default: dlib's recogniser).
        size: Height and width in pixels of the file's input; required with a file.
        range: Values of black and white in the file's input: [-1, 1], [0, 1], [0, 255].
        colour: Channel order of the file's input.
        undetected: Images in which dlib detects no face: embed the ``whole`` image, or ``leave_out`` their numbers.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the images are neither RGB nor grey, or the file does not accept such images, returns no
            embeddings, or is not in eval mode.
    """

    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        # Rounding may leave [-1, 1] slightly.
        return cosine_similarity(self.recogniser(output), self.recogniser(target)).clamp(-1, 1)
