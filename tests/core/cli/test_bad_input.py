"""Users' mistakes end with one message that names file and key, exit code 2, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
PATCH = {"use": "patch_gan", "width": 4, "layers": 1}
GAN = {"use": "hinge", "against": "patch"}


@pytest.fixture
def fails(enface, tmp_path):
    """Run a recipe that is refused; return the message."""

    def call(path, *arguments, command="run"):
        where = ["--runs", tmp_path / "runs"] if command == "run" else []
        outcome = enface(command, path, *where, *arguments)
        assert outcome.code == 2, outcome.out + outcome.err
        assert "Traceback" not in outcome.out + outcome.err
        assert outcome.err.startswith("error: ") or "Usage:" in outcome.err
        assert not list(tmp_path.glob("runs/*/*/recipe.yaml")), "a refused recipe leaves no run directory"
        return outcome.err

    return call


def stage(**keys):
    return {"stages": {"main": keys}}


# ------------------------------------------------------------------ recipe files


def test_a_syntax_error_names_line_and_column(recipe, fails):
    path = recipe("name: x\ndata: {use: toy_faces, size: 32\nseed: 3\n")
    assert f"{path}, line 3, column 5" in fails(path)


def test_a_missing_recipe_is_named(tmp_path, fails):
    assert f"recipe {tmp_path / 'gone.yaml'} does not exist" in fails(tmp_path / "gone.yaml")


def test_a_folder_without_a_run_is_named(tmp_path, fails):
    assert str(tmp_path) in fails(tmp_path)


def test_a_missing_parent_is_named(recipe, fails, tmp_path):
    path = recipe("extends: parents/gone.yaml\n")
    message = fails(path)
    assert f"{path}: extends: recipe {tmp_path / 'parents' / 'gone.yaml'} does not exist" in message


def test_recipes_that_extend_each_other_are_refused(recipe, fails):
    first = recipe("extends: b.yaml\n", "a.yaml")
    second = recipe("extends: a.yaml\n", "b.yaml")
    message = fails(first)
    assert "in a circle" in message
    assert f"{first} -> {second} -> {first}" in message


def test_a_recipe_that_extends_itself_is_refused(recipe, fails):
    path = recipe("extends: mine.yaml\n")
    assert f"{path} -> {path}" in fails(path)


# ------------------------------------------------------------------ keys and values of recipes


@pytest.mark.parametrize(
    ("content", "key", "expected"),
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
        ({"evaluation": {"image": 100}}, "evaluation.image", "did you mean 'images'?"),
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
        ({"metrics": ["mae", "psnrr"]}, "metrics.psnrr", "no metric is called 'psnrr'; did you mean 'psnr'?"),
        ({"metrics": ["l1"]}, "metrics.l1", "no metric is called 'l1'; did you mean 'mae'?"),
        (stage(terms={"L1": {}}), "stages.main.terms.L1", "no loss is called 'L1'; did you mean 'l1'?"),
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
            "requests 'logits', which nothing provides; provided: ",
        ),
        (stage(freeze=["encodr"]), "stages.main.freeze", "no part 'encodr'; did you mean 'encoder'?"),
        (stage(batch=9, accumulate=2), "stages.main.batch", "cannot be split evenly"),
        (stage(optimizer={"use": "adamw2"}), "stages.main.optimizer.use", "did you mean 'adamw'?"),
        ({"log": {"best": "ssim"}}, "log.best", "no metric 'ssim'; listed: mae"),
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
        ({"data": {"split": "first_200"}}, "data.split", "(toy_faces has no named splits); a split says"),
        (stage(start="previus"), "stages.main.start", "'previous' or 'scratch'"),
        (stage(start={}), "stages.main.start", "name a run, a stage of this run, or a checkpoint"),
        (stage(start={"rnu": "x"}), "stages.main.start.rnu", "did you mean 'run'?"),
        (stage(start={"run": "x", "step": 0}), "stages.main.start.step", "greater than or equal to 1"),
        (stage(start={"run": "x", "checkpoint": "y"}), "stages.main.start", "remove run, stage and step"),
        (stage(start={"stage": "warm"}), "stages.main.start.stage", "no stage 'warm' is trained before this one"),
        ({"metrics": {"mae": {"mask": "face"}}}, "metrics.mae.mask", "no mask 'face'; defined: none"),
        (
            {"metrics": {"ms_ssim": {"mask": "ellipse"}}, "masks": {"ellipse": {}}},
            "metrics.ms_ssim.mask",
            "metric ms_ssim cannot measure a part of an image",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_line(recipe, fails, content, key, expected):
    path = recipe(content)
    message = fails(path)
    assert f"{path}:" in message, "the file"
    line = int(message.partition(f"{path}:")[2].partition(":")[0])
    assert f": {key}" in message
    assert expected in message
    # The line of the key, or of the nearest map above it.
    text = path.read_text().splitlines()[line - 1]
    assert any(
        f"{part}:" in text or f"- {part}" in text
        for part in [*key.split("."), "use", "stages", "encodr", "progres", "psnrr"]
    )


def test_a_wrong_key_of_a_parent_names_the_parents_file(recipe, fails):
    parent = recipe({"generator": {"widht": 2}}, "parent.yaml")
    child = recipe(f"extends: {parent}\n", "child.yaml")
    message = fails(child)
    assert f"{parent}:" in message
    assert str(child) not in message


def test_codes_of_a_partner_require_partners_in_the_pairs(recipe, fails):
    contrast = {"use": "contrastive", "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "pose"}}
    path = recipe({"pairs": {"partner": None}, **stage(terms={"pair": contrast})})
    message = fails(path)
    assert "'partner_identity_code' is computed from 'partner'" in message
    assert "pairs.partner" in message
    assert f"{path}:" in message


def test_an_image_size_that_the_generator_does_not_support_is_refused(recipe, fails):
    path = recipe({"data": {"size": 40}})
    message = fails(path)
    assert "multiple of 16" in message
    assert ": generator: " in message


# ------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "expected"),
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
def test_a_wrong_override_is_named(recipe, fails, override, expected, command):
    message = fails(recipe({}), "--set", override, command=command)
    assert f"--set {override}" in message
    assert expected in message


# ------------------------------------------------------------------ plugins


def marked_line(file):
    """Return the number of the line that ends with ``# here``, as text; empty if there is none."""
    lines = Path(file).read_text().splitlines()
    return next((str(number) for number, line in enumerate(lines, 1) if line.endswith("# here")), "")


