"""The claim that a recipe registered before training, tested by a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from enface.recipe.models import Recipe
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.outcomes import ALPHA, difference_estimate
from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.report.claims import RegisteredClaim, claim_digest, read_claim


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
    claims = [_registered(member) for member in group.members]
    known = [claim for claim in claims if claim is not None]
    if not known:
        return None
    first, registered = known[0], min(claim.registered for claim in known)
    reason = _mismatch(first, claims, control, pairing, quantities)
    if reason:
        return ClaimResult(first.text, registered, "untested", reason, math.nan)
    quantity = next(item for item in quantities if item.name == first.claim.better)
    estimate = difference_estimate(pairing, quantity)
    by = first.claim.by
    p = estimate.p_above(by) if quantity.sign > 0 else estimate.p_below(-by)
    if math.isnan(p):
        return ClaimResult(first.text, registered, "untested", f"{quantity.name} has no interval", math.nan)
    return ClaimResult(first.text, registered, "confirmed" if p < ALPHA else "not confirmed", "", p)


def _registered(member: Member) -> RegisteredClaim | None:
    claim = read_claim(member.directory) if member.recipe is not None else None
    try:
        recipe = Recipe.model_validate(member.recipe)
    except ValidationError:
        return None
    # A claim or a recipe that changed after the registration has another digest.
    return claim if claim is not None and recipe.claim and claim_digest(recipe) == claim.digest else None


def _mismatch(
    first: RegisteredClaim,
    claims: Sequence[RegisteredClaim | None],
    control: Group,
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
    if claim.better not in [item.name for item in quantities]:
        return f"{claim.better} is not compared"
    fewest = min(len(pairing.control_runs), len(pairing.group_runs))
    return f"one side has {fewest} of {claim.seeds} seeds" if fewest < claim.seeds else ""
