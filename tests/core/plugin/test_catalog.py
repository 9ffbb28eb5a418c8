"""The catalog: from kind and name to class."""

from __future__ import annotations

import pytest

from enface import Loss, Schedule
from enface.errors import PluginError, RecipeError
from enface.plugin.catalog import Catalog, snake_case
from enface.plugin.components import Constant
from enface.plugin.manager import load_plugins
from enface.plugin.schema import ScheduleSpec

KINDS = Catalog(load_plugins()).kinds

LOSS = "class Mine(Loss):\n    def forward(self, output, target): return output - target\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PatchGAN", "patch_gan"),
        ("L1", "l1"),
        ("MSE", "mse"),
        ("LPIPS", "lpips"),
        ("MsSsim", "ms_ssim"),
        ("StepDecay", "step_decay"),
        ("GANLoss", "gan_loss"),
        ("L1Smooth", "l1_smooth"),
    ],
)
def test_recipe_names_are_class_names_in_snake_case(name, expected):
    assert snake_case(name) == expected


def test_every_kind_has_components_of_its_base_class():
    catalog = Catalog(load_plugins())
    assert {entry.kind for entry in catalog} == set(KINDS)
    assert all(issubclass(entry.component, KINDS[entry.kind]) for entry in catalog)


def test_an_unknown_name_is_rejected_with_a_suggestion():
    with pytest.raises(RecipeError, match=r"no loss is called 'charbonier'; did you mean 'charbonnier'\?"):
        Catalog(load_plugins()).get("loss", "charbonier")


def test_a_duplicate_name_is_rejected_with_both_files(plugin):
    first = plugin(LOSS, name="first.py", brings="Mine")
    second = plugin(LOSS, name="second.py", brings="Mine")
    with pytest.raises(PluginError) as caught:
        Catalog(load_plugins([first, second]))
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert "'mine'" in str(caught.value)


def test_a_file_may_not_take_a_built_in_name(plugin):
    with pytest.raises(PluginError, match="two loss components are called 'l1'"):
        Catalog(load_plugins([plugin(LOSS.replace("Mine", "L1"), brings="L1")]))


def test_components_of_two_kinds_may_share_a_name():
    catalog = Catalog(load_plugins())
    assert catalog.get("loss", "ssim").component is not catalog.get("metric", "ssim").component


@pytest.mark.parametrize(
    ("body", "brings", "message"),
    [
        ("class Mine: ...\n", "Mine", "exactly one base"),
        ("class Mine(Loss, Mask): ...\n", "Mine", "exactly one base"),
        (LOSS, "Mine()", "Mine"),
        ("class Mine(Loss):\n    def __init__(self, scale: float): ...\n", "Mine", "keyword-only"),
        ("class Mine(Loss):\n    def __init__(self, *, scale: 'Absent'): ...\n", "Mine", "Absent"),
    ],
    ids=["no base", "two bases", "not a class", "positional", "unknown annotation"],
)
def test_an_invalid_component_is_rejected_with_its_file(plugin, body, brings, message):
    file = plugin(body, brings=brings)
    with pytest.raises(PluginError) as caught:
        Catalog(load_plugins([file]))
    assert message in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_schedules_are_built_from_numbers_and_maps():
    catalog = Catalog(load_plugins())
    assert isinstance(catalog.schedule(0.5), Constant)
    assert catalog.schedule(0.5)(10**6) == 0.5
    linear = catalog.schedule(ScheduleSpec.model_validate({"use": "linear", "start": 0, "end": 2, "over": 4}))
    assert [linear(step) for step in (0, 2, 4, 9)] == [0, 1, 2, 2]


def test_schedules_among_the_parameters_are_built(plugin):
    body = (
        "class Strong(Loss):\n"
        "    def __init__(self, *, strength: Schedulable = 1.0) -> None:\n"
        "        super().__init__()\n"
        "        self.strength = as_schedule(strength)\n"
    )
    catalog = Catalog(load_plugins([plugin(body, brings="Strong")]))
    loss = catalog.build("loss", "strong", {"strength": {"use": "step_decay", "start": 8, "every": 2}})
    assert isinstance(loss, Loss)
    assert isinstance(loss.strength, Schedule)
    assert [loss.strength(step) for step in (0, 1, 2, 4)] == [8, 8, 4, 2]


def test_two_plugins_with_one_kind_are_refused(plugin):
    body = "\n@hookimpl\ndef kinds():\n    return {'metric': dict}\n"
    with pytest.raises(PluginError, match="two plugins bring the kind 'metric'"):
        Catalog(load_plugins([plugin(body)]))
