"""What a run logged, as plots that the page draws: a plot a term, the critics' balance, learning rates, validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from enface_tools.report.files import rounded
from enface_tools.report.numbers import labelled, number

POINTS = 2000
"""A curve of more points is drawn as the means of so many stretches."""
ROLES = ("first", "second", "third", "fourth")
BALANCE, TERMS, VALIDATION, RATES = "Critics' balance", "Terms", "Validation", "Learning rates and speed"
ENDS = ("reported", "interrupted", "non_finite")
"""Events after which a run's log goes on only when someone goes on with the run."""
Curve = Sequence[tuple[float, float]]


@dataclass
class Log:
    """What ``log.jsonl`` says.

    Attributes:
        curves: Name of a value -> (step, value) over training.
        stages: (name, step it began at), in order.
        ended: Whether the last event says that nothing more will come.
    """

    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stages: list[tuple[str, int]] = field(default_factory=list)
    ended: bool = False

    @property
    def last_step(self) -> int:
        """The last step anything is known of."""
        return int(max((curve[-1][0] for curve in self.curves.values()), default=0))


@dataclass(frozen=True)
class Trace:
    """One line of a plot; ``role`` chooses its colour and its dashes, so that no line is told by colour alone."""

    name: str
    role: str
    x: list[float | None]
    y: list[float | None]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``log`` and ``zero`` say how its upright one runs."""

    label: str
    traces: list[Trace]
    log: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot: its panels stand one above the other and share the axis along the bottom.

    Attributes:
        about: What it shows, in words.
        linked: The axis is that of the steps: zooming into one such plot zooms into all.
        marks: Upright lines with a text: where a stage begins.
    """

    id: str
    title: str
    about: str
    x: str
    panels: list[Panel]
    linked: bool = False
    marks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def spoken(self) -> str:
        """The plot in words, for who cannot see it."""
        ends = [_ends(trace, self.x) for panel in self.panels for trace in panel.traces]
        return "; ".join([f"{self.title}, {self.about}" if self.about else self.title, *ends])


def read_log(events: Iterable[Mapping[str, Any]]) -> Log:
    """Curves and stages of a log's events; ``validated`` values get the prefix ``val/``."""
    log = Log()
    for event in events:
        kind = str(event.get("event"))
        log.ended = kind in ENDS
        step = number(event.get("step"))
        if not math.isfinite(step):
            continue
        if kind == "stage_started":
            name = str(event.get("stage"))
            if name not in dict(log.stages):
                log.stages.append((name, int(step)))
        values, prefix = event.get("values"), {"step": "", "validated": "val/"}.get(kind)
        if prefix is None or not isinstance(values, Mapping):
            continue
        for name, value in values.items():
            if math.isfinite(number(value)):
                log.curves.setdefault(f"{prefix}{name}", []).append((step, number(value)))
    return log


def training_plots(log: Log) -> dict[str, list[Plot]]:
    """Plots under their headings: critics' balance, a plot a term, a validated metric, a learning rate, the speed."""
    drawn: dict[str, list[tuple[str, str, list[Panel]]]] = {
        BALANCE: _balances(log),
        TERMS: [],
        VALIDATION: [],
        RATES: [],
    }
    for name, curve in log.curves.items():
        kind, _, rest = name.partition("/")
        if kind == "term":
            drawn[TERMS].append(_term(rest, log))
        elif kind == "val":
            drawn[VALIDATION].append((rest, "mean over the validation split", [_panel("", {rest: curve})]))
        elif kind == "lr":
            drawn[RATES].append((f"lr of {rest}", "learning rate", [_panel("", {rest: curve}, zero=True)]))
        elif kind != "weighted":
            title = name.replace("_", " ")
            drawn[RATES].append((title, "", [_panel("", {title: curve}, zero=True)]))
    marks = [(float(start), name) for name, start in log.stages] if len(log.stages) > 1 else []
    plots: dict[str, list[Plot]] = {}
    total = 0
    for heading, items in drawn.items():
        for title, about, panels in items:
            total += 1
            plot = Plot(f"curve-{total}", title, about, "step", panels, linked=True, marks=marks)
            plots.setdefault(heading, []).append(plot)
    return plots


def label_plot(name: str, metric: str, column: str, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Plot:
    """A metric over a label whose values are numbers: the output and the baselines."""
    traces = [
        Trace(labelled(key), role, rounded(curve["x"]), rounded(curve["y"]))
        for (key, curve), role in zip(curves.items(), ROLES, strict=False)
    ]
    return Plot(name, metric, f"mean at each {column}", column, [Panel(metric, traces)])


def _balances(log: Log) -> list[tuple[str, str, list[Panel]]]:
    """For each term of a critic, its loss and that of the generator's term of the same name, on one pair of axes."""
    found = []
    for name, curve in log.curves.items():
        kind, _, rest = name.partition("/")
        critic, _, term = rest.partition(".")
        against = log.curves.get(f"term/{term}")
        if kind == "term" and term and against:
            panel = _panel("loss", {f"critic {critic}": curve, "generator": against})
            found.append((f"{term}: {critic} and generator", "what each loses, raw", [panel]))
    return found


def _term(name: str, log: Log) -> tuple[str, str, list[Panel]]:
    raw, weighted = log.curves[f"term/{name}"], log.curves.get(f"weighted/{name}", [])
    if not weighted or _same(raw, weighted):
        return name, "raw; its weight is 1" if weighted else "raw", [_panel("raw", {"raw": raw})]
    panels = [_panel("raw", {"raw": raw}), _panel("weighted", {"weighted": weighted}, first=1)]
    return name, "raw above, weighted below", panels


def _panel(label: str, curves: Mapping[str, Curve], *, zero: bool = False, first: int = 0) -> Panel:
    traces, values = [], []
    for role, (name, curve) in zip(ROLES[first:], curves.items(), strict=False):
        steps, numbers = _thinned(curve)
        values.append(numbers)
        steps, numbers = _with_gaps(steps, numbers)
        traces.append(Trace(name, role, rounded(steps.tolist(), 8), rounded(numbers.tolist())))
    every = np.concatenate(values)
    log = not zero and bool(every.min() > 0 and every.max() > 100 * every.min())
    return Panel(f"{label} (log scale)".strip() if log else label, traces, log, zero)


def _ends(trace: Trace, x: str) -> str:
    known = [(x, y) for x, y in zip(trace.x, trace.y, strict=True) if x is not None and y is not None]
    if not known:
        return f"{trace.name}: nothing"
    (start, first), (end, last) = known[0], known[-1]
    return f"{trace.name}: from {first:.4g} at {x} {start:g} to {last:.4g} at {x} {end:g}"


def _same(first: Curve, second: Curve) -> bool:
    return len(first) == len(second) and np.allclose(_columns(first)[1], _columns(second)[1], rtol=1e-4)


def _thinned(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    steps, values = _columns(curve)
    if len(steps) <= POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), POINTS)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _with_gaps(
    steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Breaks the line where a stage did not have the term, so that nothing is drawn there."""
    strides = np.diff(steps)
    usual = np.median(strides) if len(strides) else 0.0
    gaps = np.flatnonzero(strides > 5 * usual) + 1
    return np.insert(steps, gaps, np.nan), np.insert(values, gaps, np.nan)


def _columns(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    table = np.asarray(curve, np.float64)
    return table[:, 0], table[:, 1]
