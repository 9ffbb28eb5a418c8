"""Kernel inception distance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from enface_plugins.metrics.inception import InceptionMetric


class KID(InceptionMetric):
    """Kernel inception distance between all outputs and all targets; unbiased, also with few images.

    The squared maximum mean discrepancy of Inception's 2048 features under the kernel (x.y / 2048 + 1)^3: the unbiased
    estimate over all images together, computed by torch-fidelity (``pip install "enface[fidelity]"``). Binkowski,
    Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018. Papers often report the mean over subsets of 1000
    images, which estimates the same number. Of the larger set, as many images as the smaller one has are drawn with a
    fixed seed.

    Like ``fid`` it ignores pairs. An estimate may be slightly below 0; the sets are then indistinguishable.

    Shapes: features of (N, 3, H, W) in [0, 1]. Range: about 0 for sets of the same distribution, higher for others;
    papers often multiply it by 1000.

    Args:
        weights: File of Inception's weights, weights-inception-2015-12-05-6726825d.pth of torch-fidelity's release
            v0.2.0 (pytorch-fid's pt_inception-2015-12-05-6726825d.pth is the same).

    Raises:
        WeightsError: when torch-fidelity or the file is missing, or the file is of another network.
    """

    higher_is_better: ClassVar[bool] = False

    @property
    def card(self) -> dict[str, str]:
        return {**super().card, "subsets": "one, of all images"}

    def distance(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> float:
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

        # Sums of cubes: in float32 a small difference would be lost in rounding.
        first, second = (torch.from_numpy(each).double() for each in (outputs, targets))
        result = kid_features_to_metric(
            first, second, kid_subsets=1, kid_subset_size=min(len(first), len(second)), verbose=False
        )
        return float(result[KEY_METRIC_KID_MEAN])
