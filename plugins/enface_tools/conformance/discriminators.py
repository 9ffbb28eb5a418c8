"""Rules for discriminators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from enface.plugin.components import Discriminator
from enface_tools.conformance.fixture import BATCH, SIZE, Fixture
from enface_tools.conformance.networks import Trial, batch_column, build_for_size, network_rules, required_arguments
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import flat_tensors, smooth_images, surrogate_loss
from enface_tools.conformance.variants import MIXED_PLANES, Variant, finite, require_works, variant_rules

SIZES = (32, 64, 96, 128)


def _inputs(critic: Discriminator, size: int = SIZE) -> dict[str, Tensor]:
    """An image, first and under the critic's own name for it, and the columns that the critic requests."""
    image, *others = required_arguments(critic.forward)
    return {image: smooth_images(1, size), **{name: batch_column(name, size) for name in others}}


def _call(critic: Any, inputs: Mapping[str, Tensor]) -> Any:
    image, *others = inputs
    return critic(inputs[image], **{name: inputs[name] for name in others})


def _trial(fixture: Fixture) -> Trial:
    return Trial(fixture.build, _call, fixture.cached("inputs", lambda: _inputs(fixture.build())))


def _predictions(critic: Discriminator, image: Tensor) -> dict[str, Any]:
    """Outputs of a critic for images, without its intermediate features."""
    _, *others = _inputs(critic).items()
    outputs = critic(image, **dict(others))
    return {name: item for name, item in outputs.items() if name != "features"}


def _trainable(critic: nn.Module) -> dict[str, nn.Parameter]:
    return {name: item for name, item in critic.named_parameters() if item.requires_grad}


@rule("provides")
def _provides(fixture: Fixture) -> None:
    """It returns exactly the names in ``provides``, and its features as a tuple of tensors."""
    trial = _trial(fixture)
    critic: Any = trial.make()
    outputs = trial.call(critic, trial.inputs)
    if not isinstance(outputs, dict) or set(outputs) != set(critic.provides):
        returned = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise RuleViolation(f"it returns {returned}, but 'provides' is {sorted(critic.provides)}")
    features = outputs.get("features", ())
    if not isinstance(features, tuple) or not all(isinstance(item, Tensor) for item in features):
        raise RuleViolation("its features are not a tuple of tensors")


@rule("logits")
def _logits(fixture: Fixture) -> None:
    """Its logits are finite and have one row per image; several scales are a tuple of ``logit_scales``."""
    critic: Discriminator = fixture.build()
    outputs = _predictions(critic, smooth_images(1))
    logits = outputs.get("logits")
    if not isinstance(logits, Tensor | tuple):
        raise RuleViolation("it returns no 'logits', a tensor or a tuple of tensors")
    scales = len(logits) if isinstance(logits, tuple) else 1
    if critic.logit_scales != scales:
        raise RuleViolation(
            f"its logits have {scales} scales, but logit_scales is {critic.logit_scales}; set self.logit_scales, as"
            " stateful losses keep a state for each"
        )
    for item in flat_tensors(outputs):
        if item.shape[:1] != (BATCH,):
            raise RuleViolation(f"for {BATCH} images logits have the shape {tuple(item.shape)}; the batch comes first")
        if not item.isfinite().all():
            raise RuleViolation("a logit is not finite")


@rule("gradient for the generator")
def _gradient_for_the_generator(fixture: Fixture) -> None:
    """Its logits have a finite, nonzero gradient with respect to each image."""
    image = smooth_images(1).requires_grad_()
    critic: Discriminator = fixture.build()
    # Other heads serve other terms; the generator learns from the logits.
    loss = surrogate_loss(_predictions(critic, image)["logits"])
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    if image.grad is None or bool((image.grad.flatten(1) == 0).all(1).any()):
        raise RuleViolation("its logits have no gradient into the image, so no generator can learn from it")
    if not image.grad.isfinite().all():
        raise RuleViolation("the gradient into the image is not finite")


