"""What metrics share that look at faces through a recogniser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from enface import Metric
from enface_plugins.recognisers import Colour, open_recogniser, recogniser_network


class RecogniserMetric(Metric):
    """A metric of what a face recogniser makes of images, compared by its cosine.

    Args:
        recogniser: A file of the user's own; dlib's recogniser unless given.
        size: Height and width in pixels of the images that the file takes; needed with one.
        range: What the file wants black and white to be, lowest first.
        colour: Order of the channels that the file takes.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not take such images, gives no embeddings, or is not in eval mode.
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
