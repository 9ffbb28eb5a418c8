"""Options of BasicSR (github.com/XPixelGroup/BasicSR) and of projects that use its files, such as NAFNet."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import yaml

from enface_tools.importing.common import ImportRefused, crop_and_flip, flattened, located, smallest_side
from enface_tools.importing.translation import Rule, Translation
from enface_tools.init.names import recipe_name

STAGE = "stages.main"
CRITIC = f"{STAGE}.discriminators.critic"
TRAIN = "datasets.train"
MODELS = ("SRModel", "SRGANModel", "ESRGANModel", "SwinIRModel", "ImageRestorationModel", "RealESRNetModel")
MAPS = (
    *("network_g", "network_d", "train.pixel_opt", "train.perceptual_opt", "train.gan_opt"),
    *("train.scheduler", "train.optim_g", "train.optim_d", "val.metrics"),
)
"""Maps that are translated as a whole."""
VGG16_LAYERS = {"conv3_4": "conv3_3", "conv4_4": "conv4_3", "conv5_4": "conv5_3"}
UNKNOWN = "not an option of BasicSR that the importer knows"


def read_options(path: Path) -> dict[str, Any]:
    """Read a YAML file for training, as options by dotted names; the maps in ``MAPS`` stay whole.

    Raises:
        ImportRefused: if it is no YAML of BasicSR, or its model is not trained on pairs of images.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ImportRefused(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), dict) or "network_g" not in content:
        raise ImportRefused(f"{path} holds no options of BasicSR: expected the keys datasets, network_g and train")
    if "train" not in content["datasets"] or "train" not in content:
        raise ImportRefused(f"{path} holds the options of a test; import the file of the training")
    model = content.get("model_type", "SRModel")
    if model not in MODELS:
        raise ImportRefused(f"{path}: model_type {model} cannot be imported; known: {', '.join(MODELS)}")
    options: dict[str, Any] = {}
    for name, value in flattened(content, "."):
        whole = next((item for item in MAPS if name.startswith(f"{item}.")), None)
        if whole is None:
            options[name] = value
    for whole in MAPS:
        value = content
        for part in whole.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict):
            options[whole] = value
    return options


# ------------------------------------------------------------------ rules


def _general(t: Translation) -> None:
    t.take("name", "name", recipe_name(str(t.get("name", "basicsr"))))
    t.take("manual_seed", "seed", int(t.get("manual_seed", 0)))
    scale = t.get("scale", 1)
    if scale == 1:
        t.agree("scale")
    else:
        t.change("scale", "data.fit", "crop", f"networks here keep the size: sources are enlarged {scale} times first")
    t.agree("model_type")


def _data(t: Translation) -> None:
    lq, gt = str(t.get(f"{TRAIN}.dataroot_lq", "")), str(t.get(f"{TRAIN}.dataroot_gt", ""))
    if t.get(f"{TRAIN}.type", "PairedImageDataset") != "PairedImageDataset" or not lq or not gt:
        raise ImportRefused(
            f"{TRAIN}: only PairedImageDataset with dataroot_lq and dataroot_gt can be imported; images degraded "
            "during training have no pairs on disk: write them to two folders and use enface init"
        )
    if lq.endswith(".lmdb") or gt.endswith(".lmdb"):
        raise ImportRefused(f"{TRAIN}: LMDB cannot be read; name the folders of images in dataroot_lq and dataroot_gt")
    root = os.path.commonpath([lq, gt])
    t.set("data.use", "paired_folders")
    t.set("data.root", root or ".", "the folder above dataroot_lq and dataroot_gt")
    t.take(f"{TRAIN}.dataroot_lq", "data.source", os.path.relpath(lq, root or "."))
    t.take(f"{TRAIN}.dataroot_gt", "data.target", os.path.relpath(gt, root or "."))
    t.agree(f"{TRAIN}.type")
    if t.get(f"{TRAIN}.filename_tmpl", "{}") != "{}":
        t.drop(f"{TRAIN}.filename_tmpl", "source and target must have the same name; rename the sources")
    else:
        t.agree(f"{TRAIN}.filename_tmpl")
    for option in (f"{TRAIN}.meta_info_file", f"{TRAIN}.meta_info"):
        if t.get(option, ""):
            t.drop(option, "all images of the folders are used")
    split = {"by": "identity", "train": 0.8, "val": 0.1}
    t.set("data.split", split, "the training folder holds all pairs")
    if "datasets.val.dataroot_gt" in t.options:
        reason = "a tenth of the training pairs validates; enface apply and enface pairs measure other folders"
        t.change("datasets.val.dataroot_gt", "data.split", split, reason)


