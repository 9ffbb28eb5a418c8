"""Tables of a run's stages and of its other checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import CheckpointSummary, Estimate, StageMetric, StageSummary
from enface_tools.evaluate.openings import Opening
from enface_tools.evaluate.precision import places
from enface_tools.evaluate.statistics import Outcome
from enface_tools.evaluate.verdict import change_outcome
from enface_tools.report.files import Picture
from enface_tools.report.numbers import NONE, count, digits, number, shown, signed
from enface_tools.report.tables import interval_text

KEY_METRICS = ("ssim", "lpips", "sharpness")
"""Metrics of the small table under the pictures of the stages, as far as they were measured."""


@dataclass(frozen=True)
class StageCell:
    """One metric at the end of a stage, and its change since the stage it started from; empty without one."""

    mean: str
    change: str = ""
    low: str = ""
    high: str = ""
    outcome: Outcome = "none"


@dataclass(frozen=True)
class StageRow:
    """One stage.

    Attributes:
        weights: The measured weights; empty if they are not known.
        after: The stage it started from; empty without one.
        cells: One per metric.
    """

    name: str
    step: str
    weights: str
    after: str
    cells: list[StageCell]
    picture: Picture | None = None
    caveat: str = ""


def stage_table(
    stages: Mapping[str, StageSummary],
    metrics: Mapping[str, Direction],
    pictures: Mapping[str, Picture | None] | None = None,
) -> list[StageRow]:
    """One row per stage."""
    return [
        StageRow(
            name,
            count(stage.step),
            stage.weights or "",
            stage.after or "",
            [_stage_cell(stage.metrics.get(metric), direction) for metric, direction in metrics.items()],
            (pictures or {}).get(name),
            stage.caveat,
        )
        for name, stage in stages.items()
    ]


def stage_metrics(names: Iterable[str]) -> list[str]:
    """The metrics of the small table: similarity, perceptual distance and sharpness, or the first three."""
    known = list(names)
    return [name for name in KEY_METRICS if name in known] or known[: len(KEY_METRICS)]


def _stage_cell(item: StageMetric | None, direction: Direction) -> StageCell:
    if item is None:
        return StageCell(NONE)
    mean, change = shown(number(item.mean), digits(item)), item.change
    if change is None or change.mean is None:
        return StageCell(mean)
    low, high = ("" if value is None else signed(value, digits(change)) for value in (change.low, change.high))
    return StageCell(mean, signed(change.mean, digits(change)), low, high, change_outcome(change, direction))


@dataclass(frozen=True)
class CheckpointTable:
    """Other networks of a run, measured on one split: (label, step, mean and interval of each metric)."""

    split: str
    rows: list[tuple[str, str, list[tuple[str, str]]]]

    @property
    def title(self) -> str:
        """Heading of the table."""
        return "Validation" if self.split == "val" else "Other checkpoints on test people"


def opening_rows(openings: Iterable[Opening]) -> list[tuple[str, str, str, str]]:
    """Looks at the test people: date, command, networks, and numbers."""
    return [
        (
            item.date.replace("T", " ").removesuffix("+00:00"),
            item.by,
            ", ".join(item.seen),
            "; ".join(_numbers_seen(seen.metrics) for seen in item.seen.values()),
        )
        for item in openings
    ]


def _numbers_seen(metrics: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {shown(number(value), places(value))}" for name, value in metrics.items())


def checkpoint_table(
    checkpoints: Mapping[str, CheckpointSummary], metrics: Iterable[str]
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Other checkpoints: (label, step, mean and interval of each metric)."""
    names = list(metrics)
    return [
        (label, count(item.step), [_with_interval(item.metrics.get(name)) for name in names])
        for label, item in checkpoints.items()
    ]


def _with_interval(item: Estimate | None) -> tuple[str, str]:
    if item is None:
        return NONE, ""
    return shown(number(item.mean), digits(item)), interval_text(item)
