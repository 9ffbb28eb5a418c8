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

from enface import DataError, Dataset, Row
from enface_plugins.datasets.splits import path_splits, split_folders, split_over
from enface_plugins.image_files import files_fingerprint, list_images, read_image

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
"""Yaw in degrees of each camera at head height."""

SEED_CAMERAS = tuple(camera for camera, yaw in YAW.items() if abs(yaw) <= 60)
FRONTAL = "051"
NAME = re.compile(r"^(\d{3})_(\d{2})_(\d{2})_(\d{3})_(\d{2})(?!\d)")

Camera = Literal["110", "120", "090", "080", "130", "140", "051", "050", "041", "190", "200", "010", "240"]


class Multipie(Dataset):
    """Images of Multi-PIE, identified by file name: the database in its original folders, or flat crops.

    Names begin with ``ID_SESSION_RECORDING_CAMERA_LIGHT`` (``138_01_01_051_07.png``); anything may follow. Top folders
    called ``train``, ``val`` and ``test`` define the split, in a column of that name.
    Columns: ``identity``, ``session``, ``recording`` and ``camera`` (text), ``pose`` (yaw in degrees) and ``light``
    (0 to 19). Target: the frontal view of the same person, session and recording under a randomly drawn light.
    Partner: with probability 0.5 a neighbour in yaw under the same light, otherwise any image.

    Named splits: ``first_200`` of the 2018 seed system (the first 200 people train, all others test), and the
    literature's ``setting_1`` (session 1, 11 poses within 75 degrees, 150 train and 100 test) and ``setting_2`` (the
    neutral recording of all four sessions, 13 poses, 200 train and 137 test). Choose ``cameras`` to match: views of
    other cameras are not read. Mirroring (``augment.flip``) negates the pose; set ``augment.flip.mirror.light`` to the
    flashes that mirror each other.

    Args:
        root: The folder.
        cameras: Cameras to read (default: the nine from -60 to 60 degrees); must include the frontal one.
        recordings: Recordings to read (default: all); ``"01"`` is the neutral one.

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
            raise DataError(f"data.cameras: must include the frontal camera {FRONTAL}, which provides the targets")
        self._root = root.expanduser()
        self._cameras = cameras
        self._recordings = recordings

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Write two people from three cameras, each image of one colour."""
        for number in range(6):
            name = f"{number // 3:03}_01_01_{('130', FRONTAL, '041')[number % 3]}_07.png"
            Image.new("RGB", (16, 16), (40 * number, 90, 60)).save(folder / name)
        return {"root": str(folder)}

    @classmethod
    def split(cls, params: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The split that top folders name, if they do."""
        return split_over(split_folders(Path(params["root"])), given)

    def rows(self) -> Iterator[Row]:
        """One row per image of the chosen cameras, in natural order.

        Raises:
            DataError: when the folder is missing, no file is named as in Multi-PIE, or a person has no frontal view.
        """
        rows = list(self._rows())
        if not rows:
            raise DataError(
                f"no image in {self._root} is named ID_SESSION_RECORDING_CAMERA_LIGHT (such as 138_01_01_051_07.png) "
                f"with one of the cameras {', '.join(self._cameras)}"
            )
        frontal = {row["identity"] for row in rows if row["camera"] == FRONTAL}
        missing = sorted({row["identity"] for row in rows} - frontal)
        if missing:
            raise DataError(
                f"{len(missing)} identities in {self._root} have no image of the frontal camera {FRONTAL}: "
                f"{', '.join(missing[:10])}; add these images or remove the identities"
            )
        yield from rows

    def image(self, row: Row) -> npt.NDArray[np.uint8 | np.uint16]:
        """The image of a row."""
        return read_image(self._root / str(row["key"]), max(self.channels.values()), self.depth)

    def fingerprint(self) -> str:
        """Digest of the names, sizes and modification times of the files."""
        # The folders decide about the table that cached packs hold.
        prefix = "split-" if split_folders(self._root) else ""
        return prefix + files_fingerprint(self._root, self._names)

    @cached_property
    def _names(self) -> list[str]:
        return list_images(self._root)

    def _rows(self) -> Iterator[dict[str, Any]]:
        splits = path_splits(self._root, self._names)
        for name in splits or self._names:
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
                    **({"split": splits[name]} if splits else {}),
                }
