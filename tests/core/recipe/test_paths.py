"""Paths in a recipe are relative to its file; ``~`` and variables are expanded; a run's recipe has absolute ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from enface.errors import RecipeError
from enface.recipe.load import load_recipe
from enface.recipe.models import save_recipe

PLUGIN = """
from enface import Dataset, Loss, hookimpl
from pathlib import Path

class Shelf(Dataset):
    def __init__(self, *, root: Path, also: Path | None = None):
        pass
    def rows(self):
        return []
    def image(self, row):
        raise NotImplementedError

class Stencil(Loss):
    def __init__(self, *, file: Path):
        super().__init__()
    def forward(self, output, target):
        return (output - target).abs()

@hookimpl
def components():
    return [Shelf, Stencil]
"""
BASE = """\
plugins: [../code/shelf.py]
data: {use: shelf, root: photos, size: 32}
pairs: {}
generator: {use: unet}
stages:
  main: {steps: 1, terms: {stencil: {file: stencils/face.png}}}
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Folders ``recipes`` (base.yaml), ``recipes/deep``, ``code`` and ``shell``, which is the working directory."""
    for name in ("recipes/deep", "code", "shell", "home"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "code" / "shelf.py").write_text(PLUGIN)
    (tmp_path / "recipes" / "base.yaml").write_text(BASE)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "shell")
    return tmp_path


def loaded(lab, text="", *overrides):
    path = lab / "recipes" / "deep" / "mine.yaml"
    path.write_text(f"extends: ../base.yaml\n{text}")
    return load_recipe(path, overrides).recipe


def root(recipe):
    return recipe.data.params["root"]


def test_a_path_is_relative_to_the_file_that_names_it(lab):
    recipe = loaded(lab, "data: {also: more}")
    assert root(recipe) == str(lab / "recipes" / "photos"), "the parent's"
    assert recipe.data.params["also"] == str(lab / "recipes" / "deep" / "more")
    assert recipe.stages["main"].terms["stencil"].params["file"] == str(lab / "recipes" / "stencils" / "face.png")
    assert recipe.plugins == [str(lab / "code" / "shelf.py")]


def test_a_child_replaces_a_path_by_its_own(lab):
    assert root(loaded(lab, "data: {root: photos}")) == str(lab / "recipes" / "deep" / "photos")


@pytest.mark.parametrize("override", ["data.root=photos", "data={root: photos}"])
def test_an_override_is_relative_to_the_working_directory(lab, override):
    assert root(loaded(lab, "", override)) == str(lab / "shell" / "photos")


def test_plugins_of_an_override_are_relative_to_the_working_directory(lab):
    (lab / "shell" / "mine.py").write_text(PLUGIN)
    assert loaded(lab, "", "plugins=[mine.py]").plugins == [str(lab / "shell" / "mine.py")]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("~/photos", "home/photos"),
        ("$HOME/photos", "home/photos"),
        ("${oc.env:HOME}/photos", "home/photos"),
        ("$PWD/photos", "shell/photos"),
        ("$SHELF/photos", "recipes/deep/on a shelf/photos"),
    ],
)
def test_home_and_environment_variables_are_expanded(lab, monkeypatch, written, expected):
    monkeypatch.setenv("SHELF", "on a shelf")
    assert root(loaded(lab, f"data:\n  root: {written}\n")) == str(lab / expected)


def test_the_working_directory_is_the_current_one(lab, monkeypatch):
    monkeypatch.setenv("PWD", "/stale")
    assert root(loaded(lab, "data: {root: $PWD/photos}")) == str(lab / "shell" / "photos")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("$NOWHERE_42/photos", "environment variable 'NOWHERE_42' is not set (in $NOWHERE_42/photos)"),
        (
            "${oc.env:NOWHERE_42}/photos",
            "KeyError raised while resolving interpolation: \"Environment variable 'NOWHERE_42' not found\"",
        ),
        (
            "${NOWHERE_42}/photos",
            "Interpolation key 'NOWHERE_42' not found; $NAME and ${oc.env:NAME} are environment variables",
        ),
    ],
)
def test_an_unknown_variable_is_named_with_its_line(lab, written, expected):
    with pytest.raises(RecipeError) as error:
        loaded(lab, f"data:\n  root: {written}\n")
    assert str(error.value) == f"{lab / 'recipes' / 'deep' / 'mine.yaml'}:3: data.root: {expected}"


def test_a_folder_with_a_dollar_in_its_name_is_found(lab):
    (lab / "recipes" / "deep" / "US$ 5").mkdir()
    assert root(loaded(lab, "data: {root: US$ 5}")) == str(lab / "recipes" / "deep" / "US$ 5")


def test_start_and_pack_are_relative_to_the_file(lab):
    recipe = loaded(
        lab,
        "data: {pack: packs/heads}\nstages:\n  main: {start: {run: runs/a}}\n  more: {steps: 1, terms: {l1: {}}, "
        "start: {checkpoint: step.safetensors}}\n",
    )
    deep = lab / "recipes" / "deep"
    assert recipe.data.pack == str(deep / "packs" / "heads")
    assert recipe.stages["main"].start.run == str(deep / "runs" / "a")
    assert recipe.stages["more"].start.checkpoint == str(deep / "step.safetensors")


def test_an_address_of_a_pack_stays_as_it_is(lab):
    assert loaded(lab, "data: {pack: 's3://bucket/heads'}").data.pack == "s3://bucket/heads"


def test_the_parent_may_be_at_a_variable(lab, monkeypatch):
    monkeypatch.setenv("RECIPES", str(lab / "recipes"))
    path = lab / "shell" / "mine.yaml"
    path.write_text("extends: $RECIPES/base.yaml\n")
    assert root(load_recipe(path).recipe) == str(lab / "recipes" / "photos")


def test_a_runs_recipe_has_absolute_paths_and_reads_the_same_anywhere(lab, monkeypatch):
    recipe = loaded(lab, "data: {also: more}")
    run = lab / "runs" / "mine"
    run.mkdir(parents=True)
    save_recipe(recipe, run / "recipe.yaml")
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    for path in (saved["data"]["root"], saved["data"]["also"], saved["stages"]["main"]["terms"]["stencil"]["file"]):
        assert Path(path).is_absolute()
    monkeypatch.chdir("/")
    assert load_recipe(run).recipe.training_digest() == recipe.training_digest()
