"""Plots of a run's log: losses, discriminators against the generator, validation metrics, learning rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from enface_tools.report.files import rounded

POINTS = 2000
"""A longer curve is drawn as the means of this many segments."""
ROLES = ("first", "second", "third", "fourth")
DASHES = ("solid", "dash", "dot", "dashdot")
BALANCE, LOSSES, VALIDATION, RATES = "Discriminators", "Losses", "Validation metrics", "Learning rates and speed"
ENDS = ("reported", "interrupted", "non_finite")
"""Events that end a log, unless the run is resumed."""
Curve = Sequence[tuple[float, float]]


class LogEvent(BaseModel):
    """A line of ``log.jsonl``."""

    event: str
    step: int
    time: float | None = None
    stage: str = ""
    terms: list[str] = []
    losses: dict[str, str] = {}
    reason: str = ""
    values: dict[str, float] = {}


@dataclass
class Log:
    """Contents of ``log.jsonl``.

    Attributes:
        curves: Name of a value -> (step, value) over training.
        stages: (name, first step), in order.
        ended: True if the last event ends the run.
        pace: (time, step) of the events of the current stage since it began or was resumed.
        terms: The terms of each stage, with the labels of their losses.
        logged: Names of the values that a stage has logged.
        early: A sentence for each stage that stopped early.
    """

    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stages: list[tuple[str, int]] = field(default_factory=list)
    ended: bool = False
    pace: list[tuple[float, int]] = field(default_factory=list)
    terms: dict[str, dict[str, str]] = field(default_factory=dict)
    logged: dict[str, set[str]] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)

    @property
    def inactive(self) -> list[tuple[str, str]]:
        """(label, stage) of every term that was not active in any logged interval of its stage."""
        return [
            (label, stage)
            for stage, terms in self.terms.items()
            for term, label in terms.items()
            if stage in self.logged and f"term/{term}" not in self.logged[stage]
        ]

    def label(self, term: str) -> str:
        """Label of a term's loss; several if stages give the term different losses."""
        labels = dict.fromkeys(terms[term] for terms in self.terms.values() if term in terms)
        return " / ".join(labels) or term

    @property
    def last_step(self) -> int:
        """The last step with a value."""
        return int(max((curve[-1][0] for curve in self.curves.values()), default=0))


@dataclass(frozen=True)
class Trace:
    """One line of a plot, with a colour and dashes, so that colour alone never distinguishes lines.

    Attributes:
        role: Determines the colour, and the dashes if ``dashes`` is empty, by the position in ``ROLES``.
    """

    name: str
    role: str
    x: list[float | None]
    y: list[float | None]
    dashes: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes; the vertical one is logarithmic (``log``) or includes zero (``zero``)."""

    label: str
    traces: list[Trace]
    log: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot: panels above each other that share the horizontal axis.

    Attributes:
        about: Description.
        linked: The axis shows steps: zooming one such plot zooms all of them.
        marks: (position, text) of vertical lines: the start of each stage.
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
        """Text alternative of the plot."""
        ends = [_ends(trace, self.x) for panel in self.panels for trace in panel.traces]
        return "; ".join([f"{self.title}, {self.about}" if self.about else self.title, *ends])


def read_log(text: str) -> Log:
    """Parse the text of a log. Values of ``validated`` events get the prefix ``val/``."""
    log = Log()
    for event in _events(text.splitlines()):
        log.ended = event.event in ENDS
        if event.event == "stage_started":
            log.pace = []
            log.terms[event.stage] = {term: event.losses.get(term, term) for term in event.terms}
            if event.stage not in dict(log.stages):
                log.stages.append((event.stage, event.step))
        if event.event in ("stage_started", "step") and event.time is not None:
            log.pace.append((event.time, event.step))
        if event.event == "stopped_early":
            log.early.append(f"Stage {event.stage} {event.reason}.")
        if event.event == "step":
            log.logged.setdefault(event.stage, set()).update(event.values)
        prefix = {"step": "", "validated": "val/"}.get(event.event)
        if prefix is None:
            continue
        for name, value in event.values.items():
            if math.isfinite(value):
                log.curves.setdefault(f"{prefix}{name}", []).append((event.step, value))
    return log


def _events(lines: Iterable[str]) -> Iterator[LogEvent]:
    """The valid lines; a run that was killed may leave half a line."""
    for line in lines:
        try:
            yield LogEvent.model_validate_json(line)
        except ValidationError:
            continue


def training_plots(log: Log) -> dict[str, list[Plot]]:
    """The plots under each heading."""
    drawn: dict[str, list[tuple[str, str, list[Panel]]]] = {
        BALANCE: _discriminators(log),
        LOSSES: [],
        VALIDATION: [],
        RATES: [],
    }
    for name, curve in log.curves.items():
        kind, _, rest = name.partition("/")
        if kind == "term":
            drawn[LOSSES].append(_term(rest, log))
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


def overlaid_plots(logs: Sequence[tuple[str, int, Log]]) -> dict[str, list[Plot]]:
    """Validation metrics and raw losses of several runs by heading: a plot of each, with a line for each run.

    Args:
        logs: (name, group, log) of each run; runs of a group have one colour.
    """
    plots: dict[str, list[Plot]] = {VALIDATION: [], LOSSES: []}
    for name in dict.fromkeys(name for _, _, log in logs for name in log.curves):
        kind, _, rest = name.partition("/")
        known = [item for item in logs if name in item[2].curves]
        if kind == "val":
            heading, title, about = VALIDATION, rest, "mean over the validation split"
        elif kind == "term":
            heading, title, about = LOSSES, known[0][2].label(rest), "raw loss"
        else:
            continue
        plot = Plot(f"{kind}-{len(plots[heading])}", title, about, "step", [_overlaid(name, known)], linked=True)
        plots[heading].append(plot)
    return {heading: items for heading, items in plots.items() if items}


def _overlaid(name: str, logs: Sequence[tuple[str, int, Log]]) -> Panel:
    panel = _panel("", {run: log.curves[name] for run, _, log in logs})
    traces = [
        replace(trace, role=ROLES[group % len(ROLES)], dashes=DASHES[(group + group // len(ROLES)) % len(DASHES)])
        for trace, (_, group, _) in zip(panel.traces, logs, strict=True)
    ]
    return replace(panel, traces=traces)


def _discriminators(log: Log) -> list[tuple[str, str, list[Panel]]]:
    """Each discriminator term with the generator's term of the same name."""
    plots = []
    for name, curve in log.curves.items():
        kind, _, rest = name.partition("/")
        discriminator, _, term = rest.partition(".")
        generator = log.curves.get(f"term/{term}")
        if kind == "term" and term and generator:
            panel = _panel("loss", {f"discriminator {discriminator}": curve, "generator": generator})
            plots.append((f"{log.label(term)}: {discriminator} and generator", "raw losses", [panel]))
    return plots


