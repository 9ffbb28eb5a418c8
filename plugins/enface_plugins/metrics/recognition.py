"""The base of metrics that compare the embeddings of a face recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from enface import Metric
from enface_plugins.recognisers import Colour, open_recogniser, recogniser_network


class RecogniserMetric(Metric):
    """A metric of the cosine of a face recogniser's embeddings.

    Args:
        recogniser: TorchScript or ONNX file of the user (default: dlib's recogniser).
        size: Height and width in pixels of the file's input; required with a file.
        range: Values of black and white in the file's input.
        colour: Channel order of the file's input.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not accept such images, returns no embeddings, or is not in eval mode.
    """

    def __init__(
        self,
        *,
        recogniser: Path | None = None,
        size: Annotated[int, Ge(1)] | None = None,
        range: tuple[float, float] = (-1.0, 1.0),
        colour: Colour = "rgb",
    ) -> None:
        super().__init__()
        self.recogniser = open_recogniser(recogniser, size, range, colour)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return recogniser_network(params)

    @property
    def card(self) -> dict[str, str]:
        return {**self.recogniser.card, "similarity": "cosine"}
