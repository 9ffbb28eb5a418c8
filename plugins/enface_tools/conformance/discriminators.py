"""Rules for discriminators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from enface.plugin.components import Discriminator
from enface_tools.conformance.comparing import taught
from enface_tools.conformance.fixture import BATCH, SIZE, Subject
from enface_tools.conformance.networks import Trial, column, fits, network_rules, required
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import smooth, tensors

SIZES = (32, 64, 96, 128)


def _inputs(critic: Discriminator, size: int = SIZE) -> dict[str, Tensor]:
    """An image, first and under the name that the critic has for it, and the columns that it asks for."""
    image, *others = required(critic.forward)
    return {image: smooth(1, size), **{name: column(name, size) for name in others}}


def _call(critic: Any, inputs: Mapping[str, Tensor]) -> Any:
    image, *others = inputs
    return critic(inputs[image], **{name: inputs[name] for name in others})


def _trial(subject: Subject) -> Trial:
    return Trial(subject.build, _call, subject.once("inputs", lambda: _inputs(subject.build())))


def _judged(critic: Discriminator, image: Tensor) -> dict[str, Any]:
    """What a critic says of images, but for the activations on the way."""
    _, *others = _inputs(critic).items()
    found = critic(image, **dict(others))
    return {name: item for name, item in found.items() if name != "features"}


def _learning(critic: nn.Module) -> dict[str, nn.Parameter]:
    return {name: item for name, item in critic.named_parameters() if item.requires_grad}


@rule("provides")
def _provides(subject: Subject) -> None:
    """It returns what it says it provides and nothing else: the features as a tuple of tensors."""
    trial = _trial(subject)
    critic: Any = trial.make()
    found = trial.call(critic, trial.inputs)
    if not isinstance(found, dict) or set(found) != set(critic.provides):
        seen = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise BrokenRule(f"it returns {seen}, and 'provides' says {sorted(critic.provides)}")
    features = found.get("features", ())
    if not isinstance(features, tuple) or not all(isinstance(item, Tensor) for item in features):
        raise BrokenRule("its features are not a tuple of tensors")


@rule("logits")
def _logits(subject: Subject) -> None:
    """Its logits are finite and have a row an image; several scales are a tuple."""
    critic: Discriminator = subject.build()
    found = _judged(critic, smooth(1))
    if not isinstance(found.get("logits"), Tensor | tuple):
        raise BrokenRule("it gives no 'logits', a tensor or a tuple of tensors")
    for item in tensors(found):
        if item.shape[:1] != (BATCH,):
            raise BrokenRule(f"of {BATCH} images one of its logits is {tuple(item.shape)}; the batch comes first")
        if not item.isfinite().all():
            raise BrokenRule("a logit is not finite")


@rule("teaches the generator")
def _teaches(subject: Subject) -> None:
    """Its logits have a finite gradient into each image that it is shown, not 0 everywhere."""
    image = smooth(1).requires_grad_()
    critic: Discriminator = subject.build()
    # Heads beside the logits are for other terms; the generator learns from these.
    found = taught(_judged(critic, image)["logits"])
    if found.requires_grad:
        found.backward()  # type: ignore[no-untyped-call]
    if image.grad is None or bool((image.grad.flatten(1) == 0).all(1).any()):
        raise BrokenRule("its logits have no gradient into the image, so no generator learns from it")
    if not image.grad.isfinite().all():
        raise BrokenRule("the gradient into the image is not finite")


@rule("learns")
def _learns(subject: Subject) -> None:
    """Each of its weights that learns gets a finite gradient."""
    critic: Discriminator = subject.build()
    learning = _learning(critic)
    found = taught(_judged(critic, smooth(1)))
    if not learning or not found.requires_grad:
        raise BrokenRule("it has no weight that learns")
    found.backward()  # type: ignore[no-untyped-call]
    bad = [name for name, item in learning.items() if item.grad is None or not item.grad.isfinite().all()]
    if bad:
        raise BrokenRule(f"the gradient of {', '.join(bad[:3])} is missing or not finite; use it, or freeze it")


@rule("gradient only into the critic")
def _only_the_critic(subject: Subject) -> None:
    """Shown a detached image it teaches its own weights alone; frozen, it teaches nothing but the image."""
    critic: Discriminator = subject.build()
    frozen = [item for item in critic.parameters() if not item.requires_grad]
    own = {id(item) for item in critic.parameters()}
    reached = list(_reached(_judged(critic, smooth(1))))
    if any(id(item) not in own for item in reached):
        raise BrokenRule("a gradient reaches a tensor that is none of its weights; register it, or detach it")
    if any(item.requires_grad for item in frozen):
        raise BrokenRule("it turns on the gradients of weights that it was built with as frozen")
    image = smooth(1).requires_grad_()
    critic.requires_grad_(False)
    if any(item is not image for item in _reached(_judged(critic, image))):
        raise BrokenRule("with all its weights frozen, as in the generator's phase, a gradient still reaches one")


def _reached(value: Any) -> Iterator[Tensor]:
    """The leaves that a backward pass from a result would fill."""
    waiting, seen = [item.grad_fn for item in tensors(value)], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]


@rule("differentiable twice")
def _twice(subject: Subject) -> None:
    """It can learn from its gradient into the image, as a gradient penalty has it do, or its class says why not."""
    reason = getattr(subject.entry.component, "once_differentiable_reason", "")
    if reason:
        raise NotAsked(f"no gradient penalty can be used with it: {reason}")
    critic: Discriminator = subject.build()
    image = smooth(1).requires_grad_()
    # Squared, so that a critic that is linear in the image has a second derivative too.
    (slope,) = torch.autograd.grad(taught(_judged(critic, image)["logits"]), image, create_graph=True)
    if not slope.requires_grad:
        raise BrokenRule("the gradient into the image has no gradient itself, so no gradient penalty can be used")
    slope.square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [item.grad for item in _learning(critic).values() if item.grad is not None]
    if not any(float(item.abs().sum()) > 0 for item in gradients):
        raise BrokenRule("a gradient penalty reaches none of its weights")
    if not all(item.isfinite().all() for item in gradients):
        raise BrokenRule("the gradient of a gradient penalty is not finite")


@rule("sizes")
def _sizes(subject: Subject) -> None:
    """It judges images of 32, 64, 96 and 128 px, or refuses by an error that names the size."""
    for size in SIZES:
        critic: Any = fits(subject, size)
        if critic is None:
            continue
        inputs = _inputs(critic, size)
        with torch.no_grad():
            logits = _call(critic.eval(), inputs)["logits"]
        if any(item.shape[:1] != (BATCH,) or not item.isfinite().all() for item in tensors(logits)):
            raise BrokenRule(f"for images of {size} px its logits are not finite, or not a row an image")


DISCRIMINATOR_RULES = (
    *(_provides, _logits, _teaches, _learns, _only_the_critic, _twice, _sizes),
    *network_rules(_trial),
)
