"""Synthetic heads: a small, free substitute for Multi-PIE."""

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
from enface_plugins.datasets.heads import correspondence as matching, lights as lighting, render
from enface_plugins.datasets.heads.identity import Identity, draw_identity
from enface_plugins.datasets.heads.mesh import Mesh, build_mesh
from enface_plugins.datasets.heads.model import anny_model, require
from enface_plugins.datasets.heads.paint import REGION_NAMES

# Increase with any change to the appearance of the images.
_REVISION = 1
_POSES = {9: range(-60, 61, 15), 13: range(-90, 91, 15)}


class SyntheticHeads(Dataset):
    """Rendered heads of artificial people, from several sides and under several lights, as in Multi-PIE.

    The geometry is anny's head (NAVER, Apache-2.0); hair, brows, eyes, beards and glasses are procedural; Embree casts
    the rays. A person depends only on the seed and the person's number, so a larger population begins with the same
    people. Columns: ``identity`` (text), ``pose`` (degrees; positive: the camera is on the person's left, and the nose
    points to the left of the image), ``light`` (0: room light only; 1 to 13: flashes from the person's right to their
    left, 7 frontal; 14 to 19: flashes from above), ``glasses`` and ``beard`` (0 or 1).

    The first use on a machine takes a few seconds longer, while anny fills its cache (660 MB).

    Args:
        identities: Number of people.
        poses: 9 yaws from -60 to 60 degrees, or 13 from -90 to 90; 15 degrees apart.
        lights: Number of lights; fewer than 20 are spread evenly and always include 7.
        seed: Seed of the population.

    Raises:
        RecipeError: when the longer side of the images is not 32 to 256 pixels.
    """

    pairs: ClassVar[dict[str, Any]] = {
        "target": {"same": ["identity"], "where": {"pose": 0, "light": lighting.STANDARD}},
        "partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5},
    }
    mirror: ClassVar[dict[str, Any]] = {"pose": "negate", "light": lighting.MIRROR}
    region_names: ClassVar[tuple[str, ...]] = REGION_NAMES
    view_columns: ClassVar[tuple[str, ...]] = ("identity", "pose")
    """Columns on which :meth:`correspondence` depends."""

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
        # Square renders, which the pack crops to the images' shape without enlarging them.
        self.size = max(data.size)
        if not 32 <= self.size <= 256:
            raise RecipeError(f"synthetic_heads renders 32 to 256 pixels; the longer side of data.size is {self.size}")
        self.seed = seed

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"identities": 2, "lights": 1}

    def rows(self) -> Iterator[Row]:
        """One row per image, by identity, pose and light.

        Raises:
            DataError: when anny or embreex is not installed.
        """
        require("embreex")
        # Before packing starts its workers, because they must not fill anny's cache on disk concurrently.
        anny_model()
        yield from self.listing()

    def listing(self) -> Iterator[Row]:
        """The same rows; anny is not needed."""
        for number in range(self.identities):
            person = draw_identity(self.seed, number)
            traits = {"glasses": int(person.glasses is not None), "beard": int(person.beard != "none")}
            for pose in _POSES[self.poses]:
                for light in lighting.choose(self.lights):
                    key = f"{number:04d}_{pose:+04d}_{light:02d}"
                    yield {"key": key, "identity": f"{number:04d}", "pose": pose, "light": light, **traits}

    def fingerprint(self) -> str:
        """anny's version and the revision of the rendering."""
        return f"anny {version('anny')}, heads {_REVISION}"

    def image(self, row: Row) -> npt.NDArray[np.uint8]:
        number = int(row["identity"])
        _, mesh = _head(self.seed, number)
        return render.shade(mesh, _view(self.seed, number, int(row["pose"]), self.size), int(row["light"]))

    def regions(self, row: Row) -> npt.NDArray[np.uint8]:
        return _regions(self.seed, int(row["identity"]), int(row["pose"]), self.size)

    def correspondence(self, source: Row, target: Row) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]] | None:
        """Return flow and visibility between two views of a person; None for two people. Light does not matter."""
        if source["identity"] != target["identity"]:
            return None
        number = int(target["identity"])
        points = _surface(self.seed, number, int(target["pose"]), self.size)
        return matching.correspondence(_head(self.seed, number)[1], points, int(source["pose"]))


# Rows of the same head and pose are adjacent, so each process caches the last of each only.


@lru_cache(maxsize=1)
def _head(seed: int, number: int) -> tuple[Identity, Mesh]:
    person = draw_identity(seed, number)
    return person, build_mesh(person)


@lru_cache(maxsize=1)
def _view(seed: int, number: int, pose: int, size: int) -> render.View:
    return render.camera_view(*_head(seed, number), pose, size)


@lru_cache(maxsize=1)
def _regions(seed: int, number: int, pose: int, size: int) -> npt.NDArray[np.uint8]:
    return render.regions(_view(seed, number, pose, size))


@lru_cache(maxsize=1)
def _surface(seed: int, number: int, pose: int, size: int) -> matching.Surface:
    return matching.surface(_head(seed, number)[1], pose, size)
