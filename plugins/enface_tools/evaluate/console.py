"""The lines that the terminal shows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enface.system.messages import Reporter


def report_summary(summary: Mapping[str, Any], reporter: Reporter) -> None:
    """Print a line for each metric, then the caveats."""
    for name, item in summary["metrics"].items():
        reporter.say(f"{name}: {_interval(item)}{_baselines(item)}")
    for name, item in summary["sets"].items():
        reporter.say(f"{name}: {_number(item['value'])}{_baselines(item)}")
    for sentence in summary["cautions"]:
        reporter.say(f"caution: {sentence}")


def report_unavailable(metrics: Mapping[str, str], reporter: Reporter) -> None:
    """Print a line for each metric that cannot be computed."""
    for name, reason in metrics.items():
        reporter.say(f"{name}: unavailable. {reason}")


def report_stages(stages: Mapping[str, Any], reporter: Reporter) -> None:
    """Print each stage's metrics and their change from the stage that it started from."""
    for name, stage in stages.items():
        after = f" after {stage['after']}" if stage["after"] else ""
        reporter.say(f"stage {name}{after}:")
        for metric, item in stage["metrics"].items():
            change = item.get("change")
            by = f"  {change['mean']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]" if change else ""
            reporter.say(f"  {metric}: {_interval(item)}{by}")


def _interval(item: Mapping[str, Any]) -> str:
    return f"{_number(item['mean'])} [{_number(item['low'])}, {_number(item['high'])}]"


def _baselines(item: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in item["baselines"].items())
    return f"  (baselines: {numbers})" if numbers else ""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
