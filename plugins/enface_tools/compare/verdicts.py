"""What a comparison says in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import ALPHA, Outcome
from enface_tools.compare.pairing import Pairing
from enface_tools.evaluate.statistics import least_p

FEW_KEYS = 5
MOST_PLACES = 8


def sentence(outcome: Outcome) -> str:
    """The verdict on one quantity, as ``better on lpips by 0.021 [0.017, 0.025]``."""
    name, verdict, gain = outcome.quantity.name, outcome.verdict, outcome.gain
    ideal = outcome.quantity.direction.ideal
    if verdict == "none":
        return f"no number to compare on {name}"
    if verdict == "unclear":
        change = outcome.difference
        ends = [change.mean, change.low, change.high]
        mean, low, high = (signed(value, places(ends)) for value in ends)
        what = f" in distance to {ideal:g}" if ideal is not None else ""
        text = f"no clear difference{what} on {name} ({mean} [{low}, {high}]{_why(outcome)})"
    else:
        change = gain if verdict == "better" else -gain
        ends = [change.mean, change.low, change.high]
        mean, low, high = (plain(value, places(ends)) for value in ends)
        nearer = "" if ideal is None else f", {'nearer to' if verdict == 'better' else 'farther from'} {ideal:g}"
        text = f"{verdict} on {name}{nearer} by {mean} [{low}, {high}]"
    return text + _seeds(outcome)


def _why(outcome: Outcome) -> str:
    """What keeps a difference from being clear whose interval leaves out 0."""
    if not outcome.difference.one_sided:
        return ""
    if not outcome.p_adjusted < ALPHA:
        return f", but adjusted p {outcome.p_adjusted:.2g}"
    return ", but most people's differences point the other way"


def _seeds(outcome: Outcome) -> str:
    """How many of several seeds point the way of the mean."""
    signs = [value * outcome.difference.mean > 0 for value in outcome.by_seed.values() if not math.isnan(value)]
    if len(signs) < 2 or outcome.verdict in ("unclear", "none"):
        return ""
    every = "both" if len(signs) == 2 else f"all {len(signs)}"
    return f", in {every} seeds" if all(signs) else f", but in {sum(signs)} of {len(signs)} seeds only"


def places(ends: Sequence[float]) -> int:
    """How many decimals a mean and its interval's ends need: one or two digits of half the interval's width.

    More where a number would be shown as 0 though the interval leaves 0 out.
    """
    mean, low, high = ends
    half = (high - low) / 2 if high > low else abs(mean)
    # Two digits of a half up to 0.3, 3, 30, ...: one would round it by up to a half.
    found = min(max(math.ceil(round(-math.log10(half / 3), 9)), 0), MOST_PLACES) if half > 0 else 3
    while found < MOST_PLACES and (low > 0 or high < 0) and not all(float(f"{value:.{found}f}") for value in ends):
        found += 1
    return found


def plain(value: float, decimals: int) -> str:
    """A number as text."""
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """A number as text with its sign."""
    return "-" if math.isnan(value) else f"{value:+.{decimals}f}" if value else f"{value:.{decimals}f}"


def cautions(control: Group, group: Group, pairing: Pairing, outcomes: Sequence[Outcome]) -> list[str]:
    """What to know before reading the verdicts on two groups."""
    return [
        *_left_out(control, group, pairing),
        *_about_seeds(control, group, pairing),
        *_few_people(pairing, outcomes),
        *_missing(outcomes),
    ]


def many_changes(group: Group, keys: Sequence[str]) -> list[str]:
    """That a difference has several causes, when it has; ``keys`` are those training depends on."""
    if len(keys) < 2:
        return []
    named = ", ".join(keys[:FEW_KEYS]) + (", ..." if len(keys) > FEW_KEYS else "")
    return [f"{group.name} differs from the control in {len(keys)} keys ({named}); a difference is of all together."]


def _left_out(control: Group, group: Group, pairing: Pairing) -> list[str]:
    found = []
    for side, name in (("control", control.name), ("group", group.name)):
        count = pairing.only[side]
        if count:
            examples = ", ".join(map(repr, pairing.examples[side][:3])) + (", ..." if count > 3 else "")
            found.append(f"Only {name} has {count} of the images ({examples}); they are left out.")
    splits = {str(member.results.summary.get("split")) for side in (control, group) for member in side.members}
    return [*found, f"The evaluations are of unlike splits: {', '.join(sorted(splits))}."] if len(splits) > 1 else found


def _about_seeds(control: Group, group: Group, pairing: Pairing) -> list[str]:
    if not control.by_seed or not group.by_seed:
        return []
    if not pairing.matched:
        ours, theirs = (", ".join(map(str, side.by_seed)) for side in (control, group))
        return [f"No seed is in both ({ours}; {theirs}), so a part of the difference may be the seeds'."]
    unmatched = [f"{name} {seed}" for name, seed in _unmatched(control, group)]
    found = [f"Runs without a counterpart of their seed are left out: {', '.join(unmatched)}."] if unmatched else []
    if len(pairing.matched) == 1:
        found.append("There is one seed of each: what another training would give is not known.")
    return found


def _unmatched(control: Group, group: Group) -> list[tuple[str, int]]:
    ours, theirs = control.by_seed, group.by_seed
    return [(control.name, seed) for seed in ours if seed not in theirs] + [
        (group.name, seed) for seed in theirs if seed not in ours
    ]


def _few_people(pairing: Pairing, outcomes: Sequence[Outcome]) -> list[str]:
    tested = [outcome for outcome in outcomes if not math.isnan(outcome.p)]
    people = max((outcome.identities for outcome in tested), default=0)
    if not tested or least_p(people) * len(tested) < ALPHA:
        return []
    if least_p(people) >= ALPHA:
        return [
            f"With {people} identities the signed-rank test cannot give a p below {least_p(people):.2g}, so no "
            "difference can be called clear; evaluate on at least 6."
        ]
    return [
        f"With {people} identities the signed-rank test cannot give a p below {least_p(people):.2g}, which times "
        f"{len(tested)} tests is not below 0.05; ask for fewer metrics (--metrics) or evaluate on more people."
    ]


def _missing(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.missing} of {outcome.missing + outcome.images} common images have no finite {outcome.quantity.name}."
        for outcome in outcomes
        # Not every image has every region.
        if outcome.missing and not outcome.quantity.region
    ]
