"""Reading, extending and overriding recipes, and the messages of their errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface.errors import RecipeError
from enface.recipe.load import load_recipe
from enface.recipe.models import save_recipe

TOY = Path(__file__).parents[2] / "support" / "toy_faces.py"
BASE = """\
name: base
plugins: [{toy}]
data: {{use: toy_faces, size: 32, split: {{train: 4, val: 1, test: 1}}}}
generator: {{use: siamese, width: 0.125}}
masks:
  face: {{use: ellipse, inside: 5}}
stages:
  main:
    steps: 6
    batch: 8
    optimizer: {{use: adam, lr: 1.0e-3, betas: [0.7, 0.999]}}
    freeze: [encoder]
    terms:
      l1: {{weight: 2, mask: face}}
      charbonnier: {{eps: 0.1}}
  later:
    steps: 1
    terms: {{l1: {{}}}}
metrics: [mae, psnr]
"""


@pytest.fixture
def family(tmp_path):
    """Write a parent and a child; return the loaded child."""
    (tmp_path / "base.yaml").write_text(BASE.format(toy=TOY))

    def child(text, *overrides):
        (tmp_path / "child.yaml").write_text(f"extends: base.yaml\n{text}")
        return load_recipe(tmp_path / "child.yaml", overrides).recipe

    return child


# ------------------------------------------------------------------ merging


def test_maps_are_merged_and_everything_else_is_replaced(family):
    recipe = family(
        "name: child\nstages: {main: {steps: 9, freeze: [heads], optimizer: {lr: 0.1}, terms: {l1: {weight: 3}}}}"
    )
    stage = recipe.stages["main"]
    assert (recipe.name, stage.steps, stage.batch) == ("child", 9, 8)
    assert stage.freeze == ["heads"]
    assert (stage.optimizer.lr, stage.optimizer.params["betas"]) == (0.1, [0.7, 0.999])
    assert (stage.terms["l1"].weight, stage.terms["l1"].mask) == (3, "face")
    assert list(stage.terms) == ["l1", "charbonnier"]
    assert list(recipe.stages) == ["main", "later"]


def test_a_term_whose_loss_has_another_name_is_labelled_with_both(family):
    stage = family("stages: {main: {terms: {l1: {use: charbonnier}}}}").stages["main"]
    assert [stage.label(term) for term in stage.terms] == ["l1 (charbonnier)", "charbonnier"]
    assert stage.label("patch.l1") == "patch.l1 (charbonnier)", "the part of a critic's phase"


def test_a_grandparent_is_merged_first(tmp_path, family):
    family("seed: 1\nlog: {every: 1, samples: 3}")
    (tmp_path / "grandchild.yaml").write_text("extends: child.yaml\nlog: {every: 2}\n")
    recipe = load_recipe(tmp_path / "grandchild.yaml").recipe
    assert (recipe.name, recipe.seed, recipe.log.every, recipe.log.samples) == ("base", 1, 2, 3)


def test_another_component_drops_its_predecessors_parameters(family):
    recipe = family("generator: {use: unet}\nstages: {main: {optimizer: {use: sgd, lr: 1}}}")
    assert recipe.generator.params == {}
    assert recipe.stages["main"].optimizer.params == {}


def test_the_same_component_keeps_them(family):
    recipe = family("generator: {use: siamese, decoder: bilinear}")
    assert recipe.generator.params == {"width": 0.125, "decoder": "bilinear"}


def test_a_component_named_by_its_key_is_replaced_too(family):
    terms = family("stages: {main: {terms: {charbonnier: {use: mse}}}}").stages["main"].terms
    assert (terms["charbonnier"].use, terms["charbonnier"].params) == ("mse", {})


def test_naming_the_default_of_a_key_changes_nothing(family):
    terms = family("stages: {main: {terms: {charbonnier: {use: charbonnier, weight: 2}}}}").stages["main"].terms
    assert terms["charbonnier"].params == {"eps": 0.1}


def test_the_default_optimizer_is_replaced_too(family, tmp_path):
    family("")
    path = tmp_path / "base.yaml"
    path.write_text(path.read_text().replace("use: adam, ", ""))
    assert family("stages: {main: {optimizer: {use: sgd}}}").stages["main"].optimizer.params == {}


@pytest.mark.parametrize(
    ("child", "left"),
    [
        ("stages: {later: false}", lambda recipe: list(recipe.stages) == ["main"]),
        ("stages: {main: {terms: {charbonnier: false}}}", lambda recipe: list(recipe.stages["main"].terms) == ["l1"]),
        ("masks: {face: false}\nstages: {main: {terms: {l1: {mask: null}}}}", lambda recipe: not recipe.masks),
        ("metrics: {psnr: false}", lambda recipe: list(recipe.metrics) == ["mae"]),
        ("metrics: {ssim: {}}", lambda recipe: list(recipe.metrics) == ["mae", "psnr", "ssim"]),
    ],
    ids=["stage", "term", "mask", "metric", "metric added to a list"],
)
def test_false_drops_an_inherited_entry(family, child, left):
    assert left(family(child))


def test_dropping_every_term_is_refused(family):
    with pytest.raises(RecipeError, match=r"child\.yaml:2: stages\.main\.terms"):
        family("stages: {main: {terms: {l1: false, charbonnier: false}}}")


def test_plugin_paths_are_relative_to_the_file_that_names_them(tmp_path):
    (tmp_path / "deep").mkdir()
    plugin = "from enface import Loss, hookimpl\nclass {0}(Loss): ...\n@hookimpl\ndef components(): return [{0}]\n"
    (tmp_path / "deep" / "mine.py").write_text(plugin.format("Deep"))
    (tmp_path / "deep" / "base.yaml").write_text(
        f"plugins: [mine.py, {TOY}]\ndata: {{use: toy_faces}}\ngenerator: {{use: unet}}\n"
        "stages: {main: {steps: 1, terms: {l1: {}}}}\n"
    )
    (tmp_path / "child.yaml").write_text("extends: deep/base.yaml\n")
    loaded = load_recipe(tmp_path / "child.yaml")
    assert loaded.recipe.plugins == [str(tmp_path / "deep" / "mine.py"), str(TOY)]
    assert "deep" in loaded.catalog.names("loss")
    assert loaded.recipe.name == "child"


def test_values_interpolate(family):
    recipe = family("seed: 7\nstages: {main: {steps: '${seed}', batch: '${stages.main.steps}'}}", "seed=3")
    assert (recipe.stages["main"].steps, recipe.stages["main"].batch) == (3, 3)


def test_an_undefined_interpolation_names_the_key(family):
    with pytest.raises(RecipeError, match=r"child\.yaml.*main\.steps.*sede"):
        family("stages: {main: {steps: '${sede}'}}")


# ------------------------------------------------------------------ overrides


def test_overrides_reach_anything(family):
    recipe = family(
        "",
        "stages.main.terms.l1.weight=5",
        "stages.main.freeze=[heads]",
        "metrics=[ssim]",
        "stages.later=false",
        "stages.main.terms.l1.weight={use: linear, start: 0, end: 1, over: 10}",
        "data.split.train=[000-002]",
    )
    assert recipe.stages["main"].terms["l1"].weight.model_extra == {"start": 0, "end": 1, "over": 10}
    assert recipe.stages["main"].freeze == ["heads"]
    assert (list(recipe.metrics), list(recipe.stages)) == (["ssim"], ["main"])
    assert recipe.data.split.train == ["000-002"]


def test_the_last_override_wins(family):
    assert family("seed: 1", "seed=2", "seed=3").seed == 3


def test_an_invalid_override_is_named(family):
    with pytest.raises(RecipeError, match=r"^--set stages\.main\.steps=few: stages\.main\.steps: .*'few'"):
        family("", "stages.main.steps=few")


# ------------------------------------------------------------------ checking


def test_all_mistakes_are_reported_together(family):
    with pytest.raises(RecipeError) as caught:
        family("generator: {widht: 1}\nstages: {main: {terms: {l1: {mask: fase}}}}\nmetrics: [psnrr]")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "child.yaml:2: generator.widht: unknown key 'widht'; did you mean 'width'?" in lines[0]
    assert any(
        "child.yaml:4: metrics.psnrr: no metric is called 'psnrr'; did you mean 'psnr'?" in line for line in lines
    )
    assert any("child.yaml:3: stages.main.terms.l1.mask: no mask 'fase'; defined: face" in line for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "data: {split: {train: -1}}",
        "data: {split: {val: -2}}",
        "stages: {main: {terms: {l1: {weight: .nan}}}}",
        "stages: {main: {optimizer: {lr: .inf}}}",
        "stages: {main: {batch: 2.5}}",
        "stages: {main: {clip: 0}}",
        "stages: {main: {ema: 1}}",
        "seed: -1",
        "data: {size: 4}",
        "engine: {precision: fp64}",
        "log: {best: ssim}",
        "evaluation: {images: 0}",
        "pairs: {source: {same: [identity]}}",
        "pairs: {partner: {chance: 2}}",
        "name: ../escape",
        "plugins: toy_faces.py",
        "stages: {'../x': {steps: 1, terms: {l1: {}}}}",
        "generator: {width: .nan}",
        "generator: unet",
        "stages: []",
        "log: {observers: [progres]}",
    ],
)
def test_values_out_of_range_or_type_are_refused_naming_file_and_line(family, text):
    with pytest.raises(RecipeError, match=r"child\.yaml:2: "):
        family(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b\n", "a recipe is a map"),
        ("", "is required and missing"),
        ("name: x\nname: y\n", "line 2"),
        ("name: [x\n", "line 2, column 1"),
        ("name: x\n\tdata: {}\n", "line 2, column 1"),
        ("extends: [a, b]\n", "extends"),
        ("name: !!python/object/apply:os.system [echo]\n", "line 1"),
    ],
    ids=["list", "empty", "key twice", "open bracket", "tab", "two parents", "code"],
)
def test_files_that_are_not_recipes(tmp_path, text, says):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert "odd.yaml" in str(caught.value)
    assert says in str(caught.value)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "odd.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"odd\.yaml: is not UTF-8"):
        load_recipe(tmp_path / "odd.yaml")


def test_a_saved_recipe_reads_back_the_same(family, tmp_path):
    recipe = family(
        "stages: {main: {optimizer: {lr: {use: step_decay, start: 1, every: 2}}, terms: {charbonnier: {weight: 3}}}}"
    )
    save_recipe(recipe, tmp_path / "saved.yaml")
    again = load_recipe(tmp_path / "saved.yaml").recipe
    assert again.dump() == recipe.dump()
    assert again.training_digest() == recipe.training_digest()


def test_the_digest_covers_what_training_depends_on(family):
    plain = family("").training_digest()
    assert family("log: {every: 7}\nmetrics: [mae]\nevaluation: {batch: 3}\nname: other").training_digest() == plain
    assert family("seed: 1").training_digest() != plain
    shuffled = family("data: {split: {shuffle: true}}")
    assert shuffled.training_digest() != plain
    assert shuffled.dump()["data"]["split"]["shuffle"] is True
    # Absent unless it is used, so that recipes from before keep their digest.
    assert "shuffle" not in family("").dump()["data"]["split"]
    assert family("stages: {main: {terms: {charbonnier: {eps: 0.2}}}}").training_digest() != plain


def test_the_datasets_pairs_are_the_default(load):
    pairs = load().recipe.pairs
    assert pairs.target.where == {"pose": 0, "light": 0}
    assert (pairs.partner.adjacent, pairs.partner.chance) == ("pose", 0.5)


def test_a_recipe_may_remove_the_partner(load):
    assert load({"pairs": {"partner": None}}).recipe.pairs.partner is None
    assert load({"pairs": {"partner": None}}).recipe.pairs.target.where == {"pose": 0, "light": 0}
