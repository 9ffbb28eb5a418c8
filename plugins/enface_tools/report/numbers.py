"""What a report says of an evaluation: the verdict, and tables of numbers made ready to be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from enface.plugin.direction import Direction as Direction
from enface_tools.report.files import mapping

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
INFINITY = "\N{INFINITY}"
BASELINES = {"source": "source", "mean_target": "mean target"}
OUTCOMES = ("good", "even", "bad", "none")


@dataclass(frozen=True)
class Against:
    """The output beside one baseline.

    Attributes:
        name: As the files have it; ``label`` is for people.
        mean: The baseline's, as text.
        difference: Output - baseline, as text, and ``low`` and ``high`` its interval where that is known.
        outcome: ``good``, ``bad`` or ``even``; ``none`` when a number is missing.
    """

    name: str
    label: str
    value: float
    mean: str
    difference: str
    low: str
    high: str
    outcome: str


@dataclass(frozen=True)
class KeyNumber:
    """One metric over all images, as text, beside its baselines.

    Attributes:
        outcome: ``good`` where it is better than every baseline, ``bad`` where it is worse than one, ``even``
            between; ``none`` when a number is missing.
        rival: The better baseline; None without any.
        strip: Where ``low``, ``mean``, ``high`` and each baseline lie on one axis, in percent.
    """

    name: str
    direction: Direction
    mean: str
    low: str
    high: str
    baselines: list[Against]
    outcome: str
    rival: Against | None
    strip: Mapping[str, float]

    def against(self, name: str) -> Against | None:
        """What it is beside one baseline."""
        return next((item for item in self.baselines if item.name == name), None)


@dataclass(frozen=True)
class Verdict:
    """What holds for some metrics alike, in words."""

    outcome: str
    words: str
    items: list[KeyNumber]


def number(value: Any) -> float:
    """A number as it is, infinite too (a PSNR of equal images is), and NaN for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def decimals(values: Iterable[float]) -> int:
    """How many decimals give the largest of some values four significant digits; all of them then align."""
    largest = max((abs(value) for value in values if value and math.isfinite(value)), default=1.0)
    return min(max(3 - math.floor(math.log10(largest)), 0), 8)


def shown(value: float, places: int) -> str:
    """A number as text, with a true minus sign."""
    if math.isnan(value):
        return NONE
    return f"{value:.{places}f}".replace("inf", INFINITY).replace("-", MINUS)


def signed(value: float, places: int) -> str:
    """A difference as text: with its sign, whichever that is."""
    text = shown(value, places)
    return text if text.startswith((MINUS, NONE)) else f"+{text}"


def key_numbers(summary: Mapping[str, Any]) -> list[KeyNumber]:
    """Every metric of ``summary.json``."""
    return [_key_number(str(name), item) for name, item in mapping(summary, "metrics").items()]


def baseline_names(summary: Mapping[str, Any]) -> list[str]:
    """The baselines any metric was compared with, in order."""
    found = [str(name) for item in mapping(summary, "metrics").values() for name in mapping(item, "baselines")]
    return list(dict.fromkeys(found))


def labelled(name: str) -> str:
    """A baseline's name for people."""
    return BASELINES.get(name, name)


def verdicts(numbers: Iterable[KeyNumber]) -> list[Verdict]:
    """The metrics in groups of which one thing can be said: what is better first."""
    groups: dict[tuple[int, str, str], list[KeyNumber]] = {}
    for item in numbers:
        groups.setdefault((OUTCOMES.index(item.outcome), item.outcome, _words(item)), []).append(item)
    return [Verdict(outcome, words, groups[place, outcome, words]) for place, outcome, words in sorted(groups)]


