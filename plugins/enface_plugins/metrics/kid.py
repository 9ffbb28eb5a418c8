"""Kernel inception distance."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from enface_plugins.metrics.inception import InceptionMetric

Features = npt.NDArray[np.float32]
ROWS = 256
"""Rows of the kernel's matrix in memory at a time."""


class KID(InceptionMetric):
    """Kernel inception distance between all outputs and all targets; unbiased, also with few images.

    The squared maximum mean discrepancy of Inception's 2048 features (by torch-fidelity, ``pip install
    "enface[fidelity]"``): with the kernel k = (x.y / 2048 + 1)^3, the mean of k over pairs of outputs, plus that over
    pairs of targets, minus twice that over outputs with targets. Binkowski, Sutherland, Arbel and Gretton,
    "Demystifying MMD GANs", ICLR 2018. Papers often report the mean over subsets of 1000 images, which estimates the
    same number.

    Only images of different people enter a mean. Images of one person are not independent: twelve sources of a target
    give twelve similar outputs, and each output resembles its own target. This is the U-statistic for paired samples of
    Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A kernel two-sample test", JMLR 2012, lemma 6, with people in
    place of pairs. Each distinct target counts once.

    Like ``fid`` it ignores pairs. An estimate may be slightly below 0; the sets are then indistinguishable.

    Shapes: features of (N, 3 or 1, H, W) in [0, 1]. Range: about 0 for sets of the same distribution, higher for
    others; papers often multiply it by 1000.

    Args:
        weights: File of Inception's weights, weights-inception-2015-12-05-6726825d.pth of torch-fidelity's release
            v0.2.0 (pytorch-fid's pt_inception-2015-12-05-6726825d.pth is the same).

    Raises:
        RecipeError: when the images are neither RGB nor grey.
        WeightsError: when torch-fidelity or the file is missing, or the file is of another network.
    """

    higher_is_better: ClassVar[bool] = False

    @property
    def card(self) -> dict[str, str]:
        return {**super().card, "subsets": "one, of all images", "pairs": "of different people"}

    def distance(self, outputs: Features, targets: Features) -> float:
        people = np.arange(len(outputs) + len(targets))
        return self.clustered_distance(outputs, people[: len(outputs)], targets, people[len(outputs) :])

    def clustered_distance(
        self, outputs: Features, identities: npt.NDArray[Any], targets: Features, target_identities: npt.NDArray[Any]
    ) -> float:
        among_outputs = _mean_kernel(outputs, identities, outputs, identities)
        among_targets = _mean_kernel(targets, target_identities, targets, target_identities)
        return among_outputs + among_targets - 2 * _mean_kernel(outputs, identities, targets, target_identities)


def _mean_kernel(one: Features, people: npt.NDArray[Any], other: Features, other_people: npt.NDArray[Any]) -> float:
    """The mean of the kernel over all pairs of different people; NaN without such a pair."""
    total, count = 0.0, 0
    columns = other.astype(np.float64).T
    for start in range(0, len(one), ROWS):
        rows = slice(start, start + ROWS)
        unlike = people[rows, None] != other_people[None]
        # Sums of cubes: in float32 a small difference would be lost in rounding.
        base = one[rows].astype(np.float64) @ columns / one.shape[1] + 1
        total += float((base * base * base).sum(where=unlike))
        count += int(unlike.sum())
    return total / count if count else float("nan")
