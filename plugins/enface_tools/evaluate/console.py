"""An evaluation in the terminal: a verdict, a table, caveats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from enface.system.messages import Reporter
from enface_tools.evaluate.models import Estimate, MetricSummary, SetMetricSummary, StageSummary, Summary
from enface_tools.evaluate.precision import places, plain, signed
from enface_tools.evaluate.terminal import styled, table, wrapped
from enface_tools.evaluate.verdict import BASELINE_NAMES, outcomes, overall, verdict

if TYPE_CHECKING:
    from rich.text import Text

    from enface_tools.evaluate.statistics import Outcome

INTERVAL = "95 % interval"
STYLES = {"better": "green", "worse": "red", "unclear": "yellow"}


def report_summary(summary: Summary, reporter: Reporter) -> None:
    """Show a sentence with the verdict, a table of the metrics, then the caveats."""
    sentence = verdict(summary)
    if sentence:
        reporter.say(wrapped(sentence))
    if summary.all_metrics:
        reporter.say(_metrics_table(summary))
    if summary.self_pairs is not None and summary.self_pairs.count:
        reporter.say(wrapped(f"self-pairs: {summary.self_pairs.sentence}", "  "))
    for caveat in summary.caveats:
        reporter.say(wrapped(f"caveat: {caveat}", "  "))


def report_stages(stages: Mapping[str, StageSummary], reporter: Reporter) -> None:
    """Show a table of each stage: its metrics and their change from the stage that it started from."""
    for name, stage in stages.items():
        weights = " (running average)" if stage.weights == "average" else ""
        after = f" after {stage.after}" if stage.after else ""
        reporter.say(f"stage {name}{weights}{after}:")
        rows = [
            (metric, *_estimate(item), *(_change(item.change) if item.change else ("", "")))
            for metric, item in stage.metrics.items()
        ]
        reporter.say(table(("metric", "mean", INTERVAL, "change", INTERVAL), rows))
        if stage.caveat:
            reporter.say(wrapped(f"  caveat: {stage.caveat}", "    "))


def _metrics_table(summary: Summary) -> str:
    measured: list[MetricSummary | SetMetricSummary] = [*summary.metrics.values(), *summary.sets.values()]
    baselines = list(dict.fromkeys(name for item in measured for name in item.baselines))
    rows: list[tuple[str | Text, ...]] = []
    for name, item in summary.metrics.items():
        outcome = overall(outcomes(item).values())
        mean, interval = _estimate(item)
        decimals = places(item.mean, item.low, item.high)
        others = (plain(item.baselines.get(key), decimals) for key in baselines)
        rows.append((name, item.direction.word, _coloured(mean, outcome), interval, *others, _word(outcome)))
    for name, whole in summary.sets.items():
        decimals = places(whole.value)
        numbers = (plain(whole.baselines.get(key), decimals) for key in baselines)
        rows.append((name, whole.direction.word, plain(whole.value, decimals), "", *numbers, ""))
    columns = [BASELINE_NAMES.get(key, key) for key in baselines]
    heads = ("metric", "better", "output", INTERVAL, *columns, "verdict")
    rows = rows if baselines else [row[:-1] for row in rows]
    return table(heads if baselines else heads[:-1], rows, left=("better", "verdict"), drop=("better",))


def _estimate(item: Estimate) -> tuple[str, str]:
    decimals = places(item.mean, item.low, item.high)
    if item.low is None or item.high is None:
        return plain(item.mean, decimals), ""
    return plain(item.mean, decimals), f"[{plain(item.low, decimals)}, {plain(item.high, decimals)}]"


def _change(item: Estimate) -> tuple[str, str]:
    decimals = places(item.mean, item.low, item.high)
    if item.low is None or item.high is None:
        return signed(item.mean, decimals), ""
    return signed(item.mean, decimals), f"[{signed(item.low, decimals)}, {signed(item.high, decimals)}]"


def _word(outcome: Outcome) -> str | Text:
    return "" if outcome == "none" else _coloured(outcome, outcome)


def _coloured(text: str, outcome: Outcome) -> str | Text:
    return styled(text, STYLES[outcome]) if outcome in STYLES else text
