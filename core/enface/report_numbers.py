"""What a report says of an evaluation: the verdict, and tables of numbers made ready to be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from enface.sense import Sense as Sense

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
INFINITY = "\N{INFINITY}"
BASELINES = {"source": "source", "mean_target": "mean target"}
WORDS = {
    "good": "better on",
    "bad": "worse on",
    "even": "not clearly different on",
    "none": "without a number on",
}


@dataclass(frozen=True)
class KeyNumber:
    """One metric over all images, as text, beside its baselines.

    Attributes:
        outcome: ``good``, ``bad`` or ``even`` against the better baseline; ``none`` when a number is missing.
        rival: The better baseline's name.
    """

    name: str
    sense: Sense
    mean: str
    low: str
    high: str
    baselines: Mapping[str, str]
    outcome: str
    rival: str
    difference: str

    @property
    def against(self) -> str:
        """The better baseline's mean."""
        return self.baselines.get(self.rival, NONE)


@dataclass(frozen=True)
class PoseTable:
    """One metric by pose: a line is (pose, images, output, one text a baseline, whether output is the best)."""

    name: str
    sense: Sense
    lines: list[tuple[str, int, str, list[str], bool]]
    curves: Mapping[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class StageCell:
    """One metric at a stage's end, as text, and the change since the stage it started from (empty without one)."""

    mean: str
    change: str
    low: str
    high: str
    outcome: str


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


def key_numbers(summary: Mapping[str, Any]) -> list[KeyNumber]:
    """Every metric of ``summary.json``."""
    return [_key_number(str(name), item) for name, item in _map(summary, "metrics").items()]


def baseline_names(summary: Mapping[str, Any]) -> list[str]:
    """The baselines any metric was compared with, in order."""
    found = [str(name) for item in _map(summary, "metrics").values() for name in _map(item, "baselines")]
    return list(dict.fromkeys(found))


def verdict(numbers: Iterable[KeyNumber]) -> list[tuple[str, str, list[KeyNumber]]]:
    """The metrics in groups of one outcome: (outcome, words, metrics)."""
    groups = {outcome: [item for item in numbers if item.outcome == outcome] for outcome in WORDS}
    return [(outcome, WORDS[outcome], items) for outcome, items in groups.items() if items]


def pose_tables(summary: Mapping[str, Any]) -> list[PoseTable]:
    """One table a metric; empty when images have no pose."""
    poses = sorted(_map(_map(summary, "by"), "pose").items(), key=lambda item: _pose_order(str(item[0])))
    metrics = _map(summary, "metrics")
    return [_pose_table(str(name), item, poses, baseline_names(summary)) for name, item in metrics.items() if poses]


def spread(images: pd.DataFrame, metrics: Mapping[str, Sense]) -> list[dict[str, str]]:
    """How a metric spreads over the images: quantiles from worse to better, and the worst image.

    Args:
        images: ``evaluation/images.csv``.
        metrics: Name -> which values are better.
    """
    found = []
    for name, sense in metrics.items():
        if name not in images or "key" not in images:
            continue
        values = pd.to_numeric(images[name], errors="coerce").dropna()
        if values.empty:
            continue
        worst = int(values.map(sense.score).argmin())
        numbers = [float(values.iloc[worst]), *_quantiles(values, sense)]
        texts = [shown(value, decimals(numbers)) for value in numbers]
        keys = dict(zip(("worst", "bad", "median", "good"), texts, strict=True))
        found.append({"name": name, "key": str(images["key"].loc[values.index].iloc[worst]), **keys})
    return found


def _quantiles(values: pd.Series[float], sense: Sense) -> list[float]:
    """The values that 5, 50 and 95 % of all are worse than."""
    shares = [0.05, 0.5, 0.95]
    if sense.ideal is None:
        found: list[float] = values.quantile(shares if sense.higher else shares[::-1]).tolist()
        return found
    # Values on both sides of the ideal can be equally good, so these are values that occur, not means of two.
    ordered = values.iloc[values.map(sense.score).argsort(kind="stable")]
    return [float(ordered.iloc[round(share * (len(ordered) - 1))]) for share in shares]


def stage_table(stages: Mapping[str, Any], metrics: Mapping[str, Sense]) -> list[tuple[str, int, str, list[StageCell]]]:
    """What every stage ended with: (stage, step, the stage it started from, a cell a metric).

    Args:
        stages: ``evaluation/stages.json``.
        metrics: Name -> which values are better.
    """
    places = {
        name: decimals(number(_map(_map(stage, "metrics"), name).get("mean")) for stage in stages.values())
        for name in metrics
    }
    return [
        (
            str(stage),
            _whole(item.get("step")),
            str(item.get("after") or ""),
            [_stage_cell(_map(_map(item, "metrics"), name), sense, places[name]) for name, sense in metrics.items()],
        )
        for stage, item in stages.items()
        if isinstance(item, Mapping)
    ]


def _whole(value: Any) -> int:
    found = number(value)
    return int(found) if math.isfinite(found) else 0


def _stage_cell(item: Mapping[str, Any], sense: Sense, places: int) -> StageCell:
    change = _map(item, "change")
    mean, low, high = (number(change.get(key)) for key in ("mean", "low", "high"))
    if math.isnan(mean):
        return StageCell(shown(number(item.get("mean")), places), "", "", "", "none")
    sign = "" if mean < 0 else "+"
    before = 0.0 if sense.ideal is None else number(item.get("mean")) - mean
    outcome = _outcome(before + low, before + high, before, sense)
    texts = [shown(value, places) for value in (number(item.get("mean")), mean, low, high)]
    return StageCell(texts[0], sign + texts[1], texts[2], texts[3], outcome)


def _key_number(name: str, item: Mapping[str, Any]) -> KeyNumber:
    sense = _sense(item)
    mean, low, high = (number(item.get(key)) for key in ("mean", "low", "high"))
    baselines = {str(key): number(value) for key, value in _map(item, "baselines").items()}
    places = decimals([mean, low, high, *baselines.values()])
    rival = _best(baselines, sense)
    against = baselines.get(rival, math.nan)
    difference = shown(mean - against, places)
    return KeyNumber(
        name=name,
        sense=sense,
        mean=shown(mean, places),
        low=shown(low, places),
        high=shown(high, places),
        baselines={key: shown(value, places) for key, value in baselines.items()},
        outcome=_outcome(low, high, against, sense),
        rival=rival,
        difference=difference if difference.startswith((MINUS, NONE)) else f"+{difference}",
    )


def _sense(item: Mapping[str, Any]) -> Sense:
    ideal = number(item.get("ideal"))
    return Sense(bool(item.get("higher_is_better", True)), None if math.isnan(ideal) else ideal)


def _best(baselines: Mapping[str, float], sense: Sense) -> str:
    known = {name: value for name, value in baselines.items() if not math.isnan(value)}
    return max(known, key=lambda name: sense.score(known[name])) if known else ""


def _outcome(low: float, high: float, against: float, sense: Sense) -> str:
    if any(map(math.isnan, (low, high, against))):
        return "none"
    if low <= against <= high:
        return "even"
    # On both sides of the ideal lie values as good as the other's: all of the interval must be better, or worse.
    scores, bar = [sense.score(low), sense.score(high)], sense.score(against)
    best = 0.0 if sense.ideal is not None and low <= sense.ideal <= high else max(scores)
    if min(scores) > bar:
        return "good"
    return "bad" if best < bar else "even"


def _pose_table(name: str, item: Mapping[str, Any], poses: list[tuple[Any, Any]], names: list[str]) -> PoseTable:
    sense = _sense(item)
    read = []
    for pose, here in poses:
        found = _map(_map(here, "metrics"), name)
        others = [number(_map(found, "baselines").get(other)) for other in names]
        read.append((str(pose), int(here.get("images", 0)), number(found.get("mean")), others))
    places = decimals(value for _, _, mean, others in read for value in (mean, *others))
    lines = [
        (
            pose,
            count,
            shown(mean, places),
            [shown(value, places) for value in others],
            _beats(mean, others, sense),
        )
        for pose, count, mean, others in read
    ]
    curves: dict[str, list[tuple[float, float]]] = {"output": [], **{other: [] for other in names}}
    for pose, _, mean, others in read:
        for curve, value in zip(curves.values(), (mean, *others), strict=True):
            curve.append((_as_number(pose), value))
    drawable = all(math.isfinite(place) for place, _ in curves["output"]) and len(read) > 1
    return PoseTable(name, sense, lines, curves if drawable else {})


def _beats(mean: float, others: list[float], sense: Sense) -> bool:
    return not math.isnan(mean) and all(sense.score(mean) > sense.score(value) for value in others)


def _pose_order(pose: str) -> tuple[float, str]:
    value = _as_number(pose)
    return (value if math.isfinite(value) else math.inf, pose)


def _as_number(text: str) -> float:
    try:
        return number(float(text))
    except ValueError:
        return math.nan


def _map(owner: Any, key: str) -> Mapping[str, Any]:
    found = owner.get(key) if isinstance(owner, Mapping) else None
    return found if isinstance(found, Mapping) else {}
