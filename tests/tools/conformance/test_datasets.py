"""Datasets that violate one rule each, and some that violate none."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import pytest

from enface import DataError, Dataset
from enface_tools.conformance.datasets import DATASET_RULES


class Squares(Dataset):
    """Gray squares of three people from two sides."""

    def rows(self):
        for person in range(3):
            for pose in (0, 45):
                yield {"key": f"{person}_{pose}", "identity": str(person), "pose": pose}

    def image(self, row):
        return np.full((8, 8, 3), 50 * int(row["identity"]) + row["pose"], np.uint8)


class Whole(Squares):
    """Declares everything that a dataset can."""

    pairs: ClassVar[dict[str, Any]] = {
        "target": {"same": ["identity"], "where": {"pose": 0}},
        "partner": {"adjacent": "pose", "same": ["identity"], "chance": 0.5},
    }
    splits: ClassVar[dict[str, Any]] = {"two": {"by": "identity", "train": 2, "where": {"pose": [0, 45]}}}
    mirror: ClassVar[dict[str, Any]] = {"pose": "negate"}
    region_names = ("background", "face")

    def regions(self, row):
        return np.eye(8, dtype=np.uint8)


class Empty(Squares):
    def rows(self):
        return []


class Huge(Squares):
    def rows(self):
        return [{"key": str(number), "identity": "0", "pose": 0} for number in range(5000)]


class Twice(Squares):
    def rows(self):
        return [{**row, "key": row["identity"]} for row in super().rows()]


class Numbered(Squares):
    def rows(self):
        return [{**row, "key": number} for number, row in enumerate(super().rows())]


class Anonymous(Squares):
    def rows(self):
        return [{"key": row["key"]} for row in super().rows()]


class Ragged(Squares):
    def rows(self):
        return [{**row, **({"light": 1} if row["pose"] else {})} for row in super().rows()]


class NotPlain(Squares):
    def rows(self):
        return [{**row, "light": [1, 2]} for row in super().rows()]


class Unknown(Squares):
    def rows(self):
        return [{**row, "light": float("nan")} for row in super().rows()]


class Judged(Squares):
    def rows(self):
        return [{**row, "real_age": 5} for row in super().rows()]


class Step(Squares):
    def rows(self):
        return [{**row, "step": 5} for row in super().rows()]


class Grey(Squares):
    def image(self, row):
        return super().image(row)[..., 0]


class Floating(Squares):
    def image(self, row):
        return super().image(row) / 255


class OutOfNames(Whole):
    def regions(self, row):
        return np.full((8, 8), 2, np.uint8)


class NoMaps(Whole):
    def regions(self, row):
        return None


class SameNames(Whole):
    region_names = ("face", "face")


class Shuffled(Squares):
    turns = itertools.count()

    def rows(self):
        rows = list(super().rows())
        return rows if next(self.turns) % 2 else rows[::-1]


class Noisy(Squares):
    def image(self, row):
        return np.random.default_rng().integers(256, size=(8, 8, 3), dtype=np.uint8)


class Listing(Squares):
    """Reads images only after listing them."""

    def rows(self):
        self.listed = list(super().rows())
        return self.listed

    def image(self, row):
        if not any(one["key"] == row["key"] for one in self.__dict__.get("listed", [])):
            raise DataError(f"image {row['key']} is not listed")
        return super().image(row)


class Counting(Squares):
    """Each new dataset draws other images."""

    made = itertools.count()

    def __init__(self):
        self.shade = next(self.made)

    def image(self, row):
        return np.full((8, 8, 3), self.shade, np.uint8)


class OtherMaps(Whole):
    made = itertools.count()

    def __init__(self):
        self.shade = next(self.made) % 2

    def regions(self, row):
        return np.full((8, 8), self.shade, np.uint8)


class Fresh(Squares):
    prints = itertools.count()

    def fingerprint(self):
        return str(next(self.prints))


class Bytes(Squares):
    def fingerprint(self):
        return b"files"


class NoPair(Squares):
    pairs: ClassVar[dict[str, Any]] = {"target": {"like": ["identity"]}}


class OtherPair(Squares):
    pairs: ClassVar[dict[str, Any]] = {"target": {"same": ["identity"], "where": {"light": 0}}}


class NoSplit(Squares):
    splits: ClassVar[dict[str, Any]] = {"half": {"by": "identity", "train": "half"}}


class OtherSplit(Squares):
    splits: ClassVar[dict[str, Any]] = {"half": {"by": "session", "train": 0.5}}


class NoMirror(Squares):
    mirror: ClassVar[dict[str, Any]] = {"pose": "turn"}


class OtherMirror(Squares):
    mirror: ClassVar[dict[str, Any]] = {"light": "negate"}


@pytest.mark.parametrize("dataset", [Squares, Whole])
def test_a_valid_dataset_passes_every_rule(verdicts, dataset):
    results = verdicts(dataset, DATASET_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    skipped = {name for name, item in results.items() if item.result == "skipped"}
    assert skipped == (set() if dataset is Whole else {"regions", "splits", "mirror"})


@pytest.mark.parametrize(
    ("dataset", "rule", "reason"),
    [
        (Empty, "rows", "it has no rows"),
        (Huge, "rows", "5000 images"),
        (Twice, "rows", "two rows have the key '0'"),
        (Numbered, "rows", "text is needed"),
        (Anonymous, "rows", "no 'identity'"),
        (Ragged, "rows", "other columns"),
        (NotPlain, "rows", "light is [1, 2]"),
        (Unknown, "rows", "light is nan"),
        (Judged, "column names", "'real_age'"),
        (Step, "column names", "'step'"),
        (Grey, "images", "uint8 (8, 8)"),
        (Floating, "images", "float64 (8, 8, 3)"),
        (OutOfNames, "regions", "the value 2"),
        (NoMaps, "regions", "NoneType"),
        (SameNames, "regions", "unique, non-empty texts"),
        (Shuffled, "deterministic", "other rows"),
        (Noisy, "deterministic", "seed random numbers"),
        (Listing, "in a worker", "which never calls rows()"),
        (Counting, "in a worker", "another image"),
        (OtherMaps, "in a worker", "another region map"),
        (Fresh, "fingerprint", "second time"),
        (Bytes, "fingerprint", "text is needed"),
        (NoPair, "pairs", "target.like"),
        (OtherPair, "pairs", "names light"),
        (NoSplit, "splits", "splits['half']"),
        (OtherSplit, "splits", "names session"),
        (NoMirror, "mirror", "pose"),
        (OtherMirror, "mirror", "names light"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, dataset, rule, reason):
    assert reason in failure(dataset, DATASET_RULES, rule)
