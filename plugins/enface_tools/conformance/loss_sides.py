"""A loss as its terms call it: its sides, what each is given, and what comes back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import AdversarialLoss, CriticLoss, Loss
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked
from enface_tools.conformance.samples import COLUMN_IMAGES, IMAGES, Judge, asked, guessed, leaf, over, sample, tensors

Inputs = dict[str, Any]
Gradients = dict[str, list[Tensor]]
Change = Callable[[Inputs], Inputs]
SAME_RTOL, SAME_ATOL = 1e-4, 1e-5
"""Another order of the same float32 sums moves their last digits, and a deep network's features the fourth."""
GRADIENT = 0.25
"""Of a gradient's length: rounding turns over a ReLU, maximum or modulus near its kink, and with it all that place's
gradient; in a deep network's that is an eighth of the length. A wrong gradient is off by all of it."""


@dataclass(frozen=True)
class Side:
    """A function of a loss that a term may call: ``forward``, or ``critic`` of a game."""

    name: str
    function: Callable[..., Tensor]

    @property
    def asks(self) -> list[str]:
        """The names it requests."""
        return asked(self.function)

    def inputs(self, draw: int = 0) -> Inputs:
        """A sample of what it requests."""
        return {name: sample(name, draw) for name in self.asks}

    def learns(self, name: str) -> bool:
        """Whether what a name gives comes from the network that this side teaches."""
        if self.name == "critic":
            return name == "judge" or (name.startswith(("real_", "fake_")) and not name.endswith("_image"))
        return name not in COLUMN_IMAGES and not name.startswith(("real_", "same"))

    def __call__(self, inputs: Mapping[str, Any], seed: int = 0) -> Tensor:
        """Its map; what it draws follows from ``seed``.

        Raises:
            NotAsked: when it fails on an input whose meaning could only be guessed.
        """
        torch.manual_seed(seed)
        try:
            found = self.function(**inputs)
        except Exception as error:
            unsure = guessed(inputs)
            if not unsure:
                raise
            raise NotAsked(
                f"it raises {type(error).__name__}, maybe only because nothing here knows what {', '.join(unsure)} is:"
                f" a column (N,) of integers was given ({error})"
            ) from error
        if not isinstance(found, Tensor):
            raise BrokenRule(f"{self.name} returns {type(found).__name__}; return a tensor")
        return found

    def taught(self, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Its map, and what the map's mean teaches: for each name the gradients that reached it."""
        leaves = {name: over(value, leaf) for name, value in inputs.items()}
        # Not the leaves themselves: an output is none either, and torch forbids more with these.
        found = self({name: over(value, torch.clone) for name, value in leaves.items()})
        if found.requires_grad:
            found.mean().backward()  # type: ignore[no-untyped-call]
        reached = {
            name: [item.grad for item in _learning(value) if item.grad is not None] for name, value in leaves.items()
        }
        return found.detach(), reached


def _learning(value: Any) -> list[Tensor]:
    return list(value.network.parameters()) if isinstance(value, Judge) else tensors(value)


def claimed(subject: Subject) -> Loss:
    """The loss, to be asked what it claims and not to be used."""

    def make() -> Loss:
        loss = subject.build()
        assert isinstance(loss, Loss)
        # As a stage does.
        return loss.requires_grad_(False)

    return subject.once("loss", make)


def new_loss(subject: Subject) -> Loss:
    """A new loss, as a stage builds it; a copy, for pretrained weights take long to read."""
    return copy.deepcopy(claimed(subject))


def sides(loss: Loss) -> list[Side]:
    """The functions of it that terms call."""
    forward, critic = Side("forward", loss.forward), Side("critic", getattr(loss, "critic", loss.forward))
    if isinstance(loss, AdversarialLoss):
        return [forward, critic]
    return [critic] if isinstance(loss, CriticLoss) else [forward]


def new_sides(subject: Subject) -> list[Side]:
    """The sides of a new loss."""
    return sides(new_loss(subject))


def seen(subject: Subject, change: Change = dict) -> list[tuple[Side, Tensor]]:
    """Each side of a new loss, and its map of changed sample inputs; computed once for each change."""

    def look() -> list[tuple[Side, Tensor]]:
        return [(side, side(change(side.inputs())).detach()) for side in new_sides(subject)]

    return subject.once(("seen", change), look)


def learnt(subject: Subject, change: Change = dict) -> list[tuple[Side, Tensor, Gradients]]:
    """Each side of a new loss, its map of changed sample inputs and what that teaches; computed once."""

    def look() -> list[tuple[Side, Tensor, Gradients]]:
        return [(side, *side.taught(change(side.inputs()))) for side in new_sides(subject)]

    return subject.once(("learnt", change), look)


def pairs(asks: Iterable[str]) -> list[tuple[str, str]]:
    """(moving, still): the names that a distance is between."""
    names = set(asks)
    fakes = [name for name in sorted(names) if name.startswith("fake_") and not name.endswith("logits")]
    likely = [("output", "target"), ("b", "a"), *((name, f"real_{name.removeprefix('fake_')}") for name in fakes)]
    return [pair for pair in likely if set(pair) <= names]


def apart(inputs: Inputs, strength: float) -> Inputs:
    """Inputs whose pairs differ so much; at 0 they are equal."""
    changed = dict(inputs)
    for moving, still in pairs(inputs):
        # Towards something fixed, so that the farther is the farther for every distance.
        step = over(sample(moving, 1), lambda item: strength * item)
        changed[moving] = _sum(inputs[still], step, clamp=moving in IMAGES)
    return changed


def agreeing(inputs: Inputs) -> Inputs:
    """Inputs in which whatever could be equal is: images, both sides of a game, codes of both branches."""
    changed = apart(inputs, 0)
    for name, value in changed.items():
        if name in IMAGES:
            changed[name] = sample("target")
            continue
        twins = ["real_" + name.removeprefix("fake_"), name.removeprefix("partner_"), name.removeprefix("output_")]
        changed[name] = next((changed[twin] for twin in twins if twin != name and twin in changed), value)
    return changed


def _sum(one: Any, other: Any, *, clamp: bool) -> Any:
    if isinstance(one, tuple):
        return tuple(_sum(*items, clamp=clamp) for items in zip(one, other, strict=True))
    return (one + other).clamp(-1, 1) if clamp else one + other


def require_close(
    found: Tensor, wanted: Tensor, told: str, *, rtol: float = SAME_RTOL, atol: float = SAME_ATOL
) -> None:
    """Raises BrokenRule with ``told`` and the largest difference when two tensors are not nearly equal."""
    if found.shape != wanted.shape:
        raise BrokenRule(f"{told}: shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
    if not torch.allclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True):
        most = (found - wanted).abs().max()
        raise BrokenRule(f"{told}: {float(most):.3g} apart at most, of {float(wanted.abs().max()):.3g}")


def require_same_gradients(found: Gradients, wanted: Gradients, told: str) -> None:
    """Raises BrokenRule when what is taught differs."""
    for name, items in wanted.items():
        if len(found[name]) != len(items):
            raise BrokenRule(f"{told}: the gradient reaches {name} in one case only")
        for one, other in zip(found[name], items, strict=True):
            off, length = float((one - other).norm()), float(other.norm())
            if not off <= GRADIENT * length + torch.finfo(torch.float32).tiny:
                raise BrokenRule(f"{told}: the gradient of {name} is {off:.3g} off, of {length:.3g}")
