"""How two results compare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from enface_tools.conformance.rules import BrokenRule
from enface_tools.conformance.samples import tensors


def taught(value: Any) -> Tensor:
    """One number with a gradient into everything that a result was made from."""
    return torch.stack([item.float().square().mean() + item.float().mean() for item in tensors(value)]).sum()


def apart(found: Any, wanted: Any) -> float:
    """How far two results are apart: their largest root mean square difference, as a share of the second's own.

    Infinite where they differ in shape, or one is not finite.
    """
    pairs = zip(_flat(found), _flat(wanted), strict=True)
    return max(_apart(one, other) for one, other in pairs)


def _flat(value: Any) -> list[Tensor]:
    found = tensors(tuple(value) if isinstance(value, list) else value)
    assert found, "there is something to compare"
    return found


def _apart(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape or not bool(found.isfinite().all()):
        return math.inf
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    size, difference = float(wanted.square().mean().sqrt()), float((found - wanted).square().mean().sqrt())
    return 0.0 if difference == 0 else difference / size if size else math.inf


def agree(found: Any, wanted: Any, what: str, share: float = 1e-4) -> None:
    """Raise BrokenRule where two results are further apart than a share.

    Args:
        what: The message: what was compared and what to do.
    """
    distance = apart(found, wanted)
    if math.isinf(distance):
        raise BrokenRule(f"{what} (not finite, of another shape, or where there should be 0)")
    if not distance <= share:
        raise BrokenRule(f"{what} (they are {distance:.2g} of their size apart, {share:g} is allowed)")


def refuse_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Raise BrokenRule where an input is no longer what it was."""
    changed = [name for name, value in after.items() if not torch.equal(before[name], value)]
    if changed:
        raise BrokenRule(f"it changes {', '.join(changed)} in place; work on a copy (out of place, or .clone())")
