"""Verification by a face recogniser: the true accept rate at a false accept rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Lt

from enface import DataInfo
from enface_plugins.metrics.recognition import GalleryRecogniserMetric, scores
from enface_plugins.recognisers import Colour, Undetected

RULE_OF_30 = 30


class TAR(GalleryRecogniserMetric):
    """Verification: 1 if the output is accepted as its own person at a false accept rate.

    A score is the cosine of a face recogniser's embeddings of an output and a gallery image; the gallery has one target
    per person. Genuine scores are those with the own person's image, impostor scores those with every other person's.
    The threshold is the lowest that at most a share ``far`` of all impostor scores exceeds, and an output is accepted
    if its genuine score exceeds it. The mean over all outputs is the true accept rate (TAR) at this false accept rate
    (FAR): Klare et al., "Pushing the frontiers of unconstrained face detection and recognition: IARPA Janus Benchmark
    A", CVPR 2015; Grother, Ngan and Hanaoka, "Face Recognition Vendor Test (FRVT) part 1: verification", NIST, whose
    false match rate (FMR) and 1 - FNMR these are.

    The threshold is that of these outputs; a baseline has its own at the same rate. It is one for all poses. Intervals
    treat it as known, so they do not cover its uncertainty. Fewer than 1 / ``far`` impostor scores give no number, a
    threshold that rests on fewer than 30 of them a caveat: Doddington, Przybocki, Martin and Reynolds, "The NIST
    speaker recognition evaluation", Speech Communication 2000. N outputs of P people give N (P - 1) impostor scores.

    Shapes: features of (N, 3 or 1, H, W) in [0, 1]. Range: 0 or 1 for each image; 1 is best.

    Args:
        far: False accept rate: the share of impostor scores that are accepted.
        recogniser: TorchScript or ONNX file, as for ``identity`` (default: dlib's recogniser).
        size: Height and width in pixels of the file's input; required with a file.
        range: Values of black and white in the file's input: [-1, 1], [0, 1], [0, 255].
        colour: Channel order of the file's input.
        undetected: Images in which dlib detects no face: embed the ``whole`` image, or ``leave_out`` their numbers.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the images are neither RGB nor grey, or the file does not accept such images, returns no
            embeddings, or is not in eval mode.
    """

    pooled: ClassVar[bool] = True

    def __init__(
        self,
        *,
        far: Annotated[float, Gt(0), Lt(1)] = 0.01,
        recogniser: Path | None = None,
        size: Annotated[int, Ge(1)] | None = None,
        range: tuple[float, float] = (-1.0, 1.0),
        colour: Colour = "rgb",
        undetected: Undetected = "whole",
        data: DataInfo,
    ) -> None:
        super().__init__(recogniser=recogniser, size=size, range=range, colour=colour, undetected=undetected, data=data)
        self.far = far

    @property
    def card(self) -> dict[str, str]:
        return {**super().card, "far": f"{self.far:g}", "threshold": "from all impostor scores of the outputs measured"}

    def caveat(self, outputs: int, references: int) -> str:
        impostors = outputs * (references - 1)
        accepted = self._accepted(impostors)
        given = f"{outputs:,} outputs of {references:,} people give {impostors:,}"
        if accepted < 1:
            needed = f"a false accept rate of {self.far:g} needs at least {round(1 / self.far):,} impostor scores"
            return f"has no number: {needed}, and {given}."
        if accepted < RULE_OF_30:
            return (
                f"has an uncertain threshold: it rests on the highest {accepted} of the impostor scores ({given}; at "
                "least 30 are recommended). Its interval does not cover that."
            )
        return ""

    def matched(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        gallery: npt.NDArray[np.float32],
        gallery_identities: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        genuine, impostors = scores(outputs, identities, gallery, gallery_identities)
        known = np.sort(impostors[~np.isnan(impostors)])[::-1]
        accepted = self._accepted(len(known))
        if accepted < 1:
            return np.full(len(outputs), np.nan, np.float32)
        return (genuine > known[accepted]).astype(np.float32)

    def _accepted(self, impostors: int) -> int:
        """The most impostor scores that may be accepted."""
        # 0.001 * 3000 is slightly less than 3.
        return min(int(self.far * impostors + 1e-6), impostors - 1)
