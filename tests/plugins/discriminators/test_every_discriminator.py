"""All built-in discriminators, beyond the contract: precision, memory format, seeds, independence of the batch."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from enface import DataInfo, Discriminator, WeightsError
from enface.plugin.catalog import snake_case
from enface_plugins.discriminators import COMPONENTS

SIZE = 64
DATA = DataInfo.square(SIZE, {"pose": 3, "identity": 2})
PARAMS: dict[str, dict[str, Any]] = {
    "attributes": {"width": 0.125},
    "projected": {"backbone": "alexnet", "channels": 8, "width": 4},
    "projection": {"column": "pose", "width": 4},
}
every = pytest.mark.parametrize("kind", [pytest.param(kind, id=snake_case(kind.__name__)) for kind in COMPONENTS])


def built(kind: type) -> Discriminator:
    params = dict(PARAMS.get(snake_case(kind.__name__), {"width": 4}))
    if "data" in inspect.signature(kind).parameters:
        params["data"] = DATA
    torch.manual_seed(0)
    try:
        return kind(**params)
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])


def images(count: int, seed: int = 1) -> torch.Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9
    return torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")


def logits_of(critic: Discriminator, image: torch.Tensor) -> list[torch.Tensor]:
    columns = {"source": images(len(image), seed=2), "label": torch.arange(len(image)) % 3}
    output = critic(image, **{name: columns[name] for name in list(inspect.signature(critic.forward).parameters)[1:]})
    logits = output["logits"]
    return list(logits) if isinstance(logits, tuple) else [logits]


@every
def test_a_seed_gives_one_critic(kind):
    first, second = built(kind).state_dict(), built(kind).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@every
def test_half_precision_gives_similar_logits(kind):
    critic = built(kind).eval()
    exact = logits_of(critic, images(2))
    with torch.autocast("cpu", torch.bfloat16):
        half = logits_of(critic, images(2))
    for one, other in zip(exact, half, strict=True):
        assert (one - other.float()).abs().max() < 0.05 * one.abs().max()


@every
def test_half_precision_trains(kind):
    critic, image = built(kind).train(), images(2).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logits = logits_of(critic, image)
    sum(item.float().square().mean() for item in logits).backward()
    gradients = [image.grad, *(parameter.grad for parameter in critic.parameters() if parameter.grad is not None)]
    assert all(item.isfinite().all() for item in gradients)
    assert float(image.grad.abs().sum()) > 0


@every
def test_the_memory_format_changes_nothing(kind):
    critic = built(kind).eval()
    plain = logits_of(critic, images(2))
    critic = critic.to(memory_format=torch.channels_last)
    other = logits_of(critic, images(2).contiguous(memory_format=torch.channels_last))
    for one, two in zip(plain, other, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)


@every
def test_in_eval_mode_logits_do_not_depend_on_the_batch(kind):
    critic = built(kind).eval()
    with torch.no_grad():
        together, alone = logits_of(critic, images(3)), logits_of(critic, images(3)[:1])
    for one, two in zip(together, alone, strict=True):
        torch.testing.assert_close(one[:1], two, rtol=1e-3, atol=1e-5)


@every
def test_two_calls_may_share_one_backward_pass(kind):
    critic = built(kind).train()
    real, fake = images(2, seed=3).requires_grad_(), images(2, seed=4).requires_grad_()
    logits = zip(logits_of(critic, real), logits_of(critic, fake), strict=True)
    sum(one.mean() - other.square().mean() for one, other in logits).backward()
    assert all(float(item.grad.abs().sum()) > 0 for item in (real, fake))
