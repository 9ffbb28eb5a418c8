"""Messages about mistakes in a recipe: all of them at once, with the nearest name."""

from __future__ import annotations

import pytest

from enface.errors import RecipeError
from enface.plugin.schema import closest
from enface.recipe.load import load_recipe

NINE = {
    "seed": -1,
    "data": {"size": "sixty", "split": "train"},
    "generator": {"use": "simese"},
    "masks": {"m": {"use": "elipse"}},
    "stages": {
        "main": {
            "batch": 0,
            "terms": {"a": {"use": "l1", "weigth": 3}, "b": {"use": "charbonnier", "eps": -1, "mask": "q"}},
        },
        "later": {"terms": {"l1": {}}, "optimizer": {"use": "Adam"}},
    },
    "log": {"evry": 3},
}
KEYS = (
    *("seed", "data.size", "data.split", "generator.use", "masks.m.use", "stages.main.batch"),
    *("stages.main.terms.a.weigth", "stages.main.terms.b.eps", "stages.main.terms.b.mask"),
    *("stages.later.steps", "stages.later.optimizer.use", "log.evry"),
)


def mistakes(path):
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    return [line.removeprefix(f"{path}:").partition(": ")[2] for line in str(error.value).splitlines()]


def test_mistakes_in_values_and_in_components_are_reported_at_once(recipe):
    found = mistakes(recipe(NINE))
    assert sorted(line.partition(":")[0] for line in found) == sorted(KEYS)


def test_mistakes_in_a_list_of_metrics_hide_no_others(recipe):
    found = mistakes(recipe({"metrics": ["mae", 3], "generator": {"use": "simese"}}))
    assert [line.partition(":")[0] for line in found] == ["metrics", "generator.use"]


def test_a_component_within_another_may_be_its_name(recipe):
    loaded = load_recipe(recipe({"generator": {"use": "warp", "trunk": "unet"}}))
    assert loaded.recipe.generator.params["trunk"] == {"use": "unet"}
    found = mistakes(recipe({"generator": {"use": "warp", "trunk": "unett"}}))
    assert found == ["generator.trunk.use: no generator is called 'unett'; did you mean 'unet'?"]


def test_consequences_of_a_mistake_are_no_mistakes(recipe):
    path = recipe(
        {
            "masks": {"face": 3},
            "metrics": {"mae": 4, "psnr": {"mask": "face"}},
            "data": {"load_size": "large"},
            "augment": {"crop": {}},
            "stages": {"main": {"terms": {"l1": {"mask": "face"}}}},
            "log": {"best": "mae"},
        }
    )
    assert [line.partition(":")[0] for line in mistakes(path)] == ["data.load_size", "masks.face", "metrics.mae"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"log": 4}, "log: must be a map with some of the keys every, samples, checkpoint"),
        (
            {"data": {"split": "train"}},
            "data.split: no split is called 'train' (toy_faces has no named splits); a split",
        ),
        ({"data": {"use": "none_such", "split": "train"}}, "data.split: must be a map with some of the keys by, where"),
        (
            {"generator": {"use": "warp", "trunk": ["unet"]}},
            "generator.trunk: must be a map with some of the keys use, and parameters of that component",
        ),
    ],
)
def test_text_in_the_place_of_a_map_is_refused_with_the_keys_of_the_map(recipe, content, expected):
    assert mistakes(recipe(content))[0].startswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gan", "did you mean one of hinge, lsgan, relativistic_average, relativistic_paired, vanilla, wgan?"),
        ("adversarial", "did you mean one of hinge, lsgan, relativistic_average, relativistic_paired, vanilla, wgan?"),
        ("GANLoss", "did you mean one of hinge, lsgan, "),
        ("wgan-gp", "did you mean 'gradient_penalty' or 'wgan'?"),
        ("L1", "did you mean 'l1'?"),
        ("L1Loss", "did you mean 'l1'?"),
        ("L2", "did you mean 'mse'?"),
        ("MSELoss", "did you mean 'mse'?"),
        ("SmoothL1Loss", "did you mean 'huber'?"),
        ("vgg", "did you mean 'perceptual'?"),
        ("Charbonier", "did you mean 'charbonnier'?"),
        ("tv", "did you mean 'total_variation'?"),
        ("BCEWithLogitsLoss", "did you mean 'vanilla'?"),
    ],
)
def test_common_names_of_losses_suggest_ours(recipe, name, expected):
    (line,) = mistakes(recipe({"stages": {"main": {"terms": {"it": {"use": name}}}}}))
    assert line.startswith(f"stages.main.terms.it.use: no loss is called {name!r}; {expected}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"generator": {"use": "U-Net"}}, "'unet'"),
        ({"generator": {"use": "resnet_9blocks"}}, "'resnet'"),
        ({"metrics": ["LPIPS"]}, "'lpips'"),
        ({"stages": {"main": {"optimizer": {"use": "AdamW"}}}}, "'adamw'"),
        ({"stages": {"main": {"discriminators": {"it": {"use": "PatchGAN"}}}}}, "'patch_gan'"),
        ({"stages": {"main": {"terms": {"l1": {"Weight": 3}}}}}, "'weight'"),
        ({"Seed": 1}, "'seed'"),
    ],
)
def test_case_and_separators_do_not_matter_for_the_nearest_name(recipe, content, expected):
    (line,) = mistakes(recipe(content))
    assert line.endswith(f"did you mean {expected}?")


def test_without_a_near_name_all_are_listed():
    assert closest("xyz", ["b", "a"]) == "; known: a, b"


def test_a_misspelled_shipped_recipe_is_suggested(enface):
    outcome = enface("check", "quikstart")
    assert outcome.code == 2
    assert "no recipe or run is called 'quikstart'; did you mean 'quickstart'? 'enface recipes' lists" in outcome.err
    assert "did you mean 'seed/ladder'?" in enface("run", "seed/lader").err


def test_an_unknown_recipe_that_resembles_none_is_named(enface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"recipe {tmp_path / 'zzzzzz'} does not exist" in enface("check", "zzzzzz").err
