"""Splits, pairs and the order of batches: pure functions of the table, the seed, the stage and the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.data.images import natural_key
from enface.errors import DataError
from enface.plugin.schema import closest
from enface.recipe.models import PairRule, PairsModel, SplitModel

Indices = npt.NDArray[np.int64]
ROLES = ("source", "target", "partner")


# ------------------------------------------------------------------ splits


def split_rows(
    table: pd.DataFrame, split: SplitModel, seed: int = 0, *, refuse_shared: bool = True
) -> dict[str, Indices]:
    """Return the row indices of ``train``, ``val`` and ``test``.

    Args:
        seed: Of the order in which values are taken, if the split shuffles them.
        refuse_shared: Raise an error if an identity is in two parts.

    Raises DataError if a part requests more values than are left, names an unknown value, or shares an identity with
    another part.
    """
    require_columns(table, [split.by], "data.split.by")
    require_columns(table, split.where, "data.split.where")
    every_row = np.arange(len(table), dtype=np.int64)
    kept = every_row[satisfies(table, every_row, split.where)]
    if not len(kept):
        raise DataError(f"data.split.where: no image has {_conditions(split.where)}")
    if split.by != "split" and {"train"} < set(table.get("split", ())) <= {"train", "val", "test"}:
        raise DataError(
            "data.split: the data names its splits; set {by: split, train: [train], val: [val], test: [test]}"
        )
    values = _ordered(table[split.by].iloc[kept], split, seed)
    parts = {"train": _choose(values, split.train, "train", set())}
    from_train = split.by == "split" and isinstance(split.train, list) and not isinstance(split.val, list)
    parts["val"] = [] if from_train else _choose(values, split.val, "val", set(parts["train"]))
    taken = {*parts["train"], *parts["val"]}
    rest = [value for value in values if value not in taken]
    parts["test"] = rest if split.test is None else _choose(values, split.test, "test", taken)
    column = table[split.by].iloc[kept]
    rows = {name: kept[column.isin(chosen).to_numpy()] for name, chosen in parts.items()}
    if from_train:
        people = table["identity"].iloc[rows["train"]]
        held_out = people.isin(_choose(_ordered(people, split, seed), split.val, "val", set())).to_numpy()
        rows["train"], rows["val"] = rows["train"][~held_out], rows["train"][held_out]
    for name in ("train", "test"):
        if not len(rows[name]):
            raise DataError(f"data.split.{name}: is empty ({len(values)} values of {split.by!r} in the data)")
    if refuse_shared:
        _refuse_shared_identities(table, rows)
    return rows


def _ordered(column: pd.Series[Any], split: SplitModel, seed: int) -> list[object]:
    """The values of a column in natural order, or in one drawn by the seed if the split shuffles them."""
    values = sorted(column.unique().tolist(), key=natural_key)
    if not split.shuffle:
        return values
    return [values[place] for place in np.random.default_rng([seed, 7]).permutation(len(values))]


def require_columns(table: pd.DataFrame, columns: Iterable[str], key: str) -> None:
    """Raise DataError if a table lacks one of the columns that a recipe's key names."""
    for column in columns:
        if column not in table:
            raise DataError(f"{key}: no column {column!r}{closest(column, map(str, table.columns))}")


def _require_values(table: pd.DataFrame, where: Mapping[str, object], key: str) -> None:
    """Raise DataError if no row at all has what a condition requests, such as a number in a column of text."""
    for column, wanted in where.items():
        if not satisfies(table, np.arange(len(table)), {column: wanted}).any():
            raise DataError(f"{key}.where: no image has {column}={wanted}; {_some(table[column])}")


def _some(column: pd.Series[Any]) -> str:
    values = sorted(column.unique().tolist(), key=natural_key)
    more = ", ..." if len(values) > 10 else ""
    return f"its values are {'numbers' if column.dtype.kind in 'iuf' else 'text'}: {str(values[:10])[1:-1]}{more}"


