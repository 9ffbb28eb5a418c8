"""Small line plots for the report, as SVG whose colours follow the page's light or dark theme."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from enface.report_numbers import MINUS, number

POINTS = 240
# Colours matplotlib is given, and the page's CSS variables they become.
THEME = {
    "#0a0b01": "var(--muted)",
    "#0a0b02": "var(--rule)",
    "#0a0b03": "var(--accent)",
    "#0a0b04": "var(--second)",
    "#0a0b05": "var(--third)",
}
MUTED, RULE, ACCENT, SECOND, THIRD = THEME
STYLES = ((ACCENT, "-"), (SECOND, (0, (4, 2))), (THIRD, (0, (1, 1.5))))
Curve = Sequence[tuple[float, float]]
Stages = Sequence[tuple[str, int]]


@dataclass
class Log:
    """What ``log.jsonl`` says.

    Attributes:
        curves: Name of a value -> (step, value) over training.
        stages: (name, step it began at), in order.
    """

    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stages: list[tuple[str, int]] = field(default_factory=list)

    @property
    def last_step(self) -> int:
        """The last step anything is known of."""
        return int(max((curve[-1][0] for curve in self.curves.values()), default=0))


@dataclass(frozen=True)
class Plot:
    """A drawn curve: its title, what its lines are, its last value and the drawing."""

    title: str
    about: str
    svg: Markup


def read_log(events: Iterable[Mapping[str, Any]]) -> Log:
    """Curves and stages of a log's events; ``validated`` values get the prefix ``val/``."""
    log = Log()
    for event in events:
        step = number(event.get("step"))
        if not math.isfinite(step):
            continue
        if event.get("event") == "stage_started":
            name = str(event.get("stage"))
            if name not in dict(log.stages):
                log.stages.append((name, int(step)))
        values, prefix = event.get("values"), {"step": "", "validated": "val/"}.get(str(event.get("event")))
        if prefix is None or not isinstance(values, Mapping):
            continue
        for name, value in values.items():
            if math.isfinite(number(value)):
                log.curves.setdefault(f"{prefix}{name}", []).append((step, number(value)))
    return log


def training_plots(log: Log) -> dict[str, list[Plot]]:
    """Plots under their headings: a plot a term, a validated metric, a learning rate, the speed."""
    groups: dict[str, list[Plot]] = {"Terms": [], "Validation": [], "Learning rates and speed": []}
    # Names with a slash first: what stands alone (the speed) comes last.
    for name in sorted(log.curves, key=lambda name: "/" not in name):
        kind, _, rest = name.partition("/")
        if kind == "term":
            groups["Terms"].append(_term_plot(rest, log))
        elif kind == "val":
            groups["Validation"].append(_plot(rest, "mean over the validation split", [name], log))
        elif kind == "lr":
            groups["Learning rates and speed"].append(_plot(f"lr of {rest}", "learning rate", [name], log))
        elif kind != "weighted":
            title = name.replace("_", " ")
            groups["Learning rates and speed"].append(_plot(title, "", [name], log))
    return {heading: plots for heading, plots in groups.items() if plots}


def pose_plot(curves: Mapping[str, Curve], prefix: str) -> Markup:
    """A metric over pose: the output and, dashed and dotted, the baselines."""
    figure = Figure(figsize=(4.4, 2.0), layout="constrained")
    axes = _axes(figure)
    for curve, (colour, style) in zip(curves.values(), STYLES, strict=False):
        marker = "o" if style == "-" else ""
        axes.plot(*_columns(curve), color=colour, linestyle=style, marker=marker, markersize=3, linewidth=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 1.5, 3, 4.5, 5, 10]))
    return _svg(figure, prefix)


def _term_plot(name: str, log: Log) -> Plot:
    raw, weighted = log.curves[f"term/{name}"], log.curves.get(f"weighted/{name}", [])
    if not weighted or _same(raw, weighted):
        return _plot(name, "raw; its weight is 1" if weighted else "raw", [f"term/{name}"], log)
    return _plot(name, "raw above, weighted below", [f"term/{name}", f"weighted/{name}"], log)


def _plot(title: str, about: str, names: Sequence[str], log: Log) -> Plot:
    figure = Figure(figsize=(4.4, 2.0 if len(names) == 1 else 2.7), layout="constrained")
    for index, name in enumerate(names):
        axes = _axes(figure, len(names), index)
        steps, values = _with_gaps(*_thinned(log.curves[name]))
        lone = "o" if len(steps) == 1 else ("." if len(steps) < 12 else "")
        axes.plot(steps, values, color=STYLES[index][0], linewidth=1.3, marker=lone, markersize=5)
        if name.startswith("lr/") or name == "images_per_second":
            axes.set_ylim(bottom=0)
        elif np.nanmin(values) > 0 and np.nanmax(values) > 100 * np.nanmin(values):
            _use_log_scale(axes)
        axes.set_xlim(0, max(log.last_step, 1))
        _mark_stages(axes, log.stages, log.last_step, named=index == 0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelbottom=index == len(names) - 1)
    return Plot(title, about, _svg(figure, names[0]))


def _axes(figure: Figure, rows: int = 1, index: int = 0) -> Any:
    axes = figure.add_subplot(rows, 1, index + 1)
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=MUTED, which="both", labelsize=8.5, length=0, pad=3)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    return axes


def _use_log_scale(axes: Any) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _same(first: Curve, second: Curve) -> bool:
    return len(first) == len(second) and np.allclose(_columns(first)[1], _columns(second)[1], rtol=1e-4)


def _mark_stages(axes: Any, stages: Stages, last: int, *, named: bool) -> None:
    for index, (name, start) in enumerate(stages):
        end = stages[index + 1][1] if index + 1 < len(stages) else last
        if start > 0:
            axes.axvline(start, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)))
        # A name needs room; those left out are in the text above the plots.
        if named and len(stages) > 1 and (end - start) > last * len(name) * 0.024:
            place = (start + end) / 2, 1.02
            at = axes.get_xaxis_transform()
            axes.text(*place, name, transform=at, color=MUTED, fontsize=7.5, ha="center", parse_math=False)


def _thinned(curve: Curve) -> tuple[Any, Any]:
    """At most ``POINTS`` points, each the mean of a stretch: a plot this wide shows no more."""
    steps, values = _columns(curve)
    if len(steps) <= POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), POINTS)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _with_gaps(steps: Any, values: Any) -> tuple[Any, Any]:
    """Breaks the line where a stage did not have the term, so that nothing is drawn there."""
    strides = np.diff(steps)
    usual = np.median(strides) if len(strides) else 0.0
    gaps = np.flatnonzero(strides > 5 * usual) + 1
    return np.insert(steps, gaps, np.nan), np.insert(values, gaps, np.nan)


def _columns(curve: Curve) -> tuple[Any, Any]:
    table = np.asarray(curve, np.float64)
    return table[:, 0], table[:, 1]


def _tick(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.4g}".replace("e-0", "e-").replace("-", MINUS)


def _svg(figure: Figure, prefix: str) -> Markup:
    """The drawing alone: no XML header, no names that clash with another drawing's, colours from the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text, prefix = buffer.getvalue(), re.sub(r"\W", "-", prefix, flags=re.ASCII)
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # type: ignore[union-attr]
    text = text[text.index(">") + 1 :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\1{prefix}-", text).replace("xlink:href", "href")
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    return Markup(f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{text}')
