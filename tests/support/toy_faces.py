"""A plugin file for tests: a face-like dataset that is drawn in microseconds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from enface import Dataset, hookimpl

POSES = (-30, -15, 0, 15, 30)


class ToyFaces(Dataset):
    """Coloured ovals with eyes that move with the pose and brighten with the light.

    Args:
        identities: Number of people.
        lights: Number of lights.
        skip_frontal: Identity whose frontal view is missing.
        broken: Key of an image that cannot be read.
    """

    pairs: ClassVar[dict[str, Any]] = {
        "target": {"same": ["identity"], "where": {"pose": 0, "light": 0}},
        "partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5},
    }
    region_names = ("background", "face")

    def __init__(
        self,
        *,
        identities: Annotated[int, Ge(0)] = 6,
        lights: Annotated[int, Ge(1)] = 2,
        skip_frontal: str = "",
        broken: str = "",
    ) -> None:
        self._identities, self._lights = identities, lights
        self._skip_frontal, self._broken = skip_frontal, broken

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"key": f"{person:03}_{pose:+03}_{light:02}", "identity": f"{person:03}", "pose": pose, "light": light}
            for person in range(self._identities)
            for pose in POSES
            for light in range(self._lights)
            if not (pose == 0 and f"{person:03}" == self._skip_frontal)
        ]

    def image(self, row: Any) -> np.ndarray:
        if row["key"] == self._broken:
            from enface import DataError

            raise DataError(f"image {row['key']} cannot be read")
        face, eyes = self._shapes(row)
        tone = np.random.default_rng(int(row["identity"])).uniform(60, 200, 3)
        image = np.full((48, 48, 3), 30.0)
        image[face] = tone * (0.6 + 0.4 * (1 + row["light"]) / self._lights)
        image[eyes] = 240
        return image.clip(0, 255).astype(np.uint8)

    def regions(self, row: Any) -> np.ndarray:
        return self._shapes(row)[0].astype(np.uint8)

    def _shapes(self, row: Any) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[-1:1:48j, -1:1:48j]
        shift = row["pose"] / 90
        wide = 0.5 + 0.03 * (int(row["identity"]) % 5)
        face = (x / wide) ** 2 + (y / 0.8) ** 2 < 1
        eyes = (np.abs(np.abs(x - shift) - 0.2) < 0.06) & (np.abs(y + 0.2) < 0.06)
        return face, eyes


@hookimpl
def components() -> list[type]:
    return [ToyFaces]