LOSS = "class Mine(Loss):\n    '''Mine.'''\n    def forward(self, output, target): return output - target\n"


@pytest.mark.parametrize(
    ("body", "brings", "expected"),
    [
        ("class Mine(Loss:  # here\n", "", "line HERE: "),
        ("@hookimpl\ndef componets(): return []\n", "", "no hook 'componets'; did you mean 'components'?"),
        (
            "@hookimpl\ndef xyz(): return []\n",
            "",
            "no hook 'xyz'; known: batch_columns, cache_codes, checkpoint_saved, commands, complete_name, ",
        ),
        (
            "@hookimpl\ndef components(): return [Mine]  # here\n",
            "",
            "line HERE: the hook components() fails with NameError",
        ),
        (LOSS + "@hookimpl\ndef components(): return Mine\n", "", "must return a list of classes"),
        ("@hookimpl\ndef step_ended(run, colour): return []\n", "", "colour"),
        (LOSS, "", "implements no hook"),
        ("x = 1\n1 / 0  # here\n", "", "line HERE: ZeroDivisionError"),
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
def test_a_plugin_file_with_a_mistake_is_named(recipe, plugin, fails, body, brings, expected):
    file = plugin(body, brings=brings)
    message = fails(recipe({"plugins": [file, TOY]}))
    assert file in message
    assert expected.replace("HERE", marked_line(file)) in message


def test_a_syntax_error_in_an_import_of_a_plugin_file_is_located(recipe, plugin, fails, tmp_path, monkeypatch):
    (tmp_path / "helper_of_mine.py").write_text("x = 1\ny = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = fails(recipe({"plugins": [plugin("import helper_of_mine\n"), TOY]}))
    assert f"{tmp_path / 'mine.py'}: {tmp_path / 'helper_of_mine.py'}, line 2" in message


def test_two_plugin_files_that_bring_the_same_name_are_refused(recipe, plugin, fails):
    files = [plugin(LOSS, name=name, brings="Mine") for name in ("first.py", "second.py")]
    message = fails(recipe({"plugins": [*files, TOY]}))
    assert all(file in message for file in files)


@pytest.mark.parametrize("name", ["gone.py", "no_such_module_here"])
def test_a_missing_plugin_is_named(recipe, fails, name):
    assert name in fails(recipe({"plugins": [name, TOY]}))


def test_a_mask_of_the_wrong_size_is_refused(recipe, plugin, fails):
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


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("(output - target).abs().mean()", "gives shape ()"),
        ("(output - target).abs().mean(1)", "gives shape (8, 32, 32)"),
        ("3.0", "gives a float"),
        ("None", "gives a NoneType"),
        ("output.view(7, 3)", "fails with RuntimeError: shape '[7, 3]' is invalid"),
        ("output[target]", "fails with IndexError"),
    ],
)
def test_a_loss_that_fails_or_returns_no_map_is_named(recipe, plugin, enface, tmp_path, value, expected, command):
    file = plugin(
        f"class Mine(Loss):\n    '''M.'''\n    def forward(self, output, target):\n        return {value}  # here\n",
        brings="Mine",
    )
    path = recipe({"plugins": [file, TOY], **stage(terms={"bad": {"use": "mine"}})})
    outcome = enface(command, path, *(["--data"] if command == "check" else ["--runs", tmp_path / "runs"]))
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert f"the loss of term 'bad' {expected}" in outcome.err
    if "fails" in expected:
        assert f"({file}, line {marked_line(file)})" in outcome.err


def test_a_mask_that_fails_is_located(recipe, plugin, enface):
    file = plugin(
        "class Torn(Mask):\n    '''T.'''\n    def forward(self, step):\n        return {}[step]  # here\n",
        brings="Torn",
    )
    path = recipe({"plugins": [file, TOY], "masks": {"torn": {}}, **stage(terms={"l1": {"mask": "torn"}})})
    outcome = enface("check", path, "--data")
    assert outcome.code == 2
    assert f"mask 'torn' fails with KeyError: 0 ({file}, line {marked_line(file)})" in outcome.err


# ------------------------------------------------------------------ adversarial terms


@pytest.mark.parametrize(
    ("keys", "key", "expected"),
    [
        (
            {"discriminators": {"patch": PATCH}, "terms": {"hinge": {}}},
            "terms.hinge",
            "loss hinge needs a discriminator: name one of this stage, 'against: patch'",
        ),
        (
            {"discriminators": {"patch": PATCH}, "terms": {"gan": GAN, "more": {**GAN, "use": "lsgan"}}},
            "terms.more",
            "and term 'gan' are two games against discriminator 'patch'; give each a discriminator of its own",
        ),
        (
            {"discriminators": {"patch": PATCH}, "terms": {"gan": {**GAN, "against": "ptach"}}},
            "terms.gan.against",
            "no discriminator 'ptach'; defined: patch",
        ),
        (
            {"discriminators": {"patch": PATCH}, "terms": {"l1": {}}},
            "discriminators.patch",
            "no term trains it; name it in the 'against' of an adversarial term",
        ),
    ],
)
def test_an_invalid_use_of_a_discriminator_is_named(recipe, fails, keys, key, expected):
    path = recipe(stage(**keys))
    message = fails(path)
    assert f"{path}:" in message
    assert f"stages.main.{key}: {expected}" in message


# ------------------------------------------------------------------ numbers and layers


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (stage(steps=5000, optimizer={"use": "adam", "lr": {"start": 1e-3, "every": 1, "factor": 10}}), "optimizer.lr"),
        (stage(steps=5000, terms={"l1": {"weight": {"start": 1, "every": 2, "factor": 3}}}), "terms.l1.weight"),
        (
            stage(
                steps=5000,
                terms={"gan": {**GAN, "critic_weight": {"start": 1, "every": 2, "factor": 3}}},
                discriminators={"patch": PATCH},
            ),
            "terms.gan.critic_weight",
        ),
    ],
)
def test_a_schedule_that_overflows_is_refused(recipe, fails, content, key):
    schedule = content["stages"]["main"]
    for part in key.split("."):
        schedule = schedule[part]
    schedule["use"] = "step_decay"
    path = recipe(content)
    message = fails(path)
    assert f"{path}:" in message
    assert f"stages.main.{key}: its value at step 4999 of the stage's 5000 overflows" in message
    assert "change less often" in message


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (stage(terms={"ms_ssim": {"scales": 3}}), "stages.main.terms.ms_ssim"),
        ({"metrics": {"ms_ssim": {"scales": 3}}}, "metrics.ms_ssim"),
    ],
)
def test_images_too_small_for_the_scales_of_ms_ssim_are_refused(recipe, fails, content, key):
    path = recipe(content)
    message = fails(path)
    assert f"{path}:" in message
    assert f"{key}: ms_ssim at 3 scales needs images larger than 40 px; these have 32; 2 fit (scales: 2)" in message


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        (
            stage(terms={"perceptual": {"layers": {"relu3_9": 1}}}),
            "terms.perceptual",
            "'relu3_9'; did you mean 'relu3_3'?",
        ),
        (stage(terms={"perceptual": {"backbone": "vgg61"}}), "terms.perceptual", "'vgg61'"),
        (
            stage(discriminators={"patch": {"use": "projected", "layers": ["relu9_9"]}}, terms={"gan": GAN}),
            "discriminators.patch",
            "no layer 'relu9_9'; did you mean 'relu",
        ),
    ],
)
def test_an_unknown_layer_of_a_backbone_is_named(recipe, fails, content, key, expected):
    path = recipe(content)
    message = fails(path)
    assert f"{path}:" in message
    assert f"stages.main.{key}: " in message
    assert expected in message


