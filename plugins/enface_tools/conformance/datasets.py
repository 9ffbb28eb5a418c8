"""Rules for datasets. Each rule reads images, so their ``example`` should hold only a few small ones."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from enface.plugin.components import Dataset, Row
from enface.recipe.models import FlipModel, PairsModel, SplitModel
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule

MAX_ROWS = 1000


def _rows(dataset: Dataset) -> list[Row]:
    rows = list(dataset.rows())
    if not rows:
        raise RuleViolation("it has no rows; give an 'example' with a few images")
    if len(rows) > MAX_ROWS:
        raise RuleViolation(f"its example has {len(rows)} images; a few are enough for a test")
    return rows


def _first_middle_last(rows: list[Row]) -> list[Row]:
    return [rows[index] for index in sorted({0, len(rows) // 2, len(rows) - 1})]


@rule("rows")
def _table(fixture: Fixture) -> None:
    """Each row has a unique key, which is text, and an identity; all have the same columns, of plain values."""
    rows = _rows(fixture.build())
    keys = [row.get("key") for row in rows]
    for row in rows:
        if not isinstance(row.get("key"), str):
            raise RuleViolation(f"a row has the key {row.get('key')!r}; text is needed")
        if "identity" not in row:
            raise RuleViolation(f"row {row['key']!r} has no 'identity'")
        if set(row) != set(rows[0]):
            raise RuleViolation(f"row {row['key']!r} has other columns than row {rows[0]['key']!r}")
        bad = [name for name, value in row.items() if not _plain(value)]
        if bad:
            raise RuleViolation(f"in row {row['key']!r} {bad[0]} is {row[bad[0]]!r}; text or a finite number is needed")
    if len(set(keys)) < len(keys):
        raise RuleViolation(f"two rows have the key {next(key for key in keys if keys.count(key) > 1)!r}")


def _plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


@rule("column names")
def _column_names(fixture: Fixture) -> None:
    """No column has the name of a discriminator's output or of an image of the batch."""
    taken = ("source", "target", "partner", "output", "step", "judge")
    bad = [name for name in _rows(fixture.build())[0] if name in taken or name.startswith(("real_", "fake_"))]
    if bad:
        raise RuleViolation(f"column {bad[0]!r} has a name with another meaning in a batch; rename it")


@rule("images")
def _images(fixture: Fixture) -> None:
    """An image is uint8 or uint16 (H, W, 3), if the recipe requests three planes."""
    dataset = fixture.build()
    for row in _first_middle_last(_rows(dataset)):
        image = dataset.image(row)
        if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16) or image.shape[2:] != (3,):
            raise RuleViolation(f"image {row['key']!r} is {_type_and_shape(image)}; uint8 (H, W, 3) is needed")


@rule("regions")
def _regions(fixture: Fixture) -> None:
    """If it names regions, its region maps are uint8 (H, W) of indices into these names."""
    dataset = fixture.build()
    names = dataset.region_names
    if not names:
        raise Skipped("it names no regions")
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise RuleViolation(f"region_names {names!r} must be unique, non-empty texts")
    for row in _first_middle_last(_rows(dataset)):
        regions = dataset.regions(row)
        if not isinstance(regions, np.ndarray) or regions.dtype != np.uint8 or regions.ndim != 2:
            raise RuleViolation(f"the regions of {row['key']!r} are {_type_and_shape(regions)}; uint8 (H, W) is needed")
        if int(regions.max()) >= len(names):
            raise RuleViolation(f"the regions of {row['key']!r} have the value {regions.max()}, which has no name")


def _type_and_shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


@rule("deterministic")
def _deterministic(fixture: Fixture) -> None:
    """A second reading gives the same rows, in the same order, and the same images."""
    dataset = fixture.build()
    rows = _rows(dataset)
    if [dict(row) for row in dataset.rows()] != [dict(row) for row in rows]:
        raise RuleViolation("rows() gives other rows the second time; sort files, and seed random numbers")
    for row in _first_middle_last(rows):
        if not np.array_equal(dataset.image(row), dataset.image(row)):
            raise RuleViolation(f"image {row['key']!r} differs the second time; seed random numbers by the row")


