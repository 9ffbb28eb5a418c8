"""Runs as a table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from enface.errors import EnfaceError
from enface.system.messages import duration
from enface_tools.evaluate.splits import Split
from enface_tools.evaluate.terminal import styled, table
from enface_tools.runs.names import ranked_by
from enface_tools.runs.records import RunRecord, State

if TYPE_CHECKING:
    from rich.text import Text

USUAL = ("ssim", "lpips")
"""Metrics that are shown if they were measured."""
STYLES: Mapping[State, str] = {
    "training": "cyan",
    "finished": "green",
    "interrupted": "yellow",
    "failed": "red",
    "died": "red",
    "damaged": "red",
}


def sorted_records(records: Sequence[RunRecord], key: str, split: Split) -> list[RunRecord]:
    """Sort runs.

    Args:
        records: From the oldest to the newest.
        key: ``time`` (newest first), ``name``, or a metric (best first, then the runs without a number).

    Raises:
        EnfaceError: if no run has measured the metric.
    """
    newest = list(reversed(records))
    if key == "time":
        return newest
    if key == "name":
        return sorted(newest, key=lambda record: record.name)
    require_measured([key], records, split, "--sort")
    ranked = ranked_by(key, records, split)
    return ranked + [record for record in newest if record not in ranked]


def shown_metrics(records: Iterable[RunRecord], split: Split, wanted: Sequence[str] = ()) -> list[str]:
    """Return the metrics of the table's columns: ssim, lpips, those of ``log.best``, and further ones.

    Raises:
        EnfaceError: if no run has measured one of the further ones.
    """
    records = list(records)
    require_measured(wanted, records, split, "--metric")
    known = measured(records, split)
    names = [*USUAL, *(record.best for record in records if record.best), *wanted]
    return [name for name in dict.fromkeys(names) if name in known] or known[:2]


def measured(records: Iterable[RunRecord], split: Split) -> list[str]:
    """Names of the metrics that any run has measured."""
    evaluations = (record.evaluation(split) for record in records)
    return list(dict.fromkeys(name for item in evaluations if item is not None for name in item.names))


def require_measured(names: Sequence[str], records: Iterable[RunRecord], split: Split, option: str) -> None:
    """Raise EnfaceError if no run has measured a metric that an option names."""
    known = measured(records, split)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            listed = f"did you mean {near[0]}?" if near else f"measured: {', '.join(known) or 'nothing'}"
            raise EnfaceError(f"{option} {name}: no run has measured it on {split} people; {listed}")


def table_of_runs(records: Sequence[RunRecord], metrics: Sequence[str], split: Split) -> str:
    """Return a table with a row per run."""
    heads = ("name", "id", "state", "step", *metrics, "time")
    rows: list[tuple[str | Text, ...]] = [
        (
            record.name,
            record.id,
            state_cell(record.state),
            step_of(record),
            *metric_cells(record, metrics, split),
            "" if record.seconds is None else duration(record.seconds),
        )
        for record in records
    ]
    # A name that is long leaves room for fewer metrics.
    return table(heads, rows, left=("id", "state"), drop=("time", *reversed(metrics[2:])))


def state_cell(state: State) -> Text:
    """Return a state in its colour."""
    return styled(state, STYLES[state])


def step_of(record: RunRecord) -> str:
    """Return ``STEP/STEPS``."""
    return f"{record.step}/{'?' if record.steps is None else record.steps}"


def metric_cells(record: RunRecord, metrics: Sequence[str], split: Split) -> list[str]:
    """Return the numbers of a run; a dash if it has none."""
    evaluation = record.evaluation(split)
    values = [None if evaluation is None else evaluation.value(name) for name in metrics]
    return ["-" if value is None else f"{value:.4g}" if abs(value) >= 100 else f"{value:.4f}" for value in values]
