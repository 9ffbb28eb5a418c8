"""Options of pix2pix (github.com/junyanz/pytorch-CycleGAN-and-pix2pix), as training saves them in train_opt.txt."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

from enface_tools.importing.common import METRICS, ImportRefused, crop_and_flip, epoch_schedule, steps_per_epoch
from enface_tools.importing.gan import adversarial_term, discriminator, generator
from enface_tools.importing.translation import Rule, Translation
from enface_tools.init.names import recipe_name

LINE = re.compile(r"^\s*(\w+): ?(.*?)\s*(?:\t?\[default: .*\])?\s*$")
UNKNOWN = "not an option of pix2pix that the importer knows"
STAGE = "stages.main"


def read_options(path: Path) -> dict[str, Any]:
    """Read the lines ``key: value [default: x]``.

    Raises:
        ImportRefused: if the file has no options, or those of a training without pairs.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    options = {match[1]: _value(match[2]) for line in lines if (match := LINE.match(line))}
    if "dataroot" not in options:
        raise ImportRefused(
            f"{path} holds no options of pix2pix: expected lines as 'dataroot: ./datasets/facades'; training saves "
            "them as checkpoints/NAME/train_opt.txt"
        )
    if options.get("isTrain") is False or options.get("phase") == "test":
        raise ImportRefused(f"{path} holds the options of a test; import train_opt.txt, which training saved")
    model, mode = options.get("model", "pix2pix"), options.get("dataset_mode", "aligned")
    if model != "pix2pix" or mode not in ("aligned",):
        raise ImportRefused(
            f"{path}: model {model} with dataset_mode {mode}: enface trains on pairs, so only model pix2pix with "
            "dataset_mode aligned can be imported; if you have pairs, start with enface init FOLDER"
        )
    return options


def _value(text: str) -> Any:
    if text in ("inf", "infinity"):
        return math.inf
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


# ------------------------------------------------------------------ rules


def _name(t: Translation) -> None:
    t.take("name", "name", recipe_name(str(t.get("name", "pix2pix"))))


def _data(t: Translation) -> None:
    t.set("data.use", "paired_folders")
    t.take("dataroot", "data.root", str(t.get("dataroot", "")))
    t.take("dataset_mode", "data.layout", "side_by_side")
    t.take("direction", "data.source_side", "right" if t.get("direction", "AtoB") == "BtoA" else "left")


def _channels(t: Translation) -> None:
    for option, role in (("input_nc", "source"), ("output_nc", "target")):
        if t.get(option, 3) == 3:
            t.agree(option)
        else:
            t.take(option, f"data.channels.{role}", t.get(option, 3))


def _size(t: Translation) -> None:
    load, crop = t.get("load_size", 286), t.get("crop_size", 256)
    preprocess = t.get("preprocess", "resize_and_crop")
    flips = not t.get("no_flip", False)
    crops = preprocess == "resize_and_crop" and load > crop
    t.take("crop_size", "data.size", crop if "crop" in preprocess else load)
    if preprocess in ("resize_and_crop", "resize"):
        t.change("preprocess", "data.fit", "stretch", f"{preprocess} ignores the aspect ratio; resampled by Lanczos")
    else:
        reason = f"{preprocess} has no equivalent: the largest centred square is cut out, then resized"
        t.change("preprocess", "data.fit", "crop", reason)
    if crops:
        t.take("load_size", "data.load_size", load)
    for key, value in crop_and_flip(t, crop=crops, flip=flips).items():
        t.set(f"augment.{key}", value, "no_flip: False" if key == "flip" else "one crop for both images of a pair")
    t.agree("no_flip", "augment.flip" if flips else "")


def _generator(t: Translation) -> None:
    generator(t, net="netG", width="ngf", norm="norm", dropout=not t.get("no_dropout", False), dropped="no_dropout")


def _discriminator(t: Translation) -> None:
    discriminator(t, str(t.get("netD", "basic")), layers="n_layers_D", width="ndf", norm=str(t.get("norm", "batch")))


def _initialisation(t: Translation) -> None:
    if (t.get("init_type", "normal"), t.get("init_gain", 0.02)) == ("normal", 0.02):
        t.agree("init_type")
        t.agree("init_gain")
    else:
        t.drop("init_type", "weights are always drawn from N(0, 0.02)")
        t.drop("init_gain", "weights are always drawn from N(0, 0.02)")


