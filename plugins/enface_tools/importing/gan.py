"""Networks and adversarial losses of the CycleGAN family, which pix2pix and joliGEN share."""

from __future__ import annotations

from typing import Any

from enface_tools.importing.translation import Translation

STAGE = "stages.main"
UNETS = {"unet_128": 7, "unet_256": 8}
RESNETS = {"resnet_6blocks": 6, "resnet_9blocks": 9}


def generator(t: Translation, *, net: str, width: str, norm: str, dropout: bool, dropped: str) -> None:
    """Translate a generator.

    Args:
        net: Option with its name, as ``width`` and ``norm`` are the options with its first width and its norm.
        dropout: True if it drops activations with probability 0.5, as the option ``dropped`` says.
    """
    name = str(t.get(net, "unet_256"))
    if name in UNETS:
        t.take(net, "generator.use", "unet")
        t.set("generator.depth", UNETS[name], name)
    elif name in RESNETS:
        t.take(net, "generator.use", "resnet")
        t.set("generator.blocks", RESNETS[name], name)
    else:
        t.change(net, "generator.use", "resnet", f"there is no {name}; resnet is the nearest")
    t.take(width, "generator.width", t.get(width, 64))
    kind = str(t.get(norm, "batch"))
    if kind in ("batch", "instance"):
        t.take(norm, "generator.norm", kind)
    else:
        t.change(norm, "generator.norm", "instance", f"{kind} is not available")
    _dropout(t, name, dropout, dropped)


def _dropout(t: Translation, name: str, dropout: bool, option: str) -> None:
    if not dropout:
        t.agree(option)
    elif name in UNETS:
        reason = "in the first three layers of the decoder, as in the paper; theirs leaves out the innermost"
        t.change(option, "generator.dropout", 0.5, reason)
    else:
        t.drop(option, "resnet has no dropout")


def discriminator(t: Translation, net: str, *, layers: str, width: str, norm: str) -> None:
    """Translate a discriminator of pix2pix, which sees source and image."""
    place = f"{STAGE}.discriminators.patch"
    if net == "pixel":
        t.change("netD", f"{place}.use", "pixel_gan", "it sees only the image, not the source")
    elif net in ("basic", "n_layers"):
        t.take("netD", f"{place}.use", "conditional_patch_gan")
        count = int(t.get(layers, 3)) if net == "n_layers" else 3
        if net == "n_layers":
            t.take(layers, f"{place}.layers", count)
        else:
            t.set(f"{place}.layers", count, "basic")
    else:
        t.change("netD", f"{place}.use", "conditional_patch_gan", f"there is no {net}; this is the usual one")
    t.take(width, f"{place}.width", t.get(width, 64))
    t.set(f"{place}.norm", norm, "norm")


def adversarial_term(
    t: Translation, option: str, mode: str, place: str, critic: str, *, half: bool, weight: float = 1.0
) -> None:
    """Translate an adversarial loss, with the factors by which definitions differ.

    ``lsgan`` of the CycleGAN family has no factor 1/2, which that of enface has; ``half`` says that the sum over real
    and fake images is halved for the discriminator.
    """
    uses = {"vanilla": "vanilla", "lsgan": "lsgan", "wgangp": "wgan", "projected": "hinge"}
    share = 0.5 if half else 1.0
    scale = 2.0 if mode == "lsgan" else 1.0
    term: dict[str, Any] = {"use": uses.get(mode, "vanilla"), "against": critic}
    term |= {"weight": weight * scale, "critic_weight": share * scale}
    reasons = {
        "vanilla": "their loss of the discriminator is halved: critic_weight",
        "lsgan": "lsgan has a factor 1/2 here and none there: weight is doubled",
        "wgangp": "their loss of the discriminator is halved; it has no gradient penalty: add gradient_penalty",
        "projected": "it is the hinge loss, halved for the discriminator: critic_weight",
    }
    t.change(option, place, term, reasons.get(mode, f"there is no {mode}; vanilla is the usual one"))
