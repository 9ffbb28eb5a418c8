"""The golden cases: a component, its parameters and inputs, and the published formula that gives its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from golden_inputs import array

from reference import critics, metrics, networks, pixels

SMOOTH, KINKED = 1e-3, 1e-5
"""Steps of central differences. A modulus needs a small one, so that no entry of the input crosses a kink."""


@dataclass
class Case:
    """One entry of a stored file.

    Attributes:
        function: The formula: inputs by name -> a map (N, C, H, W), numbers (N,), or one number.
        wrt: Inputs with respect to which the gradient is stored.
        network: True if the function takes and returns torch tensors.
        held: Inputs that a part of the formula sees without its gradient: name of the function's argument -> input.
        extra: Further keys of the entry.
    """

    file: str
    name: str
    component: str
    function: Callable[..., Any]
    inputs: dict[str, Any]
    source: str
    side: str = "forward"
    wrt: tuple[str, ...] = ("output",)
    params: dict[str, Any] = field(default_factory=dict)
    size: int = 16
    step: float = SMOOTH
    network: bool = False
    held: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    checked: str = ""

    def differentiated(self, inputs):
        """Return the function whose gradient counts."""
        return partial(self.function, **{argument: inputs[name] for argument, name in self.held.items()})


def image(phase: float, *shape: int) -> list[Any]:
    return ["image", list(shape or (2, 3, 13, 11)), phase]


def pair(*shape: int) -> dict[str, Any]:
    return {"output": image(1, *shape), "target": image(2, *shape)}


def exponents(scales: int) -> Any:
    """The paper's exponents of the first scales, rescaled to the sum of all five."""
    five = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    return five[:scales] / five[:scales].sum() * five.sum()


def features(phase: float) -> list[Any]:
    """Two layers."""
    return [["map", [2, 4, 5, 3], phase], ["map", [2, 6, 2, 2], phase + 0.5]]


def logits(phase: float) -> list[Any]:
    return ["map", [2, 1, 3, 2], phase]


def pixel(name: str, function: Callable[..., Any], source: str, inputs: Any = None, **more: Any) -> Case:
    """A case of a loss of pixels; its parameters are also the formula's unless ``function`` has its own."""
    component = more.pop("component", name)
    params = more.get("params", {})
    bound = function if isinstance(function, partial) else partial(function, **params)
    return Case("losses", name, component, bound, inputs or pair(), source, **more)


def both_sides(name: str, source: str, *, real: bool = False, checked: str = "") -> list[Case]:
    """Cases of the generator's and the critic's side of an adversarial loss."""
    given = {"real_logits": logits(1), "fake_logits": logits(2)}
    forward = given if real else {"fake_logits": given["fake_logits"]}
    of = {"component": name, "source": source, "checked": checked}
    return [
        Case("critics", name, function=getattr(critics, name), inputs=forward, wrt=("fake_logits",), **of),
        Case(
            "critics",
            f"{name}, critic",
            function=getattr(critics, f"{name}_critic"),
            inputs=given,
            side="critic",
            wrt=("real_logits", "fake_logits"),
            **of,
        ),
    ]


RECOGNISER, SIDE = ["weights", [5, 75], 3], 5
"""Weights of the golden recogniser, tanh(weights . image), and the side of the images that it takes."""
DRAWS = ["unit", [2, 1, 1, 1], 1]

