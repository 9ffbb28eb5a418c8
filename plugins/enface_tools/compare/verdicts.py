"""A comparison in sentences: verdicts and caveats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import ALPHA, QuantityResult
from enface_tools.compare.pairing import Pairing
from enface_tools.evaluate.precision import places, plain, signed
from enface_tools.evaluate.statistics import MIN_PEOPLE

SEVERAL = "these trainings"
MAX_KEYS = 5


def sentence(result: QuantityResult, about: str = "") -> str:
    """Return the verdict on one quantity, as ``better on lpips by 0.021 [0.017, 0.025]``.

    Args:
        about: Subject of the verdict, if it is not the recipe: ``this training``.
    """
    name, outcome, gain = result.quantity.name, result.outcome, result.gain
    subject = f"{about} {'are' if about == SEVERAL else 'is'} " if about else ""
    ideal = result.quantity.direction.ideal
    if outcome == "none":
        return f"no number to compare on {name}"
    if math.isnan(result.difference.low):
        mean = signed(result.difference.mean, places(result.difference.mean))
        few = f"{result.identities} people are fewer than {MIN_PEOPLE}"
        return f"no interval on {name} ({mean}): {few if result.identities < MIN_PEOPLE else 'one run has numbers'}"
    if outcome in ("unclear", "equivalent"):
        interval = result.difference
        ends = [interval.mean, interval.low, interval.high]
        decimals = places(*ends)
        mean, low, high = (signed(value, decimals) for value in ends)
        distance = f" in distance to {ideal:g}" if ideal is not None else ""
        if outcome == "equivalent":
            return f"{subject}equivalent{distance} on {name} within {result.margin:g} ({mean} [{low}, {high}])"
        reason = _reason(result)
        if not reason and result.detectable > 0:
            reason = f"; would detect {plain(result.detectable, decimals)}"
        return f"no clear difference{distance} on {name} ({mean} [{low}, {high}]{reason})"
    interval = gain if outcome == "better" else -gain
    ends = [interval.mean, interval.low, interval.high]
    mean, low, high = (plain(value, places(*ends)) for value in ends)
    nearer = "" if ideal is None else f", {'nearer to' if outcome == 'better' else 'farther from'} {ideal:g}"
    small = f", within the margin of {result.margin:g}" if result.is_equivalent else ""
    return f"{subject}{outcome} on {name}{nearer} by {mean} [{low}, {high}]{small}"


def _reason(result: QuantityResult) -> str:
    """The reason why a difference is unclear though its interval excludes 0."""
    if not result.difference.excludes_zero:
        return ""
    if not result.p_adjusted < ALPHA:
        return f", but adjusted p {result.p_adjusted:.2g}"
    return ", but most people's differences have the other sign"


def subject_of(control: Group, group: Group, pairing: Pairing) -> str:
    """Return the subject of verdicts that do not hold for a recipe: some trainings, or images of another system."""
    if group.kind == "pairs" or control.kind == "pairs":
        return "this set of images"
    if pairing.has_seeds:
        return ""
    return "this training" if len(pairing.group_runs) == 1 else SEVERAL


def seed_deviations(result: QuantityResult) -> str:
    """Return the spread of both sides' runs as text; empty with a single run on each side."""
    texts = ["one run" if math.isnan(sd) else f"{sd:.2g}" for sd in result.seed_sd]
    return "" if texts == ["one run", "one run"] else f"sd over seeds: {texts[0]} (control), {texts[1]}"


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
    if pairing.partial:
        sentences.append(f"Images that some runs lack are not compared: {pairing.partial}.")
    splits = {str(member.results.summary.split) for side in (control, group) for member in side.members}
    if len(splits) > 1:
        sentences.append(f"The evaluations use different splits: {', '.join(sorted(splits))}.")
    return sentences


def _about_seeds(control: Group, group: Group, pairing: Pairing) -> list[str]:
    if "pairs" in (control.kind, group.kind):
        return []
    if not pairing.has_seeds:
        return [
            "One seed on a side: the intervals are for other people, not for another training. A verdict is about "
            "this training; train both recipes with at least 3 seeds to say it of the recipe."
        ]
    sentences = {
        "crossed": [],
        "paired": ["Each run is compared with the run that started from the same weights."],
        "replicated": ["Each seed has its own people, so the intervals are those of the differences over seeds."],
    }[pairing.design]
    used = len(pairing.control_runs) + len(pairing.group_runs)
    unused = len(control.members) + len(group.members) - used
    if unused:
        sentences.append(f"Runs whose seed the other group lacks are not compared: {unused}.")
    if frozenset.intersection(*(member.origins for side in (control, group) for member in side.members)):
        sentences.append("All runs start from the same weights: the intervals do not cover other starts.")
    return sentences


def _few_people(results: Sequence[QuantityResult]) -> list[str]:
    people = min((result.identities for result in results if not math.isnan(result.difference.mean)), default=0)
    if not people or people >= MIN_PEOPLE:
        return []
    return [f"Fewer than {MIN_PEOPLE} people have no interval and no test; evaluate on more people."]


def _missing(results: Sequence[QuantityResult]) -> list[str]:
    return [
        f"{result.missing} of {result.missing + result.images} shared images have no finite {result.quantity.name}."
        for result in results
        # Not every image has every region.
        if result.missing and not result.quantity.region
    ]
