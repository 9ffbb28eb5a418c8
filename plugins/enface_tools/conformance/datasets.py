"""Rules for datasets. Their ``example`` should hold a few small images: each rule reads some."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ValidationError

from enface.plugin.components import Dataset, Row
from enface.recipe.models import FlipModel, PairsModel, SplitModel
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule

ROWS = 1000
Pixels = npt.NDArray[np.uint8]


def _rows(dataset: Dataset) -> list[Row]:
    found = list(dataset.rows())
    if not found:
        raise BrokenRule("it has no rows; give an 'example' with a few images")
    if len(found) > ROWS:
        raise BrokenRule(f"its example has {len(found)} images; a few are enough to try it with")
    return found


def _some(rows: list[Row]) -> list[Row]:
    """First, middle and last."""
    return [rows[index] for index in sorted({0, len(rows) // 2, len(rows) - 1})]


@rule("rows")
def _table(subject: Subject) -> None:
    """Each row has a key of its own, text, and an identity; all have the same columns, of plain values."""
    rows = _rows(subject.build())
    keys = [row.get("key") for row in rows]
    for row in rows:
        if not isinstance(row.get("key"), str):
            raise BrokenRule(f"a row has the key {row.get('key')!r}; text is needed")
        if "identity" not in row:
            raise BrokenRule(f"row {row['key']!r} has no 'identity'")
        if set(row) != set(rows[0]):
            raise BrokenRule(f"row {row['key']!r} has other columns than row {rows[0]['key']!r}")
        bad = [name for name, value in row.items() if not _plain(value)]
        if bad:
            raise BrokenRule(f"in row {row['key']!r} {bad[0]} is {row[bad[0]]!r}; text or a finite number is needed")
    if len(set(keys)) < len(keys):
        raise BrokenRule(f"two rows have the key {next(key for key in keys if keys.count(key) > 1)!r}")


def _plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


@rule("column names")
def _column_names(subject: Subject) -> None:
    """No column is called as what a discriminator says or as the batch's images are."""
    taken = ("source", "target", "partner", "output", "step", "judge")
    bad = [name for name in _rows(subject.build())[0] if name in taken or name.startswith(("real_", "fake_"))]
    if bad:
        raise BrokenRule(f"column {bad[0]!r} has a name that a batch has for something else; rename it")


@rule("images")
def _images(subject: Subject) -> None:
    """An image is uint8 (H, W, 3)."""
    dataset = subject.build()
    for row in _some(_rows(dataset)):
        image = dataset.image(row)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise BrokenRule(f"image {row['key']!r} is {_told(image)}; uint8 (H, W, 3) is needed")


@rule("regions")
def _regions(subject: Subject) -> None:
    """If it names regions, its region maps are uint8 (H, W) of indices into these names."""
    dataset = subject.build()
    names = dataset.region_names
    if not names:
        raise NotAsked("it names no regions")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise BrokenRule(f"region_names {names!r} are not different texts")
    for row in _some(_rows(dataset)):
        regions = dataset.regions(row)
        if not isinstance(regions, np.ndarray) or regions.dtype != np.uint8 or regions.ndim != 2:
            raise BrokenRule(f"the regions of {row['key']!r} are {_told(regions)}; uint8 (H, W) is needed")
        if int(regions.max()) >= len(names):
            raise BrokenRule(f"the regions of {row['key']!r} have the value {regions.max()}, which no name is of")


def _told(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


@rule("same again")
def _same_again(subject: Subject) -> None:
    """The same rows, in the same order, and the same images come a second time."""
    dataset = subject.build()
    rows = _rows(dataset)
    if [dict(row) for row in dataset.rows()] != [dict(row) for row in rows]:
        raise BrokenRule("rows() gives other rows the second time; sort what is read, seed what is drawn")
    for row in _some(rows):
        if not np.array_equal(dataset.image(row), dataset.image(row)):
            raise BrokenRule(f"image {row['key']!r} is another the second time; seed what is drawn from the row")


@rule("in a worker")
def _in_a_worker(subject: Subject) -> None:
    """One that another process builds reads the same images from rows that came out of the table."""
    dataset = subject.build()
    rows = _rows(dataset)
    table = pd.DataFrame([dict(row) for row in rows]).astype({"key": str, "identity": str})
    records: list[Any] = pickle.loads(pickle.dumps(table.to_dict("records")))
    for row in _some(records):
        # As packing does: built anew, and never asked for rows().
        worker: Dataset = subject.build()
        _same("image", row, worker.image, dataset.image)
        if dataset.region_names:
            _same("region map", row, worker.regions, dataset.regions)


def _same(what: str, row: Row, worker: Callable[[Row], Any], first: Callable[[Row], Any]) -> None:
    try:
        found = worker(row)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise BrokenRule(f"in a worker, which never calls rows(), {what} {row['key']!r} fails with {told}") from error
    if not np.array_equal(found, first(row)):
        raise BrokenRule(f"a worker gets another {what} of {row['key']!r}; make it of parameters and row alone")


@rule("fingerprint")
def _fingerprint(subject: Subject) -> None:
    """Its fingerprint is text, the same for the same files."""
    dataset = subject.build()
    first = dataset.fingerprint()
    if not isinstance(first, str):
        raise BrokenRule(f"its fingerprint is {first!r}; text is needed")
    if dataset.fingerprint() != first or subject.build().fingerprint() != first:
        raise BrokenRule("its fingerprint is another the second time, so every run would pack anew")


@rule("pairs")
def _pairs(subject: Subject) -> None:
    """Its pairs are in a recipe's form and speak of columns that it has."""
    dataset = subject.build()
    pairs: PairsModel = _model(PairsModel, dataset.pairs, "pairs")
    for role in ("source", "target", "partner"):
        pair = getattr(pairs, role)
        if pair is not None:
            asked = {*pair.same, *pair.where, *([pair.adjacent] if pair.adjacent else [])}
            _columns(dataset, asked, f"pairs.{role}")


@rule("splits")
def _splits(subject: Subject) -> None:
    """The splits that it names are in a recipe's form and speak of columns that it has."""
    dataset = subject.build()
    if not dataset.splits:
        raise NotAsked("it names no splits")
    for name, split in dataset.splits.items():
        model: SplitModel = _model(SplitModel, split, f"splits[{name!r}]")
        _columns(dataset, {model.by, *model.where}, f"splits[{name!r}]")


@rule("mirror")
def _mirror(subject: Subject) -> None:
    """How mirroring changes labels is in a recipe's form and speaks of columns that it has."""
    dataset = subject.build()
    if not dataset.mirror:
        raise NotAsked("it does not say what mirroring does to its labels")
    _model(FlipModel, {"mirror": dataset.mirror}, "mirror")
    _columns(dataset, dataset.mirror, "mirror")


def _model(model: type[BaseModel], value: Any, what: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BrokenRule(f"its {what} is no recipe's: {place}: {first['msg']}") from error


def _columns(dataset: Dataset, asked: Iterable[str], what: str) -> None:
    missing = sorted(set(asked) - set(_rows(dataset)[0]))
    if missing:
        raise BrokenRule(f"its {what} speaks of {', '.join(missing)}, which its rows do not have")


DATASET_RULES = (
    *(_table, _column_names, _images, _regions, _same_again, _in_a_worker),
    *(_fingerprint, _pairs, _splits, _mirror),
)
