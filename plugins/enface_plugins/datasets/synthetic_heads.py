"""Synthetic heads: a small, free stand-in for Multi-PIE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from enface import DataInfo, Dataset, RecipeError, Row
from enface_plugins.datasets.heads import lights as lighting
from enface_plugins.datasets.heads import render
from enface_plugins.datasets.heads.identity import Identity, draw_identity
from enface_plugins.datasets.heads.mesh import Mesh, build_mesh
from enface_plugins.datasets.heads.model import anny_model, need
from enface_plugins.datasets.heads.paint import REGION_NAMES

# To be raised with any change to what the pictures look like.
_REVISION = 1
_POSES = {9: range(-60, 61, 15), 13: range(-90, 91, 15)}


class SyntheticHeads(Dataset):
    """Rendered heads of people who do not exist, from several sides and under several lights, as in Multi-PIE.

    Geometry is anny's head (NAVER, Apache-2.0); hair, brows, eyes, beards and glasses are procedural; rays are
    Embree's. Every person is a function of the seed and their own number, so a larger population begins with
    the same people. Columns: ``identity`` (text), ``pose`` (degrees; positive: the camera stands to the person's
    left, so that the nose points to the left of the image), ``light`` (0 the room alone, 1 to 13 flashes from the
    person's right to their left, 7 frontal, 14 to 19 from above), ``glasses`` and ``beard`` (0 or 1).

    The first use on a machine takes some seconds more, while anny fills its cache (660 MB).

    Args:
        identities: Number of people.
        poses: 9 yaws from -60 to 60 degrees, or 13 from -90 to 90; 15 degrees apart.
        lights: Number of lights; fewer than 20 are spread out and always include 7.
        seed: Of the population.

    Raises:
        RecipeError: when the images' size is not 32 to 256 pixels.
    """

    pairs: ClassVar[dict[str, Any]] = {
        "target": {"same": ["identity"], "where": {"pose": 0, "light": lighting.STANDARD}},
        "partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5},
    }
    mirror: ClassVar[dict[str, Any]] = {"pose": "negate", "light": lighting.MIRROR}
    region_names: ClassVar[tuple[str, ...]] = REGION_NAMES

    def __init__(
        self,
        *,
        identities: Annotated[int, Ge(2)] = 112,
        poses: Literal[9, 13] = 9,
        lights: Annotated[int, Ge(1), Le(20)] = 20,
        seed: Annotated[int, Ge(0)] = 0,
        data: DataInfo,
    ) -> None:
        self.identities = identities
        self.poses = poses
        self.lights = lights
        if not 32 <= data.size <= 256:
            raise RecipeError(f"synthetic_heads draws 32 to 256 pixels; data.size is {data.size}")
        self.size = data.size
        self.seed = seed

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"identities": 2, "lights": 1}

    def rows(self) -> Iterator[Row]:
        """One row an image, by identity, pose and light.

        Raises:
            DataError: when anny or embreex is not installed.
        """
        need("embreex")
        # Here, before packing starts its workers: two of them must not fill anny's cache on disk at once.
        anny_model()
        for number in range(self.identities):
            person = draw_identity(self.seed, number)
            traits = {"glasses": int(person.glasses is not None), "beard": int(person.beard != "none")}
            for pose in _POSES[self.poses]:
                for light in lighting.choose(self.lights):
                    key = f"{number:04d}_{pose:+04d}_{light:02d}"
                    yield {"key": key, "identity": f"{number:04d}", "pose": pose, "light": light, **traits}

    def fingerprint(self) -> str:
        """anny's version, and the revision of the pictures themselves."""
        return f"anny {version('anny')}, heads {_REVISION}"

    def image(self, row: Row) -> npt.NDArray[np.uint8]:
        number = int(row["identity"])
        _, mesh = _head(self.seed, number)
        return render.shade(mesh, _view(self.seed, number, int(row["pose"]), self.size), int(row["light"]))

    def regions(self, row: Row) -> npt.NDArray[np.uint8]:
        return _regions(self.seed, int(row["identity"]), int(row["pose"]), self.size)


# Rows that share a head and a pose are neighbours: the last one of each is kept, by process, and no more.


@lru_cache(maxsize=1)
def _head(seed: int, number: int) -> tuple[Identity, Mesh]:
    person = draw_identity(seed, number)
    return person, build_mesh(person)


@lru_cache(maxsize=1)
def _view(seed: int, number: int, pose: int, size: int) -> render.View:
    return render.look(*_head(seed, number), pose, size)


@lru_cache(maxsize=1)
def _regions(seed: int, number: int, pose: int, size: int) -> npt.NDArray[np.uint8]:
    return render.regions(_view(seed, number, pose, size))
