"""A comparison in sentences: verdicts and caveats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import ALPHA, QuantityResult
from enface_tools.compare.pairing import Pairing
from enface_tools.evaluate.statistics import least_p

MAX_KEYS = 5
MAX_DECIMALS = 8


def sentence(result: QuantityResult) -> str:
    """Return the verdict on one quantity, as ``better on lpips by 0.021 [0.017, 0.025]``."""
    name, outcome, gain = result.quantity.name, result.outcome, result.gain
    ideal = result.quantity.direction.ideal
    if outcome == "none":
        return f"no number to compare on {name}"
    if outcome == "unclear":
        interval = result.difference
        ends = [interval.mean, interval.low, interval.high]
        mean, low, high = (signed(value, places(ends)) for value in ends)
        distance = f" in distance to {ideal:g}" if ideal is not None else ""
        text = f"no clear difference{distance} on {name} ({mean} [{low}, {high}]{_reason(result)})"
    else:
        interval = gain if outcome == "better" else -gain
        ends = [interval.mean, interval.low, interval.high]
        mean, low, high = (plain(value, places(ends)) for value in ends)
        nearer = "" if ideal is None else f", {'nearer to' if outcome == 'better' else 'farther from'} {ideal:g}"
        text = f"{outcome} on {name}{nearer} by {mean} [{low}, {high}]"
    return text + _seeds(result)


def _reason(result: QuantityResult) -> str:
    """The reason why a difference is unclear though its interval excludes 0."""
    if not result.difference.excludes_zero:
        return ""
    if not result.p_adjusted < ALPHA:
        return f", but adjusted p {result.p_adjusted:.2g}"
    return ", but most people's differences have the other sign"


def _seeds(result: QuantityResult) -> str:
    """The number of seeds whose difference has the sign of the mean; empty for a single seed."""
    same_sign = [value * result.difference.mean > 0 for value in result.by_seed.values() if not math.isnan(value)]
    if len(same_sign) < 2 or result.outcome in ("unclear", "none"):
        return ""
    every = "both" if len(same_sign) == 2 else f"all {len(same_sign)}"
    return f", in {every} seeds" if all(same_sign) else f", but in only {sum(same_sign)} of {len(same_sign)} seeds"


def places(ends: Sequence[float]) -> int:
    """Return the decimals for a mean and its interval's ends: one or two digits of half the interval's width.

    More if a number would be shown as 0 though the interval excludes 0.
    """
    mean, low, high = ends
    half = (high - low) / 2 if high > low else abs(mean)
    # Two digits of a half up to 0.3, 3, 30, ...: one would round it by up to a half.
    decimals = min(max(math.ceil(round(-math.log10(half / 3), 9)), 0), MAX_DECIMALS) if half > 0 else 3
    while decimals < MAX_DECIMALS and (low > 0 or high < 0) and not all(float(f"{end:.{decimals}f}") for end in ends):
        decimals += 1
    return decimals


def plain(value: float, decimals: int) -> str:
    """Return a number as text."""
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """Return a number as text with its sign."""
    return "-" if math.isnan(value) else f"{value:+.{decimals}f}" if value else f"{value:.{decimals}f}"


def caveats(control: Group, group: Group, pairing: Pairing, results: Sequence[QuantityResult]) -> list[str]:
    """Return sentences to read before the verdicts on two groups."""
    return [
        *_unshared_images(control, group, pairing),
        *_about_seeds(control, group, pairing),
        *_few_people(results),
        *_missing(results),
    ]


def many_changes(group: Group, keys: Sequence[str]) -> list[str]:
    """Return a caveat if a difference has several possible causes: ``keys`` that affect training."""
    if len(keys) < 2:
        return []
    names = ", ".join(keys[:MAX_KEYS]) + (", ..." if len(keys) > MAX_KEYS else "")
    return [f"{group.name} differs from the control in {len(keys)} keys ({names}); a difference is due to all of them."]


def _unshared_images(control: Group, group: Group, pairing: Pairing) -> list[str]:
    sentences = []
    for side, name in (("control", control.name), ("group", group.name)):
        count = pairing.only[side]
        if count:
            examples = ", ".join(map(repr, pairing.examples[side][:3])) + (", ..." if count > 3 else "")
            sentences.append(f"Only {name} has {count} of the images ({examples}); they are not compared.")
    splits = {str(member.results.summary.split) for side in (control, group) for member in side.members}
    if len(splits) > 1:
        sentences.append(f"The evaluations use different splits: {', '.join(sorted(splits))}.")
    return sentences


def _about_seeds(control: Group, group: Group, pairing: Pairing) -> list[str]:
    if not control.by_seed or not group.by_seed:
        return []
    if not pairing.matched:
        seeds = "; ".join(", ".join(map(str, side.by_seed)) for side in (control, group))
        return [f"No seed is in both groups ({seeds}), so the difference may be partly due to the seeds."]
    sides = [(side.name, seed) for side in (control, group) for seed in side.by_seed]
    unmatched = ", ".join(f"{name} {seed}" for name, seed in sides if seed not in pairing.matched)
    sentences = [f"Runs whose seed the other group lacks are not compared: {unmatched}."] if unmatched else []
    if len(pairing.matched) == 1:
        sentences.append("Each group has one seed: the variation between trainings is unknown.")
    return sentences


def _few_people(results: Sequence[QuantityResult]) -> list[str]:
    tested = [result for result in results if not math.isnan(result.p)]
    people = max((result.identities for result in tested), default=0)
    if not tested or least_p(people) * len(tested) < ALPHA:
        return []
    limit = f"With {people} identities the signed-rank test cannot give a p below {least_p(people):.2g}"
    if least_p(people) >= ALPHA:
        return [f"{limit}, so no difference can be called clear; evaluate on at least 6."]
    return [
        f"{limit}, which times {len(tested)} tests is not below 0.05; compare fewer metrics (--metrics) or evaluate "
        "on more people."
    ]


def _missing(results: Sequence[QuantityResult]) -> list[str]:
    return [
        f"{result.missing} of {result.missing + result.images} shared images have no finite {result.quantity.name}."
        for result in results
        # Not every image has every region.
        if result.missing and not result.quantity.region
    ]
