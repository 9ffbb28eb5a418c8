"""Rules for losses: the map they give, what it teaches, and what they claim of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import CriticLoss, Loss
from enface_tools.conformance.fixture import BATCH, SIZE, Subject
from enface_tools.conformance.game_losses import GAME_RULES
from enface_tools.conformance.loss_invariance import INVARIANCE_RULES
from enface_tools.conformance.loss_sides import (
    Gradients,
    Inputs,
    Side,
    agreeing,
    apart,
    claimed,
    learnt,
    pairs,
    seen,
    sides,
)
from enface_tools.conformance.loss_state import STATE_RULES
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import guessed, is_image, over

ZERO = 1e-6
"""Of numbers of about 1, what float32's rounding leaves of a 0."""
SURE = 50.0
"""Logits of a critic that has won, where a naive log(sigmoid(x)) is infinite in float32."""
SLIGHT, LARGE = 0.1, 0.5
"""How far output is moved from target: a little, and beyond recognition."""


@rule("shape and dtype")
def _shape(subject: Subject) -> None:
    """It gives a float32 map (N, C, H, W), or (N,)."""
    for side, found in seen(subject):
        if found.dtype != torch.float32:
            raise BrokenRule(f"{side.name} gives {found.dtype} for float32 inputs; keep to float32")
        if found.dim() not in (1, 4) or found.shape[0] != BATCH:
            raise BrokenRule(
                f"{side.name} gives {tuple(found.shape)} for {BATCH} images; return a map (N, C, H, W) or a number for"
                " each image (N,), and leave the mean to the term"
            )


@rule("unit")
def _unit(subject: Subject) -> None:
    """Its map has the shape that its unit says."""
    loss = claimed(subject)
    if not loss.unit:
        raise NotAsked("it declares no unit; the map's shape tells it")
    for side, found in seen(subject):
        shape = tuple(found.shape)
        if not _fits(loss, shape, side.inputs()):
            raise BrokenRule(f"unit = {loss.unit!r}, but {side.name} gives {shape}; {_MEANS.get(loss.unit, 'unknown')}")


_MEANS = {
    "per pixel": f"that would be (N, C, H, W) with the image's H and W ({SIZE})",
    "per image": "that would be (N,)",
    "per feature": "that would be (N, C, h, w) with h and w of the features, not of the image",
    "per patch": "that would be (N, C, h, w) with h and w smaller than the image's",
    "per logit": "that would be the logits' own shape",
    "per batch": "that is for losses with per_image = False",
}


def _fits(loss: Loss, shape: tuple[int, ...], inputs: Inputs) -> bool:
    logits = [tuple(value.shape) for name, value in inputs.items() if name.endswith("logits")]
    is_map = len(shape) == 4
    return {
        "per pixel": is_map and shape[2:] == (SIZE, SIZE),
        "per image": len(shape) == 1,
        "per feature": is_map and shape[2:] != (SIZE, SIZE),
        "per patch": is_map and max(shape[2:]) < SIZE,
        "per logit": shape in logits,
        "per batch": not loss.per_image,
    }.get(loss.unit, False)


@rule("finite value")
def _finite(subject: Subject) -> None:
    """Its numbers are finite: for ordinary images, black and white ones, and a critic that is sure."""
    for what, maps in (("sample inputs", seen(subject)), ("extreme inputs", seen(subject, _extreme))):
        for side, found in maps:
            if not bool(found.isfinite().all()):
                hint = "a formula from torch.nn.functional (logsigmoid, softplus) may be stable where this is not"
                raise BrokenRule(f"{side.name} gives numbers that are not finite for {what}; {hint}")


def _extreme(inputs: Inputs) -> Inputs:
    def change(name: str, value: Any) -> Any:
        size = 1.0 if is_image(name) else SURE
        return over(value, lambda item: item.sign() * size)

    extreme = {name: value for name, value in inputs.items() if is_image(name) or name.endswith("logits")}
    return {**inputs, **{name: change(name, value) for name, value in extreme.items()}}