# ------------------------------------------------------------------ weights

VGG = {
    "stages.main.terms.lpips": stage(terms={"lpips": {}}),
    "stages.main.terms.perceptual": stage(terms={"perceptual": {}}),
    "stages.main.discriminators.patch": stage(discriminators={"patch": {"use": "projected"}}, terms={"gan": GAN}),
}


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """Return the folder of pretrained weights of an empty cache."""
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.mark.parametrize("key", VGG)
def test_missing_weights_are_named_with_the_command_that_fetches_them(recipe, fails, empty_cache, key):
    path = recipe(VGG[key])
    message = fails(path)
    assert f"{path}:" in message
    assert f"{key}: the weights 'vgg16' are missing: {empty_cache / 'vgg16.safetensors'} does not exist" in message
    assert "enface weights fetch vgg16\n" in message
    assert "enface weights fetch vgg16 --from FILE" in message


@pytest.mark.parametrize("key", VGG)
def test_weights_with_another_digest_are_refused(recipe, fails, empty_cache, key):
    import torch
    from safetensors.torch import save_file

    from enface_plugins.pretrained.networks import VGG16

    empty_cache.mkdir(parents=True)
    save_file({name: torch.zeros(1) for name in VGG16.tensors}, empty_cache / "vgg16.safetensors")
    path = recipe(VGG[key])
    message = fails(path)
    assert (
        f"{key}: {empty_cache / 'vgg16.safetensors'}: not the weights 'vgg16': the digest of its tensors is " in message
    )
    assert f"expected {VGG16.sha256}" in message
    assert "to replace it:  enface weights fetch vgg16" in message


