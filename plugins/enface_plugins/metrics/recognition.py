"""The base of metrics that compare the embeddings of a face recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge
from torch import Tensor

from enface import DataInfo, GalleryMetric, Metric
from enface_plugins.metrics.cards import rgb_text
from enface_plugins.planes import require_rgb
from enface_plugins.recognisers import Colour, FileRecogniser, Undetected, open_recogniser, recogniser_network


class RecogniserMetric(Metric):
    """A metric of the cosine of a face recogniser's embeddings.

    Args:
        recogniser: TorchScript or ONNX file of the user (default: dlib's recogniser).
        size: Height and width in pixels of the file's input; required with a file.
        range: Values of black and white in the file's input.
        colour: Channel order of the file's input.
        undetected: Images in which dlib detects no face: embed the ``whole`` image, or ``leave_out`` their numbers.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the images are neither RGB nor grey, or the file does not accept such images, returns no
            embeddings, or is not in eval mode.
    """

    def __init__(
        self,
        *,
        recogniser: Path | None = None,
        size: Annotated[int, Ge(1)] | None = None,
        range: tuple[float, float] = (-1.0, 1.0),
        colour: Colour = "rgb",
        undetected: Undetected = "whole",
        data: DataInfo,
    ) -> None:
        super().__init__()
        require_rgb(type(self).__name__.lower(), data)
        self.data = data
        self.recogniser = open_recogniser(recogniser, size, range, colour, undetected)
        self.undetected = undetected

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return recogniser_network(params)

    @property
    def card(self) -> dict[str, str]:
        card = {**self.recogniser.card, "similarity": "cosine"}
        if self.data.channels["target"] == 1:
            card["colour"] = rgb_text(self.data)
        if isinstance(self.recogniser, FileRecogniser) and self.data.size[0] != self.data.size[1]:
            card["crop"] = "the largest centred square"
        return card

    @property
    def fallback_words(self) -> tuple[str, str]:
        if self.undetected == "leave_out":
            return "no face was detected", "such images have no number"
        return "no face was detected", "there the whole image counts as the face, so the numbers mix two kinds of crops"

    def fallback(self, image: Tensor) -> Tensor | None:
        return self.recogniser.undetected(image)


class GalleryRecogniserMetric(RecogniserMetric, GalleryMetric):
    """Base of rates over probes, 0 or 1 for each, against a gallery of one target per person."""

    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def card(self) -> dict[str, str]:
        return {
            **super().card,
            "gallery": "the first target of each person",
            "probes": "outputs not made from their person's gallery image",
        }

    def features(self, image: Tensor) -> Tensor:
        return self.recogniser(image).float()


def scores(
    outputs: npt.NDArray[np.float32],
    identities: npt.NDArray[Any],
    gallery: npt.NDArray[np.float32],
    gallery_identities: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cosines of each probe with the gallery's images of its own person and of the others.

    Returns:
        The best genuine score of each probe, (N,), and the impostor scores, (N, G); NaN of its own person.
    """
    cosines = _unit_vectors(outputs) @ _unit_vectors(gallery).T
    own = identities[:, None] == gallery_identities[None]
    genuine = np.where(own, cosines, -np.inf).max(1)
    return genuine, np.where(own, np.float32(np.nan), cosines)


def _unit_vectors(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)
