"""Options of joliGEN (github.com/jolibrain/joliGEN), a JSON file as training saves and reads it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from enface_tools.importing.common import ImportRefused, crop_and_flip, epoch_schedule, flattened, steps_per_epoch
from enface_tools.importing.gan import adversarial_term, generator
from enface_tools.importing.translation import Rule, Translation
from enface_tools.init.names import recipe_name

STAGE = "stages.main"
CRITICS = f"{STAGE}.discriminators"
UNKNOWN = "has no equivalent in a recipe"
METRICS = {"PSNR": "psnr", "SSIM": "ssim", "LPIPS": "lpips", "FID": "fid", "KID": "kid"}
OPTIMIZERS = {"adam": "adam", "adamw": "adamw", "radam": "radam"}
RESNETS = ("resnet", "mobile_resnet", "resnet_attn", "mobile_resnet_attn")


def read_options(path: Path) -> dict[str, Any]:
    """Read a JSON file as options by the names of joliGEN's command line, such as ``train_G_lr``.

    Raises:
        ImportRefused: if it is no JSON of joliGEN, or its model is not trained on pairs.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ImportRefused(f"{path} is no JSON: {error}") from error
    options = dict(flattened(content, "_")) if isinstance(content, dict) else {}
    if "dataroot" not in options or "model_type" not in options:
        raise ImportRefused(f"{path} holds no options of joliGEN: expected the keys dataroot and model_type")
    model, mode = options["model_type"], options.get("data_dataset_mode", "unaligned")
    if model != "cut" or mode != "aligned":
        raise ImportRefused(
            f"{path}: model_type {model} with data_dataset_mode {mode}: enface trains networks of one pass on pairs, "
            "so only cut with aligned can be imported; if you have pairs, start with enface init FOLDER"
        )
    return options


# ------------------------------------------------------------------ rules


def _name(t: Translation) -> None:
    t.take("name", "name", recipe_name(str(t.get("name", "joligen"))))


def _data(t: Translation) -> None:
    t.set("data.use", "paired_folders")
    t.take("dataroot", "data.root", str(t.get("dataroot", "")))
    roles = ("B", "A") if t.get("data_direction", "AtoB") == "BtoA" else ("A", "B")
    t.set("data.source", roles[0], "trainA, testA, ...")
    t.set("data.target", roles[1], "trainB, testB, ...")
    reason = "pairs are matched by name, theirs by order"
    t.change("data_dataset_mode", "data.source", roles[0], reason)
    t.take("data_direction", "data.source", roles[0])


def _channels(t: Translation) -> None:
    for option, role in (("model_input_nc", "source"), ("model_output_nc", "target")):
        if t.get(option, 3) == 3:
            t.agree(option)
        else:
            t.take(option, f"data.channels.{role}", t.get(option, 3))
    bits = int(t.get("data_image_bits", 8))
    if bits == 8:
        t.agree("data_image_bits")
    else:
        t.take("data_image_bits", "data.depth", 16)


def _size(t: Translation) -> None:
    load, crop = int(t.get("data_load_size", 286)), int(t.get("data_crop_size", 256))
    preprocess = str(t.get("data_preprocess", "resize_and_crop"))
    crops = preprocess == "resize_and_crop" and load > crop
    t.take("data_crop_size", "data.size", crop if "crop" in preprocess else load)
    if "resize" in preprocess:
        t.change(
            "data_preprocess", "data.fit", "stretch", f"{preprocess} ignores the aspect ratio; resampled by Lanczos"
        )
    else:
        t.change("data_preprocess", "data.fit", "crop", f"{preprocess} has no equivalent: the largest centred square")
    if crops:
        t.take("data_load_size", "data.load_size", load)
    changes = crop_and_flip(t, crop=crops, flip=not t.get("dataaug_no_flip", False))
    for key, value in changes.items():
        t.set(f"augment.{key}", value, "dataaug_no_flip" if key == "flip" else "one crop for both images of a pair")
    t.agree("dataaug_no_flip", "augment.flip" if "flip" in changes else "")
    if not t.get("dataaug_no_rotate", True):
        t.drop("dataaug_no_rotate", "images are not rotated")


