"""Base classes that load without torch: datasets, and the data facts that components may request.

Worker processes that read images import only this module, because importing torch takes longer than reading images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from enface.errors import DataError

Row = Mapping[str, Any]
"""One image's row of a dataset's table: ``key``, ``identity`` and any further columns."""


@dataclass(frozen=True)
class Targets:
    """Targets of training pairs, one per identity.

    Attributes:
        keys: Keys of their rows.
        images: uint8, or uint16 for data of 16 bits, (N, C, H, W).
        regions: uint8 (N, H, W) of indices into ``region_names``; None if the data has no region maps.
        region_names: Names of the regions, by index; empty without region maps.
    """

    keys: tuple[str, ...]
    images: npt.NDArray[np.uint8 | np.uint16]
    regions: npt.NDArray[np.uint8] | None
    region_names: tuple[str, ...]


def _no_targets(count: int) -> Targets:
    raise DataError("the training pairs are not available here, so nothing can be built from their targets")


@dataclass(frozen=True)
class DataInfo:
    """Facts about the data that a component may request when it is built.

    A component requests it with an ``__init__`` parameter annotated ``DataInfo``, which the core fills in and which is
    not part of the recipe's schema.

    Attributes:
        size: Height and width of the images in pixels.
        classes: Number of distinct values of each column of the table.
        targets: Function that returns the targets of up to a number of training identities, always the same for the
            same data and recipe. Raises DataError if only the network is available, as when it is applied to photos.
        channels: Number of planes of ``source`` and ``target`` images.
        depth: Bits per sample, 8 or 16.
    """

    size: tuple[int, int]
    classes: Mapping[str, int] = field(default_factory=dict)
    targets: Callable[[int], Targets] = _no_targets
    channels: Mapping[str, int] = field(default_factory=lambda: {"source": 3, "target": 3})
    depth: int = 8

    @classmethod
    def square(cls, size: int, *args: Any, **kwargs: Any) -> DataInfo:
        """Return the facts of square images; the other arguments are those of the class."""
        return cls((size, size), *args, **kwargs)

    @property
    def shorter_side(self) -> int:
        """The smaller of height and width."""
        return min(self.size)


class Component:
    """Base class of all kinds of components.

    Attributes:
        aliases: Other names in the field, in lower case; a message on such a name in a recipe suggests the component.
    """

    aliases: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Return small parameters for conformance tests, if the defaults are missing or large.

        Args:
            folder: Empty folder for files that the parameters name.
        """
        return {}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of pretrained networks that a component with these parameters uses.

        A metric is not independent of a loss that uses the same pretrained network; the report says so.

        Args:
            params: Parameters in the recipe, without defaults.
        """
        return ()


class Dataset(Component, ABC):
    """A table of images and a way to read each. The core packs, splits and pairs them.

    Attributes:
        pairs: Default pairing, in the form of a recipe's ``pairs``.
        splits: Named splits (``split: NAME`` in a recipe), in the form of a recipe's ``data.split``.
        mirror: Changes of labels when an image is mirrored, in the form of a recipe's ``augment.flip.mirror``.
        region_names: Names of the values in :meth:`regions`, by index; empty without region maps.
        channels: Number of planes of ``source`` and ``target`` images; the core sets it before images are read.
        depth: Bits per sample that the pack will have, 8 or 16; likewise.
    """

    pairs: ClassVar[Mapping[str, Any]] = {}
    splits: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    mirror: ClassVar[Mapping[str, Any]] = {}
    region_names: ClassVar[tuple[str, ...]] = ()
    channels: Mapping[str, int] = MappingProxyType({"source": 3, "target": 3})
    depth: int = 8

    @classmethod
    def split(cls, params: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a recipe's ``data.split``: the ``given`` keys, and those that the data itself defines.

        Args:
            params: Parameters in the recipe, without defaults; paths are absolute.

        Raises:
            DataError: if the given keys contradict the data.
        """
        return given

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """Return one mapping per image: ``key`` (unique text), ``identity``, and any further columns.

        A column ``pair`` names the pair of a source and its target; it is no label.
        Rows that share work (one mesh, one file) should be neighbours, because one worker reads neighbours.

        Raises:
            DataError: if there is nothing to read; names the folder.
        """

    def listing(self) -> Iterable[Row]:
        """Return the rows without preparations for reading images, for ``enface check``; by default :meth:`rows`."""
        return self.rows()

    @abstractmethod
    def image(self, row: Row) -> npt.NDArray[np.uint8 | np.uint16]:
        """Return the image of a row: uint8 or uint16 (H, W, C), sRGB, any size; the pack fits it to its own.

        C is a number in :attr:`channels`; of RGB the pack also makes grey.

        Raises:
            DataError: if it cannot be read; names the file.
        """

    def regions(self, row: Row) -> npt.NDArray[np.uint8] | None:
        """Return the region map of a row: uint8 (H, W) of indices into ``region_names``, or None."""
        return None

    def correspondence(self, source: Row, target: Row) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]] | None:
        """Return the place of each of the target's pixels in the source, or None if it is unknown.

        Returns:
            The way from a pixel of the target to the pixel of the source with the same point of the object, (2, H, W),
            right and down, in pixels of :meth:`image`; and (H, W), True for pixels whose point the source shows.
        """
        return None

    def fingerprint(self) -> str:
        """Return text that changes when the dataset's files change; part of the pack's digest."""
        return ""
