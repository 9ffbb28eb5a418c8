"""Draws of an evaluation: functions of the images' keys, so that neither the seed nor the table's order matters.

Training draws from generators seeded by the recipe's seed. Nothing here uses a generator: the number that decides
about an image is a digest of its key and of the purpose, so that no two purposes share numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.data.pairs import Indices, Pairs
from enface.errors import DataError
from enface.plugin.components import DataInfo, Targets
from enface.training.run import Run
from enface_tools.evaluate.models import SelfPairs
from enface_tools.evaluate.results import label_columns

Numbers = npt.NDArray[np.float64]


def uniform(keys: Iterable[object], purpose: str) -> Numbers:
    """One number in [0, 1) per key, the same in every run."""
    digests = (hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).digest() for key in keys)
    # A float64 holds 53 bits.
    return np.array([(int.from_bytes(digest, "big") >> 11) * 2.0**-53 for digest in digests], np.float64)


# ------------------------------------------------------------------ targets


def fixed_pairs(run: Run, rows: Indices) -> Pairs:
    """Pairs of some rows, whose candidates are in the order of their keys."""
    keys = run.pack.table["key"].to_numpy().astype(str)
    return Pairs(run.pack.table, rows[np.argsort(keys[rows], kind="stable")], run.recipe.pairs)


def fixed_targets(run: Run, pairs: Pairs, sources: Indices) -> Indices:
    """The row of each source's target, drawn by the source's key among the candidates of :func:`fixed_pairs`."""
    return pairs.targets.draw(sources, uniform(run.pack.table["key"].to_numpy()[sources], "target"))


def fixed_partners(run: Run, pairs: Pairs, sources: Indices) -> dict[str, Indices]:
    """``partner``: the row of each source's partner, drawn by the source's key; empty if pairs have no partner.

    It is one that the recipe's rule allows, whatever its ``chance`` is; the source itself if the rule allows none.
    """
    if pairs.partners is None:
        return {}
    drawn = pairs.partners.draw(sources, uniform(run.pack.table["key"].to_numpy()[sources], "partner"))
    return {"partner": np.where(drawn < 0, sources, drawn)}


def evaluation_info(run: Run) -> DataInfo:
    """Facts for the masks of metrics and regions.

    Their targets are those of training people. If the split is shuffled by the seed, they are those of all people,
    because every seed has other training people.
    """

    def targets(count: int) -> Targets:
        parts = list(run.rows.values()) if run.recipe.data.split.shuffle else [run.rows["train"]]
        pairs = fixed_pairs(run, np.concatenate(parts))
        return run.targets(fixed_targets(run, pairs, run.first_sources(pairs, count)))

    return replace(run.info, targets=targets)


def without_self_pairs(same: npt.NDArray[np.bool_], *, measured: bool, refusal: str) -> tuple[Indices, SelfPairs]:
    """Places of the pairs to measure, and the number of pairs whose source is their target.

    Args:
        same: (N,), True for these pairs.
        measured: Measure them, too.
        refusal: Message if no pair is left.

    Raises:
        DataError: if no pair is left.
    """
    kept = np.flatnonzero(~same | measured)
    if not len(kept):
        raise DataError(refusal)
    return kept, SelfPairs(count=int(same.sum()), measured=measured)


# ------------------------------------------------------------------ images


def balanced(about: pd.DataFrame, count: int | None) -> Indices:
    """Choose at most ``count`` images, in ascending order.

    All people have equally many images, as far as they have enough. The images of a person, and those of all people,
    are spread over the values of each label in proportion to the images that there are.

    Args:
        about: ``key``, ``identity`` and labels of each image.
    """
    if count is None or count >= len(about):
        return np.arange(len(about), dtype=np.int64)
    people = _codes(about["identity"])
    fills = [(_Fill(codes), _Fill(_codes(zip(people, codes, strict=True)))) for codes in _labels(about)]
    rank = np.argsort(np.argsort(uniform(about["key"], "image"), kind="stable"))
    left = {person: np.flatnonzero(people == person) for person in np.unique(people)}
    names = about["identity"].groupby(people).first()
    order = [int(person) for person in names.index[np.argsort(uniform(names, "person"), kind="stable")]]
    chosen: list[int] = []
    while len(chosen) < count:
        for person in [person for person in order if len(left[person])][: count - len(chosen)]:
            images = left[person]
            among_all = sum((fill.share(images) for fill, _ in fills), np.zeros(len(images)))
            within = sum((fill.share(images) for _, fill in fills), np.zeros(len(images)))
            best = images[np.lexsort((rank[images], among_all.round(9), within.round(9)))[0]]
            for pair in fills:
                for fill in pair:
                    fill.add(best)
            left[person] = images[images != best]
            chosen.append(int(best))
    return np.sort(np.array(chosen, np.int64))


class _Fill:
    """Counts of chosen images by the value of a label.

    Args:
        codes: Number of each image's value.
    """

    def __init__(self, codes: Indices) -> None:
        self._codes, self._available = codes, np.bincount(codes)
        self._chosen = np.zeros_like(self._available)

    def share(self, images: Indices) -> Numbers:
        """For each image, the share that is chosen of the images with its value."""
        codes = self._codes[images]
        return np.asarray(self._chosen[codes] / self._available[codes])

    def add(self, image: int) -> None:
        self._chosen[self._codes[image]] += 1


def _labels(about: pd.DataFrame) -> list[Indices]:
    """Codes of each label, and of all labels together."""
    names = sorted(label_columns(about))
    labels = [_codes(about[name]) for name in names]
    return labels if len(labels) < 2 else [*labels, _codes(zip(*labels, strict=True))]


def _codes(values: Iterable[object]) -> Indices:
    return pd.factorize(pd.Series(list(values), dtype=object), use_na_sentinel=False)[0].astype(np.int64)
