"""The claim that a recipe registered before training, tested by a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from enface_tools.compare.groups import Group
from enface_tools.compare.outcomes import ALPHA, difference_estimate
from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.report.claims import RegisteredClaim, read_claim


@dataclass(frozen=True)
class ClaimResult:
    """The test of a registered claim. It is confirmatory, and no part of the family that other tests are adjusted for.

    Attributes:
        text: The claim.
        registered: Earliest time at which a run registered it.
        outcome: ``untested`` if the comparison is not the one that was claimed.
        reason: Why it is untested; else empty.
        p: One-sided test against a gain of at most the claimed one; NaN if untested.
    """

    text: str
    registered: str
    outcome: Literal["confirmed", "not confirmed", "untested"]
    reason: str
    p: float


def check_claim(control: Group, group: Group, pairing: Pairing, quantities: Sequence[Quantity]) -> ClaimResult | None:
    """Test the claim of a group's recipe; None if it makes none."""
    # A claim or a recipe that changed after the registration is no registered claim.
    claims = [read_claim(member.directory) if member.recipe is not None else None for member in group.members]
    known = [claim for claim in claims if claim is not None]
    if not known:
        return None
    first, registered = known[0], min(claim.date for claim in known)
    reason = _mismatch(first, claims, control, group, pairing, quantities)
    if reason:
        return ClaimResult(first.text, registered, "untested", reason, math.nan)
    quantity = next(item for item in quantities if item.name == first.claim.better)
    estimate = difference_estimate(pairing, quantity)
    by = first.claim.by
    p = estimate.p_above(by) if quantity.sign > 0 else estimate.p_below(-by)
    if math.isnan(p):
        return ClaimResult(first.text, registered, "untested", f"{quantity.name} has no interval", math.nan)
    return ClaimResult(first.text, registered, "confirmed" if p < ALPHA else "not confirmed", "", p)


def _mismatch(
    first: RegisteredClaim,
    claims: Sequence[RegisteredClaim | None],
    control: Group,
    group: Group,
    pairing: Pairing,
    quantities: Sequence[Quantity],
) -> str:
    """The reason why a comparison does not test a claim; empty if it does."""
    claim = first.claim
    if any(item is None or item.claim != claim for item in claims):
        return "not all runs registered this claim before their training"
    name = (control.members[0].recipe or {}).get("name")
    if name != claim.than:
        return f"the control is {name or control.name}"
    for member in (*control.members, *group.members):
        if member.checkpoint:
            return f"{member.checkpoint} is compared, not the end of the training"
    if claim.better not in [item.name for item in quantities]:
        return f"{claim.better} is not compared"
    fewest = min(len(pairing.control_runs), len(pairing.group_runs))
    return f"one side has {fewest} of {claim.seeds} seeds" if fewest < claim.seeds else ""
