"""Rules for losses: values, gradients and declared properties."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import CriticLoss, Loss
from enface_tools.conformance.fixture import BATCH, SIZE, Fixture
from enface_tools.conformance.loss_calls import (
    INVARIANCE_RULES,
    Gradients,
    Inputs,
    Side,
    loss_gradients,
    loss_maps,
    new_loss,
    new_sides,
    require_deterministic,
    shared_loss,
    sides_of,
)
from enface_tools.conformance.loss_state import STATE_RULES
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import (
    IMAGES,
    flat_tensors,
    is_field,
    is_image,
    map_tensors,
    sample_input,
    unknown_names,
)
from enface_tools.conformance.variants import Variant, finite, require_works, variant_rules

ZERO = 1e-6
"""The rounding error that float32 leaves of a 0 between numbers of about 1."""
SURE = 50.0
"""Logits of a critic that has won, where a naive log(sigmoid(x)) is infinite in float32."""
SLIGHT, LARGE = 0.1, 0.5
"""Distances of the output from the target: a little, and beyond recognition."""


@rule("shape and dtype")
def _shape(fixture: Fixture) -> None:
    """It gives a float32 map (N, C, H, W), or (N,)."""
    for side, values in loss_maps(fixture):
        if values.dtype != torch.float32:
            raise RuleViolation(f"{side.name} gives {values.dtype} for float32 inputs; keep to float32")
        if values.dim() not in (1, 4) or values.shape[0] != BATCH:
            raise RuleViolation(
                f"{side.name} gives {tuple(values.shape)} for {BATCH} images; return a map (N, C, H, W) or a number for"
                " each image (N,), and leave the mean to the term"
            )


@rule("unit")
def _unit(fixture: Fixture) -> None:
    """Its map has the shape that its unit requires."""
    loss = shared_loss(fixture)
    if not loss.unit:
        raise Skipped("it declares no unit; the map's shape determines it")
    for side, values in loss_maps(fixture):
        shape = tuple(values.shape)
        if not _has_unit_shape(loss, shape, side.inputs()):
            required = _UNIT_SHAPES.get(loss.unit, "this unit is unknown")
            raise RuleViolation(f"unit = {loss.unit!r}, but {side.name} gives {shape}; {required}")


_UNIT_SHAPES = {
    "per pixel": f"that would be (N, C, H, W) with the image's H and W ({SIZE})",
    "per image": "that would be (N,)",
    "per feature": "that would be (N, C, h, w) with h and w of the features, not of the image",
    "per patch": "that would be (N, C, h, w) with h and w smaller than the image's",
    "per logit": "that would be the logits' own shape",
    "per batch": "that is for losses with per_image = False",
}


def _has_unit_shape(loss: Loss, shape: tuple[int, ...], inputs: Inputs) -> bool:
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
def _finite(fixture: Fixture) -> None:
    """Its numbers are finite for ordinary images, for black and white ones, and for a critic that is certain."""
    for kind, maps in (("sample inputs", loss_maps(fixture)), ("extreme inputs", loss_maps(fixture, _extreme))):
        for side, values in maps:
            if not bool(values.isfinite().all()):
                hint = "a formula from torch.nn.functional (logsigmoid, softplus) may be stable where this is not"
                raise RuleViolation(f"{side.name} gives numbers that are not finite for {kind}; {hint}")


def _extreme(inputs: Inputs) -> Inputs:
    def change(name: str, value: Any) -> Any:
        size = 1.0 if is_image(name) else SURE
        return map_tensors(value, lambda item: item.sign() * size)

    extreme = {name: value for name, value in inputs.items() if is_image(name) or name.endswith("logits")}
    return {**inputs, **{name: change(name, value) for name, value in extreme.items()}}


@rule("gradient")
def _gradient(fixture: Fixture) -> None:
    """It trains the network it is for, with a finite, nonzero gradient."""
    for side, _, gradients in loss_gradients(fixture):
        trained = [name for name in side.requests if side.trains(name)]
        reached = {name: gradients[name] for name in trained}
        _require_finite(side, reached)
        useful = {name for name, items in reached.items() if any(bool(item.any()) for item in items)}
        if "output" in trained and side.name == "forward":
            trained = ["output"]
        if not useful & set(trained):
            if unknown := unknown_names(side.requests):
                raise Skipped(f"the meaning of {', '.join(unknown)} is unknown, so it may or may not need a gradient")
            expected = " or ".join(trained) or "any output of a network"
            raise RuleViolation(
                f"{side.name} gives no gradient to {expected}; look for detach, no_grad, rounding or a threshold"
            )


@rule("gradient at equality")
def _gradient_at_equality(fixture: Fixture) -> None:
    """Its gradient is finite where output equals target, and real and fake sides are equal."""
    for side, _, gradients in loss_gradients(fixture, _equalized):
        _require_finite(side, gradients, " where output equals target")


@rule("gradient at zero")
def _gradient_at_zero(fixture: Fixture) -> None:
    """Its gradient is finite for constant images and for inputs of 0."""
    for case, change in ((" for constant images", _constant), (" where all inputs are 0", _zeros)):
        for side, _, gradients in loss_gradients(fixture, change):
            _require_finite(side, gradients, case)


def _zeros(inputs: Inputs) -> Inputs:
    return {name: map_tensors(value, lambda item: item * 0) for name, value in inputs.items()}


def _constant(inputs: Inputs) -> Inputs:
    """Replace each image, or map of features, by its own mean."""

    def change(item: Tensor) -> Tensor:
        return item.mean((1, 2, 3), keepdim=True).expand_as(item).clone() if item.dim() == 4 else item

    return {name: map_tensors(value, change) for name, value in inputs.items()}


def _require_finite(side: Side, gradients: Gradients, case: str = "") -> None:
    for name, items in gradients.items():
        if not all(bool(item.isfinite().all()) for item in items):
            raise RuleViolation(
                f"{side.name}'s gradient to {name} is not finite{case}, as of a root, a norm or a division at 0;"
                " add a small constant under it"
            )


@rule("distance")
def _distance(fixture: Fixture) -> None:
    """A distance is 0 where output equals target, and positive elsewhere."""
    if not shared_loss(fixture).distance:
        raise Skipped("it is not declared a distance (distance = False)")
    for side, values in loss_maps(fixture, _at_target):
        if not _distance_pairs(side.requests):
            raise Skipped(f"{side.name} requests no two inputs with a distance, as output and target")
        if float(values.abs().max()) > ZERO:
            most = float(values.abs().max())
            raise RuleViolation(f"it is {most:.3g} where both are equal, not 0; fix it, or set distance = False")
    for change in (_near, _far):
        for _, values in loss_maps(fixture, change):
            least, mean = float(values.min()), float(values.mean())
            if least < -ZERO or mean <= ZERO:
                raise RuleViolation(
                    f"where both differ its minimum is {least:.3g} and its mean {mean:.3g}; fix it, or set"
                    " distance = False"
                )


def _at_target(inputs: Inputs) -> Inputs:
    return _at_distance(inputs, 0)


def _near(inputs: Inputs) -> Inputs:
    return _at_distance(inputs, SLIGHT)


def _far(inputs: Inputs) -> Inputs:
    return _at_distance(inputs, LARGE)


def _at_distance(inputs: Inputs, strength: float) -> Inputs:
    """Move apart the pairs between which a distance is measured; with strength 0 they are equal."""
    changed = dict(inputs)
    for moving, fixed in _distance_pairs(inputs):
        # Towards one fixed sample, so that a larger strength is a larger distance by any measure.
        offset = map_tensors(sample_input(moving, 1), lambda item: strength * item)
        changed[moving] = _sum(inputs[fixed], offset, clamp=moving in IMAGES)
    return changed


def _distance_pairs(requests: Iterable[str]) -> list[tuple[str, str]]:
    """(moving, fixed) names between which a distance is measured."""
    names = set(requests)
    fakes = [name for name in sorted(names) if name.startswith("fake_") and not name.endswith("logits")]
    likely = [("output", "target"), ("b", "a"), *((name, f"real_{name.removeprefix('fake_')}") for name in fakes)]
    return [pair for pair in likely if set(pair) <= names]


def _sum(one: Any, other: Any, *, clamp: bool) -> Any:
    if isinstance(one, tuple):
        return tuple(_sum(*items, clamp=clamp) for items in zip(one, other, strict=True))
    return (one + other).clamp(-1, 1) if clamp else one + other


def _equalized(inputs: Inputs) -> Inputs:
    """Make equal all inputs that can be: images, real and fake, codes of both branches."""
    changed = _at_distance(inputs, 0)
    for name, value in changed.items():
        if name in IMAGES:
            changed[name] = sample_input("target")
            continue
        twins = ["real_" + name.removeprefix("fake_"), name.removeprefix("partner_"), name.removeprefix("output_")]
        changed[name] = next((changed[twin] for twin in twins if twin != name and twin in changed), value)
    return changed


@rule("minimum at the target")
def _minimum(fixture: Fixture) -> None:
    """The nearer the output is to the target, the lower its mean."""
    loss = shared_loss(fixture)
    if isinstance(loss, CriticLoss) or ("output", "target") not in _distance_pairs(sides_of(loss)[0].requests):
        raise Skipped("it does not compare output with target")
    means = [float(values.mean()) for change in (_at_target, _near, _far) for _, values in loss_maps(fixture, change)]
    if means != sorted(set(means)):
        listed = ", ".join(f"{mean:.4g}" for mean in means)
        raise RuleViolation(
            f"its mean is {listed} for an output that equals the target, is near it and is far from it; it should"
            " rise. If the loss draws the output to something else, do not call that 'target'"
        )


@rule("non-negative")
def _non_negative(fixture: Fixture) -> None:
    """A loss that is declared non-negative, or a distance, is never negative."""
    loss = shared_loss(fixture)
    if not (loss.non_negative or loss.distance):
        raise Skipped("it is not declared non-negative (non_negative = False)")
    for change in (dict, _at_target, _near, _far, _extreme):
        for side, values in loss_maps(fixture, change):
            if float(values.min()) < -ZERO:
                raise RuleViolation(f"{side.name} gives {float(values.min()):.3g}; fix it, or set non_negative = False")


@rule("deterministic")
def _deterministic(fixture: Fixture) -> None:
    """The same inputs give bitwise the same numbers, unless it declares otherwise."""
    if not shared_loss(fixture).deterministic:
        raise Skipped("it declares that it draws random numbers (deterministic = False)")
    for (side, first, _), new in zip(loss_gradients(fixture), new_sides(fixture), strict=True):
        # A stateful loss may give other numbers at its second call, but a new one not at its first.
        again = new if shared_loss(fixture).stateful else side
        if not torch.equal(again(again.inputs(), seed=1), first):
            raise RuleViolation(
                f"{side.name} gives other numbers for the same inputs the second time; if it draws random numbers, set"
                " deterministic = False, and if it has state, keep it in buffers and set stateful = True"
            )


@rule("no in-place change")
def _no_in_place_change(fixture: Fixture) -> None:
    """The inputs stay unchanged."""
    for side in sides_of(new_loss(fixture)):
        inputs = side.inputs()
        before = {name: map_tensors(value, torch.clone) for name, value in inputs.items()}
        side(inputs)
        for name, value in inputs.items():
            if not all(map(torch.equal, flat_tensors(before[name]), flat_tensors(value))):
                raise RuleViolation(f"{side.name} changes {name} in place; other terms get the same tensor")


@rule("parameters fixed")
def _parameters_fixed(fixture: Fixture) -> None:
    """Its parameters take no gradient and do not change; nor do its buffers, unless it is stateful."""
    loss = new_loss(fixture)
    before = _parameters_and_buffers(loss)
    for side in sides_of(loss):
        side.backward(side.inputs())
    trainable = [name for name, item in loss.named_parameters() if item.requires_grad or item.grad is not None]
    if trainable:
        raise RuleViolation(f"{trainable[0]} takes a gradient; a loss has no optimizer, so its parameters stay fixed")
    fixed = {name for name, _ in loss.named_parameters()}
    changed = [name for name, item in _parameters_and_buffers(loss).items() if not torch.equal(item, before[name])]
    changed = [name for name in changed if name in fixed or not loss.stateful]
    if changed:
        raise RuleViolation(f"{changed[0]} changes when the loss is called; use eval mode, or set stateful = True")


def _parameters_and_buffers(loss: Loss) -> dict[str, Tensor]:
    return {name: item.detach().clone() for name, item in (*loss.named_parameters(), *loss.named_buffers())}


@rule("pairs")
def _pairs(fixture: Fixture) -> None:
    """It is declared paired if it compares the critic's values of each target with those of its own output."""
    loss = shared_loss(fixture)
    require_deterministic(loss)
    paired = [side.name for side in sides_of(loss) if _judges_both(side.requests)]
    if not paired:
        raise Skipped("it does not request the critic's values of both target and output")
    pairs = zip(loss_maps(fixture), loss_maps(fixture, _exchanged_fakes), strict=True)
    means = [(side.name, float(values.mean()), float(other.mean())) for (side, values), (_, other) in pairs]
    compares = [name for name, mean, other in means if not math.isclose(mean, other, rel_tol=1e-4, abs_tol=ZERO)]
    if compares and not loss.paired:
        raise RuleViolation(
            f"the mean of {compares[0]} depends on the order of the fake values beside the real ones; set paired ="
            " True, so that an augmentation changes both images of a pair alike"
        )
    if loss.paired and not compares:
        raise RuleViolation("paired = True, but no value depends on the order of fake values; leave augmentations free")


