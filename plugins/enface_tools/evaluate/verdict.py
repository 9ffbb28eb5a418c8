"""The outcome of an evaluation against its baselines, and the sentence that states it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import Estimate, MetricSummary, Summary
from enface_tools.evaluate.precision import places, plain

if TYPE_CHECKING:
    from enface_tools.evaluate.statistics import Outcome

BASELINE_NAMES = {"source": "source", "mean_target": "mean target"}
KEY_METRICS = ("ssim", "lpips")
"""Metrics that a sentence or a short table shows if they were measured."""
PHRASES: dict[Outcome, str] = {
    "better": "better than",
    "worse": "worse than",
    "unclear": "not clearly different from",
}


def change_outcome(change: Estimate, direction: Direction) -> Outcome:
    """The outcome of a difference of compared numbers: ``better`` if all of its interval is; ``unclear`` without."""
    if change.mean is None or math.isnan(change.mean):
        return "none"
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return "unclear"
    return "better" if (change.low > 0) == direction.change.higher else "worse"


def outcomes(item: MetricSummary) -> dict[str, Outcome]:
    """The outcome of a metric against each baseline."""
    nothing = Estimate(mean=None, low=None, high=None)
    return {name: change_outcome(item.gains.get(name, nothing), item.direction) for name in item.baselines}


def overall(several: Iterable[Outcome]) -> Outcome:
    """``better`` than every baseline, ``worse`` than at least one, else ``unclear``; ``none`` without baselines."""
    known = set(several) - {"none"}
    worst: tuple[Outcome, ...] = ("worse", "unclear", "better")
    return next((outcome for outcome in worst if outcome in known), "none")


def verdict(summary: Summary) -> str:
    """State the key metrics with their intervals, and whether they are better than the baselines; empty without any."""
    names = [name for name in KEY_METRICS if name in summary.metrics] or list(summary.metrics)[:2]
    return "; ".join(_clause(name, summary.metrics[name]) for name in names) + ("." if names else "")


def _clause(name: str, item: MetricSummary) -> str:
    decimals = places(item.mean, item.low, item.high)
    number = f"{name} {interval_text(item, decimals)}"
    if item.low is None and item.baselines:
        others = (f"{BASELINE_NAMES.get(key, key)} {plain(value, decimals)}" for key, value in item.baselines.items())
        return f"{number} without interval, so without verdict: {', '.join(others)}"
    by_outcome: dict[Outcome, list[str]] = {}
    for baseline, outcome in outcomes(item).items():
        text = f"the {BASELINE_NAMES.get(baseline, baseline)} ({plain(item.baselines[baseline], decimals)})"
        by_outcome.setdefault(outcome, []).append(text)
    phrases = [
        f"{phrase} {' and '.join(by_outcome[outcome])}" for outcome, phrase in PHRASES.items() if outcome in by_outcome
    ]
    return f"{number}: {', '.join(phrases)}" if phrases else number


def interval_text(item: Estimate, decimals: int) -> str:
    """A mean with its interval; the mean alone without an interval, of which the caveats give the reason."""
    if item.low is None or item.high is None:
        return plain(item.mean, decimals)
    return f"{plain(item.mean, decimals)} [{plain(item.low, decimals)}, {plain(item.high, decimals)}]"