def _generator(t: Translation) -> None:
    dropout = bool(t.get("G_dropout", False))
    name = str(t.get("G_netG", "mobile_resnet_attn"))
    if name in RESNETS:
        if name == "resnet":
            t.take("G_netG", "generator.use", "resnet")
        else:
            t.change("G_netG", "generator.use", "resnet", f"there is no {name}; resnet has full convolutions")
        t.take("G_nblocks", "generator.blocks", int(t.get("G_nblocks", 9)))
        t.take("G_ngf", "generator.width", t.get("G_ngf", 64))
        norm = str(t.get("G_norm", "instance"))
        t.take("G_norm", "generator.norm", norm if norm in ("batch", "instance") else "instance")
        if dropout:
            t.drop("G_dropout", "resnet has no dropout")
    else:
        generator(t, net="G_netG", width="G_ngf", norm="G_norm", dropout=dropout, dropped="G_dropout")
    if t.get("G_spectral", False):
        t.drop("G_spectral", "generators have no spectral norm")


def _critics(t: Translation) -> None:
    names = t.get("D_netDs", ["projected_d", "basic"])
    layers = int(t.get("D_n_layers", 3))
    width, norm = t.get("D_ndf", 64), str(t.get("D_norm", "instance"))
    patch = {"width": width, "norm": norm, "spectral_norm": bool(t.get("D_spectral", False))}
    specs = {
        "basic": {"use": "patch_gan", "layers": 3, **patch},
        "n_layers": {"use": "patch_gan", "layers": layers, **patch},
        "pixel": {"use": "pixel_gan", **patch},
        "projected_d": {"use": "projected"},
    }
    kept = {name: specs[name] for name in names if name in specs}
    for name, spec in kept.items():
        t.set(f"{CRITICS}.{name}", spec, f"D_netDs: {name}")
    reasons = ["projected_d: on VGG16, without mixing across scales"] * ("projected_d" in kept)
    reasons += [f"there is no {name}" for name in names if name not in specs and name != "none"]
    first = next(iter(kept), "")
    if not first:
        t.drop("D_netDs", "; ".join(reasons) or "no discriminator: no adversarial term")
    elif reasons:
        t.change("D_netDs", f"{CRITICS}.{first}", specs[first], "; ".join(reasons))
    else:
        t.take("D_netDs", f"{CRITICS}.{first}", specs[first])
    for option, key in (
        ("D_ndf", "width"),
        ("D_norm", "norm"),
        ("D_spectral", "spectral_norm"),
        ("D_n_layers", "layers"),
    ):
        t.agree(option, f"{CRITICS}.basic.{key}" if "basic" in kept else "")
    if t.get("D_dropout", False):
        t.drop("D_dropout", "discriminators have no dropout")
    _augmentation(t, kept)


def _augmentation(t: Translation, critics: dict[str, Any]) -> None:
    words = re.findall(r"color|translation|cutout", str(t.get("dataaug_diff_aug_policy", "")))
    if words:
        spec = {"use": "diff_augment", "policy": words, "strength": float(t.get("dataaug_diff_aug_proba", 0.5))}
        for name in critics:
            t.take("dataaug_diff_aug_policy", f"{CRITICS}.{name}.augment", spec)
            t.take("dataaug_diff_aug_proba", f"{CRITICS}.{name}.augment", spec)
    for option in ("dataaug_APA", "dataaug_D_diffusion"):
        if t.get(option, False):
            t.drop(option, "use augment: {use: diff_augment, target: 0.6}, which adapts, too")
    if t.get("dataaug_D_noise", 0.0):
        t.drop("dataaug_D_noise", "no noise is added to the discriminator's images")


def _steps(t: Translation) -> None:
    size, passes = int(t.get("train_batch_size", 1)), int(t.get("train_iter_size", 1))
    batch = size * passes
    limit = float(t.get("data_max_dataset_size", math.inf))
    steps, why = steps_per_epoch(t, batch, limit)
    hold, decay = int(t.get("train_n_epochs", 100)), int(t.get("train_n_epochs_decay", 0))
    t.take("train_batch_size", f"{STAGE}.batch", batch)
    if passes > 1:
        t.change("train_iter_size", f"{STAGE}.accumulate", passes, f"batch is that of a step: {size} x {passes}")
    total = (hold + decay) * steps
    t.change("train_n_epochs_decay", f"{STAGE}.steps", total, f"the last {decay} of {hold + decay} epochs")
    t.change("train_n_epochs", f"{STAGE}.steps", total, f"{hold} of {hold + decay} epochs; {why}")
    _optimizers(t, (hold, decay), steps)
    if t.get("train_G_ema", False):
        t.take("train_G_ema", f"{STAGE}.ema", float(t.get("train_G_ema_beta", 0.999)))
        t.agree("train_G_ema_beta", f"{STAGE}.ema")


