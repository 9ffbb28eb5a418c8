"""``enface import``: recipes from options of pix2pix, BasicSR and joliGEN, and what is reported."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
import toy_pairs
import yaml
from torch.nn import functional

from enface.plugin.bases import DataInfo
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface.recipe.load import load_recipe
from enface_tools.importing.importer import PROGRAMS, import_options
from enface_tools.importing.translation import Entry

SAMPLES = Path(__file__).parent / "samples"
FILES = {"pix2pix": "train_opt.txt", "basicsr": "restoration.yml", "joligen": "train_config.json"}
LAYOUTS = {
    "pix2pix": toy_pairs.side_by_side_splits,
    "basicsr": toy_pairs.source_target,
    "joligen": toy_pairs.train_a_b,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(tmp_path, program, changes=None):
    """Write a sample with some lines replaced; return its path."""
    text = (SAMPLES / FILES[program]).read_text(encoding="utf-8")
    for old, new in (changes or {}).items():
        assert re.search(old, text), old
        text = re.sub(old, new, text)
    path = tmp_path / FILES[program]
    path.write_text(text, encoding="utf-8")
    return path


def option(name, value):
    """A line of pix2pix, to replace the one with that name."""
    return {rf"(?m)^ +{name}: .*$": f"{name:>25}: {value:<30}"}


def imported(tmp_path, program, changes=None, **more):
    """The recipe of a sample with changes, and the entries by option."""
    result = import_options(program, write(tmp_path, program, changes), force=True, **more)
    entries = {entry.option: entry for entry in result.entries}
    return yaml.safe_load(result.recipe.read_text(encoding="utf-8")), entries, result


# ---------------------------------------------------------------------- from a file to a report


@pytest.mark.parametrize("program", FILES)
def test_an_imported_recipe_trains(enface, tmp_path, program):
    LAYOUTS[program](tmp_path / "datasets" / "toy")
    outcome = enface("import", program, write(tmp_path, program))
    assert outcome.code == 0, outcome.err
    (recipe,) = tmp_path.glob("*.yaml")
    assert outcome.out.splitlines()[-2:] == [f"recipe: {recipe.name}", f"next: enface run {recipe.name}"]
    light = {
        "pix2pix": [],
        "basicsr": ["stages.main.terms.perceptual=false"],
        "joligen": [
            *("stages.main.terms.lpips=false", "stages.main.terms.gan_projected_d=false"),
            "stages.main.discriminators.projected_d=false",
        ],
    }[program]
    small = ["stages.main.steps=2", "metrics=[mae,ssim]", "log.best=ssim", "log.validate=2", "log.samples=0"]
    sets = [item for change in (*light, *small) for item in ("--set", change)]
    trained = enface("run", recipe, *sets)
    assert trained.code == 0, trained.err
    (summary,) = (tmp_path / "runs").glob("*/*/evaluation/summary.json")
    assert "ssim" in json.loads(summary.read_text(encoding="utf-8"))["metrics"]


@pytest.mark.parametrize("program", FILES)
def test_every_option_of_a_file_is_accounted_for_once(tmp_path, program):
    _, _, result = imported(tmp_path, program)
    names = [entry.option for entry in result.entries if not entry.option.endswith("*")]
    assert len({(entry.option, entry.outcome) for entry in result.entries}) == len(result.entries)
    groups = [entry.option for entry in result.entries if entry.option.endswith("*")]
    for name in PROGRAMS[program].read(SAMPLES / FILES[program]):
        assert name in names or any(name.startswith(group[:-1]) for group in groups), name


# ---------------------------------------------------------------------- pix2pix


def test_pix2pix_keys(tmp_path):
    toy_pairs.side_by_side_splits(tmp_path / "datasets" / "toy")
    recipe, entries, result = imported(tmp_path, "pix2pix")
    assert result.warnings == []
    assert recipe["data"] == {
        **{"use": "paired_folders", "root": "datasets/toy", "layout": "side_by_side", "source_side": "right"},
        **{"size": 32, "load_size": 36, "fit": "stretch"},
    }
    assert recipe["generator"] == {"use": "resnet", "blocks": 6, "width": 8, "norm": "instance"}
    stage = recipe["stages"]["main"]
    # 8 images in batches of 4 are 2 steps per epoch: 2 epochs at the first rate, then a decay over 3 + 1.
    assert (stage["steps"], stage["batch"]) == (10, 4)
    lr = {"use": "linear", "start": 2e-4, "end": 0.0, "begin": 4, "over": 8}
    assert stage["optimizer"] == {"use": "adam", "lr": lr, "betas": [0.5, 0.999]}
    patch = {"use": "conditional_patch_gan", "layers": 2, "width": 8, "norm": "instance"}
    assert stage["discriminators"]["patch"] == {**patch, "optimizer": stage["optimizer"]}
    assert stage["terms"]["l1"] == {"weight": 50.0}
    assert entries["lambda_L1"] == Entry("lambda_L1", "50.0", "taken", "stages.main.terms.l1.weight")
    assert entries["pool_size"].outcome == "not supported"
    assert entries["wavelet_weight"].outcome == "not supported"
    assert entries["display_id"].outcome == "no effect"
    assert set(recipe["augment"]) == {"crop", "flip"}
    # 5000 images in batches of 4.
    assert recipe["log"]["checkpoint"] == 1250


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        (option("direction", "AtoB"), "data.source_side", "left"),
        (option("no_flip", "True"), "augment.flip", None),
        (option("load_size", "32"), "data.load_size", None),
        (option("load_size", "32"), "augment.crop", None),
        (option("preprocess", "scale_width_and_crop"), "data.fit", "crop"),
        (option("netG", "unet_256"), "generator.depth", 8),
        (option("netG", "unet_128"), "generator.depth", 7),
        (option("netG", "resnet_9blocks"), "generator.blocks", 9),
        ({**option("netG", "unet_256"), **option("no_dropout", "False")}, "generator.dropout", 0.5),
        (option("netD", "basic"), "stages.main.discriminators.patch.layers", 3),
        (option("netD", "pixel"), "stages.main.discriminators.patch.use", "pixel_gan"),
        (option("input_nc", "1"), "data.channels.source", 1),
        (option("gpu_ids", "-1"), "engine.device", "cpu"),
        (option("n_epochs_decay", "0"), "stages.main.optimizer.lr", 2e-4),
        (option("lr_policy", "step"), "stages.main.optimizer.lr.every", 100),
        (option("lr_policy", "cosine"), "stages.main.optimizer.lr.over", 4),
        (option("lr_policy", "plateau"), "stages.main.optimizer.lr.metric", "mae"),
        (option("name", "faces/v 2"), "name", "faces-v-2"),
    ],
)
def test_pix2pix_options(tmp_path, changes, key, value):
    recipe, _, _ = imported(tmp_path, "pix2pix", changes, images=8)
    for part in key.split("."):
        recipe = recipe.get(part) if recipe else None
    assert recipe == value


def test_old_names_of_epochs_are_known(tmp_path):
    changes = {r" n_epochs:": " niter:", r" n_epochs_decay:": " niter_decay:"}
    recipe, entries, _ = imported(tmp_path, "pix2pix", changes, images=8)
    assert recipe["stages"]["main"]["steps"] == 10
    assert entries["niter"].outcome == "changed"


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "wgangp"])
def test_adversarial_losses_have_the_value_of_pix2pix(tmp_path, mode):
    recipe, _, _ = imported(tmp_path, "pix2pix", option("gan_mode", mode))
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(2, 1, 3, 3, generator=generator) for _ in range(2))

    def criterion(logits, real):
        if mode == "wgangp":
            return -logits.mean() if real else logits.mean()
        label = torch.full_like(logits, float(real))
        loss = functional.mse_loss if mode == "lsgan" else functional.binary_cross_entropy_with_logits
        return loss(logits, label)

    term = recipe["stages"]["main"]["terms"]["gan"]
    loss = build("loss", term)
    assert term["weight"] * float(loss(fake).mean()) == pytest.approx(float(criterion(fake, True)), rel=1e-5)
    theirs = 0.5 * (criterion(fake, False) + criterion(real, True))
    assert term["critic_weight"] * float(loss.critic(real, fake).mean()) == pytest.approx(float(theirs), rel=1e-5)


def build(kind, spec):
    own = ("use", "weight", "critic_weight", "against", "start_at")
    options = {key: value for key, value in spec.items() if key not in own}
    return Catalog(load_plugins()).build(kind, spec["use"], options, DataInfo.square(32))


def test_the_learning_rate_of_pix2pix_is_met_at_the_end_of_each_epoch(tmp_path):
    changes = {**option("n_epochs", "3"), **option("n_epochs_decay", "4")}
    recipe, _, _ = imported(tmp_path, "pix2pix", changes, images=20)
    schedule = build("schedule", recipe["stages"]["main"]["optimizer"]["lr"])
    for epoch in range(1, 8):
        # The scheduler has made epoch - 1 steps, and epoch_count is 1.
        theirs = 2e-4 * (1 - max(0, epoch - 1 + 1 - 3) / (4 + 1))
        assert schedule(epoch * 5) == pytest.approx(theirs)


# ---------------------------------------------------------------------- BasicSR


def test_basicsr_keys(tmp_path):
    toy_pairs.source_target(tmp_path / "datasets" / "toy")
    recipe, entries, result = imported(tmp_path, "basicsr")
    assert result.warnings == []
    assert (recipe["name"], recipe["seed"]) == ("toy_restoration", 3)
    split = {"by": "identity", "train": 0.8, "val": 0.1}
    # Images of 40 px, cropped to 32.
    assert recipe["data"] == {
        **{"use": "paired_folders", "root": "datasets/toy", "source": "source", "target": "target"},
        **{"size": 32, "load_size": 40, "split": split},
    }
    blocks = {"encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]}
    assert recipe["generator"] == {"use": "nafnet", "width": 8, **blocks, "residual": True}
    stage = recipe["stages"]["main"]
    assert (stage["steps"], stage["batch"], stage["ema"]) == (12, 4, 0.99)
    lr = {"use": "multi_step", "start": 1e-3, "milestones": [4, 8], "factor": 0.5}
    assert stage["optimizer"] == {"use": "adamw", "lr": lr, "betas": [0.9, 0.99], "weight_decay": 0.01}
    critic = stage["discriminators"]["critic"]
    assert (critic["use"], critic["width"], critic["optimizer"]["lr"]["start"]) == ("unet_gan", 8, 2e-4)
    perceptual = {"weight": 0.2, "layers": {"conv3_3": 0.5, "conv5_3": 1.0}, "distance": "l1"}
    assert stage["terms"]["perceptual"] == perceptual
    assert entries["datasets.train.use_rot"].outcome == "not supported"
    assert entries["path.pretrain_network_g"].outcome == "not supported"
    assert recipe["log"] == {"validate": 6, "best": "psnr", "every": 2, "checkpoint": 6, "samples": 6}


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("L1Loss", lambda x, y: (x - y).abs().mean()),
        ("MSELoss", lambda x, y: (x - y).square().mean()),
        ("CharbonnierLoss", lambda x, y: ((x - y).square() + 1e-6).sqrt().mean()),
    ],
)
def test_pixel_losses_have_the_value_of_basicsr_although_images_are_in_another_range(tmp_path, kind, theirs):
    recipe, _, _ = imported(tmp_path, "basicsr", {"CharbonnierLoss": kind})
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(2, 3, 8, 8, generator=generator) for _ in range(2))
    ((name, term),) = [
        item for item in recipe["stages"]["main"]["terms"].items() if item[0] in ("l1", "mse", "charbonnier")
    ]
    ours = term["weight"] * float(build("loss", {"use": name, **term})(2 * x - 1, 2 * y - 1).mean())
    assert ours == pytest.approx(3.0 * float(theirs(x, y)), rel=1e-5)


@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_adversarial_losses_have_the_value_of_basicsr(tmp_path, kind):
    recipe, _, _ = imported(tmp_path, "basicsr", {"gan_type: lsgan": f"gan_type: {kind}"})
    generator = torch.Generator().manual_seed(2)
    real, fake = (torch.randn(2, 1, 3, 3, generator=generator) for _ in range(2))

    def criterion(logits, is_real, is_disc):
        sign = 1.0 if is_real else -1.0
        if kind == "hinge":
            return (1 - sign * logits).relu().mean() if is_disc else -logits.mean()
        if kind == "wgan":
            return -sign * logits.mean()
        if kind == "lsgan":
            return (logits - float(is_real)).square().mean()
        return functional.softplus(-sign * logits).mean()

    term = recipe["stages"]["main"]["terms"]["gan"]
    loss = build("loss", term)
    ours = term["weight"] * float(loss(fake).mean())
    assert ours == pytest.approx(0.1 * float(criterion(fake, True, False)), rel=1e-5)
    theirs = criterion(real, True, True) + criterion(fake, False, True)
    assert term["critic_weight"] * float(loss.critic(real, fake).mean()) == pytest.approx(float(theirs), rel=1e-5)


def test_esrgan_is_relativistic_with_half_the_value(tmp_path):
    changes = {"SRGANModel": "ESRGANModel", "gan_type: lsgan": "gan_type: vanilla"}
    recipe, entries, _ = imported(tmp_path, "basicsr", changes)
    generator = torch.Generator().manual_seed(3)
    real, fake = (torch.randn(2, 1, 3, 3, generator=generator) for _ in range(2))
    term = recipe["stages"]["main"]["terms"]["gan"]
    softplus = functional.softplus
    theirs = 0.1 * (softplus(real - fake.mean()).mean() + softplus(real.mean() - fake).mean()) / 2
    ours = term["weight"] * float(build("loss", term)(real_logits=real, fake_logits=fake).mean())
    assert ours == pytest.approx(float(theirs), rel=1e-5)
    assert "relativistic_average" in str(term)
    assert entries["train.gan_opt"].outcome == "changed"


@pytest.mark.parametrize(
    ("changes", "option", "outcome"),
    [
        ({"type: NAFNet": "type: RRDBNet"}, "network_g", "changed"),
        ({"type: UNetDiscriminatorSN": "type: VGGStyleDiscriminator"}, "network_d", "changed"),
        ({"scale: 1": "scale: 4"}, "scale", "changed"),
        ({r"filename_tmpl: '\{\}'": "filename_tmpl: '{}x4'"}, "datasets.train.filename_tmpl", "not supported"),
        ({"type: MultiStepLR": "type: LinearLR"}, "train.scheduler", "not supported"),
        ({"net_d_iters: 1": "net_d_iters: 2"}, "train.net_d_iters", "not supported"),
        ({"net_d_init_iters: 0": "net_d_init_iters: 5"}, "train.net_d_init_iters", "changed"),
        ({"warmup_iter: -1": "warmup_iter: 5"}, "train.warmup_iter", "not supported"),
    ],
)
def test_basicsr_options(tmp_path, changes, option, outcome):
    _, entries, result = imported(tmp_path, "basicsr", changes)
    assert entries[option].outcome == outcome
    assert entries[option].reason
    assert load_recipe(result.recipe, ["data.root=."]).recipe.generator.use == "nafnet"


def test_the_cosine_of_nafnet_keeps_its_length_and_warm_up(tmp_path):
    changes = {
        "type: MultiStepLR\n    milestones: .*\n    gamma: .*\n": (
            "type: TrueCosineAnnealingLR\n    T_max: 12\n    eta_min: !!float 1e-7\n"
        ),
        "warmup_iter: -1": "warmup_iter: 3",
    }
    recipe, _, _ = imported(tmp_path, "basicsr", changes)
    lr = {"use": "cosine", "start": 1e-3, "end": 1e-7, "over": 12, "warmup": 3}
    assert recipe["stages"]["main"]["optimizer"]["lr"] == lr


# ---------------------------------------------------------------------- joliGEN


def test_joligen_keys(tmp_path):
    toy_pairs.train_a_b(tmp_path / "datasets" / "toy")
    recipe, entries, result = imported(tmp_path, "joligen")
    assert result.warnings == []
    assert recipe["data"] == {
        **{"use": "paired_folders", "root": "datasets/toy", "source": "A", "target": "B"},
        **{"size": 32, "load_size": 36, "fit": "stretch", "split": {"val": 0.1}},
    }
    stage = recipe["stages"]["main"]
    # 12 images in batches of 2 x 2 are 3 steps per epoch; 2 epochs.
    assert (stage["steps"], stage["batch"], stage["accumulate"], stage["ema"]) == (6, 4, 2, 0.99)
    assert stage["optimizer"] == {"use": "adamw", "lr": 2e-4, "betas": [0.9, 0.999], "weight_decay": 0.0}
    assert list(stage["discriminators"]) == ["projected_d", "basic"]
    basic = stage["discriminators"]["basic"]
    assert (basic["use"], basic["layers"], basic["width"], basic["spectral_norm"]) == ("patch_gan", 3, 8, True)
    assert basic["augment"] == {"use": "diff_augment", "policy": ["color", "cutout"], "strength": 0.5}
    assert stage["terms"] == {
        "l1": {"weight": 10.0},
        "lpips": {"weight": 3.0},
        "patch_nce": {"weight": 2.0, "points": 64, "temperature": 0.07},
        # Half the discriminator's cross-entropy, and lambda 0.5 for the generator.
        "gan_projected_d": {"use": "vanilla", "against": "projected_d", "weight": 0.5, "critic_weight": 0.5},
        "gan_basic": {"use": "vanilla", "against": "basic", "weight": 0.5, "critic_weight": 0.5},
    }
    assert recipe["engine"] == {"tf32": True}
    assert "flip" not in recipe["augment"]
    assert recipe["metrics"] == ["mae", "psnr", "ssim", "lpips", "fid"]
    assert entries["G_netG"].outcome == "changed"
    assert entries["f_s_*"].outcome == "no effect"
    assert entries["brand_new_option"].outcome == "not supported"


# ---------------------------------------------------------------------- data


def test_relative_folders_are_found_from_where_training_saves_its_options(enface, tmp_path):
    toy_pairs.side_by_side_splits(tmp_path / "pix2pix" / "datasets" / "toy")
    folder = tmp_path / "pix2pix" / "checkpoints" / "toy_pix2pix"
    folder.mkdir(parents=True)
    path = write(folder, "pix2pix")
    assert enface("import", "pix2pix", path, "--out", "recipes/mine.yaml").code == 0
    content = yaml.safe_load((tmp_path / "recipes" / "mine.yaml").read_text(encoding="utf-8"))
    assert content["data"]["root"] == (tmp_path / "pix2pix" / "datasets" / "toy").as_posix()


def test_without_the_folder_the_number_of_images_is_assumed_and_reported(enface, tmp_path):
    outcome = enface("import", "pix2pix", write(tmp_path, "pix2pix"))
    assert outcome.code == 0, outcome.err
    text = " ".join(outcome.out.split())
    assert "the folder was not found, so 1000 images are assumed" in text
    assert "warning: the folder ./datasets/toy does not exist; set data.root in toy_pix2pix.yaml" in text
    recipe, _, _ = imported(tmp_path, "pix2pix", images=100)
    assert recipe["stages"]["main"]["steps"] == 5 * math.ceil(100 / 4)


def test_the_data_may_be_elsewhere(enface, tmp_path):
    toy_pairs.side_by_side(tmp_path / "moved")
    outcome = enface("import", "pix2pix", write(tmp_path, "pix2pix"), "--data", "moved")
    assert outcome.code == 0, outcome.err
    data = yaml.safe_load((tmp_path / "toy_pix2pix.yaml").read_text(encoding="utf-8"))["data"]
    assert data["root"] == "moved"
    assert data["split"] == {"by": "identity", "train": 0.8, "val": 0.1}


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("program", "changes", "says"),
    [
        ("pix2pix", option("model", "cycle_gan"), "model cycle_gan with dataset_mode aligned: enface trains on pairs"),
        ("pix2pix", option("isTrain", "False"), "holds the options of a test; import train_opt.txt"),
        ("pix2pix", {"(?s)\\A.*": "hello"}, "holds no options of pix2pix: expected lines as 'dataroot:"),
        ("basicsr", {"SRGANModel": "VideoBaseModel"}, "model_type VideoBaseModel cannot be imported; known: SRModel"),
        (
            "basicsr",
            {r"toy\n    type: PairedImageDataset": "toy\n    type: RealESRGANDataset"},
            "no pairs",
        ),
        ("basicsr", {"(?s)\\A.*": "a: [1"}, "is no YAML"),
        ("basicsr", {"(?s)\\A.*": "name: x"}, "holds no options of BasicSR"),
        ("basicsr", {"toy/target": "toy/gt.lmdb"}, "LMDB cannot be read"),
        ("joligen", {'"model_type": "cut"': '"model_type": "palette"'}, "model_type palette with data_dataset_mode"),
        ("joligen", {'"dataset_mode": "aligned"': '"dataset_mode": "unaligned"'}, "start with enface init FOLDER"),
        ("joligen", {"(?s)\\A.*": "{"}, "is no JSON"),
        ("joligen", {"(?s)\\A.*": "{}"}, "holds no options of joliGEN"),
    ],
)
def test_what_cannot_be_imported_is_one_message_and_leaves_nothing(enface, tmp_path, program, changes, says):
    outcome = enface("import", program, write(tmp_path, program, changes))
    assert outcome.code == 2
    assert says in outcome.err
    assert outcome.out == ""
    assert not list(tmp_path.glob("*.yaml"))


def test_an_existing_recipe_is_not_overwritten_without_force(enface, tmp_path):
    path = write(tmp_path, "pix2pix")
    (tmp_path / "toy_pix2pix.yaml").write_text("name: mine\n", encoding="utf-8")
    outcome = enface("import", "pix2pix", path)
    assert outcome.code == 2
    assert "toy_pix2pix.yaml exists; --force overwrites it" in outcome.err
    assert enface("import", "pix2pix", path, "--force").code == 0


def test_a_missing_file_is_one_message(enface):
    outcome = enface("import", "basicsr", "nowhere.yml")
    assert outcome.code == 2
    assert "nowhere.yml cannot be read (No such file or directory)" in outcome.err


def test_output_is_at_most_80_columns_wide_but_for_long_values(enface, tmp_path):
    outcome = enface("import", "joligen", write(tmp_path, "joligen"))
    reasons = [line for line in outcome.out.splitlines() if line.startswith("      ")]
    assert reasons
    assert all(len(line) <= 80 for line in reasons)
