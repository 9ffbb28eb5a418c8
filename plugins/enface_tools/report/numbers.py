"""Key numbers of an evaluation and verdicts on them, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from enface.data.images import natural_key
from enface_tools.evaluate import precision
from enface_tools.evaluate.direction import Direction as Direction
from enface_tools.evaluate.models import Estimate, MetricSummary, Summary
from enface_tools.evaluate.results import AT
from enface_tools.evaluate.statistics import Outcome
from enface_tools.evaluate.verdict import BASELINE_NAMES, change_outcome, overall

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
INFINITY = "\N{INFINITY}"
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def label_key(text: str) -> tuple[bool, float, list[str | int], str]:
    """Sorting key of label values as text: numbers such as ``-45`` by value, then other texts in natural order."""
    try:
        number = float(text)
    except ValueError:
        return natural_key(text)
    return (False, number, [], text) if math.isfinite(number) else natural_key(text)


@dataclass(frozen=True)
class BaselineComparison:
    """The output compared with one baseline.

    Attributes:
        name: In the files; ``label`` is for display.
        mean: Of the baseline.
        difference: Output minus baseline, of distances to the ideal value if there is one; ``low`` and ``high`` are its
            interval.
    """

    name: str
    label: str
    mean: str
    difference: str
    low: str
    high: str
    outcome: Outcome


@dataclass(frozen=True)
class KeyNumber:
    """One metric over all images, compared with its baselines.

    Attributes:
        outcome: ``better`` than every baseline, ``worse`` than at least one, or ``unclear``.
        rival: The better baseline; None without baselines.
        strip: Positions of ``low``, ``mean``, ``high`` and each baseline on one axis, in percent.
    """

    name: str
    direction: Direction
    mean: str
    low: str
    high: str
    comparisons: list[BaselineComparison]
    outcome: Outcome
    rival: BaselineComparison | None
    strip: Mapping[str, float]

    def comparison(self, name: str) -> BaselineComparison | None:
        """The comparison with one baseline."""
        return next((item for item in self.comparisons if item.name == name), None)


@dataclass(frozen=True)
class VerdictLine:
    """The metrics that share one verdict.

    Attributes:
        words: The verdict, such as ``better than both baselines on``.
    """

    outcome: Outcome
    words: str
    items: list[KeyNumber]


def number(value: float | None) -> float:
    """A number of a file; NaN for None."""
    return math.nan if value is None else value


def digits(item: Estimate) -> int:
    """Decimals of an estimate, by the width of its interval."""
    return precision.places(item.mean, item.low, item.high)


def digits_by_metric(summary: Summary) -> dict[str, int]:
    """Decimals of each metric, and of each ``METRIC@REGION``."""
    regions = {
        f"{name}{AT}{region}": digits(item)
        for region, group in summary.regions.items()
        for name, item in group.metrics.items()
    }
    return {name: digits(item) for name, item in summary.metrics.items()} | regions


def shown(value: float, places: int) -> str:
    """A number as text, with a true minus sign; a dash for NaN."""
    return NONE if math.isnan(value) else _typeset(precision.plain(value, places))


def signed(value: float, places: int) -> str:
    """A difference as text, with its sign unless it is rounded to 0."""
    return NONE if math.isnan(value) else _typeset(precision.signed(value, places))


def _typeset(text: str) -> str:
    return text.replace("inf", INFINITY).replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number as text, with commas; a dash for None."""
    return NONE if value is None else f"{value:,}"


def key_numbers(metrics: Mapping[str, MetricSummary]) -> list[KeyNumber]:
    """Every metric over images."""
    return [_key_number(name, item) for name, item in metrics.items()]


def baseline_names(summary: Summary) -> list[str]:
    """The baselines of any metric, in order."""
    return list(dict.fromkeys(name for item in summary.metrics.values() for name in item.baselines))


def labelled(name: str) -> str:
    """A baseline's name for display."""
    return BASELINE_NAMES.get(name, name)


def verdicts(numbers: Iterable[KeyNumber]) -> list[VerdictLine]:
    """The metrics grouped by verdict, better ones first."""
    groups: dict[tuple[int, str], list[KeyNumber]] = {}
    for item in numbers:
        groups.setdefault((OUTCOMES.index(item.outcome), _verdict(item)), []).append(item)
    return [VerdictLine(OUTCOMES[place], words, groups[place, words]) for place, words in sorted(groups)]


def _verdict(item: KeyNumber) -> str:
    names = {outcome: [one.label for one in item.comparisons if one.outcome == outcome] for outcome in OUTCOMES}
    if item.outcome == "none":
        return "without a comparison on"
    if item.low == NONE:
        return "without intervals, so without a verdict, on"
    if item.outcome == "better":
        return f"better than {_joined(names['better'])} on"
    words = (
        f"worse than {_joined(names['worse'])}"
        if names["worse"]
        else f"not clearly different from {_joined(names['unclear'], 'either baseline')}"
    )
    return f"{words}, though better than {_joined(names['better'])}, on" if names["better"] else f"{words} on"


def _joined(names: list[str], every: str = "both baselines") -> str:
    return every if len(names) == len(BASELINE_NAMES) else " and ".join(f"the {name}" for name in names)


def _key_number(name: str, item: MetricSummary) -> KeyNumber:
    baselines = {key: number(value) for key, value in item.baselines.items()}
    compared = {key: number(item.compared(key)) for key in item.baselines}
    mean, low, high = map(number, (item.mean, item.low, item.high))
    places = digits(item)
    comparisons = [_comparison(key, value, item, places) for key, value in baselines.items()]
    best = _best(compared, item.direction.change)
    return KeyNumber(
        name=name,
        direction=item.direction,
        mean=shown(mean, places),
        low=shown(low, places),
        high=shown(high, places),
        comparisons=comparisons,
        outcome=overall([one.outcome for one in comparisons]),
        rival=next((one for one in comparisons if one.name == best), None),
        strip=_strip({"low": low, "mean": mean, "high": high, **baselines}),
    )


def _comparison(name: str, baseline: float, item: MetricSummary, places: int) -> BaselineComparison:
    gain = item.gains.get(name) or Estimate(mean=None, low=None, high=None)
    low, high = number(gain.low), number(gain.high)
    own = digits(gain)
    return BaselineComparison(
        name=name,
        label=labelled(name),
        mean=shown(baseline, places),
        difference=signed(number(gain.mean), own),
        low="" if math.isnan(low) else signed(low, own),
        high="" if math.isnan(high) else signed(high, own),
        outcome=change_outcome(gain, item.direction),
    )


def _strip(values: Mapping[str, float]) -> dict[str, float]:
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    if len(known) < 2:
        return {}
    lowest, highest = min(known.values()), max(known.values())
    span = (highest - lowest) or 1.0
    return {name: round(6 + 88 * (value - lowest) / span, 2) for name, value in known.items()}


def _best(baselines: Mapping[str, float], direction: Direction) -> str:
    known = {name: value for name, value in baselines.items() if not math.isnan(value)}
    return max(known, key=lambda name: direction.score(known[name])) if known else ""
