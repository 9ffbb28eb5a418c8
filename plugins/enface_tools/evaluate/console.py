"""The lines that the terminal shows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from enface.system.messages import Reporter
from enface_tools.evaluate.models import Estimate, MetricSummary, SetMetricSummary, StageSummary, Summary


def report_summary(summary: Summary, reporter: Reporter) -> None:
    """Print a line for each metric, then the caveats."""
    for name, item in summary.metrics.items():
        reporter.say(f"{name}: {_interval(item)}{_baselines(item)}")
    for name, whole in summary.sets.items():
        reporter.say(f"{name}: {_number(whole.value)}{_baselines(whole)}")
    if summary.self_pairs is not None and summary.self_pairs.count:
        reporter.say(f"self-pairs: {summary.self_pairs.sentence}")
    for sentence in summary.caveats:
        reporter.say(f"caveat: {sentence}")


def report_stages(stages: Mapping[str, StageSummary], reporter: Reporter) -> None:
    """Print each stage's metrics and their change from the stage that it started from."""
    for name, stage in stages.items():
        weights = " (running average)" if stage.weights == "average" else ""
        after = f" after {stage.after}" if stage.after else ""
        reporter.say(f"stage {name}{weights}{after}:")
        for metric, item in stage.metrics.items():
            change = f"  {_interval(item.change, '+')}" if item.change else ""
            reporter.say(f"  {metric}: {_interval(item)}{change}")
        if stage.caveat:
            reporter.say(f"  caveat: {stage.caveat}")


def _interval(item: Estimate, sign: str = "") -> str:
    if item.low is None or item.high is None:
        # The caveats give the reason.
        return _number(item.mean, sign)
    return f"{_number(item.mean, sign)} [{_number(item.low, sign)}, {_number(item.high, sign)}]"


def _baselines(item: MetricSummary | SetMetricSummary) -> str:
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in item.baselines.items())
    return f"  (baselines: {numbers})" if numbers else ""


def _number(value: float | None, sign: str = "") -> str:
    return "none" if value is None else f"{value:{sign}.4f}"
