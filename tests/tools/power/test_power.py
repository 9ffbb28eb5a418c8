"""Planning of seeds and people: the predicted power is that of simulated experiments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from enface.errors import DataError
from enface_tools.compare.crossed import Components, unpaired_difference
from enface_tools.compare.outcomes import detectable
from enface_tools.power.plan import plan_power

PEOPLE = 8
KEYS = {name: [f"p{person}" for person in range(PEOPLE)] for name in ("key", "target_key", "identity")}


def drawn(rng, seeds, people, *, training, rest, effect=0.0, shift=0.0):
    person = effect * rng.normal(size=(1, people))
    return shift + person + training * rng.normal(size=(seeds, 1)) + rest * rng.normal(size=(seeds, people))


@pytest.fixture
def trained(evaluated):
    def make(name, seeds, *, training=0.01, rest=0.01, shift=0.0):
        rng = np.random.default_rng([seeds, *name.encode()])
        values = drawn(rng, seeds, PEOPLE, training=training, rest=rest, shift=shift)
        for seed in range(seeds):
            run = evaluated(f"runs/{name}/{seed}", {**KEYS, "lpips": values[seed]}, name=name, seed=seed)
        return run.parent

    return make


def test_variances_of_a_large_pilot_are_those_it_was_drawn_with():
    rng = np.random.default_rng(0)
    control = drawn(rng, 60, 400, training=0.02, rest=0.03)
    group = drawn(rng, 60, 400, training=0.01, rest=0.02, effect=0.05)
    item = Components.of_sides(control, group)
    assert np.sqrt(item.seeds) == pytest.approx([0.02, 0.01], rel=0.2)
    assert np.sqrt(item.residuals) == pytest.approx([0.03, 0.02], rel=0.02)
    assert np.sqrt(item.people) == pytest.approx(0.05, rel=0.1)
    # 0.02^2 / 4 + 0.01^2 / 4 + 0.05^2 / 9 + (0.03^2 + 0.02^2) / 36
    assert Components((4e-4, 1e-4), (9e-4, 4e-4), 25e-4).predict(4, 9).error ** 2 == pytest.approx(
        4e-4 / 4 + 1e-4 / 4 + 25e-4 / 9 + 13e-4 / 36
    )


def test_the_detectable_difference_is_detected_four_times_in_five():
    spreads = {"training": 0.01, "rest": 0.01}
    planned = detectable(Components((1e-4, 1e-4), (1e-4, 1e-4), 64e-6).predict(5, 16))
    rng = np.random.default_rng(1)
    found = [
        unpaired_difference(drawn(rng, 5, 16, **spreads), drawn(rng, 5, 16, effect=0.008, shift=planned, **spreads)).p()
        < 0.05
        for _ in range(600)
    ]
    assert 0.73 <= np.mean(found) <= 0.87


def test_more_seeds_and_people_detect_less(trained):
    result = plan_power([trained("a", 4), trained("b", 4)], detect={"lpips": 0.02})
    assert (result.groups, result.paired) == (["a", "b"], False)
    (plan,) = result.plans
    assert plan.people == (8, 16, 32)
    table = np.array(plan.table)
    assert (np.diff(table, axis=1) < 0).all()
    assert (np.diff(table, axis=0) < 0).all()
    needed = plan.needed[0]
    assert needed is not None
    assert plan.needed[2] is not None
    assert plan.needed[2] <= needed
    (again,) = plan_power([trained("c", needed), trained("d", needed)]).plans
    assert again.seed_sd == pytest.approx(plan.seed_sd, rel=1.0)


def test_one_recipe_gives_a_plan_with_a_caveat(trained):
    result = plan_power([trained("a", 6)])
    assert result.groups == ["a"]
    assert any("One recipe" in text for text in result.caveats)


def test_a_difference_smaller_than_people_allow_needs_other_people():
    item = Components((1e-6, 1e-6), (0.0, 0.0), 1.0)
    assert detectable(item.predict(200, 8)) > 0.1


@pytest.mark.parametrize(
    ("names", "detect", "message"),
    [
        ({"a": 1}, {}, "a has one run"),
        ({"a": 2, "b": 2, "c": 2}, {}, "one or two recipes, not of 3: a, b, c"),
        ({"a": 2}, {"lpip": 0.1}, "--detect: 'lpip' was not measured; did you mean 'lpips'"),
    ],
)
def test_what_cannot_be_planned_is_refused(trained, names, detect, message):
    with pytest.raises(DataError, match=message):
        plan_power([trained(name, seeds) for name, seeds in names.items()], detect=detect)


def test_the_command(enface, trained):
    a, b = trained("a", 3), trained("b", 3, shift=0.1)
    shown = enface("power", a, b, "--detect", "lpips=0.05")
    assert shown.code == 0
    assert "a against b: smallest detectable difference, by seeds of each recipe" in shown.out
    assert "to detect 0.05 with 8 people:" in shown.out
    content = json.loads(enface("power", a, b, "--json").out)
    assert content["metrics"][0]["metric"] == "lpips"
    assert enface("power", a, "--detect", "lpips").code == 2