def _size(t: Translation) -> None:
    size = int(t.get(f"{TRAIN}.gt_size", 128) or 128)
    folder = located(str(t.options.get(f"{TRAIN}.dataroot_gt", "")), t)
    whole = smallest_side(folder) if folder is not None else None
    flip = bool(t.get(f"{TRAIN}.use_hflip", False))
    if whole is not None and whole > size:
        reason = f"random crops of images that are stored at {whole} x {whole}, the smallest side in the folder"
        t.change(f"{TRAIN}.gt_size", "data.size", size, reason)
        t.set("data.load_size", min(whole, 2048))
    elif whole is not None:
        t.take(f"{TRAIN}.gt_size", "data.size", size)
    else:
        reason = "whole images are resized to it; for random crops set load_size to the images' size and augment.crop"
        t.change(f"{TRAIN}.gt_size", "data.size", size, reason)
    for key, value in crop_and_flip(t, crop=whole is not None and whole > size, flip=flip).items():
        t.set(f"augment.{key}", value, "use_hflip" if key == "flip" else "gt_size")
    t.agree(f"{TRAIN}.use_hflip", "augment.flip" if flip else "")
    if t.get(f"{TRAIN}.use_rot", False):
        t.drop(f"{TRAIN}.use_rot", "images are not rotated")


def _generator(t: Translation) -> None:
    network = t.get("network_g", {})
    kind = str(network.get("type", ""))
    if kind.startswith("NAFNet"):
        spec = {
            "use": "nafnet",
            "width": network.get("width", 16),
            "encoder_blocks": network.get("enc_blk_nums", []),
            "middle_blocks": network.get("middle_blk_num", 1),
            "decoder_blocks": network.get("dec_blk_nums", []),
            "residual": True,
        }
        t.take("network_g", "generator", spec)
        return
    spec = {"use": "nafnet", "width": 32, "residual": True}
    t.change("network_g", "generator", spec, f"there is no {kind}; nafnet restores images of equal size, too")


def _critic(t: Translation) -> None:
    network = t.get("network_d", {})
    if not network or "train.gan_opt" not in t.options:
        return
    kind, width = str(network.get("type", "")), network.get("num_feat", 64)
    if kind == "UNetDiscriminatorSN":
        if not network.get("skip_connection", True):
            t.change("network_d", CRITIC, {"use": "unet_gan", "width": width}, "with skip connections")
        else:
            t.take("network_d", CRITIC, {"use": "unet_gan", "width": width})
    else:
        patch = {"use": "patch_gan", "width": width, "layers": 3}
        t.change("network_d", CRITIC, patch, f"there is no {kind}; patch_gan judges patches instead of the whole image")


def _optimizers(t: Translation) -> None:
    schedule = _schedule(t)
    critic = "train.gan_opt" in t.options and "network_d" in t.options
    for option, place in (("train.optim_g", f"{STAGE}.optimizer"), ("train.optim_d", f"{CRITIC}.optimizer")):
        given = dict(t.get(option, {"type": "Adam", "lr": 1e-4}))
        if option == "train.optim_d" and not critic:
            continue
        lr = float(given.pop("lr", 1e-4))
        use = str(given.pop("type", "Adam")).lower()
        t.take(option, place, {"use": use, "lr": _scheduled(schedule, lr), **given})
    t.take("train.total_iter", f"{STAGE}.steps", int(t.get("train.total_iter", 100_000)))
    batch, gpus = int(t.get(f"{TRAIN}.batch_size_per_gpu", 16)), t.get("num_gpu", 1)
    if isinstance(gpus, int) and gpus > 1:
        t.change("num_gpu", f"{STAGE}.batch", batch * gpus, f"batch is over all processes: {batch} x {gpus}")
        t.change(f"{TRAIN}.batch_size_per_gpu", f"{STAGE}.batch", batch * gpus, f"{batch} on each of {gpus} GPUs")
    else:
        if gpus == "auto":
            t.drop("num_gpu", "one GPU is assumed: batch is over all processes")
        t.take(f"{TRAIN}.batch_size_per_gpu", f"{STAGE}.batch", batch)
    decay = float(t.get("train.ema_decay", 0) or 0)
    if decay:
        t.take("train.ema_decay", f"{STAGE}.ema", decay)