def _words(item: KeyNumber) -> str:
    names = {outcome: [one.label for one in item.baselines if one.outcome == outcome] for outcome in OUTCOMES}
    if item.outcome == "none":
        return "without a comparison on"
    if item.outcome == "good":
        return f"better than {_joined(names['good'])} on"
    found = (
        f"worse than {_joined(names['bad'])}"
        if names["bad"]
        else f"not clearly different from {_joined(names['even'])}"
    )
    return f"{found}, though better than {_joined(names['good'])}, on" if names["good"] else f"{found} on"


def _joined(names: list[str]) -> str:
    return "both baselines" if len(names) == len(BASELINES) else " and ".join(f"the {name}" for name in names)


def _key_number(name: str, item: Any) -> KeyNumber:
    direction = direction_of(item)
    mean, low, high = (number(get(item, key)) for key in ("mean", "low", "high"))
    others = {str(key): number(value) for key, value in mapping(item, "baselines").items()}
    places = decimals([mean, low, high, *others.values()])
    gains = mapping(item, "gains")
    baselines = [
        _against(key, value, gains.get(key), (mean, low, high), direction, places) for key, value in others.items()
    ]
    best = _best(others, direction)
    return KeyNumber(
        name=name,
        direction=direction,
        mean=shown(mean, places),
        low=shown(low, places),
        high=shown(high, places),
        baselines=baselines,
        outcome=_overall([one.outcome for one in baselines]),
        rival=next((one for one in baselines if one.name == best), None),
        strip=_strip({"low": low, "mean": mean, "high": high, **others}),
    )


def _against(
    name: str, value: float, gain: Any, own: tuple[float, float, float], direction: Direction, places: int
) -> Against:
    """With the paired differences' interval, or in an old evaluation without it the interval of the output's mean."""
    mean, low, high = own
    by, least, most = (number(get(gain, key)) for key in ("mean", "low", "high"))
    if math.isfinite(value) and not math.isnan(least):
        low, high = value + least, value + most
    by = mean - value if math.isnan(by) else by
    return Against(
        name=name,
        label=labelled(name),
        value=value,
        mean=shown(value, places),
        difference=signed(by, places),
        low="" if math.isnan(least) else signed(least, places),
        high="" if math.isnan(most) else signed(most, places),
        outcome=outcome(low, high, value, direction),
    )


def _overall(outcomes: list[str]) -> str:
    outcomes = [found for found in outcomes if found != "none"]
    if not outcomes:
        return "none"
    if "bad" in outcomes:
        return "bad"
    return "even" if "even" in outcomes else "good"


def _strip(values: Mapping[str, float]) -> dict[str, float]:
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    if len(known) < 2:
        return {}
    least, most = min(known.values()), max(known.values())
    span = (most - least) or 1.0
    return {name: round(6 + 88 * (value - least) / span, 2) for name, value in known.items()}


def direction_of(item: Any) -> Direction:
    """Which values of a metric are better, of what a summary says of it."""
    ideal = number(get(item, "ideal"))
    return Direction(get(item, "higher_is_better") is not False, None if math.isnan(ideal) else ideal)


def get(item: Any, key: str) -> Any:
    """What a map holds under a key; None where it is no map."""
    return item.get(key) if isinstance(item, Mapping) else None


def _best(baselines: Mapping[str, float], direction: Direction) -> str:
    known = {name: value for name, value in baselines.items() if not math.isnan(value)}
    return max(known, key=lambda name: direction.score(known[name])) if known else ""


def outcome(low: float, high: float, against: float, direction: Direction) -> str:
    """Whether all of an interval is better than a number (``good``), worse (``bad``), or neither (``even``)."""
    if any(map(math.isnan, (low, high, against))):
        return "none"
    if low <= against <= high:
        return "even"
    # On both sides of the ideal lie values as good as the other's: all of the interval must be better, or worse.
    scores, bar = [direction.score(low), direction.score(high)], direction.score(against)
    best = 0.0 if direction.ideal is not None and low <= direction.ideal <= high else max(scores)
    if min(scores) > bar:
        return "good"
    return "bad" if best < bar else "even"
