"""Rank-1 recognition by a face recogniser."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from enface import GalleryMetric
from enface_plugins.metrics.recognition import RecogniserMetric


class Rank_1(RecogniserMetric, GalleryMetric):
    """Rank-1 recognition: 1 if, in a gallery of one target per person, the nearest to the output is of its person.

    Nearest by the cosine of a face recogniser's embeddings, as in ``identity``. The mean over all outputs is the
    closed-set rank-1 rate of face recognition: Phillips, Moon, Rizvi and Rauss, "The FERET evaluation methodology for
    face-recognition algorithms", IEEE TPAMI 2000. It depends on the number of people in the gallery: values from
    galleries of different sizes are not comparable, and guessing gives 1 / size. The target itself is in the gallery,
    so a perfect output is always recognised.

    Shapes: features of (N, 3, H, W) in [0, 1]. Range: 0 or 1 for each image; 1 is best.

    Args:
        recogniser: TorchScript or ONNX file, as for ``identity`` (default: dlib's recogniser).
        size: Height and width in pixels of the file's input; required with a file.
        range: Values of black and white in the file's input: [-1, 1], [0, 1], [0, 255].
        colour: Channel order of the file's input.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not accept such images, returns no embeddings, or is not in eval mode.
    """

    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def card(self) -> dict[str, str]:
        return {**super().card, "gallery": "the first target of each person"}

    def features(self, image: Tensor) -> Tensor:
        return self.recogniser(image).float()

    def matched(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        gallery: npt.NDArray[np.float32],
        gallery_identities: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        cosines = _unit_vectors(outputs) @ _unit_vectors(gallery).T
        return (gallery_identities[cosines.argmax(1)] == identities).astype(np.float32)


def _unit_vectors(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)
