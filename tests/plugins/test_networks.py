"""The pretrained networks that components report, from which a report warns of metrics that were trained on."""

from __future__ import annotations

import pytest

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins

CATALOG = Catalog(load_plugins())


@pytest.mark.parametrize(
    ("kind", "name", "params", "networks"),
    [
        ("loss", "l1", {}, ()),
        ("loss", "patch_nce", {}, ()),
        ("loss", "lpips", {}, ("vgg16",)),
        ("loss", "lpips", {"net": "alex"}, ("alexnet",)),
        ("loss", "dists", {}, ("vgg16",)),
        ("loss", "perceptual", {}, ("vgg16",)),
        ("loss", "perceptual", {"backbone": "alexnet"}, ("alexnet",)),
        ("loss", "perceptual", {"backbone": "vgg16", "weights": "/faces/vgg.pth"}, ("/faces/vgg.pth",)),
        ("loss", "contextual", {}, ("vgg16",)),
        ("loss", "identity", {"file": "/faces/arc.pt", "size": 112}, ("/faces/arc.pt",)),
        ("discriminator", "projected", {}, ("vgg16",)),
        ("discriminator", "projected", {"backbone": "alexnet"}, ("alexnet",)),
        ("discriminator", "patch_gan", {}, ()),
        ("metric", "ssim", {}, ()),
        ("metric", "lpips", {}, ("alexnet",)),
        ("metric", "lpips", {"net": "vgg"}, ("vgg16",)),
        ("metric", "identity", {}, ("dlib_resnet",)),
        ("metric", "rank_1", {"recogniser": "/faces/arc.pt", "size": 112}, ("/faces/arc.pt",)),
        ("metric", "fid", {"weights": "/w/inception.pth"}, ("fid_inception",)),
        ("metric", "kid", {}, ("fid_inception",)),
    ],
)
def test_networks_follow_from_the_recipes_parameters(kind, name, params, networks):
    assert CATALOG.get(kind, name).component.networks(params) == networks