def _schedule(t: Translation) -> dict[str, Any]:
    """Return the schedule with ``start`` 1, to be multiplied by a learning rate."""
    given = dict(t.get("train.scheduler", {}))
    kind, total = str(given.get("type", "")), int(t.get("train.total_iter", 100_000))
    warmup = int(t.get("train.warmup_iter", -1) or -1)
    key = f"{STAGE}.optimizer.lr"
    cosine = {
        "CosineAnnealingRestartLR": (given.get("periods") or [total])[0],
        "TrueCosineAnnealingLR": given.get("T_max", total),
    }
    if kind in ("MultiStepLR", "MultiStepRestartLR"):
        schedule: dict[str, Any] = {"use": "multi_step", "milestones": given.get("milestones", [total])}
        schedule["factor"] = given.get("gamma", 0.1)
        if given.get("restarts"):
            t.change("train.scheduler", key, schedule, "without restarts")
        else:
            t.take("train.scheduler", key, schedule)
    elif kind in cosine:
        schedule = {"use": "cosine", "end": float(given.get("eta_min", 0)), "over": int(cosine[kind])}
        if warmup > 0:
            schedule["warmup"] = warmup
        if len(given.get("periods") or []) > 1:
            t.change("train.scheduler", key, schedule, "the first period only, without restarts")
        else:
            t.take("train.scheduler", key, schedule)
    else:
        schedule = {}
        if kind:
            t.drop("train.scheduler", f"there is no {kind}; the learning rate is constant")
    if warmup > 0 and schedule.get("use") == "cosine":
        t.take("train.warmup_iter", key, schedule)
    elif warmup > 0:
        t.drop("train.warmup_iter", "only the schedule cosine has a warm-up")
    return schedule


def _scheduled(schedule: dict[str, Any], lr: float) -> Any:
    if not schedule:
        return lr
    use, rest = schedule["use"], {key: value for key, value in schedule.items() if key != "use"}
    return {"use": use, "start": lr, **rest}


def _pixel(t: Translation) -> None:
    given = t.get("train.pixel_opt", {})
    if not given:
        return
    kind, weight = str(given.get("type", "")), float(given.get("loss_weight", 1.0))
    if given.get("reduction", "mean") != "mean":
        t.drop("train.pixel_opt", f"reduction {given['reduction']}: terms are always means over pixels")
        return
    half = f"in [-1, 1] its value is twice that in [0, 1]: weight {weight:g} / 2"
    if kind == "L1Loss":
        t.change("train.pixel_opt", f"{STAGE}.terms.l1", {"weight": weight / 2}, half)
    elif kind == "MSELoss":
        reason = f"in [-1, 1] its value is four times that in [0, 1]: weight {weight:g} / 4"
        t.change("train.pixel_opt", f"{STAGE}.terms.mse", {"weight": weight / 4}, reason)
    elif kind == "CharbonnierLoss":
        eps = 2 * math.sqrt(float(given.get("eps", 1e-12)))
        reason = f"{half}; their eps is added to the square: eps is 2 x its root"
        t.change("train.pixel_opt", f"{STAGE}.terms.charbonnier", {"weight": weight / 2, "eps": eps}, reason)
    else:
        reason = f"there is no {kind}; charbonnier is similar, its weight is a guess"
        t.change("train.pixel_opt", f"{STAGE}.terms.charbonnier", {"weight": 1.0}, reason)