def _steps(t: Translation) -> None:
    batch = int(t.get("batch_size", 1))
    steps, why = steps_per_epoch(t, batch, t.get("max_dataset_size", math.inf))
    names = ("n_epochs", "n_epochs_decay") if "niter" not in t.options else ("niter", "niter_decay")
    hold, decay = (int(t.get(name, 100)) for name in names)
    t.take("batch_size", f"{STAGE}.batch", batch)
    t.change(names[1], f"{STAGE}.steps", (hold + decay) * steps, f"the last {decay} of {hold + decay} epochs")
    t.change(names[0], f"{STAGE}.steps", (hold + decay) * steps, f"{hold} of {hold + decay} epochs; {why}")
    if math.isfinite(t.get("max_dataset_size", math.inf)):
        t.drop("max_dataset_size", "all images of the folder are used; the number only limits the steps of an epoch")
    lr, beta = t.get("lr", 2e-4), t.get("beta1", 0.5)
    policy, every = str(t.get("lr_policy", "linear")), int(t.get("lr_decay_iters", 50))
    schedule, difference = epoch_schedule(t, "lr_policy", lr, policy, (hold, decay), steps, every)
    for place in (f"{STAGE}.optimizer", f"{STAGE}.discriminators.patch.optimizer"):
        t.set(f"{place}.use", "adam")
        t.set(f"{place}.lr", schedule, f"lr, lr_policy: {policy}")
        t.set(f"{place}.betas", [beta, 0.999], "beta1")
    t.take("lr", f"{STAGE}.optimizer.lr", schedule)
    t.take("beta1", f"{STAGE}.optimizer.betas", [beta, 0.999])
    if difference:
        t.change("lr_policy", f"{STAGE}.optimizer.lr", schedule, difference)
    elif policy in ("linear", "lambda", "step"):
        t.agree("lr_policy", f"{STAGE}.optimizer.lr")
    if policy == "step":
        t.agree("lr_decay_iters", f"{STAGE}.optimizer.lr.every")


def _losses(t: Translation) -> None:
    weight = t.get("lambda_L1", 100.0)
    t.take("lambda_L1", f"{STAGE}.terms.l1.weight", weight)
    adversarial_term(t, "gan_mode", str(t.get("gan_mode", "vanilla")), f"{STAGE}.terms.gan", "patch", half=True)
    if t.get("pool_size", 0):
        t.drop("pool_size", "the discriminator sees only the outputs of its own step")


def _log(t: Translation) -> None:
    batch = int(t.get("batch_size", 1))
    for option, key, default in (
        ("print_freq", "log.every", 100),
        ("display_freq", "log.samples", 400),
        ("save_latest_freq", "log.checkpoint", 5000),
    ):
        images = int(t.get(option, default))
        t.change(option, key, max(1, images // batch), "counted in images there")
    t.set("metrics", METRICS, "pix2pix measures none in training")
    t.set("log.validate", max(1, int(t.get("save_latest_freq", 5000)) // batch))
    t.set("log.best", "lpips", "the checkpoint with the best value on the validation images is kept")


def _resume(t: Translation) -> None:
    if t.get("continue_train", False):
        t.drop("continue_train", "weights of pix2pix cannot be loaded; the recipe trains from scratch")


def _hardware(t: Translation) -> None:
    devices = str(t.get("gpu_ids", "0"))
    if devices in ("-1", "[]"):
        t.take("gpu_ids", "engine.device", "cpu")
    elif "," in devices:
        t.drop("gpu_ids", f"enface run --processes {devices.count(',') + 1} uses several GPUs")


RULES: tuple[Rule, ...] = (
    Rule(("name",), ("name",), "", _name),
    Rule(
        ("dataroot", "dataset_mode", "direction"),
        ("data.use", "data.root", "data.layout", "data.source_side"),
        "aligned only; the folders train, val and test define the split",
        _data,
    ),
    Rule(("input_nc", "output_nc"), ("data.channels",), "3 is the default", _channels),
    Rule(
        ("load_size", "crop_size", "preprocess", "no_flip"),
        ("data.size", "data.load_size", "data.fit", "augment"),
        "resize becomes fit: stretch; crop and scale_width have no equivalent",
        _size,
    ),
    Rule(
        ("netG", "ngf", "no_dropout", "norm"),
        ("generator",),
        "unet_256, unet_128: unet; resnet_9blocks, resnet_6blocks: resnet",
        _generator,
    ),
    Rule(
        ("netD", "ndf", "n_layers_D", "norm"),
        (f"{STAGE}.discriminators.patch",),
        "basic, n_layers: conditional_patch_gan; pixel: pixel_gan, which does not see the source",
        _discriminator,
    ),
    Rule(("init_type", "init_gain"), (), "normal, 0.02 is the only one", _initialisation),
    Rule(
        (
            *("batch_size", "n_epochs", "n_epochs_decay", "niter", "niter_decay", "max_dataset_size"),
            *("lr", "beta1", "lr_policy", "lr_decay_iters"),
        ),
        (
            f"{STAGE}.batch",
            f"{STAGE}.steps",
            f"{STAGE}.optimizer",
            f"{STAGE}.discriminators.patch.optimizer",
        ),
        "epochs become steps, by the number of images",
        _steps,
    ),
    Rule(
        ("lambda_L1", "gan_mode", "pool_size"),
        (f"{STAGE}.terms",),
        "both act on images in [-1, 1]; weights differ where losses contain a factor",
        _losses,
    ),
    Rule(
        ("print_freq", "display_freq", "save_latest_freq", "batch_size"),
        ("log", "metrics"),
        "counted in images there, in steps here",
        _log,
    ),
    Rule(("continue_train", "epoch_count", "epoch", "load_iter"), (), "weights are not converted", _resume),
    Rule(("gpu_ids",), ("engine.device",), "--processes for several GPUs", _hardware),
    Rule(
        (
            *("model", "phase", "isTrain", "checkpoints_dir", "suffix", "verbose", "num_threads", "serial_batches"),
            *("save_epoch_freq", "save_by_iter", "no_html", "update_html_freq", "display_env", "display_id"),
            *("display_ncols", "display_port", "display_server", "display_winsize", "use_wandb"),
            *("wandb_project_name", "device"),
        ),
        (),
        "display, files and workers do not change the training",
    ),
)
