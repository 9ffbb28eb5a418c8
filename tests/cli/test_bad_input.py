"""What a user can get wrong: one message that names file and key, exit code 2, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

TOY = str(Path(__file__).parents[1] / "support" / "toy_faces.py")
PATCH = {"use": "patch_gan", "width": 4, "layers": 1}
GAN = {"use": "hinge", "against": "patch"}


@pytest.fixture
def fails(enface, tmp_path):
    """Run a recipe that cannot be run; what is said about it."""

    def call(path, *words, command="run"):
        where = ["--runs", tmp_path / "runs"] if command == "run" else []
        found = enface(command, path, *where, *words)
        assert found.code == 2, found.out + found.err
        assert "Traceback" not in found.out + found.err
        assert found.err.startswith("error: ") or "Usage:" in found.err
        assert not list(tmp_path.glob("runs/*/*/recipe.yaml")), "no run directory is left by a recipe that cannot run"
        return found.err

    return call


def stage(**keys):
    return {"stages": {"main": keys}}


# ------------------------------------------------------------------ recipes: the file


def test_a_syntax_error_says_line_and_column(recipe, fails):
    path = recipe("name: x\ndata: {use: toy_faces, size: 32\nseed: 3\n")
    assert f"{path}, line 3, column 5" in fails(path)


def test_a_missing_file(tmp_path, fails):
    assert f"recipe {tmp_path / 'gone.yaml'} does not exist" in fails(tmp_path / "gone.yaml")


def test_a_folder_that_is_no_run(tmp_path, fails):
    assert str(tmp_path) in fails(tmp_path)


def test_a_missing_parent(recipe, fails, tmp_path):
    path = recipe("extends: parents/gone.yaml\n")
    message = fails(path)
    assert f"{path}: extends: recipe {tmp_path / 'parents' / 'gone.yaml'} does not exist" in message


def test_recipes_that_extend_each_other(recipe, fails):
    first = recipe("extends: b.yaml\n", "a.yaml")
    second = recipe("extends: a.yaml\n", "b.yaml")
    message = fails(first)
    assert "in a circle" in message
    assert f"{first} -> {second} -> {first}" in message


def test_a_recipe_that_extends_itself(recipe, fails):
    path = recipe("extends: mine.yaml\n")
    assert f"{path} -> {path}" in fails(path)


# ------------------------------------------------------------------ recipes: keys and values


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        ({"sed": 1}, "sed", "unknown key 'sed'; did you mean 'seed'?"),
        ({"data": {"spilt": {}}}, "data.spilt", "did you mean 'split'?"),
        ({"data": {"split": {"trian": 3}}}, "data.split.trian", "did you mean 'train'?"),
        ({"data": {"identites": 3}}, "data.identites", "did you mean 'identities'?"),
        ({"pairs": {"target": {"smae": []}}}, "pairs.target.smae", "did you mean 'same'?"),
        ({"pairs": {"partner": {"chanse": 1}}}, "pairs.partner.chanse", "did you mean 'chance'?"),
        ({"generator": {"widht": 1}}, "generator.widht", "did you mean 'width'?"),
        (stage(stepps=1), "stages.main.stepps", "did you mean 'steps'?"),
        (stage(terms={"l1": {"wieght": 1}}), "stages.main.terms.l1.wieght", "did you mean 'weight'?"),
        (stage(terms={"charbonnier": {"epz": 1}}), "stages.main.terms.charbonnier.epz", "did you mean 'eps'?"),
        (
            stage(discriminators={"patch": {**PATCH, "layer": 1}}),
            "stages.main.discriminators.patch.layer",
            "did you mean 'layers'?",
        ),
        ({"masks": {"ellipse": {"insid": 1}}}, "masks.ellipse.insid", "did you mean 'inside'?"),
        ({"log": {"evry": 1}}, "log.evry", "did you mean 'every'?"),
        ({"log": {"validat": 1}}, "log.validat", "did you mean 'validate'?"),
        ({"engine": {"precison": "fp32"}}, "engine.precison", "did you mean 'precision'?"),
        ({"evaluation": {"bootstraps": 100}}, "evaluation.bootstraps", "did you mean 'bootstrap'?"),
        (
            stage(optimizer={"use": "adam", "lr": {"use": "linear", "strat": 1, "end": 0, "over": 2}}),
            "stages.main.optimizer.lr.strat",
            "did you mean 'start'?",
        ),
        (
            stage(terms={"l1": {"weight": {"use": "liner"}}}),
            "stages.main.terms.l1.weight",
            "no schedule is called 'liner'; did you mean 'linear'?",
        ),
        ({"seed": "one"}, "seed", "given: 'one'"),
        ({"data": {"size": "large"}}, "data.size", "given: 'large'"),
        ({"generator": {"width": []}}, "generator.width", "valid number"),
        (stage(steps=0), "stages.main.steps", "greater than or equal to 1 (given: 0)"),
        (stage(batch=-4), "stages.main.batch", "given: -4"),
        (stage(clip=0), "stages.main.clip", "greater than 0"),
        (stage(ema=1.0), "stages.main.ema", "given: 1.0"),
        (stage(terms={"l1": {"mask_on": "both"}}), "stages.main.terms.l1.mask_on", "'error' or 'images'"),
        (stage(terms={"charbonnier": {"eps": 0}}), "stages.main.terms.charbonnier.eps", "greater than 0"),
        (stage(terms={"l1": 5}), "stages.main.terms.l1", "given: 5"),
        ({"generator": {"use": "siames"}}, "generator", "no generator is called 'siames'; did you mean 'siamese'?"),
        ({"data": {"use": "toy_face"}}, "data", "no dataset is called 'toy_face'; did you mean 'toy_faces'?"),
        ({"metrics": ["l1", "psnrr"]}, "metrics.psnrr", "no metric is called 'psnrr'; did you mean 'psnr'?"),
        (stage(terms={"charbonier": {}}), "stages.main.terms.charbonier", "did you mean 'charbonnier'?"),
        ({"masks": {"face": {"use": "elipse"}}}, "masks.face.use", "did you mean 'ellipse'?"),
        (
            stage(discriminators={"patch": {"use": "patchgan"}}),
            "stages.main.discriminators.patch.use",
            "did you mean 'patch_gan'?",
        ),
        (stage(terms={"l1": {"mask": "face"}}), "stages.main.terms.l1.mask", "no mask 'face'; defined: none"),
        (stage(terms={"gan": GAN}), "stages.main.terms.gan.against", "no discriminator 'patch'; defined: none"),
        (stage(discriminators={"fine": PATCH}, terms={"gan": GAN}), "stages.main.terms.gan.against", "defined: fine"),
        (stage(terms={"hinge": {}}), "stages.main.terms.hinge", "needs a discriminator"),
        (
            stage(terms={"cross_entropy": {}}),
            "stages.main.terms.cross_entropy",
            "asks for 'logits', which nobody provides; provided: ",
        ),
        (stage(freeze=["encodr"]), "stages.main.freeze", "no part 'encodr'; did you mean 'encoder'?"),
        (stage(batch=9, accumulate=2), "stages.main.batch", "cannot be split evenly"),
        (stage(optimizer={"use": "adamw2"}), "stages.main.optimizer.use", "did you mean 'adamw'?"),
        ({"log": {"best": "ssim"}}, "log.best", "no metric 'ssim'; listed: l1"),
        ({"log": {"observers": ["progres"]}}, "log.observers.0", "did you mean 'progress'?"),
        ({"augment": {"crop": {}}}, "augment.crop", "needs a data.load_size larger than data.size"),
        ({"augment": {"crop": {}}, "data": {"load_size": 32}}, "augment.crop", "needs a data.load_size larger"),
        ({"data": {"load_size": 16}}, "data", "load_size 16 is smaller than size 32"),
        (
            {"augment": {"shift": {"by": 2, "share": ["target"]}}},
            "augment.shift",
            "share names 'target', which is not among images (source, partner)",
        ),
        ({"augment": {"shift": {"by": 0}}}, "augment.shift.by", "greater than or equal to 1"),
        ({"augment": {"shift": {"by": 1, "images": []}}}, "augment.shift.images", "at least 1"),
        ({"augment": {"flip": {}}}, "augment.flip.mirror", "must say how labels change"),
        ({"augment": {"flip": {"mirror": {}, "chance": 2}}}, "augment.flip.chance", "less than or equal to 1"),
        ({"augment": {"crap": {}}}, "augment.crap", "did you mean 'crop'?"),
        ({"data": {"split": "first_200"}}, "data.split", "toy_faces has none, so give a map (by, train, ...)"),
        (stage(start="previus"), "stages.main.start", "'previous' or 'scratch'"),
        (stage(start={}), "stages.main.start", "name a run, a stage of this run, or a checkpoint"),
        (stage(start={"rnu": "x"}), "stages.main.start.rnu", "did you mean 'run'?"),
        (stage(start={"run": "x", "step": 0}), "stages.main.start.step", "greater than or equal to 1"),
        (stage(start={"run": "x", "checkpoint": "y"}), "stages.main.start", "leave out run, stage and step"),
        (stage(start={"stage": "warm"}), "stages.main.start.stage", "no stage 'warm' is trained before this one"),
        ({"metrics": {"l1": {"mask": "face"}}}, "metrics.l1.mask", "no mask 'face'; defined: none"),
        (
            {"metrics": {"psnr": {"mask": "ellipse"}}, "masks": {"ellipse": {}}},
            "metrics.psnr.mask",
            "metric psnr has no map over the image",
        ),
    ],
)
def test_a_key_or_value_that_is_wrong(recipe, fails, content, key, says):
    path = recipe(content)
    message = fails(path)
    assert f"{path}:" in message, "the file"
    line = int(message.partition(f"{path}:")[2].partition(":")[0])
    assert f": {key}" in message
    assert says in message
    # The line is that of the key, or of the nearest map above it.
    text = path.read_text().splitlines()[line - 1]
    assert any(
        f"{part}:" in text or f"- {part}" in text
        for part in [*key.split("."), "use", "stages", "encodr", "progres", "psnrr"]
    )


def test_a_key_of_a_parent_is_placed_in_the_parents_file(recipe, fails):
    parent = recipe({"generator": {"widht": 2}}, "parent.yaml")
    child = recipe(f"extends: {parent}\n", "child.yaml")
    message = fails(child)
    assert f"{parent}:" in message
    assert str(child) not in message


def test_codes_of_a_partner_where_pairs_have_none(recipe, fails):
    contrast = {"use": "contrastive", "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "pose"}}
    path = recipe({"pairs": {"partner": None}, **stage(terms={"pair": contrast})})
    message = fails(path)
    assert "'partner_identity_code' is computed from 'partner'" in message
    assert "pairs.partner" in message
    assert f"{path}:" in message


def test_images_of_a_size_the_network_cannot_take(recipe, fails):
    path = recipe({"data": {"size": 40}})
    message = fails(path)
    assert "multiple of 16" in message
    assert ": generator: " in message


# ------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("stages.main.steps", "write it as key.of.the.recipe=value"),
        ("=3", "write it as key.of.the.recipe=value"),
        ("stages.main.stepps=3", "unknown key 'stepps'; did you mean 'steps'?"),
        ("sede=3", "did you mean 'seed'?"),
        ("seed=[1", "--set seed=[1"),
        ("stages.main.steps=0", "greater than or equal to 1"),
        ("stages.mian.steps=3", "stages.mian"),
        ("stages.main.terms.l1.weight.deep=3", "weight"),
        ("..=3", "--set"),
        ("data=3", "data"),
        ("stages=[]", "stages"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_overrides_that_are_wrong(recipe, fails, override, says, command):
    message = fails(recipe({}), "--set", override, command=command)
    assert f"--set {override}" in message
    assert says in message


# ------------------------------------------------------------------ plugins

LOSS = "class Mine(Loss):\n    '''Mine.'''\n    def forward(self, output, target): return output - target\n"


@pytest.mark.parametrize(
    ("body", "brings", "says"),
    [
        ("class Mine(Loss:\n", "", "line "),
        ("@hookimpl\ndef componets(): return []\n", "", "componets"),
        ("@hookimpl\ndef step_ended(run, colour): return []\n", "", "colour"),
        (LOSS, "", "implements no hook"),
        ("1 / 0\n", "", "ZeroDivisionError"),
        ("from enface import Lossy\n", "", "Lossy"),
        (LOSS.replace("Mine", "L1"), "L1", "two loss components are called 'l1'"),
        (
            "class Mine(Loss):\n    def __init__(self, scale=1.0): super().__init__()\n",
            "Mine",
            "'scale' must be keyword-only",
        ),
        ("class Mine: pass\n", "Mine", "exactly one base of"),
    ],
)
def test_plugin_files_that_cannot_be_used(recipe, plugin, fails, body, brings, says):
    file = plugin(body, brings=brings)
    message = fails(recipe({"plugins": [file, TOY]}))
    assert file in message
    assert says in message


def test_two_plugin_files_with_one_name(recipe, plugin, fails):
    files = [plugin(LOSS, name=name, brings="Mine") for name in ("first.py", "second.py")]
    message = fails(recipe({"plugins": [*files, TOY]}))
    assert all(file in message for file in files)


@pytest.mark.parametrize("name", ["gone.py", "no_such_module_here"])
def test_a_plugin_that_is_not_there(recipe, fails, name):
    assert name in fails(recipe({"plugins": [name, TOY]}))


def test_a_mask_of_the_wrong_size(recipe, plugin, fails):
    body = "class Small(Mask):\n    '''Small.'''\n    def forward(self): return torch.ones(1, 1, 31, 32)\n"
    path = recipe(
        {
            "plugins": [plugin(body, brings="Small"), TOY],
            "masks": {"small": {}},
            **stage(terms={"l1": {"mask": "small"}}),
        }
    )
    message = fails(path)
    assert f"{path}:" in message
    assert "masks.small: gives weights of shape (1, 1, 31, 32), but the images are 32 x 32" in message


# ------------------------------------------------------------------ data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"identities": 0}, "dataset toy_faces has no images"),
        ({"broken": "002_-15_01"}, "image 002_-15_01 cannot be read"),
        ({"skip_frontal": "002"}, "1 identities have no image with pose=0, light=0 (agreeing in identity): 002"),
        ({"skip_frontal": "005"}, "no image with pose=0, light=0 (agreeing in identity): 005"),
        (
            {"split": {"train": ["000-003"], "val": 0, "test": ["003-005"]}},
            "1 identities are in both train and test: 003",
        ),
        ({"split": {"train": ["000-003"], "val": ["002"]}}, "in both train and val: 002"),
        ({"split": {"train": 7}}, "data.split.train: asks for 7, but only 6 of 6"),
        ({"split": {"train": 4, "val": 1, "test": 2}}, "data.split.test: asks for 2, but only 1 of 6"),
        ({"split": {"train": 5, "val": 1, "test": None}}, "data.split.test: is empty"),
        ({"split": {"by": "identitty"}}, "data.split.by: no column 'identitty'; did you mean 'identity'?"),
        ({"split": {"by": "light", "train": 1, "val": 0, "test": 1}}, "are in both train and test"),
        ({"split": {"train": ["zoe"]}}, "data.split.train: no value 'zoe'"),
        ({"split": {"where": {"pse": 0}}}, "data.split.where: no column 'pse'; did you mean 'pose'?"),
        ({"split": {"where": {"light": 9}}}, "data.split.where: no image has light=9"),
    ],
)
def test_data_that_cannot_be_used(recipe, fails, data, says):
    assert says in fails(recipe({"data": data}))


@pytest.mark.parametrize(
    ("mirror", "says"),
    [
        ({"poze": "negate"}, "augment.flip.mirror.poze: no column 'poze' in the data; did you mean 'pose'?"),
        ({"identity": "negate"}, "augment.flip.mirror.identity: the column is not of numbers"),
        ({"light": {"1": 5}}, "augment.flip.mirror.light: the mirror of 1 is 5, which the data does not have"),
    ],
)
def test_mirrors_that_the_data_does_not_have(recipe, fails, mirror, says):
    assert says in fails(recipe({"augment": {"flip": {"mirror": mirror}}}))


def test_an_unreadable_image_left_out_is_said_and_the_run_goes_on(recipe, enface, tmp_path):
    path = recipe({"data": {"broken": "002_-15_01", "on_error": "skip"}, "stages": {"main": {"steps": 1}}})
    found = enface("run", path, "--runs", tmp_path / "runs")
    assert found.code == 0, found.err
    assert "1 unreadable images left out" in found.out


def test_no_cuda_where_it_is_asked_for(recipe, fails):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert "engine.device: cuda" in fails(recipe({"engine": {"device": "cuda"}}))


# ------------------------------------------------------------------ a loss that is not finite


@pytest.mark.parametrize("keep", [True, False], ids=["after a checkpoint", "before any"])
def test_a_nan_stops_the_run_and_keeps_the_last_good_checkpoint(recipe, plugin, enface, tmp_path, keep):
    from safetensors.torch import load_file

    first = 4 if keep else 0
    body = (
        "class Rotten(Loss):\n    '''NaN later on.'''\n"
        f"    def forward(self, output, step): return output * (float('nan') if step >= {first} else 1.0)\n"
    )
    path = recipe(
        {"plugins": [plugin(body, brings="Rotten"), TOY], **stage(terms={"bad": {"use": "rotten", "weight": 0.1}})}
    )
    found = enface("run", path, "--runs", tmp_path / "runs")
    assert found.code == 2
    assert "Traceback" not in found.err
    assert f"term bad became NaN or infinite at step {first}" in found.err
    (directory,) = (tmp_path / "runs" / "toy").iterdir()
    (batch,) = directory.glob("bad-batch-*.safetensors")
    assert str(batch) in found.err
    tensors = load_file(batch)
    assert tensors["source"].shape == (8, 3, 32, 32)
    checkpoints = sorted(path.name for path in (directory / "checkpoints").iterdir())
    if keep:
        assert checkpoints == ["step-00000003.safetensors"]
        assert f"last good checkpoint is {directory}/checkpoints/step-00000003.safetensors" in found.err
        assert all(value.isfinite().all() for value in load_file(directory / "checkpoints" / checkpoints[0]).values())
    else:
        assert checkpoints == []
        assert "no checkpoint had been saved yet" in found.err


# ------------------------------------------------------------------ other commands


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_commands_on_what_is_no_run(enface, tmp_path, command):
    found = enface(command, tmp_path)
    assert found.code == 2
    assert f"{tmp_path} is not a run directory" in found.err


def test_evaluating_a_run_without_a_checkpoint(recipe, enface, tmp_path):
    path = recipe({})
    folder = tmp_path / "runs" / "toy" / "once"
    folder.mkdir(parents=True)
    content = yaml.safe_load(path.read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    found = enface("evaluate", folder)
    assert found.code == 2
    assert "has no checkpoint yet" in found.err


def test_unknown_weights(enface):
    found = enface("weights", "fetch", "lpips-alexx")
    assert found.code == 2
    assert "no weights are called 'lpips-alexx'" in found.err


def test_a_preview_that_cannot_be_written(recipe, enface, tmp_path):
    (tmp_path / "file").write_text("")
    found = enface("data", "preview", recipe({}), "--out", tmp_path / "file" / "x.png")
    assert found.code == 2
    assert "cannot write" in found.err
    found = enface("data", "preview", recipe({}), "--out", tmp_path / "x.unknown")
    assert found.code == 2
    assert "x.unknown" in found.err