def _perceptual(t: Translation) -> None:
    given = t.get("train.perceptual_opt", {})
    if not given or not float(given.get("perceptual_weight", 1.0)):
        if given:
            t.drop("train.perceptual_opt", "perceptual_weight is 0; style_weight alone has no equivalent")
        return
    backbone = str(given.get("vgg_type", "vgg19"))
    layers = {str(name): float(weight) for name, weight in given.get("layer_weights", {}).items()}
    reasons = []
    if backbone != "vgg16":
        layers = {VGG16_LAYERS.get(name, name): weight for name, weight in layers.items()}
        reasons.append(f"of VGG16, because weights of {backbone} are not fetched: give the key weights to use them")
    criterion = str(given.get("criterion", "l1"))
    if criterion not in ("l1", "l2"):
        reasons.append(f"L1 instead of {criterion}")
    if float(given.get("style_weight", 0) or 0):
        reasons.append("without style_weight: the Gram term here is squared")
    if not given.get("use_input_norm", True) or given.get("range_norm", False):
        reasons.append("images are always normalised as for ImageNet")
    term = {
        "weight": float(given.get("perceptual_weight", 1.0)),
        "layers": layers,
        "distance": criterion if criterion in ("l1", "l2") else "l1",
    }
    if reasons:
        t.change("train.perceptual_opt", f"{STAGE}.terms.perceptual", term, "; ".join(reasons))
    else:
        t.take("train.perceptual_opt", f"{STAGE}.terms.perceptual", term)


def _adversarial(t: Translation) -> None:
    given = t.get("train.gan_opt", {})
    if not given or "network_d" not in t.options:
        return
    kind, weight = str(given.get("gan_type", "vanilla")), float(given.get("loss_weight", 1.0))
    relativistic = t.options.get("model_type") == "ESRGANModel"
    uses = {"vanilla": "vanilla", "wgan_softplus": "vanilla", "lsgan": "lsgan", "wgan": "wgan", "hinge": "hinge"}
    scale, reason = (
        (2.0, "lsgan has a factor 1/2 here and none there: weights are doubled") if kind == "lsgan" else (1.0, "")
    )
    term: dict[str, Any] = {"use": uses.get(kind, "vanilla"), "against": "critic"}
    term |= {"weight": weight * scale, "critic_weight": scale}
    if relativistic:
        term |= {"use": "relativistic_average", "weight": weight / 2, "critic_weight": 0.25}
        reason = (
            "ESRGANModel compares with the mean logit of the other class and halves the sum; it holds the means "
            "constant for the discriminator, hence a quarter"
        )
    smoothing = 1.0 - float(given.get("real_label_val", 1.0))
    if smoothing and term["use"] == "vanilla":
        term["smoothing"] = round(smoothing, 6)
    start = int(t.get("train.net_d_init_iters", 0) or 0)
    if start:
        reason_start = "until then the other terms train the generator, which theirs leaves alone"
        term["start_at"] = start
        t.change("train.net_d_init_iters", f"{STAGE}.terms.gan.start_at", start, reason_start)
    if reason or kind not in uses:
        unknown = f"there is no {kind}; vanilla is the usual one"
        t.change("train.gan_opt", f"{STAGE}.terms.gan", term, reason or unknown)
    else:
        t.take("train.gan_opt", f"{STAGE}.terms.gan", term)
    if int(t.get("train.net_d_iters", 1) or 1) > 1:
        t.drop("train.net_d_iters", "both networks are updated at every step")


def _validation(t: Translation) -> None:
    names = {"calculate_psnr": "psnr", "calculate_ssim": "ssim"}
    kinds = [str(metric.get("type", "")) for metric in t.get("val.metrics", {}).values()]
    unknown = [kind for kind in kinds if kind not in names]
    metrics = ["mae", "psnr", "ssim", "lpips"]
    reason = "on RGB without a border; mae and lpips are added"
    if unknown:
        reason += f"; there is no {', '.join(unknown)}"
    t.change("val.metrics", "metrics", metrics, reason)
    every = int(float(t.get("val.val_freq", 5000)))
    t.take("val.val_freq", "log.validate", every)
    t.set("log.best", "psnr", "the checkpoint with the best value on the validation images is kept")
    t.take("logger.print_freq", "log.every", int(float(t.get("logger.print_freq", 100))))
    t.take("logger.save_checkpoint_freq", "log.checkpoint", int(float(t.get("logger.save_checkpoint_freq", 5000))))
    t.set("log.samples", every)


