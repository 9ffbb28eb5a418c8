"""``enface plugins`` and ``enface schema``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins

KINDS = Catalog(load_plugins()).kinds

CAUCHY = Path(__file__).parents[2] / "support" / "cauchy.py"


def test_components_are_listed_by_kind(enface):
    outcome = enface("plugins")
    assert outcome.code == 0
    heads = [line.partition(" ")[0] for line in outcome.out.splitlines() if line and not line.startswith(" ")]
    assert heads == list(KINDS)
    (line,) = [line for line in outcome.out.splitlines() if line.strip().startswith("mse ")]
    assert line.split(maxsplit=1)[1] == "Squared error, (output - target)^2."
    assert max(map(len, outcome.out.splitlines())) <= 100


def test_a_kind_is_listed_with_summary_and_origin(enface):
    outcome = enface("plugins", "schedule", "--plugin", CAUCHY)
    assert outcome.out.splitlines()[0] == "constant  (enface 0.1.0)"
    assert outcome.out.splitlines()[1].startswith("    ")
    assert f"cauchy  ({CAUCHY})" in enface("plugins", "loss", "--plugin", CAUCHY).out


def test_a_kind_may_be_named_in_the_plural(enface):
    assert enface("plugins", "losses").out == enface("plugins", "loss").out


def test_a_loss_is_fully_described(enface):
    out = enface("plugins", "loss", "vanilla").out
    assert "loss vanilla\n  from enface 0.1.0\n  module enface_plugins.losses.vanilla\n  file " in out
    assert "Binary cross-entropy, non-saturating for the generator." in out
    assert "  smoothing: number >= 0 and < 0.5; default 0.0\n      Reduction of the critic's label" in out
    assert "Requests in forward: fake_logits\nRequests in critic: real_logits, fake_logits\n" in out
    assert "Claims: non_negative, per_image, deterministic" in out
    assert "Args:" not in out


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("loss", "r1", "Parameters: none"),
        ("loss", "ssim", "Raises:\n  RecipeError: when a side of the images is smaller than the window."),
        ("dataset", "labelled_folder", "root: path; required"),
        ("discriminator", "patch_gan", "Provides: logits, features"),
        ("discriminator", "conditional_patch_gan", "Requests in forward: source"),
        ("generator", "siamese", "pose_logits, light_logits"),
        ("metric", "psnr", "Better: higher"),
        ("metric", "mae", "Better: lower"),
        ("metric", "mae", "Range: 0 to 1 (range from black to white)"),
        ("metric", "color_shift", "Range: 0 and above (Delta E*ab)"),
        ("metric", "lpips", "Range: 0 and above\n"),
        ("metric", "kid", "Range: any number\n"),
        ("mask", "ellipse", "inside: number or schedule; default 1.0"),
    ],
)
def test_each_kind_shows_its_own_properties(enface, kind, name, says):
    assert says in enface("plugins", kind, name).out


def test_a_component_without_a_docstring_is_described(enface):
    out = enface("plugins", "loss", "cauchy", "--plugin", CAUCHY).out
    assert f"file {CAUCHY}" in out
    assert "scale: number > 0; default 0.1" in out
    assert "Unit: derived from the shape of its map" in out


def test_json_has_the_same_keys_at_each_level(enface):
    everything = json.loads(enface("plugins", "--json").out)
    assert list(everything) == list(KINDS)
    assert {tuple(item) for items in everything.values() for item in items} == {("name", "summary")}
    of_kind = json.loads(enface("plugins", "metric", "--json").out)
    assert {tuple(item) for item in of_kind} == {("kind", "name", "summary", "origin")}
    assert {tuple(item["origin"]) for item in of_kind} == {("module", "file", "distribution", "version")}
    one = json.loads(enface("plugins", "loss", "huber", "--json").out)
    assert list(one) == [
        *("kind", "name", "summary", "origin", "docstring", "parameters"),
        *("requests", "optional", "unit", "claims"),
    ]
    assert one["parameters"]["properties"]["delta"]["exclusiveMinimum"] == 0
    assert one["claims"]["distance"]
    assert json.loads(enface("plugins", "metric", "psnr", "--json").out)["higher_is_better"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plugins", "lose"), "no kind of component is called 'lose'; did you mean 'loss'?"),
        (("plugins", "loss", "charbonier"), "no loss is called 'charbonier'; did you mean 'charbonnier'?"),
        (("plugins", "--plugin", "absent.py"), "absent.py does not exist"),
        (("schema", "--plugin", "absent.py"), "absent.py does not exist"),
        (("schema", "--out", "/dev/null/x.json"), "cannot write /dev/null/x.json"),
    ],
)
def test_a_mistake_is_one_message_and_code_two(enface, arguments, says):
    outcome = enface(*arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert outcome.out == ""


def test_the_schema_includes_plugins_given_as_files(enface, tmp_path):
    out = tmp_path / "new" / "recipe.schema.json"
    outcome = enface("schema", "--plugin", CAUCHY, "--out", out)
    assert outcome.out == f"schema of recipes: {out}\n"
    recipe = {"stages": {"main": {"terms": {"cauchy": {"scale": 0.2}}}}}
    validator = Draft202012Validator(json.loads(out.read_text(encoding="utf-8")))
    assert validator.is_valid(recipe)
    recipe["stages"]["main"]["terms"]["cauchy"] = {"scale": 0}
    assert not validator.is_valid(recipe)


def test_the_schema_is_printed_by_default(enface):
    printed = json.loads(enface("schema").out)
    assert printed["title"] == "enface recipe"
    assert "loss.cauchy" not in printed["$defs"]
