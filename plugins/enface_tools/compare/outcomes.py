"""What the differences say: means, intervals, tests, effect sizes, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.evaluate.statistics import cohens_dz, holm, intervals, per_identity, signed_rank

ALPHA = 0.05
RESAMPLES = 10_000
# With very many people resamples cost much and change nothing: 1000 of 100,000 people.
MOST_DRAWN, FEWEST = 100_000_000, 1_000
SEED = 0

Where = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Change:
    """A mean with its interval; NaN where there is none."""

    mean: float
    low: float
    high: float

    def __neg__(self) -> Change:
        return Change(-self.mean, -self.high, -self.low)

    @property
    def one_sided(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Outcome:
    """One quantity of two groups compared.

    Attributes:
        images: Images with a number on both sides; ``missing`` are the common ones without.
        identities: People these images show.
        control, group: Means over these images.
        difference: Group minus control, of values or of distances to the ideal.
        by_seed: The same for each matched seed by itself.
        p, p_adjusted: Of the signed-rank test on people's mean differences.
        rank_biserial, d_z: Effect sizes, positive where the group is better.
    """

    quantity: Quantity
    images: int
    missing: int
    identities: int
    control: float
    group: float
    difference: Change
    by_seed: Mapping[int, float]
    p: float
    p_adjusted: float
    rank_biserial: float
    d_z: float

    @property
    def gain(self) -> Change:
        """The difference, positive where the group is better."""
        return self.difference if self.quantity.sign > 0 else -self.difference

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``unclear``; ``none`` without numbers.

        A clear one needs an interval without 0, an adjusted p below 0.05, and ranks that agree with the mean.
        """
        if np.isnan(self.difference.mean):
            return "none"
        mean = self.gain.mean
        if not self.difference.one_sided or not self.p_adjusted < ALPHA or mean * self.rank_biserial <= 0:
            return "unclear"
        return "better" if mean > 0 else "worse"


def resamples(people: int) -> int:
    """How often so many people are resampled."""
    return min(RESAMPLES, max(FEWEST, MOST_DRAWN // max(people, 1)))


def outcomes(pairing: Pairing, quantities: Sequence[Quantity]) -> list[Outcome]:
    """Every quantity over all common images; p is adjusted over all of them."""
    return adjusted(_outcomes(pairing, quantities, np.ones(len(pairing.about), bool)))


def outcomes_by(
    pairing: Pairing, quantities: Sequence[Quantity], column: str
) -> list[tuple[str, int, int, list[Outcome]]]:
    """Inside each value of a column: (value, images, people, every quantity); p is adjusted over the column."""
    values = pairing.about[column].to_numpy()
    found = []
    for value in natural_order(set(values)):
        here = values == value
        people = pairing.about["identity"][here].nunique()
        found.append((value, int(here.sum()), int(people), _outcomes(pairing, quantities, here)))
    family = iter(adjusted([one for *_, inside in found for one in inside]))
    return [(value, images, people, [next(family) for _ in inside]) for value, images, people, inside in found]


def adjusted(family: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with their p adjusted for being so many."""
    return [replace(one, p_adjusted=p) for one, p in zip(family, holm([one.p for one in family]), strict=True)]


def natural_order(values: set[str]) -> list[str]:
    """Numbers by size, before other texts by name."""

    def place(value: str) -> tuple[bool, float, str]:
        try:
            return False, float(value), value
        except ValueError:
            return True, 0.0, value

    return sorted(values, key=place)


def ends(values: pd.DataFrame, identities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The intervals of columns' means: (K, 2); NaN where fewer than two people have a number."""
    numbers = values.to_numpy(np.float64)
    found = intervals(numbers, identities, resamples(len(set(identities))), SEED)
    _, sizes = per_identity(numbers, identities)
    found[(sizes > 0).sum(0) < 2] = np.nan
    return found


def _outcomes(pairing: Pairing, quantities: Sequence[Quantity], here: Where) -> list[Outcome]:
    identities = pairing.about["identity"].to_numpy()[here]
    differences = pairing.difference[here]
    intervals_ = ends(differences, identities)
    sums, sizes = per_identity(differences.to_numpy(), identities)
    with np.errstate(invalid="ignore"):
        of_people = sums / sizes
    found = []
    for place, quantity in enumerate(quantities):
        name = quantity.name
        there = int(differences[name].notna().sum())
        gains = of_people[:, place] * quantity.sign
        ranks = signed_rank(gains)
        low, high = intervals_[place]
        found.append(
            Outcome(
                quantity,
                images=there,
                missing=len(differences) - there,
                identities=int((sizes[:, place] > 0).sum()),
                control=float(pairing.control[name][here].mean()),
                group=float(pairing.group[name][here].mean()),
                difference=Change(float(differences[name].mean()), float(low), float(high)),
                by_seed={seed: float(frame[name][here].mean()) for seed, frame in pairing.by_seed.items()},
                p=ranks.p,
                p_adjusted=ranks.p,
                rank_biserial=ranks.rank_biserial,
                d_z=cohens_dz(gains),
            )
        )
    return found
