"""Losses of images, features and codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from golden_inputs import array
from reference.case import KINKED, RECOGNISER, SIDE, Case, exponents, features, image, pair

from reference import critics, flows, networks, pixels


def pixel(name: str, function: Callable[..., Any], source: str, inputs: Any = None, **more: Any) -> Case:
    """A case of a loss of pixels; its parameters are also the formula's unless ``function`` has its own."""
    component = more.pop("component", name)
    params = more.get("params", {})
    bound = function if isinstance(function, partial) else partial(function, **params)
    return Case("losses", name, component, bound, inputs or pair(), source, **more)


def field(phase: float, *fields: int) -> list[Any]:
    """Flow of three images of 7 x 6 pixels."""
    return ["flow", [3, *fields, 2, 7, 6], phase]


def visible(phase: float) -> list[Any]:
    return ["visible", [3, 1, 7, 6], phase]


def moving(name: str, component: str, source: str, inputs: Any, **more: Any) -> Case:
    """A case of a loss of flows or masks."""
    function = partial(getattr(flows, component), **more.get("params", {}))
    return Case("losses", name, component, function, inputs, source, **more)


SOURCE = {"source_flow": field(2), "source_visible": visible(3)}
EPE = "Baker et al., IJCV 2011, end-point error, with Charbonnier's root, over the visible pixels"
SPLAT = "Niklaus and Liu, CVPR 2020, average splatting of the output, |moved - source| over the pixels that it reaches"
FLOWS = [
    *[
        moving(
            f"flow_epe, {' '.join(images)}",
            "flow_epe",
            EPE,
            {"flow": field(1, 3), **SOURCE, **more},
            wrt=("flow",),
            params={"images": images, "eps": 0.1},
        )
        for images, more in (
            (["source", "mirror"], {}),
            (["partner", "source"], {"partner_flow": field(4), "partner_visible": visible(5)}),
        )
    ],
    moving(
        "flow_smoothness",
        "flow_smoothness",
        "Godard et al., CVPR 2017; Jonschkowski et al., ECCV 2020, first order, edges averaged over planes",
        {"flow": field(1, 2), "target": image(2, 3, 3, 7, 6)},
        wrt=("flow",),
        params={"alpha": 4.0},
        step=KINKED,
    ),
    moving(
        "mask_entropy",
        "mask_entropy",
        "Shannon entropy in nats",
        {"masks": ["masks", [2, 3, 7, 6], 1]},
        wrt=("masks",),
        step=KINKED,
    ),
    moving(
        "cycle",
        "cycle",
        SPLAT,
        {"output": image(1, 3, 3, 7, 6), "source": image(2, 3, 3, 7, 6), "flow": field(1, 2)},
        wrt=("output", "flow"),
        held={"fixed_flow": "flow"},
        params={"images": ["source", "mirror"]},
        step=KINKED,
    ),
]


PIXELS = [
    pixel("l1", pixels.l1, "|output - target|", step=KINKED),
    pixel("mse", pixels.mse, "(output - target)^2"),
    pixel(
        "charbonnier",
        pixels.charbonnier,
        "Charbonnier et al., ICIP 1994; Lai et al., CVPR 2017 (LapSRN)",
        params={"eps": 0.05},
        step=KINKED,
    ),
    pixel(
        "huber",
        pixels.huber,
        "Huber, Annals of Mathematical Statistics 1964; scipy.special.huber",
        params={"delta": 0.3},
        step=KINKED,
    ),
    pixel(
        "color",
        pixels.color,
        "Ignatov et al., ICCV 2017, the modulus instead of the square; scipy.ndimage.gaussian_filter",
        params={"sigma": 1.0},
        step=KINKED,
    ),
    *[
        pixel(
            f"gradient, {operator}",
            pixels.gradient,
            "Mathieu, Couprie and LeCun, ICLR 2016, with signed differences; "
            "Sobel's as scipy.ndimage.correlate1d with [-1 0 1] and [1 2 1] / 8",
            component="gradient",
            params={"operator": operator},
            step=KINKED,
        )
        for operator in ("sobel", "difference")
    ],
    *[
        pixel(
            f"total_variation, {penalty}",
            pixels.total_variation,
            "Rudin, Osher and Fatemi, Physica D 1992, anisotropic",
            {"output": image(1)},
            component="total_variation",
            params={"penalty": penalty},
            step=KINKED,
        )
        for penalty in ("absolute", "squared")
    ],
    pixel(
        "symmetry",
        pixels.symmetry,
        "Huang et al., ICCV 2017, over both halves",
        {"output": image(1)},
        step=KINKED,
    ),
    pixel(
        "gradient_variance",
        pixels.gradient_variance,
        "Abrahamyan et al., ICASSP 2022, with the biased variance of plain differences per channel",
        params={"patch": 4},
    ),
    pixel(
        "laplacian_pyramid",
        pixels.laplacian_pyramid,
        "Bojanowski et al., ICML 2018, as a mean over pixels; Burt and Adelson, 1983",
        pair(2, 3, 16, 12),
        params={"levels": 2},
        step=KINKED,
    ),
    *[
        pixel(
            f"fft, {compare}",
            pixels.fft,
            {
                "complex": "Cho et al., ICCV 2021, with the modulus, orthonormal",
                "amplitude": "Fuoli, Van Gool and Timofte, ICCV 2021, over the whole plane, orthonormal",
            }[compare],
            component="fft",
            params={"compare": compare},
            step=KINKED,
        )
        for compare in ("complex", "amplitude")
    ],
    *[
        pixel(
            f"focal_frequency, alpha {alpha:g}",
            pixels.focal_frequency,
            "Jiang et al., ICCV 2021",
            component="focal_frequency",
            params={"alpha": alpha},
            held={"held": "output"},
        )
        for alpha in (1.0, 0.5)
    ],
    pixel("ssim", pixels.ssim, "Wang et al., IEEE TIP 2004, equation 13; reflected at the border", step=1e-4),
    pixel(
        "ms_ssim, 2 scales",
        partial(pixels.ms_ssim, exponents=exponents(2)),
        "Wang, Simoncelli and Bovik, Asilomar 2003, equation 7, the first exponents, rescaled to the sum of all five",
        pair(2, 3, 24, 22),
        component="ms_ssim",
        params={"scales": 2},
        size=24,
    ),
]


