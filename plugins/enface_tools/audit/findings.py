"""Data under audit, and the findings of its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.data.pairs import Indices
from enface.recipe.models import Recipe

SEVERITIES = ("error", "warning", "note")
"""From the worst: training or measuring is wrong; probably wrong, inspect the images; for information."""
ID_COLUMNS = ("key", "identity", "pair")
"""Columns that name an image, a person or a pair, and are no labels."""
MIN_GROUP = 8
"""Images that a view must have before one of them can be called unusual."""
BLANK = 3.0
"""Standard deviation of luminance, in levels of 255, below which an image shows nothing."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
"""Weights of red, green and blue in luminance (Rec. 601), (3, 1, 1)."""


@dataclass(frozen=True)
class AuditedData:
    """The images and pairs of a recipe.

    Attributes:
        table: One row per image, in the images' order.
        images: uint8 (N, 3, H, W).
        parts: Row indices of train, val and test. A row in several parts is a fault.
        skipped: Messages of images that could not be read.
        stops_at_unreadable: True if the recipe stops at such an image instead of skipping it.
    """

    recipe: Recipe
    table: pd.DataFrame
    images: npt.NDArray[np.uint8]
    parts: Mapping[str, Indices]
    skipped: Sequence[str] = ()
    stops_at_unreadable: bool = False

    @cached_property
    def part(self) -> npt.NDArray[np.str_]:
        """(N,) the first part of each row; empty for a row in none."""
        names = np.full(len(self.table), "", "<U8")
        for name in reversed(list(self.parts)):
            names[self.parts[name]] = name
        return names

    @cached_property
    def used(self) -> Indices:
        """Rows that are in some part, in order."""
        return np.flatnonzero(self.part != "").astype(np.int64)

    @cached_property
    def identity(self) -> npt.NDArray[np.int64]:
        """(N,) number of each row's identity."""
        return np.unique(self.table["identity"].astype(str).to_numpy(), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def view_columns(self) -> list[str]:
        """Columns in the recipe's pair rules that are labels: they define the view of an image."""
        rules = self.recipe.pairs
        names = [*rules.target.where, *rules.source.where, *rules.target.same]
        if rules.partner is not None:
            names += [*([rules.partner.adjacent] if rules.partner.adjacent else []), *rules.partner.same]
        return [name for name in dict.fromkeys(names) if name in self.table and name not in ID_COLUMNS]

    @cached_property
    def view(self) -> npt.NDArray[np.int64]:
        """(N,) number of each row's view: rows with equal ``view_columns`` share one."""
        if not self.view_columns:
            return np.zeros(len(self.table), np.int64)
        numbers = self.table.groupby(self.view_columns, sort=True, dropna=False).ngroup()
        return numbers.to_numpy().astype(np.int64)

    def view_name(self, row: int) -> str:
        """Return a row's view as text, as ``pose=45, light=7``."""
        values = [f"{name}={self.table[name].iloc[row]}" for name in self.view_columns]
        return ", ".join(values) or "all images"


@dataclass(frozen=True)
class Suspect:
    """An image, or a pair of images, that may be wrong.

    Attributes:
        row: The image's row; None without an image.
        detail: The fault, as text.
        other: Row of the image it is compared with.
        value: The measure that the check documents.
    """

    severity: str
    row: int | None
    detail: str
    other: int | None = None
    value: float | None = None


@dataclass
class Finding:
    """The result of a check.

    Attributes:
        looks_for: A short description of the check.
        suspects: The worst first.
        remark: A sentence on the data, or on images that were not checked; may be empty.
    """

    check: str
    looks_for: str
    suspects: list[Suspect] = field(default_factory=list)
    remark: str = ""

    def __post_init__(self) -> None:
        self.suspects.sort(key=lambda suspect: SEVERITIES.index(suspect.severity))

    @property
    def severity(self) -> str:
        """Severity of the worst suspect; ``ok`` without suspects."""
        return self.suspects[0].severity if self.suspects else "ok"

    @property
    def counts(self) -> dict[str, int]:
        """Number of suspects of each severity that occurs, the worst first."""
        counts = {name: sum(suspect.severity == name for suspect in self.suspects) for name in SEVERITIES}
        return {name: count for name, count in counts.items() if count}


def robust_limit(values: npt.NDArray[np.floating], times: float, margin: float) -> float:
    """Return the limit above which values are unusual.

    It is the median + max(``margin``, ``times`` x the robust standard deviation, 1.4826 MAD).
    """
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle + max(margin, times * spread)
