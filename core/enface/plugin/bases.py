"""What a dataset is and what a component may know of the data: the bases that load without torch.

The processes that read a pack's images load this and no more, for torch takes longer to load than many an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from enface.errors import DataError

Row = Mapping[str, Any]
"""One image's line in a dataset's table: ``key``, ``identity`` and whatever else is known of it."""


@dataclass(frozen=True)
class Targets:
    """Some targets of training pairs, each of another identity.

    Attributes:
        keys: Of the rows they are.
        images: uint8 (N, 3, H, W).
        regions: uint8 (N, H, W) of indices into ``region_names``; None when the data has no region maps.
        region_names: What the regions are called; empty when there are none.
    """

    keys: tuple[str, ...]
    images: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8] | None
    region_names: tuple[str, ...]


def _no_targets(count: int) -> Targets:
    raise DataError("the training pairs are not known here, so nothing can be made from their targets")


@dataclass(frozen=True)
class DataInfo:
    """What a component may know of the data when it is built.

    A component asks for it with an ``__init__`` parameter annotated ``DataInfo``; such a parameter is filled in
    by the core and is not part of the recipe's schema.

    Attributes:
        size: Height and width of the images in pixels.
        classes: For each column of the table, how many different values it has.
        targets: Gives the targets of a number of training identities (fewer where there are fewer), always the
            same ones for the same data and recipe. Raises DataError where only the network is known, as when a
            trained one is applied.
    """

    size: int
    classes: Mapping[str, int] = field(default_factory=dict)
    targets: Callable[[int], Targets] = _no_targets


class Component:
    """What the base classes of all kinds share."""

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Small parameters to try the component with, where it has no defaults or large ones.

        Args:
            folder: Empty; files it needs may be written there.
        """
        return {}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The pretrained networks that one with these parameters looks through, by name.

        A metric is no independent judge of a network that was trained through the same eyes; the report says so.

        Args:
            params: As a recipe gives them, without what is left to defaults.
        """
        return ()


class Dataset(Component, ABC):
    """Where images come from: a table and a way to read one. Packing, splitting and pairing are the core's.

    Attributes:
        pairs: The pairing used when a recipe gives none, in the recipe's own form.
        splits: Splits that a recipe may call by name (``split: NAME``), in the recipe's own form.
        mirror: How mirroring an image changes its labels, in the form of a recipe's ``augment.flip.mirror``.
        region_names: Names of the values in :meth:`regions`, by index; empty when there are no region maps.
    """

    pairs: ClassVar[Mapping[str, Any]] = {}
    splits: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    mirror: ClassVar[Mapping[str, Any]] = {}
    region_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """One mapping an image: ``key`` (unique text), ``identity``, and any further columns.

        Rows that are costly together (one mesh, one file) should be neighbours: packing hands them to one worker.

        Raises:
            DataError: when there is nothing to read, naming the folder.
        """

    @abstractmethod
    def image(self, row: Row) -> npt.NDArray[np.uint8]:
        """The image of a row: uint8 (H, W, 3), sRGB, any size; the pack resizes it.

        Raises:
            DataError: when it cannot be read, naming the file.
        """

    def regions(self, row: Row) -> npt.NDArray[np.uint8] | None:
        """The region map of a row: uint8 (H, W) of indices into ``region_names``, or None."""
        return None

    def fingerprint(self) -> str:
        """Text that changes when the files behind the dataset change; part of the pack's digest."""
        return ""
