"""Rules for losses: what a call leaves behind."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.plugin.components import Loss
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.loss_sides import claimed, learnt, new_loss, new_sides, require_close, sides
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import over, tensors


@rule("deterministic")
def _deterministic(subject: Subject) -> None:
    """The same inputs give the same numbers, to the last bit, unless it says otherwise."""
    if not claimed(subject).deterministic:
        raise NotAsked("it says that it draws (deterministic = False)")
    for (side, first, _), new in zip(learnt(subject), new_sides(subject), strict=True):
        # What remembers may answer differently the second time, but not a new one for the first time.
        again = new if claimed(subject).stateful else side
        if not torch.equal(again(again.inputs(), seed=1), first):
            raise BrokenRule(
                f"{side.name} gives other numbers for the same inputs the second time; if it draws, set deterministic ="
                " False, and if it remembers, keep that in buffers and set stateful = True"
            )


@rule("no in-place change")
def _in_place(subject: Subject) -> None:
    """It leaves its inputs as they were."""
    for side in sides(new_loss(subject)):
        inputs = side.inputs()
        before = {name: over(value, torch.clone) for name, value in inputs.items()}
        side(inputs)
        for name, value in inputs.items():
            if not all(map(torch.equal, tensors(before[name]), tensors(value))):
                raise BrokenRule(f"{side.name} changes {name} in place; other terms are given the same tensor")


@rule("nothing trained")
def _nothing_trained(subject: Subject) -> None:
    """Its parameters take no gradient, and neither they nor (unless it is stateful) its buffers change."""
    loss = new_loss(subject)
    before = _tensors_of(loss)
    for side in sides(loss):
        side.taught(side.inputs())
    learning = [name for name, item in loss.named_parameters() if item.requires_grad or item.grad is not None]
    if learning:
        raise BrokenRule(f"{learning[0]} takes a gradient; a loss has no optimizer, so what it holds must stay fixed")
    held = {name for name, _ in loss.named_parameters()}
    changed = [name for name, item in _tensors_of(loss).items() if not torch.equal(item, before[name])]
    changed = [name for name in changed if name in held or not loss.stateful]
    if changed:
        raise BrokenRule(f"{changed[0]} changed while it was used; put it in eval mode, or set stateful = True")


def _tensors_of(loss: Loss) -> dict[str, Tensor]:
    return {name: item.detach().clone() for name, item in (*loss.named_parameters(), *loss.named_buffers())}


@rule("state restored")
def _restored(subject: Subject) -> None:
    """What it remembers is in its state_dict: loaded into another, that goes on as the first would have."""
    if not claimed(subject).stateful:
        raise NotAsked("it keeps no state (stateful = False)")
    first, second = new_loss(subject), new_loss(subject)
    start = {name: item.clone() for name, item in first.state_dict().items()}
    for draw in range(2):
        for side in sides(first):
            side(side.inputs(draw))
    saved = {name: item.clone() for name, item in first.state_dict().items()}
    if all(torch.equal(item, start[name]) for name, item in saved.items()):
        raise BrokenRule("stateful = True, but nothing in its state_dict changes; register what it keeps as a buffer")
    second.load_state_dict(saved)
    for one, other in zip(sides(first), sides(second), strict=True):
        told = f"{one.name} after its state was loaded into another; register all that it keeps as buffers"
        require_close(other(other.inputs(2)), one(one.inputs(2)), told, rtol=0, atol=0)


STATE_RULES = (_deterministic, _in_place, _nothing_trained, _restored)