def _judges_both(requests: Iterable[str]) -> bool:
    return {"real_", "fake_"} <= {name[:5] for name in requests}


def _exchanged_fakes(inputs: Inputs) -> Inputs:
    """Give each image the fake values of the next."""
    fakes = {name: value for name, value in inputs.items() if name.startswith("fake_")}
    return {**inputs, **{name: map_tensors(value, lambda item: item.roll(1, 0)) for name, value in fakes.items()}}


@rule("critic only")
def _critic_only(fixture: Fixture) -> None:
    """The critic's side trains only the critic: its gradient reaches no image that the critic is shown."""
    if not isinstance(shared_loss(fixture), CriticLoss):
        raise Skipped("it has no critic's side")
    *_, (_, _, gradients) = loss_gradients(fixture)
    images = [name for name, items in gradients.items() if is_image(name) and any(bool(item.any()) for item in items)]
    if images:
        raise RuleViolation(f"critic's gradient reaches {images[0]}; detach the images before calling 'judge'")


def _variant(fixture: Fixture, variant: Variant) -> None:
    if not any(
        is_image(name) or is_field(name) or name == "judge"
        for side in sides_of(shared_loss(fixture))
        for name in side.requests
    ):
        raise Skipped("it requests no images")
    loss: Loss | None = variant.build(fixture)
    if loss is None:
        return
    for side in sides_of(loss.requires_grad_(False)):
        values, gradients = side.backward({name: variant.column(name) for name in side.requests})
        shape = tuple(values.shape)
        is_map = len(shape) == 4 and (loss.unit != "per pixel" or shape[2:] == variant.size)
        require_works(variant, shape[:1] == (BATCH,) and (is_map or len(shape) == 1), f"{side.name} gives {shape}")
        tensors = [values, *(item for items in gradients.values() for item in items)]
        require_works(variant, all(map(finite, tensors)), f"{side.name}'s values or gradients are not finite")


LOSS_RULES = (
    *(_shape, _unit, _finite, _gradient, _gradient_at_equality, _gradient_at_zero, _distance, _minimum, _non_negative),
    *INVARIANCE_RULES,
    *(_deterministic, _no_in_place_change, _parameters_fixed, _critic_only, _pairs),
    *STATE_RULES,
    *variant_rules(_variant),
)
