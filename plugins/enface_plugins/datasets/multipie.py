"""CMU Multi-PIE, by its file names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface import DataError, Dataset, Row, files_fingerprint, list_images, read_image

YAW = MappingProxyType(
    {
        "110": -90,
        "120": -75,
        "090": -60,
        "080": -45,
        "130": -30,
        "140": -15,
        "051": 0,
        "050": 15,
        "041": 30,
        "190": 45,
        "200": 60,
        "010": 75,
        "240": 90,
    }
)
"""The cameras at the height of the head, and their yaw in degrees."""

SEED_CAMERAS = tuple(camera for camera, yaw in YAW.items() if abs(yaw) <= 60)
FRONTAL = "051"
NAME = re.compile(r"^(\d{3})_(\d{2})_(\d{2})_(\d{3})_(\d{2})(?!\d)")

Camera = Literal["110", "120", "090", "080", "130", "140", "051", "050", "041", "190", "200", "010", "240"]


class Multipie(Dataset):
    """Multi-PIE's images, found by name anywhere under a folder: the database as it comes, or flat crops.

    A name begins with ``ID_SESSION_RECORDING_CAMERA_LIGHT`` (``138_01_01_051_07.png``); what follows is free.
    Columns: ``identity``, ``session``, ``recording`` and ``camera`` (text), ``pose`` (yaw in degrees) and ``light``
    (0 to 19). Target: the frontal view of the same person, session and recording under a light drawn at random;
    partner: half the time the neighbour in yaw under the same light, else any image.

    Splits by name: ``first_200`` (those train, all others test: the 2018 seed system's), and the literature's
    ``setting_1`` (session 1, 11 poses within 75 degrees, 150 train and 100 test) and ``setting_2`` (the neutral
    recording of all four sessions, 13 poses, 200 train and 137 test). They need ``cameras`` to be chosen
    accordingly: a view that was not read is in no part. Mirrored images (``augment.flip``) change the pose; which
    flashes mirror each other is left to ``augment.flip.mirror.light``.

    Args:
        root: The folder.
        cameras: Which cameras; the nine from -60 to 60 degrees unless given. The frontal one must be among them.
        recordings: Which recordings (``"01"`` is the neutral one); all unless given.

    Source:
        Gross et al., Multi-PIE, Image and Vision Computing 28(5), 2010. Settings: Huang et al., Beyond Face
        Rotation (TP-GAN), ICCV 2017, section 4.
    """

    pairs: ClassVar[dict[str, Any]] = {
        "target": {"same": ["identity", "session", "recording"], "where": {"pose": 0}},
        "partner": {"adjacent": "pose", "same": ["identity", "session", "recording", "light"], "chance": 0.5},
    }

    splits: ClassVar[dict[str, Any]] = {
        "first_200": {"by": "identity", "train": 200},
        "setting_1": {"by": "identity", "train": 150, "where": {"session": "01", "pose": [*range(-75, 76, 15)]}},
        "setting_2": {"by": "identity", "train": 200, "where": {"recording": "01"}},
    }
    mirror: ClassVar[dict[str, Any]] = {"pose": "negate"}

    def __init__(
        self, *, root: Path, cameras: tuple[Camera, ...] = SEED_CAMERAS, recordings: tuple[str, ...] = ()
    ) -> None:
        if FRONTAL not in cameras:
            raise DataError(f"data.cameras: the frontal camera {FRONTAL} must be among them, for targets come from it")
        self._root = root.expanduser()
        self._cameras = cameras
        self._recordings = recordings

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Two people before three cameras, each image of one colour."""
        for number in range(6):
            name = f"{number // 3:03}_01_01_{('130', FRONTAL, '041')[number % 3]}_07.png"
            Image.new("RGB", (16, 16), (40 * number, 90, 60)).save(folder / name)
        return {"root": str(folder)}

    def rows(self) -> Iterator[Row]:
        """One row an image of the chosen cameras, in natural order.

        Raises:
            DataError: when the folder is missing, no file is named as Multi-PIE's are, or a person has no frontal
                view.
        """
        rows = list(self._rows())
        if not rows:
            raise DataError(
                f"no image under {self._root} is named ID_SESSION_RECORDING_CAMERA_LIGHT (as 138_01_01_051_07.png) "
                f"for the cameras {', '.join(self._cameras)}"
            )
        frontal = {row["identity"] for row in rows if row["camera"] == FRONTAL}
        lonely = sorted({row["identity"] for row in rows} - frontal)
        if lonely:
            raise DataError(
                f"{len(lonely)} identities under {self._root} have no image of the frontal camera {FRONTAL}: "
                f"{', '.join(lonely[:10])}; add these images or leave the identities out"
            )
        yield from rows

    def image(self, row: Row) -> npt.NDArray[np.uint8]:
        """The image of a row."""
        return read_image(self._root / str(row["key"]))

    def fingerprint(self) -> str:
        """Digest of the files' names, sizes and times of change."""
        return files_fingerprint(self._root, self._names)

    @cached_property
    def _names(self) -> list[str]:
        return list_images(self._root)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for name in self._names:
            match = NAME.match(PurePosixPath(name).name)
            if match is None:
                continue
            identity, session, recording, camera, light = match.groups()
            if camera in self._cameras and (not self._recordings or recording in self._recordings):
                yield {
                    "key": name,
                    "identity": identity,
                    "session": session,
                    "recording": recording,
                    "camera": camera,
                    "pose": YAW[camera],
                    "light": int(light),
                }
