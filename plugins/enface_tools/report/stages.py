"""What each stage of a run ended with, and what its other checkpoints give, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enface.plugin.direction import Direction
from enface_tools.report.files import mapping
from enface_tools.report.numbers import decimals, get, number, outcome, shown, signed
from enface_tools.report.tables import count, interval_text


@dataclass(frozen=True)
class StageCell:
    """One metric at a stage's end, as text, and the change since the stage it started from (empty without one)."""

    mean: str
    change: str
    low: str
    high: str
    outcome: str


def stage_table(
    stages: Mapping[str, Any], metrics: Mapping[str, Direction]
) -> list[tuple[str, str, str, list[StageCell]]]:
    """What every stage ended with: (stage, step, the stage it started from, a cell a metric).

    Args:
        stages: ``evaluation/stages.json``.
        metrics: Name -> which values are better.
    """
    places = {
        name: decimals(number(mapping(mapping(stage, "metrics"), name).get("mean")) for stage in stages.values())
        for name in metrics
    }
    return [
        (
            str(stage),
            count(item.get("step")),
            str(item.get("after") or ""),
            [
                _stage_cell(mapping(mapping(item, "metrics"), name), direction, places[name])
                for name, direction in metrics.items()
            ],
        )
        for stage, item in stages.items()
        if isinstance(item, Mapping)
    ]


def _stage_cell(item: Mapping[str, Any], direction: Direction, places: int) -> StageCell:
    change = mapping(item, "change")
    mean, low, high = (number(change.get(key)) for key in ("mean", "low", "high"))
    if math.isnan(mean):
        return StageCell(shown(number(item.get("mean")), places), "", "", "", "none")
    before = 0.0 if direction.ideal is None else number(item.get("mean")) - mean
    found = outcome(before + low, before + high, before, direction)
    texts = [shown(value, places) for value in (number(item.get("mean")), mean, low, high)]
    return StageCell(texts[0], signed(mean, places), texts[2], texts[3], found)


def checkpoint_table(checkpoints: Mapping[str, Any], metrics: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Other checkpoints' numbers: (label, step, a text a metric)."""
    return [
        (
            str(label),
            count(get(item, "step")),
            [_with_interval(mapping(mapping(item, "metrics"), m)) for m in metrics],
        )
        for label, item in checkpoints.items()
        if isinstance(item, Mapping)
    ]


def _with_interval(item: Mapping[str, Any]) -> str:
    values = [number(item.get(key)) for key in ("mean", "low", "high")]
    places = decimals(values)
    return f"{shown(values[0], places)} {interval_text(item, places)}".strip()
