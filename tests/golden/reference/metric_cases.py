"""Metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from golden_inputs import array
from reference.case import RECOGNISER, SIDE, Case, exponents

from reference import flows, metrics


def metric(name: str, function: Callable[..., Any], source: str, inputs: Any, **more: Any) -> Case:
    """A case of a metric, which has no gradient."""
    component = more.pop("component", name)
    return Case("metrics", name, component, function, inputs, source, wrt=(), **more)


def units(side: int) -> dict[str, Any]:
    return {"output": ["unit", [2, 3, side, side], 1], "target": ["unit", [2, 3, side, side], 2]}


PROBES = {
    "outputs": ["map", [8, 4], 1],
    "identities": ["labels", [8], 5],
    "gallery": ["map", [5, 4], 1.5],
    "gallery_identities": ["labels", [5], 5],
}
SETS = {"outputs": ["map", [9, 6], 1], "targets": ["map", [7, 6], 2]}

METRICS = [
    *[
        metric(
            f"flow_error, image {index}",
            partial(flows.flow_error, index=index),
            "Baker et al., IJCV 2011, mean end-point error over the visible pixels",
            {
                **{name: ["unit", [1, 3, 7, 6], phase] for name, phase in (("output", 1), ("target", 2))},
                "flow": ["flow", [1, 2, 2, 7, 6], 1],
                "source_flow": ["flow", [1, 2, 7, 6], 2],
                "source_visible": ["visible", [1, 1, 7, 6], 3],
            },
            component="flow_error",
            params={"index": index},
        )
        for index in (0, 1)
    ],
    metric("mae", metrics.mae, "mean |output - target|", units(12)),
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
        for colour, given in (("rgb", [-1.0, 1.0]), ("bgr", [0.0, 2.0]))
    ],
    metric(
        "rank_1",
        metrics.rank_1,
        "Phillips et al., IEEE TPAMI 2000: the share of probes whose nearest gallery image is of their person; cosine",
        PROBES,
        side="matched",
    ),
    metric(
        "tar",
        partial(metrics.tar, far=0.25),
        "Grother, Ngan and Hanaoka, FRVT part 1: 1 - FNMR at a false match rate; cosine",
        PROBES,
        side="matched",
        params={"far": 0.25},
    ),
    metric("kid", metrics.kid, "Binkowski et al., ICLR 2018, equation 4 and its cubic kernel", SETS, side="distance"),
    metric(
        "kid, people",
        metrics.kid,
        "Binkowski et al., ICLR 2018, with pairs of different people only (Gretton et al., JMLR 2012, lemma 6)",
        {**SETS, "identities": ["labels", [9], 5], "target_identities": ["labels", [7], 6]},
        component="kid",
        side="clustered_distance",
    ),
    *[
        metric(
            f"{name}, {kind}",
            getattr(metrics, name),
            source,
            {"output": [kind, [2, 3, 24, 24], 1], "target": ["unit", [2, 3, 24, 24], 2]},
            component=name,
            size=24,
        )
        for name, source in (
            ("sharpness", "enface's ratio of the energies of Brenner et al., 1976, by hand"),
            ("spectrum", "Durall, Keuper and Keuper, CVPR 2020, with a Hann window and a floor, by hand"),
        )
        for kind in ("unit", "smooth")
    ],
]
