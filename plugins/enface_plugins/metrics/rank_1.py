"""Whether a recogniser finds the person."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from enface import GalleryMetric
from enface_plugins.metrics.recognition import RecogniserMetric


class Rank_1(RecogniserMetric, GalleryMetric):
    """Rank-1 recognition: 1 where, among one target of each person, the nearest to the output is of its person.

    Nearest is by the cosine of what a face recogniser makes of the images: the same as for ``identity``. The mean over
    all outputs is the rank-1 rate that face recognition reports, here in a closed set: Phillips, Moon, Rizvi and Rauss,
    "The FERET evaluation methodology for face-recognition algorithms", IEEE TPAMI 2000. It depends on how many people
    there are to be mistaken for: numbers from galleries of other sizes do not compare, and guessing gives 1 over that
    size. The target itself is in the gallery, so a perfect output is always found.

    Shapes: features of (N, 3, H, W) in [0, 1]. Range: 0 or 1 for each image; 1 is best.

    Args:
        recogniser: A file of your own, as for ``identity``; dlib's recogniser unless given.
        size: Height and width in pixels of the images that the file takes; needed with one.
        range: What the file wants black and white to be, lowest first: [-1, 1], [0, 1], [0, 255].
        colour: Order of the channels that the file takes.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not take such images, gives no embeddings, or is not in eval mode.
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
        cosines = _directions(outputs) @ _directions(gallery).T
        return (gallery_identities[cosines.argmax(1)] == identities).astype(np.float32)


def _directions(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)
