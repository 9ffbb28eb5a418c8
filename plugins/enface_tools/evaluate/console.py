"""Measuring a network and saying what was found; what training ends with and ``evaluate`` repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from enface.cli.options import progress_bar, say

if TYPE_CHECKING:
    from torch import nn

    from enface_tools.evaluate.evaluator import Evaluator


def measure_and_report(evaluator: Evaluator, network: nn.Module, checkpoint: Mapping[str, Any] | None = None) -> None:
    """Measure a run's last network and what its stages ended with; write the report.

    Several processes all call this; the main one writes and speaks.

    Args:
        checkpoint: Which one the network is of.
    """
    from enface_tools.evaluate.evaluator import evaluate
    from enface_tools.report.run_page import write_report

    run = evaluator.run
    main = run.engine.is_main
    with progress_bar("evaluating", show=main) as progress:
        summary = evaluate(evaluator, network, progress, checkpoint=checkpoint)
    if main:
        say_summary(summary)
    if run.recipe.evaluation.stages and len(run.recipe.stages) > 1:
        _measure_stages(evaluator)
    elif main:
        # An earlier evaluation's, which the report would show beside numbers of another network.
        (run.directory / "evaluation" / "stages.json").unlink(missing_ok=True)
    if not main:
        return
    say_unavailable(summary["unavailable"])
    say(f"report: {write_report(run.directory)}")
    run.log("reported")


def say_summary(summary: Mapping[str, Any]) -> None:
    """A line a metric, then what to know before believing it."""
    for name, item in summary["metrics"].items():
        say(f"{name}: {_number(item['mean'])} [{_number(item['low'])}, {_number(item['high'])}]{_others(item)}")
    for name, item in summary["sets"].items():
        say(f"{name}: {_number(item['value'])}{_others(item)}")
    for sentence in summary["cautions"]:
        say(f"caution: {sentence}")


def say_unavailable(metrics: Mapping[str, str]) -> None:
    """A line for each metric that cannot be had."""
    for name, reason in metrics.items():
        say(f"{name}: unavailable. {reason}")


def _measure_stages(evaluator: Evaluator) -> None:
    from enface_tools.evaluate.stages import evaluate_stages

    with progress_bar("evaluating stages", show=evaluator.run.engine.is_main) as progress:
        found = evaluate_stages(evaluator, progress)
    for name, stage in found.items():
        after = f" after {stage['after']}" if stage["after"] else ""
        say(f"stage {name}{after}:")
        for metric, item in stage["metrics"].items():
            change = item.get("change")
            by = f"  {change['mean']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]" if change else ""
            say(f"  {metric}: {_number(item['mean'])} [{_number(item['low'])}, {_number(item['high'])}]{by}")


def _others(item: Mapping[str, Any]) -> str:
    others = ", ".join(f"{key} {_number(value)}" for key, value in item["baselines"].items())
    return f"  (baselines: {others})" if others else ""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