def test_missing_weights_of_a_metric_are_reported_before_and_after_training(recipe, enface, empty_cache, tmp_path):
    path = recipe({"metrics": ["mae", "lpips"], "stages": {"main": {"steps": 1}}})
    expected = (
        f"lpips: unavailable. the weights 'alexnet' are missing: {empty_cache / 'alexnet.safetensors'} does not exist"
    )
    outcome = enface("check", path, "--data")
    assert outcome.code == 0
    assert expected in outcome.out
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count(expected) == 2, "before training, and with the numbers"
    (page,) = tmp_path.glob("runs/*/*/report/index.html")
    assert "alexnet" in page.read_text()


def test_an_unavailable_metric_cannot_choose_the_best_network(recipe, fails, empty_cache):
    message = fails(recipe({"metrics": ["mae", "lpips"], "log": {"best": "lpips"}}))
    assert "log.best: the weights 'alexnet' are missing" in message


# ------------------------------------------------------------------ data


@pytest.mark.parametrize(
    ("data", "expected"),
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
        ({"split": {"train": 7}}, "data.split.train: requests 7, but only 6 of 6"),
        ({"split": {"train": 4, "val": 1, "test": 2}}, "data.split.test: requests 2, but only 1 of 6"),
        ({"split": {"train": 5, "val": 1, "test": None}}, "data.split.test: is empty"),
        ({"split": {"by": "identitty"}}, "data.split.by: no column 'identitty'; did you mean 'identity'?"),
        ({"split": {"by": "light", "train": 1, "val": 0, "test": 1}}, "are in both train and test"),
        ({"split": {"train": ["zoe"]}}, "data.split.train: no value 'zoe'"),
        ({"split": {"where": {"pse": 0}}}, "data.split.where: no column 'pse'; did you mean 'pose'?"),
        ({"split": {"where": {"light": 9}}}, "data.split.where: no image has light=9"),
    ],
)
def test_unusable_data_is_refused(recipe, fails, data, expected):
    assert expected in fails(recipe({"data": data}))


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ({"poze": "negate"}, "augment.flip.mirror.poze: no column 'poze' in the data; did you mean 'pose'?"),
        ({"identity": "negate"}, "augment.flip.mirror.identity: the column is not numeric"),
        ({"light": {"1": 5}}, "augment.flip.mirror.light: the mirror of 1 is 5, which the data does not have"),
    ],
)
def test_mirrored_labels_that_the_data_lacks_are_refused(recipe, fails, mirror, expected):
    assert expected in fails(recipe({"augment": {"flip": {"mirror": mirror}}}))


