"""Splits, pairs and plans of batches: all pure functions of the table, the seed, the stage and the step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.errors import DataError
from enface.plugin.schema import closest
from enface.recipe.models import PairRule, PairsModel, SplitModel

Indices = npt.NDArray[np.int64]
ROLES = ("source", "target", "partner")


# ------------------------------------------------------------------ splits


def split_rows(table: pd.DataFrame, split: SplitModel, *, refuse_shared: bool = True) -> dict[str, Indices]:
    """Row indices of ``train``, ``val`` and ``test``.

    Args:
        refuse_shared: Whether an identity in two parts is an error. Whoever looks for such identities says no.

    Raises:
        DataError: when a part asks for more than there is, names an unknown value, or shares an identity with
            another part.
    """
    require_columns(table, [split.by], "data.split.by")
    require_columns(table, split.where, "data.split.where")
    everyone = np.arange(len(table), dtype=np.int64)
    kept = everyone[satisfying(table, everyone, split.where)]
    if not len(kept):
        raise DataError(f"data.split.where: no image has {_conditions(split.where)}")
    values = sorted(table[split.by].iloc[kept].unique().tolist(), key=natural_order)
    parts = {"train": _choose(values, split.train, "train", set())}
    parts["val"] = _choose(values, split.val, "val", set(parts["train"]))
    taken = {*parts["train"], *parts["val"]}
    rest = [value for value in values if value not in taken]
    parts["test"] = rest if split.test is None else _choose(values, split.test, "test", taken)
    of_kept = table[split.by].iloc[kept]
    rows = {name: kept[of_kept.isin(chosen).to_numpy()] for name, chosen in parts.items()}
    for name in ("train", "test"):
        if not len(rows[name]):
            raise DataError(f"data.split.{name}: is empty ({len(values)} values of {split.by!r} in the data)")
    if refuse_shared:
        _refuse_shared_identities(table, rows)
    return rows


def require_columns(table: pd.DataFrame, columns: Iterable[str], key: str) -> None:
    """Raises DataError when a table lacks one of the columns that a recipe's key names."""
    for column in columns:
        if column not in table:
            raise DataError(f"{key}: no column {column!r}{closest(column, map(str, table.columns))}")


def _choose(values: list[object], wanted: int | float | list[str | int], part: str, taken: set[object]) -> list[object]:
    if isinstance(wanted, list):
        return _named(values, wanted, part)
    free = [value for value in values if value not in taken]
    count = round(wanted * len(values)) if isinstance(wanted, float) else wanted
    if count > len(free):
        raise DataError(f"data.split.{part}: asks for {count}, but only {len(free)} of {len(values)} are left")
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
        shared = sorted(people[first] & people[second], key=natural_order)
        if shared:
            raise DataError(
                f"data.split: {len(shared)} identities are in both {first} and {second}: "
                f"{', '.join(map(str, shared[:10]))}; split by identity"
            )


def natural_order(value: object) -> list[tuple[int, float, str]]:
    """A sorting key of a column's values: numbers by value, also those within texts."""
    if isinstance(value, int | float | np.number):
        return [(0, float(value), "")]
    parts = re.split(r"(\d+)", str(value))
    return [(0, float(part), "") if part.isdigit() else (1, 0.0, part) for part in parts]


# ------------------------------------------------------------------ pairs


class Candidates:
    """For every row of the table, the rows that a rule allows as its second image."""

    def __init__(self, table: pd.DataFrame, rows: Indices, rule: PairRule, role: str) -> None:
        for column in [*rule.same, *rule.where, *([rule.adjacent] if rule.adjacent else [])]:
            if column not in table:
                known = closest(column, map(str, table.columns))
                raise DataError(f"pairs.{role}: no column {column!r} in the data{known}")
        self.chance = rule.chance
        pool = rows[satisfying(table, rows, rule.where)]
        group = _codes(table, rule.same)
        if rule.adjacent is None:
            self._spans = [_Span(group, group[pool], pool)]
            return
        # Neighbours are one step away among the values that occur, so -45 and -30 are, whatever the file order.
        rank = np.unique(table[rule.adjacent].to_numpy(), return_inverse=True)[1].astype(np.int64)
        width = int(rank.max()) + 3
        place = group * width + rank + 1
        self._spans = [_Span(place + shift, place[pool], pool) for shift in (-1, 1)]

    def counts(self, sources: Indices) -> Indices:
        """How many rows may be drawn for each source."""
        counts: Indices = np.sum([span.length[sources] for span in self._spans], axis=0, dtype=np.int64)
        return counts

    def draw(self, sources: Indices, uniform: npt.NDArray[np.float64]) -> Indices:
        """One allowed row for each source; where there is none, -1.

        Args:
            uniform: One number in [0, 1) a source.
        """
        counts = self.counts(sources)
        pick = np.minimum((uniform * counts).astype(np.int64), counts - 1)
        drawn = np.full(len(sources), -1, np.int64)
        for span in self._spans:
            inside = (pick >= 0) & (pick < span.length[sources])
            drawn[inside] = span.members[span.start[sources][inside] + pick[inside]]
            pick = np.where(inside, -1, pick - span.length[sources])
        return drawn