PIXELS = [
    pixel("l1", pixels.l1, "|output - target|", step=KINKED),
    pixel("mse", pixels.mse, "(output - target)^2"),
    pixel(
        "charbonnier",
        pixels.charbonnier,
        "Charbonnier et al., ICIP 1994; Lai et al., CVPR 2017, section 3.2",
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
        "Ignatov et al., ICCV 2017, section 3.1, the modulus instead of the square; scipy.ndimage.gaussian_filter",
        params={"sigma": 1.0},
        step=KINKED,
    ),
    *[
        pixel(
            f"gradient, {operator}",
            pixels.gradient,
            "Mathieu, Couprie and LeCun, ICLR 2016, equation 6, alpha 1, with signed differences; "
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
        "Huang et al., ICCV 2017, equation 6, over both halves",
        {"output": image(1)},
        step=KINKED,
    ),
    pixel(
        "gradient_variance",
        pixels.gradient_variance,
        "Abrahamyan et al., ICASSP 2022, equations 3 to 5, with the biased variance of plain differences per channel",
        params={"patch": 4},
    ),
    pixel(
        "laplacian_pyramid",
        pixels.laplacian_pyramid,
        "Bojanowski et al., ICML 2018, equation 4, as a mean over pixels; Burt and Adelson 1983, equations 1 to 4",
        pair(2, 3, 16, 12),
        params={"levels": 2},
        step=KINKED,
    ),
    *[
        pixel(
            f"fft, {compare}",
            pixels.fft,
            {
                "complex": "Cho et al., ICCV 2021, equation 6, with the modulus, orthonormal",
                "amplitude": "Fuoli, Van Gool and Timofte, ICCV 2021, equation 4, over the whole plane, orthonormal",
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
            "Jiang et al., ICCV 2021, equations 5 to 8",
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
            "1 - cosine (Huang et al., ICCV 2017, equation 8, compare features by another distance); images resized as "
            "Pillow does, bilinear with antialiasing",
            params={"file": "recogniser.pt", "size": SIDE, "range": given, "colour": colour},
            size=12,
            extra={"recogniser": RECOGNISER},
        )
        for colour, given in (("rgb", [-1.0, 1.0]), ("bgr", [0.0, 2.0]))
    ],
]

EARLIER = [{"real_logits": logits(phase), "fake_logits": logits(phase + 0.5)} for phase in (4, 9)]
JUDGE = ["weights", [4, 48], 1]
SCALES = [JUDGE, ["weights", [3, 12], 2]]
REAL, FAKE = image(1, 2, 3, 8, 8), image(2, 2, 3, 8, 8)


def regulariser(name: str, inputs: dict[str, Any], source: str, component: str = "", **more: Any) -> Case:
    """A case of a regulariser; the gradient is with respect to the critic's weights."""
    component = component or name
    function = more.pop("function", getattr(critics, component))
    return Case("critics", name, component, function, inputs, source, side="critic", wrt=("judge",), size=8, **more)


CRITICS = [
    *both_sides("vanilla", "Goodfellow et al., NeurIPS 2014, section 3, non-saturating"),
    Case(
        "critics",
        "vanilla, critic, smoothing 0.1",
        "vanilla",
        partial(critics.vanilla_critic, smoothing=0.1),
        {"real_logits": logits(1), "fake_logits": logits(2)},
        "Goodfellow et al., NeurIPS 2014; one-sided label smoothing: Salimans et al., NeurIPS 2016, section 3.4",
        side="critic",
        wrt=("real_logits", "fake_logits"),
        params={"smoothing": 0.1},
    ),
    *both_sides("lsgan", "Mao et al., ICCV 2017, equation 9"),
    *both_sides("hinge", "Miyato et al., ICLR 2018, equations 16 and 17"),
    *both_sides("wgan", "Arjovsky et al., ICML 2017, equation 3"),
    *both_sides("relativistic_average", "Jolicoeur-Martineau, ICLR 2019, section 3.4 (RaSGAN)", real=True),
    *both_sides(
        "relativistic_paired",
        "Jolicoeur-Martineau, ICLR 2019, section 3.3 (RpGAN); Huang et al., NeurIPS 2024 (R3GAN), equation 2",
        real=True,
    ),
    Case(
        "critics",
        "lecam, third update",
        "lecam",
        partial(
            critics.lecam,
            before=[{name: array(spec) for name, spec in batch.items()} for batch in EARLIER],
            decay=0.8,
        ),
        {"real_logits": logits(1), "fake_logits": logits(2)},
        "Tseng et al., CVPR 2021, as lecamreg of github.com/google/lecam-gan, stylegan2/lecam_loss.py",
        side="critic",
        wrt=("real_logits", "fake_logits"),
        params={"decay": 0.8},
        held={"held_real": "real_logits", "held_fake": "fake_logits"},
        extra={"before": EARLIER},
    ),
    regulariser("r1", {"real_image": REAL, "judge": JUDGE}, "Mescheder et al., ICML 2018, equation 9, without gamma"),
    regulariser(
        "r1, two scales",
        {"real_image": REAL, "judge": SCALES},
        "Mescheder et al., ICML 2018, equation 9, without gamma, with the critic the mean of its scales",
        component="r1",
    ),
    regulariser("r2", {"fake_image": FAKE, "judge": JUDGE}, "Mescheder et al., ICML 2018, equation 10, without gamma"),
    *[
        regulariser(
            f"gradient_penalty, centre {center:g}",
            {"real_image": REAL, "fake_image": FAKE, "judge": JUDGE},
            source,
            component="gradient_penalty",
            function=partial(critics.gradient_penalty, draws=array(DRAWS), center=center),
            params={"center": center},
            extra={"draws": DRAWS},
        )
        for center, source in (
            (1.0, "Gulrajani et al., NeurIPS 2017 (WGAN-GP), equation 3 without lambda, at fixed draws"),
            (0.0, "Thanh-Tung et al., ICLR 2019, the zero-centred penalty without lambda, at fixed draws"),
        )
    ],
]


def network(name: str, function: Callable[..., Any], source: str, component: str, side: int = 32, **more: Any) -> Case:
    """A case of a loss that uses a pretrained network."""
    given = pair(2, 3, side, side)
    return Case("networks", name, component, function, given, source, network=True, size=side, **more)


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
        "perceptual, l1",
        partial(networks.perceptual, backbone="vgg16", layers=WEIGHTED),
        f"Wang et al., CVPR 2018 (pix2pixHD), section 3.3, with {VGG16} and its normalisation",
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
        side=64,
        params={"backbone": "alexnet"},
    ),
]