def _term(name: str, log: Log) -> tuple[str, str, list[Panel]]:
    raw, weighted = log.curves[f"term/{name}"], log.curves.get(f"weighted/{name}", [])
    title = log.label(name)
    if not weighted or _same(raw, weighted):
        return title, "raw loss; its weight is 1" if weighted else "raw loss", [_panel("raw", {"raw": raw})]
    panels = [_panel("raw", {"raw": raw}), _panel("weighted", {"weighted": weighted}, first=1)]
    return title, "raw loss above, weighted below", panels


def _panel(label: str, curves: Mapping[str, Curve], *, zero: bool = False, first: int = 0) -> Panel:
    traces, values = [], []
    for role, (name, curve) in zip(itertools.cycle(ROLES[first:]), curves.items(), strict=False):
        steps, numbers = _columns(curve)
        values.append(numbers)
        # Gaps first, so that no mean covers the steps on both sides of one.
        steps, numbers = _thinned(*_with_gaps(steps, numbers))
        traces.append(Trace(name, role, rounded(steps.tolist(), 8), rounded(numbers.tolist())))
    every = np.concatenate(values)
    log = not zero and bool(every.min() > 0 and every.max() > 100 * every.min())
    return Panel(f"{label} (log scale)".strip() if log else label, traces, log, zero)


def _ends(trace: Trace, x: str) -> str:
    known = [(x, y) for x, y in zip(trace.x, trace.y, strict=True) if x is not None and y is not None]
    if not known:
        return f"{trace.name}: no values"
    (start, first), (end, last) = known[0], known[-1]
    return f"{trace.name}: from {first:.4g} at {x} {start:g} to {last:.4g} at {x} {end:g}"


def _same(first: Curve, second: Curve) -> bool:
    return len(first) == len(second) and np.allclose(_columns(first)[1], _columns(second)[1], rtol=1e-4, atol=0)


def _thinned(
    steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the means of segments of equal length; a segment with a gap is a gap."""
    if len(steps) <= POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), POINTS)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _with_gaps(
    steps: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Break the line where a stage did not have the term."""
    strides = np.diff(steps)
    typical = np.median(strides) if len(strides) else 0.0
    gaps = np.flatnonzero(strides > 5 * typical) + 1
    return np.insert(steps, gaps, np.nan), np.insert(values, gaps, np.nan)


def _columns(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    table = np.asarray(curve, np.float64)
    return table[:, 0], table[:, 1]