@rule("gradient")
def _gradient(subject: Subject) -> None:
    """It teaches the network it is for: a finite gradient that is not zero."""
    for side, _, found in learnt(subject):
        learners = [name for name in side.asks if side.learns(name)]
        reached = {name: found[name] for name in learners}
        _require_finite(side, reached)
        useful = {name for name, items in reached.items() if any(bool(item.any()) for item in items)}
        if "output" in learners and side.name == "forward":
            learners = ["output"]
        if not useful & set(learners):
            if unsure := guessed(side.asks):
                raise NotAsked(f"nothing here knows what {', '.join(unsure)} is, or whether it learns")
            wanted = " or ".join(learners) or "anything that a network makes"
            raise BrokenRule(
                f"{side.name} gives no gradient to {wanted}; look for detach, no_grad, rounding or a threshold"
            )


@rule("gradient at equality")
def _equality(subject: Subject) -> None:
    """Its gradient is finite where output equals target, and the critic's two sides agree."""
    for side, _, reached in learnt(subject, agreeing):
        _require_finite(side, reached, " where output equals target")


@rule("gradient at zero")
def _zero(subject: Subject) -> None:
    """Its gradient is finite for constant images, and where all is zero."""
    for where, change in ((" for constant images", _flat), (" where all inputs are 0", _nothing)):
        for side, _, reached in learnt(subject, change):
            _require_finite(side, reached, where)


def _nothing(inputs: Inputs) -> Inputs:
    return {name: over(value, lambda item: item * 0) for name, value in inputs.items()}


def _flat(inputs: Inputs) -> Inputs:
    """Each image, or map of features, its own mean everywhere."""

    def change(item: Tensor) -> Tensor:
        return item.mean((1, 2, 3), keepdim=True).expand_as(item).clone() if item.dim() == 4 else item

    return {name: over(value, change) for name, value in inputs.items()}


def _require_finite(side: Side, reached: Gradients, where: str = "") -> None:
    for name, items in reached.items():
        if not all(bool(item.isfinite().all()) for item in items):
            raise BrokenRule(
                f"{side.name}'s gradient to {name} is not finite{where}; a root, a norm or a division by 0 has none:"
                " add a small constant under it"
            )


@rule("distance")
def _distance(subject: Subject) -> None:
    """A distance is 0 where output equals target, and above 0 elsewhere."""
    if not claimed(subject).distance:
        raise NotAsked("it claims to be no distance (distance = False)")
    for side, found in seen(subject, _together):
        if not pairs(side.asks):
            raise NotAsked(f"{side.name} asks for no two things, as output and target, to be apart")
        if float(found.abs().max()) > ZERO:
            most = float(found.abs().max())
            raise BrokenRule(f"it is {most:.3g} where both are equal, not 0; mend it, or set distance = False")
    for change in (_near, _far):
        for _, found in seen(subject, change):
            least, mean = float(found.min()), float(found.mean())
            if least < -ZERO or mean <= ZERO:
                raise BrokenRule(
                    f"where both differ its least number is {least:.3g} and its mean {mean:.3g}; mend it, or set"
                    " distance = False"
                )


def _together(inputs: Inputs) -> Inputs:
    return apart(inputs, 0)


def _near(inputs: Inputs) -> Inputs:
    return apart(inputs, SLIGHT)


def _far(inputs: Inputs) -> Inputs:
    return apart(inputs, LARGE)


@rule("least at the target")
def _least(subject: Subject) -> None:
    """The nearer output is to target, the less it is."""
    if isinstance(claimed(subject), CriticLoss) or ("output", "target") not in pairs(sides(claimed(subject))[0].asks):
        raise NotAsked("it does not compare output with target")
    means = [float(found.mean()) for change in (_together, _near, _far) for _, found in seen(subject, change)]
    if means != sorted(set(means)):
        told = ", ".join(f"{mean:.4g}" for mean in means)
        raise BrokenRule(
            f"its mean is {told} for an output that is the target, a little and far from it, which should rise; a loss"
            " that draws output to something else should not call that 'target'"
        )


@rule("non-negative")
def _non_negative(subject: Subject) -> None:
    """A loss that claims never to be below 0, or to be a distance, is not."""
    loss = claimed(subject)
    if not (loss.non_negative or loss.distance):
        raise NotAsked("it does not claim to be (non_negative = False)")
    for change in (dict, _together, _near, _far, _extreme):
        for side, found in seen(subject, change):
            if float(found.min()) < -ZERO:
                raise BrokenRule(f"{side.name} gives {float(found.min()):.3g}; mend it, or set non_negative = False")


LOSS_RULES = (
    *(_shape, _unit, _finite, _gradient, _equality, _zero, _distance, _least, _non_negative),
    *INVARIANCE_RULES,
    *STATE_RULES,
    *GAME_RULES,
)
