"""Recipes that count as one variant, whatever their seed and the run of that seed they start from."""

from __future__ import annotations

import pytest

from enface_tools.evaluate.variants import variant

START = "/x/runs/ladder/20260101-000000"


@pytest.fixture
def digest(load):
    def of(start=None, **changes):
        keys = {} if start is None else {"stages": {"main": {"start": start}}}
        return variant(load({**keys, **changes}).recipe)

    return of


def test_seeds_are_one_variant_and_other_training_is_another(digest):
    assert digest(seed=0) == digest(seed=1) == digest(metrics=["psnr"])
    assert digest() != digest(stages={"main": {"steps": 7}})


@pytest.mark.parametrize(
    ("key", "first", "second", "elsewhere"),
    [
        ("run", START, "/x/runs/ladder/20260101-000001", "/x/runs/other/20260101-000000"),
        (
            "checkpoint",
            f"{START}/checkpoints/step-00000006.safetensors",
            "/x/runs/ladder/20260101-000001/checkpoints/step-00000006.safetensors",
            f"{START}/checkpoints/step-00000007.safetensors",
        ),
    ],
)
def test_seeds_that_start_from_their_own_runs_are_one_variant(digest, key, first, second, elsewhere):
    assert digest({key: first}, seed=0) == digest({key: second}, seed=1)
    assert digest({key: first}) != digest({key: elsewhere})
    assert digest({key: first}) != digest({key: first, "average": True})
    assert digest({key: first}) != digest()