@rule("in a worker")
def _in_a_worker(fixture: Fixture) -> None:
    """Built in another process, it reads the same images from the rows of a stored table."""
    dataset = fixture.build()
    rows = _rows(dataset)
    table = pd.DataFrame([dict(row) for row in rows]).astype({"key": str, "identity": str})
    records: list[Any] = pickle.loads(pickle.dumps(table.to_dict("records")))
    for row in _first_middle_last(records):
        # Like a packing worker: a new dataset whose rows() is never called.
        worker: Dataset = fixture.build()
        _require_equal("image", row, worker.image, dataset.image)
        if dataset.region_names:
            _require_equal("region map", row, worker.regions, dataset.regions)


def _require_equal(quantity: str, row: Row, worker: Callable[[Row], Any], first: Callable[[Row], Any]) -> None:
    try:
        array = worker(row)
    except Exception as error:
        raise RuleViolation(
            f"in a worker, which never calls rows(), {quantity} {row['key']!r} fails with"
            f" {type(error).__name__}: {error}"
        ) from error
    if not np.array_equal(array, first(row)):
        raise RuleViolation(
            f"a worker gets another {quantity} of {row['key']!r}; compute it from the parameters and the row alone"
        )


@rule("fingerprint")
def _fingerprint(fixture: Fixture) -> None:
    """Its fingerprint is text, and the same for the same files."""
    dataset = fixture.build()
    first = dataset.fingerprint()
    if not isinstance(first, str):
        raise RuleViolation(f"its fingerprint is {first!r}; text is needed")
    if dataset.fingerprint() != first or fixture.build().fingerprint() != first:
        raise RuleViolation("its fingerprint differs the second time, so every run would pack the images again")


@rule("pairs")
def _pairs(fixture: Fixture) -> None:
    """Its pairs are in a recipe's form and name columns that it has."""
    dataset = fixture.build()
    pairs: PairsModel = _model(PairsModel, dataset.pairs, "pairs")
    for role in ("source", "target", "partner"):
        pair = getattr(pairs, role)
        if pair is not None:
            columns = {*pair.same, *pair.where, *([pair.adjacent] if pair.adjacent else [])}
            _require_columns(dataset, columns, f"pairs.{role}")


@rule("splits")
def _splits(fixture: Fixture) -> None:
    """Its splits are in a recipe's form and name columns that it has."""
    dataset = fixture.build()
    if not dataset.splits:
        raise Skipped("it names no splits")
    for name, split in dataset.splits.items():
        model: SplitModel = _model(SplitModel, split, f"splits[{name!r}]")
        _require_columns(dataset, {model.by, *model.where}, f"splits[{name!r}]")


@rule("mirror")
def _mirror(fixture: Fixture) -> None:
    """Its effects of mirroring on labels are in a recipe's form and name columns that it has."""
    dataset = fixture.build()
    if not dataset.mirror:
        raise Skipped("it does not say how mirroring changes its labels")
    _model(FlipModel, {"mirror": dataset.mirror}, "mirror")
    _require_columns(dataset, dataset.mirror, "mirror")


def _model(model: type[BaseModel], value: Any, attribute: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RuleViolation(f"its {attribute} is not valid in a recipe: {place}: {first['msg']}") from error


def _require_columns(dataset: Dataset, columns: Iterable[str], attribute: str) -> None:
    missing = sorted(set(columns) - set(_rows(dataset)[0]))
    if missing:
        raise RuleViolation(f"its {attribute} names {', '.join(missing)}, which its rows do not have")


DATASET_RULES = (
    *(_table, _column_names, _images, _regions, _deterministic, _in_a_worker),
    *(_fingerprint, _pairs, _splits, _mirror),
)
