"""What an audit looks at, and what it says: subjects, suspects and findings."""

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
"""From the worst: training or measuring is wrong; probably wrong, look; good to know."""
LEAST_IN_GROUP = 8
"""Images that must share a view before one of them can be called unusual."""
BLANK = 3.0
"""Standard deviation of luminance, in levels of 255, below which an image shows nothing."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
"""Weights of red, green and blue in luminance (Rec. 601), (3, 1, 1)."""


@dataclass(frozen=True)
class Subject:
    """The pairs under audit.

    Attributes:
        recipe: The recipe they come from.
        table: One row an image, in the images' order.
        images: uint8 (N, 3, H, W).
        parts: Row indices of train, val and test. A row may be in several, which is a fault.
        skipped: What was said of each image that could not be read.
        skipped_stops: Whether the recipe stops at such an image, rather than leaving it out.
    """

    recipe: Recipe
    table: pd.DataFrame
    images: npt.NDArray[np.uint8]
    parts: Mapping[str, Indices]
    skipped: Sequence[str] = ()
    skipped_stops: bool = False

    @cached_property
    def part(self) -> npt.NDArray[np.str_]:
        """For each row the first part it is in; empty for a row in none."""
        names = np.full(len(self.table), "", "<U8")
        for name in reversed(list(self.parts)):
            names[self.parts[name]] = name
        return names

    @cached_property
    def used(self) -> Indices:
        """The rows that are in some part, in order."""
        return np.flatnonzero(self.part != "").astype(np.int64)

    @cached_property
    def identity(self) -> npt.NDArray[np.int64]:
        """For each row the number of its identity."""
        return np.unique(self.table["identity"].astype(str).to_numpy(), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def view_columns(self) -> list[str]:
        """The columns that the recipe's pairs speak of, but the identity: what an image of a person is called."""
        rules = self.recipe.pairs
        named = [*rules.target.where, *rules.source.where, *rules.target.same]
        if rules.partner is not None:
            named += [*([rules.partner.adjacent] if rules.partner.adjacent else []), *rules.partner.same]
        return [name for name in dict.fromkeys(named) if name in self.table and name not in ("identity", "key")]

    @cached_property
    def view(self) -> npt.NDArray[np.int64]:
        """For each row the number of its view: rows that agree in all of ``view_columns`` share one."""
        if not self.view_columns:
            return np.zeros(len(self.table), np.int64)
        numbers = self.table.groupby(self.view_columns, sort=True, dropna=False).ngroup()
        return numbers.to_numpy().astype(np.int64)

    def view_name(self, row: int) -> str:
        """A row's view in words, as ``pose=45, light=7``."""
        values = [f"{name}={self.table[name].iloc[row]}" for name in self.view_columns]
        return ", ".join(values) or "all images"


@dataclass(frozen=True)
class Suspect:
    """One image, or one pair of images, that a check points at.

    Attributes:
        row: The image's row; None when there is no image to show.
        detail: What is wrong with it.
        other: The row of the image it is compared with.
        value: The measure that the check judged by; what it is, the check's docstring says.
    """

    severity: str
    row: int | None
    detail: str
    other: int | None = None
    value: float | None = None


@dataclass
class Finding:
    """What one check found.

    Attributes:
        check: The check's name.
        asks: What the check looks for, in a few words.
        suspects: The worst first.
        remark: A sentence on what was looked at, or could not be; may be empty.
    """

    check: str
    asks: str
    suspects: list[Suspect] = field(default_factory=list)
    remark: str = ""

    def __post_init__(self) -> None:
        self.suspects.sort(key=lambda suspect: SEVERITIES.index(suspect.severity))

    @property
    def severity(self) -> str:
        """That of the worst suspect; ``ok`` when there is none."""
        return self.suspects[0].severity if self.suspects else "ok"

    @property
    def counts(self) -> dict[str, int]:
        """How many suspects of each severity there are, the worst first; those with none are left out."""
        found = {name: sum(suspect.severity == name for suspect in self.suspects) for name in SEVERITIES}
        return {name: count for name, count in found.items() if count}


def robust_limit(values: npt.NDArray[np.floating], times: float, least: float) -> float:
    """Median + max(``least``, ``times`` x the robust standard deviation, 1.4826 MAD): what lies above is unusual."""
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle + max(least, times * spread)
