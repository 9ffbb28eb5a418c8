"""Caveats: metrics whose network was trained with, and test identities seen in training."""

from __future__ import annotations

import numpy as np
import pytest

from enface.recipe.load import load_recipe
from enface_tools.evaluate.caveats import metric_networks, run_caveats

RECIPE = """
name: judged
data: {use: synthetic_heads, identities: 6, split: {train: 4, test: 2}}
generator: {use: unet, width: 4}
stages:
  first: {steps: 1, terms: {l1: {}}}
  second:
    steps: 1
    discriminators: {seen: {use: projected, optimizer: {lr: 1.0e-4}}}
    terms:
      deep: {use: lpips, net: vgg}
      gan: {use: hinge, against: seen}
metrics: {l1: {}, alex: {use: lpips, net: alex}, usual: {use: lpips}, vgg: {use: lpips, net: vgg}}
"""


class Split:
    """Of a run, as caveats need it."""

    def __init__(self, loaded, people, train, test):
        self.loaded = loaded
        self.pack = type("Pack", (), {"table": {"identity": _Column(people)}})
        self.rows = {"train": np.array(train), "test": np.array(test)}


class _Column:
    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return np.array(self._values, dtype=object)


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "judged.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "judged.yaml")


def test_a_metric_whose_network_was_trained_with_is_reported(loaded):
    networks = metric_networks(loaded)
    assert networks == {"l1": (), "alex": ("alexnet",), "usual": ("alexnet",), "vgg": ("vgg16",)}
    (caveat,) = run_caveats(Split(loaded, ["a", "b"], [0], [1]), networks)
    assert caveat.startswith("vgg uses vgg16, and so does ")
    assert "of stage second: " in caveat


def test_people_in_both_splits_are_reported(loaded):
    people = [f"{number:03}" for number in range(10)]
    caveats = run_caveats(Split(loaded, people, range(7), range(10)), {})
    assert caveats == ["7 of the test identities are also in the training split (000, 001, 002, 003, 004, ...)."]
    assert run_caveats(Split(loaded, people, range(7), range(7, 10)), {}) == []