def _optimizers(t: Translation, epochs: tuple[int, int], steps: int) -> None:
    given = str(t.get("train_optim", "adam"))
    use = OPTIMIZERS.get(given, "adamw" if given == "lion" else "adam")
    decay, eps = float(t.get("train_optim_weight_decay", 0.0)), float(t.get("train_optim_eps", 1e-8))
    options = {"use": use, "betas": [t.get("train_beta1", 0.9), t.get("train_beta2", 0.999)], "weight_decay": decay}
    options |= {"eps": eps} if eps != 1e-8 else {}
    generator_key = f"{STAGE}.optimizer"
    critic_keys = [f"{CRITICS}.{name}.optimizer" for name in _critic_names(t)]
    for option, default, keys in (("train_D_lr", 1e-4, critic_keys), ("train_G_lr", 2e-4, [generator_key])):
        lr, difference = _learning_rate(t, float(t.get(option, default)), epochs, steps)
        for key in keys:
            t.set(key, {**options, "lr": lr}, option)
            t.take(option, key, {**options, "lr": lr})
    chosen = t.recipe["stages"]["main"]["optimizer"]
    if difference:
        t.change("train_lr_policy", generator_key, chosen, difference)
    else:
        t.agree("train_lr_policy", f"{generator_key}.lr")
    if given == use:
        t.take("train_optim", generator_key, chosen)
    else:
        t.change("train_optim", generator_key, chosen, f"there is no {given}; {use} is used")
    for option, name in (
        *(("train_beta1", "betas"), ("train_beta2", "betas")),
        *(("train_optim_weight_decay", "weight_decay"), ("train_optim_eps", "eps")),
    ):
        t.agree(option, f"{generator_key}.{name}")


def _learning_rate(t: Translation, lr: float, epochs: tuple[int, int], steps: int) -> tuple[Any, str]:
    policy = str(t.get("train_lr_policy", "linear"))
    if policy != "multistep":
        every = int(t.get("train_lr_decay_iters", 50))
        if policy == "step":
            t.agree("train_lr_decay_iters", f"{STAGE}.optimizer.lr.every")
        return epoch_schedule(t, "train_lr_policy", lr, policy, epochs, steps, every)
    milestones = [int(epoch) * steps for epoch in t.get("train_lr_steps", [])]
    t.agree("train_lr_steps", f"{STAGE}.optimizer.lr.milestones")
    return ({"use": "multi_step", "start": lr, "milestones": milestones, "factor": 0.1} if milestones else lr), ""


def _critic_names(t: Translation) -> list[str]:
    return list(t.recipe.get("stages", {}).get("main", {}).get("discriminators", {}))


def _losses(t: Translation) -> None:
    kinds = [kind for kind in t.get("alg_cut_supervised_loss", [""]) if kind]
    pixels, perceptual = t.get("alg_cut_lambda_supervised", 1.0), t.get("alg_cut_lambda_perceptual", 1.0)
    uses = {
        "L1": ("l1", pixels),
        "MSE": ("mse", pixels),
        "LPIPS": ("lpips", perceptual),
        "DISTS": ("dists", perceptual),
    }
    if "MSE" in kinds and "L1" in kinds:
        kinds.remove("L1")
    for kind in kinds:
        name, weight = uses[kind]
        t.take("alg_cut_supervised_loss", f"{STAGE}.terms.{name}", {"weight": weight})
    if not kinds:
        reason = "without a supervised loss pairs are not compared; L1 is added"
        t.change("alg_cut_supervised_loss", f"{STAGE}.terms.l1", {"weight": 1.0}, reason)
    t.agree("alg_cut_lambda_supervised", f"{STAGE}.terms.{'mse' if 'MSE' in kinds else 'l1'}.weight")
    t.agree("alg_cut_lambda_perceptual", f"{STAGE}.terms.lpips.weight" if "LPIPS" in kinds else "")
    weight = float(t.get("alg_cut_lambda_NCE", 1.0))
    if weight:
        _contrastive(t, weight)
    names = _critic_names(t)
    for name in names:
        term = f"{STAGE}.terms.gan" if len(names) == 1 else f"{STAGE}.terms.gan_{name}"
        mode = str(t.get("train_gan_mode", "lsgan"))
        adversarial_term(t, "train_gan_mode", mode, term, name, half=True, weight=float(t.get("alg_gan_lambda", 1.0)))
        t.agree("alg_gan_lambda", f"{term}.weight")
    if t.get("train_pool_size", 50):
        t.drop("train_pool_size", "the discriminator sees only the outputs of its own step")