def metric(name: str, function: Callable[..., Any], source: str, inputs: Any, **more: Any) -> Case:
    """A case of a metric, which has no gradient."""
    component = more.pop("component", name)
    return Case("metrics", name, component, function, inputs, source, wrt=(), **more)


def units(side: int) -> dict[str, Any]:
    return {"output": ["unit", [2, 3, side, side], 1], "target": ["unit", [2, 3, side, side], 2]}


SETS = {"outputs": ["map", [9, 6], 1], "targets": ["map", [7, 6], 2]}

METRICS = [
    metric("l1", metrics.l1, "mean |output - target|", units(12)),
    metric("psnr", metrics.psnr, "scikit-image 0.26.0, peak_signal_noise_ratio(data_range=1)", units(12)),
    metric(
        "ssim",
        metrics.ssim,
        "scikit-image 0.26.0, structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False) "
        "(Wang et al., IEEE TIP 2004)",
        units(20),
        size=20,
    ),
    *[
        metric(
            f"ms_ssim, {side} px",
            partial(metrics.ms_ssim, exponents=exponents(scales)),
            "Wang, Simoncelli and Bovik, Asilomar 2003, equation 7; fewer than five exponents rescaled to their sum",
            units(side),
            component="ms_ssim",
            size=side,
        )
        for side, scales in ((165, 5), (47, 3))
    ],
    metric(
        "color_shift",
        partial(metrics.color_shift, sigma=1 / 12),
        "scikit-image 0.26.0, rgb2lab and deltaE_cie76, after scipy.ndimage.gaussian_filter",
        units(24),
        params={"sigma": 1 / 12},
        size=24,
    ),
    metric(
        "checkerboard",
        metrics.checkerboard,
        "Odena, Dumoulin and Olah, Distill 2016 name the periods; enface's formula, by hand",
        units(40),
        size=40,
    ),
    *[
        metric(
            f"lpips, {net}",
            partial(metrics.lpips, net=net),
            "lpips 0.1.4, LPIPS(net) version 0.1, in float64 (Zhang et al., CVPR 2018)",
            units(40),
            component="lpips",
            params={"net": net},
            size=40,
            network=True,
        )
        for net in ("alex", "vgg")
    ],
    metric("fid", metrics.fid, "Heusel et al., NeurIPS 2017, equation 6, of fixed features", SETS, side="distance"),
    *[
        metric(
            f"identity, {colour}",
            partial(metrics.identity, weights=array(RECOGNISER), size=SIDE, low=given[0], high=given[1], colour=colour),
            "cosine of embeddings; images resized as Pillow does, bilinear with antialiasing",
            units(12),
            component="identity",
            params={"recogniser": "recogniser.pt", "size": SIDE, "range": given, "colour": colour},
            extra={"recogniser": RECOGNISER},
        )
        for colour, given in (("rgb", [-1.0, 1.0]), ("bgr", [0.0, 255.0]))
    ],
    metric(
        "rank_1",
        metrics.rank_1,
        "Phillips et al., IEEE TPAMI 2000: the share of probes whose nearest gallery image is of their person; cosine",
        {
            "outputs": ["map", [8, 4], 1],
            "identities": ["labels", [8], 5],
            "gallery": ["map", [5, 4], 1.5],
            "gallery_identities": ["labels", [5], 5],
        },
        side="matched",
    ),
]

CASES = [*PIXELS, *CODES, *CRITICS, *NETWORKS, *METRICS]
