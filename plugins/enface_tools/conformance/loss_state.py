"""Rules for losses that keep state, such as running averages."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch

from enface.plugin.components import Constant, Loss
from enface.training.terms import Term
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.loss_calls import (
    Inputs,
    Side,
    first_half,
    new_loss,
    require_deterministic,
    second_half,
    shared_loss,
    sides_of,
)
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import map_tensors, require_close

UPDATES = 100
"""Enough that an average with decay 0.99, started at 0, has moved by two thirds of its way."""
STATE_RTOL = 1e-3


def _stateful_loss(fixture: Fixture) -> Loss:
    if not shared_loss(fixture).stateful:
        raise Skipped("it has no state (stateful = False)")
    return new_loss(fixture)


def _update(loss: Loss, draw: int = 0) -> None:
    """Call each side once with sample inputs."""
    for side in sides_of(loss):
        side(side.inputs(draw))


@rule("state restored")
def _restored(fixture: Fixture) -> None:
    """Its state is in its state_dict: another loss that loads it continues with the same numbers."""
    first, second = _stateful_loss(fixture), new_loss(fixture)
    start = {name: item.clone() for name, item in first.state_dict().items()}
    for draw in range(2):
        _update(first, draw)
    saved = {name: item.clone() for name, item in first.state_dict().items()}
    if all(torch.equal(item, start[name]) for name, item in saved.items()):
        raise RuleViolation("stateful = True, but nothing in its state_dict changes; keep its state in buffers")
    second.load_state_dict(saved)
    for one, other in zip(sides_of(first), sides_of(second), strict=True):
        quantity = f"{one.name}: the map after loading the state into another loss"
        remedy = "keep all of its state in buffers"
        require_close(other(other.inputs(2)), one(one.inputs(2)), quantity, remedy, rtol=0, atol=0)


@rule("state at the start")
def _start(fixture: Fixture) -> None:
    """With the same inputs at every update its numbers stay what they are at the first: its averages start unbiased."""
    loss = _stateful_loss(fixture)
    require_deterministic(loss)
    first = [side(side.inputs()).detach() for side in sides_of(loss)]
    for _ in range(UPDATES - 1):
        _update(loss)
    for side, expected in zip(sides_of(loss), first, strict=True):
        require_close(
            side(side.inputs()).detach(),
            expected,
            f"{side.name}: the map after {UPDATES} updates with the same inputs",
            "start an average at its first value, or divide it by 1 - decay ** updates",
            rtol=STATE_RTOL,
        )


@rule("state of parts")
def _parts(fixture: Fixture) -> None:
    """The mean of its states after each half of a batch is its state after the whole batch."""
    used = _stateful_loss(fixture)
    require_deterministic(used)
    _update(used, 1)
    whole, first, second = (copy.deepcopy(used) for _ in range(3))
    for side in sides_of(whole):
        side(side.inputs())
    for half, change in ((first, first_half), (second, second_half)):
        for side in sides_of(half):
            side(change(side.inputs()))
    for name, expected in whole.named_buffers():
        parts = (first.get_buffer(name), second.get_buffer(name))
        require_close(
            torch.stack([part.double() for part in parts]).mean(0),
            expected.double(),
            f"the mean of its {name} over two halves of a batch",
            "with 'accumulate' or several processes the mean of the parts' buffers is kept, so keep means of means over"
            " images, and no root, maximum or number of images",
            rtol=STATE_RTOL,
        )


@rule("state of scales")
def _scales(fixture: Fixture) -> None:
    """Against a critic of two scales, each scale has a state of its own."""
    loss, alone = _stateful_loss(fixture), (new_loss(fixture), new_loss(fixture))
    sides = [side for side in sides_of(loss) if _of_critic(side.requests)]
    if not sides:
        raise Skipped("it requests no logits of a critic")
    further = [copy.deepcopy(loss)]
    calls = [(side, draw) for draw in range(2) for side in sides]
    together = [_term(side, loss, further).maps(_joined(_scale_inputs(side, draw))) for side, draw in calls]
    # Called only now, so that state outside of the losses is seen by these, too.
    for (side, draw), maps in zip(calls, together, strict=True):
        for scale, inputs in enumerate(_scale_inputs(side, draw)):
            require_close(
                maps[scale].detach(),
                Side(side.name, getattr(alone[scale], side.name))(inputs).detach(),
                f"{side.name}: the map of scale {scale} of two",
                "keep all of its state in buffers of the loss, none in its class or module",
            )


def _of_critic(requests: Iterable[str]) -> list[str]:
    return [name for name in requests if name in ("real_logits", "fake_logits")]


def _scale_inputs(side: Side, draw: int) -> list[Inputs]:
    """Sample inputs at each of two scales; logits differ in mean and size."""
    inputs = side.inputs(draw)
    coarse = {name: map_tensors(inputs[name], lambda item: 4 * item[..., ::2, ::2]) for name in _of_critic(inputs)}
    return [inputs, {**inputs, **coarse}]


def _joined(scales: list[Inputs]) -> Inputs:
    fine, coarse = scales
    return {**fine, **{name: (fine[name], coarse[name]) for name in _of_critic(fine)}}


def _term(side: Side, loss: Loss, further: list[Loss]) -> Term:
    names = {name: name for name in side.requests}
    return Term(side.name, side.function, names, Constant(value=1.0), loss=loss, further=further)


STATE_RULES = (_restored, _start, _parts, _scales)