def _contrastive(t: Translation, weight: float) -> None:
    if t.recipe["generator"]["use"] != "resnet":
        t.drop("alg_cut_lambda_NCE", "patch_nce needs features of the generator, which only resnet provides")
        return
    term: dict[str, Any] = {"weight": weight, "points": int(t.get("alg_cut_num_patches", 256))}
    term["temperature"] = float(t.get("alg_cut_nce_T", 0.07))
    kind = t.get("alg_cut_nce_loss", "monce")
    reason = f"{kind} of three layers without a learned projection; positions are evenly spaced"
    t.change("alg_cut_lambda_NCE", f"{STAGE}.terms.patch_nce", term, reason)
    t.agree("alg_cut_num_patches", f"{STAGE}.terms.patch_nce.points")
    t.agree("alg_cut_nce_T", f"{STAGE}.terms.patch_nce.temperature")
    if t.get("alg_cut_nce_idt", True):
        t.drop("alg_cut_nce_idt", "the generator does not see targets")
    for option in ("alg_cut_netF", "alg_cut_nce_layers", "alg_cut_nce_loss"):
        t.drop(option, "patch_nce has neither a learned projection nor a choice of layers")


def _log(t: Translation) -> None:
    batch = int(t.get("train_batch_size", 1)) * int(t.get("train_iter_size", 1))
    for option, key, default in (
        ("output_print_freq", "log.every", 100),
        ("output_display_freq", "log.samples", 400),
        ("train_save_latest_freq", "log.checkpoint", 5000),
        ("train_metrics_every", "log.validate", 1000),
    ):
        images = int(t.get(option, default))
        t.change(option, key, max(1, images // batch), "counted in images there")
    known = [METRICS[name] for name in t.get("train_metrics_list", []) if name in METRICS]
    unknown = [name for name in t.get("train_metrics_list", []) if name not in METRICS]
    metrics = list(dict.fromkeys(["mae", "psnr", "ssim", "lpips", *known]))
    if unknown:
        t.change("train_metrics_list", "metrics", metrics, f"there is no {', '.join(unknown)}")
    else:
        t.take("train_metrics_list", "metrics", metrics)
    t.set("log.best", "lpips", "the checkpoint with the best value on the validation images is kept")


def _engine(t: Translation) -> None:
    if t.get("with_amp", False):
        t.take("with_amp", "engine.precision", "auto")
    if t.get("with_tf32", False):
        t.take("with_tf32", "engine.tf32", True)
    if t.get("with_torch_compile", False):
        t.take("with_torch_compile", "engine.compile", True)
    devices = str(t.get("gpu_ids", "0"))
    if devices == "-1":
        t.take("gpu_ids", "engine.device", "cpu")
    elif "," in devices:
        t.drop("gpu_ids", f"enface run --processes {devices.count(',') + 1} uses several GPUs")


def _initialisation(t: Translation) -> None:
    for option, default in (("model_init_type", "normal"), ("model_init_gain", 0.02)):
        if t.get(option, default) == default:
            t.agree(option)
        else:
            t.drop(option, "weights are always drawn from N(0, 0.02)")
    if t.get("train_continue", False):
        t.drop("train_continue", "weights of joliGEN cannot be loaded; the recipe trains from scratch")


RULES: tuple[Rule, ...] = (
    Rule(("name",), ("name",), "", _name),
    Rule(
        ("dataroot", "data_dataset_mode", "data_direction"),
        ("data.use", "data.root", "data.source", "data.target"),
        "aligned only; trainA, trainB, testA, ... are matched by name and define the split",
        _data,
    ),
    Rule(
        ("model_input_nc", "model_output_nc", "data_image_bits"),
        ("data.channels", "data.depth"),
        "3 planes of 8 bits are the default",
        _channels,
    ),
    Rule(
        *(
            ("data_load_size", "data_crop_size", "data_preprocess", "dataaug_no_flip", "dataaug_no_rotate"),
            ("data.size", "data.load_size", "data.fit", "augment"),
        ),
        "resize becomes fit: stretch; no rotation",
        _size,
    ),
    Rule(
        ("G_netG", "G_ngf", "G_nblocks", "G_norm", "G_dropout", "G_spectral"),
        ("generator",),
        "resnet and its mobile and attention variants: resnet; unet_256, unet_128: unet",
        _generator,
    ),
    Rule(
        (
            *("D_netDs", "D_ndf", "D_n_layers", "D_norm", "D_spectral", "D_dropout", "dataaug_diff_aug_policy"),
            *("dataaug_diff_aug_proba", "dataaug_APA", "dataaug_D_diffusion", "dataaug_D_noise"),
        ),
        (CRITICS,),
        "basic, n_layers: patch_gan; pixel: pixel_gan; projected_d: projected on VGG16; others are left out",
        _critics,
    ),
    Rule(
        (
            *("train_batch_size", "train_iter_size", "train_n_epochs", "train_n_epochs_decay", "train_optim"),
            *("data_max_dataset_size", "train_G_lr", "train_D_lr", "train_beta1", "train_beta2", "train_lr_policy"),
            *("train_lr_decay_iters", "train_lr_steps", "train_optim_weight_decay", "train_optim_eps"),
            *("train_G_ema", "train_G_ema_beta"),
        ),
        (f"{STAGE}.batch", f"{STAGE}.accumulate", f"{STAGE}.steps", f"{STAGE}.optimizer", f"{STAGE}.ema", CRITICS),
        "epochs become steps, by the number of images",
        _steps,
    ),
    Rule(
        (
            *("alg_cut_supervised_loss", "alg_cut_lambda_supervised", "alg_cut_lambda_perceptual"),
            *("alg_cut_lambda_NCE", "alg_cut_num_patches", "alg_cut_nce_T", "alg_cut_nce_idt", "alg_cut_nce_loss"),
            *("alg_cut_netF", "alg_cut_nce_layers", "alg_gan_lambda", "train_gan_mode", "train_pool_size"),
        ),
        (f"{STAGE}.terms",),
        "both act on images in [-1, 1]; weights differ where losses contain a factor",
        _losses,
    ),
    Rule(
        (
            *("output_print_freq", "output_display_freq", "train_save_latest_freq", "train_metrics_every"),
            *("train_metrics_list", "train_batch_size", "train_iter_size"),
        ),
        ("log", "metrics"),
        "counted in images there, in steps here",
        _log,
    ),
    Rule(
        ("with_amp", "with_tf32", "with_torch_compile", "gpu_ids"),
        ("engine",),
        "--processes for several GPUs",
        _engine,
    ),
    Rule(
        ("model_init_type", "model_init_gain", "train_continue"),
        (),
        "normal, 0.02 is the only one; weights are not converted",
        _initialisation,
    ),
    Rule(
        (
            *("model_type", "phase", "checkpoints_dir", "suffix", "ddp_port", "warning_mode", "test_batch_size"),
            *("data_num_threads", "data_serial_batches", "train_save_epoch_freq", "train_save_by_iter"),
            *("output_no_html", "output_verbose", "output_update_html_freq", "output_num_images"),
            *("train_compute_metrics_test", "train_export_jit", "train_epoch", "train_epoch_count", "train_load_iter"),
            *("output_display_*", "train_compute_*", "train_D_accuracy_every", "train_nb_img_max_fid"),
        ),
        (),
        "display, files and workers do not change the training",
    ),
    Rule(
        (
            *("f_s_*", "cls_*", "train_sem*", "train_mask_*", "train_temporal_*", "train_mm_*", "train_cls_*"),
            *("data_online_*", "data_temporal_*", "data_refined_mask", "data_inverted_mask", "data_sanitize_paths"),
            *("data_relative_paths", "alg_diffusion_*", "alg_palette_*", "alg_cyclegan_*", "alg_re_*", "alg_cut_*"),
            *("G_attn_*", "G_backward_*", "G_config_*", "G_diff_*", "G_hdit_*", "G_lora_*", "G_netE", "G_padding_type"),
            *("G_unet_*", "G_uvit_*", "G_vit_*", "D_no_antialias*", "D_proj_*", "D_temporal_*", "D_vision_*"),
            *("D_weight_sam", "model_depth_network", "model_type_sam", "model_multimodal", "model_prior_*"),
            *("dataaug_APA_*", "dataaug_D_diffusion_every", "dataaug_D_label_smooth", "dataaug_affine*"),
            *("dataaug_imgaug",),
        ),
        (),
        "options of other models, of masks and of labels, which training of pairs does not read",
    ),
)
