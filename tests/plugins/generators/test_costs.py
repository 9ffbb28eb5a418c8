"""Parameters and operations that the docstrings of generators state."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from enface import DataInfo
from enface_plugins.generators import COMPONENTS
from enface_plugins.generators.unet import Unet

STATED = re.compile(r"([\d.]+) M(?: parameters)?, ([\d.]+) GFLOP (?:per image )?of (\d+) x (\d+) px")
PARAMS = {"Warp": {"trunk": lambda data: Unet(data=data)}}


def stated(component: type) -> list[tuple[str, ...]]:
    return STATED.findall(" ".join((component.__doc__ or "").split()))


def test_every_generator_states_its_cost():
    assert all({int(side) for *_, side in stated(item)} == {64, 128, 256} for item in COMPONENTS)


@pytest.mark.parametrize(
    ("component", "millions", "gflop", "side"),
    [(item, *figures[:3]) for item in COMPONENTS for figures in stated(item)],
)
def test_stated_costs_are_those_of_the_default(component, millions, gflop, side):
    size = int(side)
    # Without storage, to be quick.
    with torch.device("meta"):
        network = component(data=DataInfo.square(size=size), **PARAMS.get(component.__name__, {})).eval()
        columns = {name: torch.zeros(1, 3, size, size) for name in network.provides["output"]}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(frozenset({"output"}), **columns)
    parameters = sum(item.numel() for item in network.parameters())
    assert (float(f"{parameters / 1e6:.3g}"), float(f"{counter.get_total_flops() / 1e9:.3g}")) == (
        float(millions),
        float(gflop),
    )


def test_a_multiply_add_counts_as_two():
    layer = torch.nn.Conv2d(3, 5, 3, padding=1)
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, 3, 8, 8))
    assert counter.get_total_flops() == 2 * (8 * 8 * 5) * (3 * 3 * 3)
