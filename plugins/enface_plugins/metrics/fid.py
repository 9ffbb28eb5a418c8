"""Fréchet inception distance."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from enface_plugins.metrics.inception import InceptionMetric

FEATURES, RECOMMENDED = 2048, 10_000


class FID(InceptionMetric):
    """Fréchet inception distance between all outputs and all targets, in the features of an ImageNet classifier.

    |m - m'|^2 + trace(S + S' - 2 (S S')^(1/2)) of the means and covariances of Inception's 2048 features, computed by
    torch-fidelity (``pip install "enface[fidelity]"``): Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs
    trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017.

    It ignores pairs: realistic outputs of the wrong person score well. Each distinct target counts once, however many
    sources it has; every output counts. With few images it is far too high, by an amount that depends on the number of
    images and on the network: Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018; Chong and
    Forsyth, "Effectively unbiased FID and Inception Score and where to find them", CVPR 2020. Below 10,000 images, the
    minimum that FID's authors recommend, an evaluation has a caveat; ``kid`` is unbiased. Images are
    resized to 299 x 299 px.

    Shapes: features of (N, 3 or 1, H, W) in [0, 1]. Range: [0, inf), 0 for equal sets.

    Args:
        weights: File of Inception's weights, weights-inception-2015-12-05-6726825d.pth of torch-fidelity's release
            v0.2.0 (pytorch-fid's pt_inception-2015-12-05-6726825d.pth is the same).

    Raises:
        RecipeError: when the images are neither RGB nor grey.
        WeightsError: when torch-fidelity or the file is missing, or the file is of another network.
    """

    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def caveat(self, outputs: int, references: int) -> str:
        if min(outputs, references) >= RECOMMENDED:
            return ""
        number = f"is the distance of {outputs:,} outputs from {references:,} targets"
        rank = "; below 2,048 images the covariances are singular" if min(outputs, references) < FEATURES else ""
        return (
            f"{number}{rank}. Below 10,000 images it is too high by an amount that depends on their number and on the "
            "network (Chong and Forsyth, CVPR 2020): compare only with equal numbers of images, or use kid."
        )

    def distance(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> float:
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

        statistics = [fid_features_to_statistics(torch.from_numpy(each)) for each in (outputs, targets)]
        return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])