def _weights(t: Translation) -> None:
    for option in ("path.pretrain_network_g", "path.pretrain_network_d", "path.resume_state"):
        if t.get(option, ""):
            t.drop(option, "weights of BasicSR cannot be loaded; the recipe trains from scratch")


RULES: tuple[Rule, ...] = (
    Rule(
        ("name", "manual_seed", "scale", "model_type"),
        ("name", "seed", "data.fit"),
        "networks keep the size: with a scale above 1 sources are enlarged first",
        _general,
    ),
    Rule(
        (
            *(f"{TRAIN}.{name}" for name in ("type", "dataroot_lq", "dataroot_gt", "filename_tmpl")),
            *(f"{TRAIN}.meta_info_file", f"{TRAIN}.meta_info", "datasets.val.dataroot_gt"),
        ),
        ("data.use", "data.root", "data.source", "data.target", "data.split"),
        "folders of images with the same names, no LMDB; a part of the pairs validates",
        _data,
    ),
    Rule(
        (f"{TRAIN}.gt_size", f"{TRAIN}.use_hflip", f"{TRAIN}.use_rot"),
        ("data.size", "data.load_size", "augment"),
        "random crops of images that are stored at one size; no rotation",
        _size,
    ),
    Rule(("network_g",), ("generator",), "NAFNet: nafnet; all others are replaced by nafnet", _generator),
    Rule(("network_d", "train.gan_opt"), (CRITIC,), "UNetDiscriminatorSN: unet_gan; others: patch_gan", _critic),
    Rule(
        (
            *("train.optim_g", "train.optim_d", "train.scheduler", "train.total_iter", "train.warmup_iter"),
            *("train.ema_decay", f"{TRAIN}.batch_size_per_gpu", "num_gpu"),
        ),
        (f"{STAGE}.optimizer", f"{CRITIC}.optimizer", f"{STAGE}.steps", f"{STAGE}.batch", f"{STAGE}.ema"),
        "batch is over all GPUs; schedules without restarts",
        _optimizers,
    ),
    Rule(
        ("train.pixel_opt",),
        (f"{STAGE}.terms",),
        "images are in [0, 1] there, in [-1, 1] here: L1 and Charbonnier weights are halved, MSE's divided by 4",
        _pixel,
    ),
    Rule(
        ("train.perceptual_opt",),
        (f"{STAGE}.terms.perceptual",),
        "same weights, because both normalise for ImageNet; VGG16 instead of VGG19",
        _perceptual,
    ),
    Rule(
        ("train.gan_opt", "train.net_d_init_iters", "train.net_d_iters"),
        (f"{STAGE}.terms.gan",),
        "lsgan's weights are doubled; ESRGANModel: relativistic_average",
        _adversarial,
    ),
    Rule(
        ("val.metrics", "val.val_freq", "logger.print_freq", "logger.save_checkpoint_freq"),
        ("metrics", "log"),
        "crop_border and test_y_channel have no equivalent",
        _validation,
    ),
    Rule(
        ("path.pretrain_network_g", "path.pretrain_network_d", "path.resume_state"),
        (),
        "weights are not converted",
        _weights,
    ),
    Rule(
        (
            *("path.strict_load_g", "path.param_key_g", "path.strict_load_d", "val.save_img", "val.pbar"),
            *("logger.use_tb_logger", "logger.wandb.project", "logger.wandb.resume_id"),
            *("dist_params.backend", "dist_params.port", f"{TRAIN}.name", f"{TRAIN}.io_backend.type"),
            *(f"{TRAIN}.num_worker_per_gpu", f"{TRAIN}.dataset_enlarge_ratio", f"{TRAIN}.prefetch_mode"),
            *(f"{TRAIN}.use_shuffle", f"{TRAIN}.num_prefetch_queue", f"{TRAIN}.pin_memory"),
            *("datasets.val.name", "datasets.val.type", "datasets.val.dataroot_lq", "datasets.val.io_backend.type"),
        ),
        (),
        "display, files and workers do not change the training",
    ),
)
