"""Rank-1 identification by a face recogniser."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enface_plugins.metrics.recognition import GalleryRecogniserMetric, scores


class Rank_1(GalleryRecogniserMetric):
    """Rank-1 identification: 1 if, in a gallery of one target per person, the nearest to the output is of its person.

    Nearest by the cosine of a face recogniser's embeddings, as in ``identity``; a tie with another person counts 0. The
    mean over all outputs is the closed-set rank-1 rate of face recognition: Phillips, Moon, Rizvi and Rauss, "The FERET
    evaluation methodology for face-recognition algorithms", IEEE TPAMI 2000. By pose it is the measure of
    frontalization on Multi-PIE: Huang, Zhang, Li and He, "Beyond face rotation: global and local perception GAN for
    photorealistic and identity preserving frontal view synthesis", ICCV 2017, whose gallery has one frontal image per
    person as well.

    It depends on the number of people in the gallery: values from galleries of different sizes are not comparable, and
    guessing gives 1 / size. Outputs made from their person's gallery image are no probes. The target is in the gallery,
    so a perfect output is always recognised; compare with the same number of the sources (baseline ``source``).

    Shapes: features of (N, 3 or 1, H, W) in [0, 1]. Range: 0 or 1 for each image; 1 is best.

    Args:
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

    def matched(
        self,
        outputs: npt.NDArray[np.float32],
        identities: npt.NDArray[Any],
        gallery: npt.NDArray[np.float32],
        gallery_identities: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        genuine, impostors = scores(outputs, identities, gallery, gallery_identities)
        # A gallery of the probe's own person alone has no impostor.
        nearest = np.where(np.isnan(impostors), -np.inf, impostors).max(1)
        return (genuine > nearest).astype(np.float32)