def test_a_skipped_image_is_reported_and_the_run_completes(recipe, enface, tmp_path):
    path = recipe({"data": {"broken": "002_-15_01", "on_error": "skip"}, "stages": {"main": {"steps": 1}}})
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert "skipped 1 unreadable images" in outcome.out


def test_a_requested_gpu_that_is_missing_is_an_error(recipe, fails):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is available")
    assert "engine.device: cuda" in fails(recipe({"engine": {"device": "cuda"}}))


# ------------------------------------------------------------------ non-finite losses


@pytest.mark.parametrize("keep", [True, False], ids=["after a checkpoint", "before the first checkpoint"])
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
    outcome = enface("run", path, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert f"term bad became NaN or infinite at step {first}" in outcome.err
    (directory,) = (tmp_path / "runs" / "toy").iterdir()
    (batch,) = directory.glob("bad-batch-*.safetensors")
    assert str(batch) in outcome.err
    tensors = load_file(batch)
    assert tensors["source"].shape == (8, 3, 32, 32)
    checkpoints = sorted(path.name for path in (directory / "checkpoints").iterdir())
    if keep:
        assert checkpoints == ["step-00000003.safetensors"]
        assert f"last good checkpoint is {directory}/checkpoints/step-00000003.safetensors" in outcome.err
        assert all(value.isfinite().all() for value in load_file(directory / "checkpoints" / checkpoints[0]).values())
    else:
        assert checkpoints == []
        assert "no checkpoint had been saved yet" in outcome.err


# ------------------------------------------------------------------ other commands


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_commands_refuse_a_folder_that_is_not_a_run(enface, tmp_path, command):
    outcome = enface(command, tmp_path)
    assert outcome.code == 2
    assert f"{tmp_path} is not a run directory" in outcome.err


def test_a_run_without_a_checkpoint_cannot_be_evaluated(recipe, enface, tmp_path):
    path = recipe({})
    folder = tmp_path / "runs" / "toy" / "once"
    folder.mkdir(parents=True)
    content = yaml.safe_load(path.read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    outcome = enface("evaluate", folder)
    assert outcome.code == 2
    assert "has no checkpoint yet" in outcome.err


def test_unknown_weights_are_named(enface):
    outcome = enface("weights", "fetch", "lpips-alexx")
    assert outcome.code == 2
    assert "no weights are called 'lpips-alexx'" in outcome.err


def test_an_unwritable_preview_is_refused(recipe, enface, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = enface("data", "preview", recipe({}), "--out", tmp_path / "file" / "x.png")
    assert outcome.code == 2
    assert "cannot write" in outcome.err
    outcome = enface("data", "preview", recipe({}), "--out", tmp_path / "x.unknown")
    assert outcome.code == 2
    assert "x.unknown" in outcome.err