@rule("learns")
def _learns(fixture: Fixture) -> None:
    """Each of its trainable weights gets a finite gradient."""
    critic: Discriminator = fixture.build()
    trainable = _trainable(critic)
    loss = surrogate_loss(_predictions(critic, smooth_images(1)))
    if not trainable or not loss.requires_grad:
        raise RuleViolation("it has no trainable weight")
    loss.backward()  # type: ignore[no-untyped-call]
    bad = [name for name, item in trainable.items() if item.grad is None or not item.grad.isfinite().all()]
    if bad:
        raise RuleViolation(f"the gradient of {', '.join(bad[:3])} is missing or not finite; use it, or freeze it")


@rule("gradient stays in the critic")
def _gradient_stays_in_the_critic(fixture: Fixture) -> None:
    """For a detached image the gradient reaches its own weights only; if these are frozen, the image only."""
    critic: Discriminator = fixture.build()
    frozen = [item for item in critic.parameters() if not item.requires_grad]
    own = {id(item) for item in critic.parameters()}
    reached = list(_reached_leaves(_predictions(critic, smooth_images(1))))
    if any(id(item) not in own for item in reached):
        raise RuleViolation("a gradient reaches a tensor that is not one of its weights; register it, or detach it")
    if any(item.requires_grad for item in frozen):
        raise RuleViolation("it turns on the gradients of weights that were frozen when it was built")
    image = smooth_images(1).requires_grad_()
    critic.requires_grad_(False)
    if any(item is not image for item in _reached_leaves(_predictions(critic, image))):
        raise RuleViolation("with all its weights frozen, as in the generator's phase, a gradient still reaches one")


def _reached_leaves(value: Any) -> Iterator[Tensor]:
    """Leaves whose gradients a backward pass from a result would fill."""
    waiting, seen = [item.grad_fn for item in flat_tensors(value)], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]


@rule("differentiable twice")
def _twice(fixture: Fixture) -> None:
    """A gradient penalty can train it, or its class gives a ``once_differentiable_reason``."""
    reason = getattr(fixture.entry.component, "once_differentiable_reason", "")
    if reason:
        raise Skipped(f"no gradient penalty can be used with it: {reason}")
    critic: Discriminator = fixture.build()
    image = smooth_images(1).requires_grad_()
    # Squared, so that a critic that is linear in the image has a second derivative too.
    logits_loss = surrogate_loss(_predictions(critic, image)["logits"])
    (slope,) = torch.autograd.grad(logits_loss, image, create_graph=True)
    if not slope.requires_grad:
        raise RuleViolation("the gradient into the image has no gradient itself, so no gradient penalty can be used")
    slope.square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [item.grad for item in _trainable(critic).values() if item.grad is not None]
    if not any(float(item.abs().sum()) > 0 for item in gradients):
        raise RuleViolation("a gradient penalty reaches none of its weights")
    if not all(item.isfinite().all() for item in gradients):
        raise RuleViolation("the gradient of a gradient penalty is not finite")


@rule("sizes")
def _sizes(fixture: Fixture) -> None:
    """It accepts images of 32, 64, 96 and 128 px, or refuses with an error that names the size."""
    for size in SIZES:
        critic: Any = build_for_size(fixture, size)
        if critic is None:
            continue
        inputs = _inputs(critic, size)
        with torch.no_grad():
            logits = _call(critic.eval(), inputs)["logits"]
        if any(item.shape[:1] != (BATCH,) or not item.isfinite().all() for item in flat_tensors(logits)):
            raise RuleViolation(f"for images of {size} px its logits are not finite, or not one row per image")


def _variant(fixture: Fixture, variant: Variant) -> None:
    critic: Any = variant.build(fixture)
    if critic is None:
        return
    image, *others = required_arguments(critic.forward)
    inputs = {image: variant.column("target"), **{name: variant.column(name) for name in others}}
    with torch.no_grad():
        logits = flat_tensors(_call(critic.eval(), inputs)["logits"])
    works = all(item.shape[:1] == (BATCH,) and finite(item) for item in logits)
    require_works(variant, works, "its logits are not finite, or not one row per image")


DISCRIMINATOR_RULES = (
    *(_provides, _logits, _gradient_for_the_generator, _learns, _gradient_stays_in_the_critic, _twice, _sizes),
    *variant_rules(_variant, MIXED_PLANES),
    *network_rules(_trial),
)