class _Span:
    """For every row, a stretch of ``members``: the pool's rows whose place is the one that row asks for."""

    def __init__(self, asked: Indices, places: Indices, pool: Indices) -> None:
        order = np.argsort(places, kind="stable")
        self.members = pool[order]
        ordered = places[order]
        self.start = np.searchsorted(ordered, asked, "left").astype(np.int64)
        self.length = (np.searchsorted(ordered, asked, "right") - self.start).astype(np.int64)


def satisfying(table: pd.DataFrame, rows: Indices, where: Mapping[str, object]) -> npt.NDArray[np.bool_]:
    """Which of ``rows`` have, in each column of ``where``, the value (or one of the values) it names."""
    keep = np.ones(len(rows), bool)
    for column, wanted in where.items():
        values = table[column].iloc[rows]
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if values.dtype.kind in "iufb":
            # Numbers are compared as numbers, so that 0 in a recipe is 0.0 in a table.
            keep &= values.isin([item for item in allowed if not isinstance(item, str)]).to_numpy()
        else:
            keep &= values.astype(str).isin([str(item) for item in allowed]).to_numpy()
    return keep


def _codes(table: pd.DataFrame, columns: list[str]) -> Indices:
    if not columns:
        return np.zeros(len(table), np.int64)
    codes: Indices = table.groupby(columns, sort=True).ngroup().to_numpy().astype(np.int64)
    return codes


class Pairs:
    """The pairing of one split.

    Attributes:
        rows: Of the split: source, target and partner are among them.

    Raises:
        DataError: when a source has no target, naming identities.
    """

    def __init__(self, table: pd.DataFrame, rows: Indices, rules: PairsModel) -> None:
        require_columns(table, rules.source.where, "pairs.source")
        self.sources = rows[satisfying(table, rows, rules.source.where)]
        if not len(self.sources):
            raise DataError(f"pairs.source: no image has {_conditions(rules.source.where)}")
        self.rows = rows
        self._target = Candidates(table, rows, rules.target, "target")
        self._partner = Candidates(table, rows, rules.partner, "partner") if rules.partner else None
        if rules.target.chance < 1:
            raise DataError("pairs.target.chance: must be 1; a target is never any image")
        lonely = table["identity"].iloc[self.sources[self._target.counts(self.sources) == 0]].unique()
        if len(lonely):
            raise DataError(
                f"pairs.target: {len(lonely)} identities have no image with {_conditions(rules.target.where)} "
                f"(agreeing in {', '.join(rules.target.same) or 'nothing'}): {', '.join(map(str, lonely[:10]))}; "
                "leave them out of the data, or change pairs.target"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """The images of a pair."""
        return ROLES if self._partner else ROLES[:2]

    def draw(self, sources: Indices, rng: np.random.Generator) -> dict[str, Indices]:
        """Rows of target and partner for each source row."""
        rows = {"source": sources, "target": self._target.draw(sources, rng.random(len(sources)))}
        if self._partner is not None:
            by_rule = self._partner.draw(sources, rng.random(len(sources)))
            anyone = self.rows[rng.integers(len(self.rows), size=len(sources))]
            use_rule = (rng.random(len(sources)) < self._partner.chance) & (by_rule >= 0)
            rows["partner"] = np.where(use_rule, by_rule, anyone)
        return rows


def _conditions(where: Mapping[str, object]) -> str:
    return ", ".join(f"{column}={value}" for column, value in where.items()) or "any value"


@dataclass(frozen=True)
class BatchPlan:
    """Which pairs make the batch of a step: each source is seen once an epoch, in an order drawn for it.

    Attributes:
        batch: Images a step, over all processes.
        stage: The stage's number, so that two stages do not see the same order.
    """

    pairs: Pairs
    batch: int
    seed: int
    stage: int

    def rows(self, step: int) -> dict[str, Indices]:
        """Rows of source, target and partner at a step (counted from 0 in the stage)."""
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