def _choose(values: list[object], wanted: int | float | list[str | int], part: str, taken: set[object]) -> list[object]:
    if isinstance(wanted, list):
        return _named(sorted(values, key=natural_key), wanted, part)
    free = [value for value in values if value not in taken]
    count = round(wanted * len(values)) if isinstance(wanted, float) else wanted
    if wanted and not count:
        raise DataError(f"data.split.{part}: {wanted} of {len(values)} is less than one; give more, or a whole number")
    if count > len(free):
        raise DataError(f"data.split.{part}: requests {count}, but only {len(free)} of {len(values)} are left")
    return free[:count]


def _named(values: list[object], wanted: list[str | int], part: str) -> list[object]:
    texts = [str(value) for value in values]
    chosen: list[object] = []
    for item in map(str, wanted):
        first, dash, last = item.partition("-")
        if item in texts:
            chosen.append(values[texts.index(item)])
        elif dash and first in texts and last in texts[texts.index(first) :]:
            chosen.extend(values[texts.index(first) : texts.index(last) + 1])
        else:
            raise DataError(f"data.split.{part}: no value {item!r} in the data{closest(item, texts)}")
    return chosen


def _refuse_shared_identities(table: pd.DataFrame, rows: Mapping[str, Indices]) -> None:
    people = {name: set(table["identity"].iloc[chosen]) for name, chosen in rows.items()}
    for first, second in (("train", "test"), ("train", "val"), ("val", "test")):
        shared = sorted(people[first] & people[second], key=natural_key)
        if shared:
            raise DataError(
                f"data.split: {len(shared)} identities are in both {first} and {second}: "
                f"{', '.join(map(str, shared[:10]))}; split by identity"
            )


# ------------------------------------------------------------------ pairs


class PairCandidates:
    """For every row of the table, the rows that a rule allows as its second image."""

    def __init__(self, table: pd.DataFrame, rows: Indices, rule: PairRule, role: str) -> None:
        require_columns(table, [*rule.same, *rule.where, *([rule.adjacent] if rule.adjacent else [])], f"pairs.{role}")
        _require_values(table, rule.where, f"pairs.{role}")
        if rule.adjacent and table[rule.adjacent].dtype.kind not in "iuf":
            raise DataError(
                f"pairs.{role}.adjacent: column {rule.adjacent!r} has no order: {_some(table[rule.adjacent])}"
            )
        self.chance = rule.chance
        pool = rows[satisfies(table, rows, rule.where)]
        group = _group_numbers(table, rule.same)
        if rule.adjacent is None:
            self._members = [_Members(group, group[pool], pool)]
            return
        # Neighbours are one step apart among the values that occur, as -45 and -30 are; file order does not matter.
        rank = np.unique(table[rule.adjacent].to_numpy(), return_inverse=True)[1].astype(np.int64)
        width = int(rank.max()) + 3
        place = group * width + rank + 1
        self._members = [_Members(place + shift, place[pool], pool) for shift in (-1, 1)]

    def counts(self, sources: Indices) -> Indices:
        """Return the number of rows that may be drawn for each source."""
        counts: Indices = np.sum([members.length[sources] for members in self._members], axis=0, dtype=np.int64)
        return counts

    def draw(self, sources: Indices, uniform: npt.NDArray[np.float64]) -> Indices:
        """Return an allowed row for each source; -1 if there is none.

        Args:
            uniform: One number in [0, 1) per source.
        """
        counts = self.counts(sources)
        pick = np.minimum((uniform * counts).astype(np.int64), counts - 1)
        drawn = np.full(len(sources), -1, np.int64)
        for members in self._members:
            inside = (pick >= 0) & (pick < members.length[sources])
            drawn[inside] = members.rows[members.start[sources][inside] + pick[inside]]
            pick = np.where(inside, -1, pick - members.length[sources])
        return drawn


class _Members:
    """For every row, a slice of ``rows``: those of the pool whose number is the one wanted for that row."""

    def __init__(self, wanted: Indices, numbers: Indices, pool: Indices) -> None:
        order = np.argsort(numbers, kind="stable")
        self.rows = pool[order]
        ordered = numbers[order]
        self.start = np.searchsorted(ordered, wanted, "left").astype(np.int64)
        self.length = (np.searchsorted(ordered, wanted, "right") - self.start).astype(np.int64)