CODES = [
    Case(
        "losses",
        "cross_entropy",
        "cross_entropy",
        critics.cross_entropy,
        {"logits": ["map", [5, 4], 1], "labels": ["labels", [5], 4]},
        "-log softmax(logits)[label]; scipy.special.log_softmax",
        wrt=("logits",),
    ),
    Case(
        "losses",
        "contrastive",
        "contrastive",
        partial(critics.contrastive, margin=3.0),
        {"a": ["map", [6, 4], 1], "b": ["map", [6, 4], 1.3], "same": ["flags", [6], 0]},
        "Hadsell, Chopra and LeCun, CVPR 2006, equation 4, without the factors 1/2",
        wrt=("a", "b"),
        params={"margin": 3.0},
    ),
    Case(
        "losses",
        "feature_matching",
        "feature_matching",
        critics.feature_matching,
        {"real_features": features(1), "fake_features": features(2)},
        "Wang et al., CVPR 2018 (pix2pixHD), equation 4, as a mean over layers",
        wrt=("fake_features",),
        step=KINKED,
    ),
    *[
        Case(
            "losses",
            f"patch_nce, {points} points",
            "patch_nce",
            partial(critics.patch_nce, points=points, temperature=0.2),
            {"features": features(1), "output_features": features(2)},
            "Park et al., ECCV 2020 (CUT), equation 3, without the projection, at evenly spaced positions",
            wrt=("output_features",),
            params={"points": points, "temperature": 0.2},
        )
        for points in (256, 7)
    ],
    *[
        Case(
            "losses",
            f"identity, {colour}",
            "identity",
            partial(critics.identity, weights=array(RECOGNISER), size=SIDE, low=given[0], high=given[1], colour=colour),
            pair(2, 3, 12, 12),
            "1 - cosine (Huang et al., ICCV 2017, compare features by another distance); images resized as "
            "Pillow does, bilinear with antialiasing",
            params={"file": "recogniser.pt", "size": SIDE, "range": given, "colour": colour},
            size=12,
            extra={"recogniser": RECOGNISER},
        )
        for colour, given in (("rgb", [-1.0, 1.0]), ("bgr", [0.0, 2.0]))
    ],
]


def network(name: str, function: Callable[..., Any], source: str, component: str, *shape: int, **more: Any) -> Case:
    """A case of a loss that uses a pretrained network."""
    shape = shape or (2, 3, 32, 32)
    return Case("networks", name, component, function, pair(*shape), source, network=True, size=shape[-1], **more)


WEIGHTED = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0}
ALEXNET = {"relu1": 1 / 32, "relu2": 1 / 16, "relu3": 1 / 8, "relu4": 1 / 4, "relu5": 1.0}
JOHNSON = {"relu3_3": 1.0}
VGG16, TORCHVISION = "torchvision's vgg16 with the cached weights", "torchvision with the cached weights"

NETWORKS = [
    *[
        network(
            f"lpips, {net}{', spatial' if spatial else ''}",
            partial(networks.lpips, net=net, spatial=spatial),
            "lpips 0.1.4, LPIPS(net, spatial) version 0.1, in float64 (Zhang et al., CVPR 2018)",
            "lpips",
            params={"net": net, "spatial": spatial},
        )
        for net in ("alex", "vgg")
        for spatial in (False, True)
    ],
    network(
        "dists",
        networks.dists,
        "DISTS_pytorch 0.1, the authors' package, in float64 (Ding et al., TPAMI 2022)",
        "dists",
    ),
    network(
        "contextual",
        partial(networks.contextual, layer="relu3_2", bandwidth=0.5),
        f"Mechrez, Talmi and Zelnik-Manor, ECCV 2018, one image; {VGG16}",
        "contextual",
        *(1, 3, 32, 32),
    ),
    network(
        "perceptual, l1",
        partial(networks.perceptual, backbone="vgg16", layers=WEIGHTED),
        f"Wang et al., CVPR 2018 (pix2pixHD), with {VGG16} and its normalisation",
        "perceptual",
    ),
    network(
        "perceptual, l2",
        partial(networks.perceptual, backbone="vgg16", layers=JOHNSON, distance="l2"),
        f"Johnson, Alahi and Fei-Fei, ECCV 2016, equation 2; {VGG16}",
        "perceptual",
        params={"layers": JOHNSON, "distance": "l2"},
    ),
    network(
        "perceptual, style",
        partial(networks.perceptual, backbone="vgg16", layers=JOHNSON, distance="l2", style=100.0),
        f"Johnson, Alahi and Fei-Fei, ECCV 2016, equations 2 to 4; {VGG16}",
        "perceptual",
        params={"layers": JOHNSON, "distance": "l2", "style": 100.0},
    ),
    network(
        "perceptual, alexnet",
        partial(networks.perceptual, backbone="alexnet", layers=ALEXNET),
        f"As perceptual, l1; {TORCHVISION}",
        "perceptual",
        *(2, 3, 64, 64),
        params={"backbone": "alexnet"},
    ),
]