def satisfies(table: pd.DataFrame, rows: Indices, where: Mapping[str, object]) -> npt.NDArray[np.bool_]:
    """Return True for each of ``rows`` that has, in each column of ``where``, the value or one of the values named."""
    keep = np.ones(len(rows), bool)
    for column, wanted in where.items():
        values = table[column].iloc[rows]
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if values.dtype.kind in "iufb":
            # Compared as numbers, so that 0 in a recipe equals 0.0 in a table.
            keep &= values.isin([item for item in allowed if not isinstance(item, str)]).to_numpy()
        else:
            keep &= values.astype(str).isin([str(item) for item in allowed]).to_numpy()
    return keep


def _group_numbers(table: pd.DataFrame, columns: list[str]) -> Indices:
    if not columns:
        return np.zeros(len(table), np.int64)
    numbers: Indices = table.groupby(columns, sort=True).ngroup().to_numpy().astype(np.int64)
    return numbers


class Pairs:
    """The pairing of one split.

    Attributes:
        rows: All rows of the split.
        sources: The rows that may be sources.
        targets: The rows that may be targets.
        partners: The rows that may be partners; None without a rule for them.

    Raises DataError if a source has no target, naming identities.
    """

    def __init__(self, table: pd.DataFrame, rows: Indices, rules: PairsModel) -> None:
        require_columns(table, rules.source.where, "pairs.source")
        _require_values(table, rules.source.where, "pairs.source")
        self.sources = rows[satisfies(table, rows, rules.source.where)]
        if not len(self.sources):
            raise DataError(f"pairs.source: no image has {_conditions(rules.source.where)}")
        self.rows = rows
        self.targets = PairCandidates(table, rows, rules.target, "target")
        self.partners = PairCandidates(table, rows, rules.partner, "partner") if rules.partner else None
        if rules.target.chance < 1:
            raise DataError("pairs.target.chance: must be 1; a target is never any image")
        lonely = table["identity"].iloc[self.sources[self.targets.counts(self.sources) == 0]].unique()
        if len(lonely):
            raise DataError(
                f"pairs.target: {len(lonely)} identities have no image with {_conditions(rules.target.where)} "
                f"(agreeing in {', '.join(rules.target.same) or 'nothing'}): {', '.join(map(str, lonely[:10]))}; "
                "remove them from the data, or change pairs.target"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """The images of a pair."""
        return ROLES if self.partners else ROLES[:2]

    def draw(self, sources: Indices, rng: np.random.Generator) -> dict[str, Indices]:
        """Draw rows of target and partner for each source row."""
        rows = {"source": sources, "target": self.targets.draw(sources, rng.random(len(sources)))}
        if self.partners is not None:
            by_rule = self.partners.draw(sources, rng.random(len(sources)))
            anyone = self.rows[rng.integers(len(self.rows), size=len(sources))]
            use_rule = (rng.random(len(sources)) < self.partners.chance) & (by_rule >= 0)
            rows["partner"] = np.where(use_rule, by_rule, anyone)
        return rows


def _conditions(where: Mapping[str, object]) -> str:
    return ", ".join(f"{column}={value}" for column, value in where.items()) or "any value"


@dataclass(frozen=True)
class BatchPlan:
    """The pairs of each step's batch: every source once per epoch, in an order drawn for the epoch.

    Attributes:
        batch: Images per step, over all processes.
        stage: Number of the stage, so that two stages do not use the same order.
    """

    pairs: Pairs
    batch: int
    seed: int
    stage: int

    def rows(self, step: int) -> dict[str, Indices]:
        """Return the rows of source, target and partner at a step (counted from 0 in the stage)."""
        count = len(self.pairs.sources)
        places = step * self.batch + np.arange(self.batch)
        chosen = np.empty(self.batch, np.int64)
        for epoch in range(places[0] // count, places[-1] // count + 1):
            here = places // count == epoch
            order = _epoch_order(count, self.seed, self.stage, epoch)
            chosen[here] = order[places[here] % count]
        rng = np.random.default_rng([self.seed, self.stage, step, 1])
        return self.pairs.draw(self.pairs.sources[chosen], rng)


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, stage: int, epoch: int) -> Indices:
    return np.random.default_rng([seed, stage, epoch, 0]).permutation(count)
