"""torch-fidelity's Inception network, whose features FID and KID compare; users provide the file of its weights."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from enface import DataInfo, SetMetric, WeightsError
from enface_plugins.metrics.cards import rgb_text
from enface_plugins.planes import as_rgb, require_rgb

FID_INCEPTION = "fid_inception"
"""Name of the network, shared by all metrics that use it."""
KNOWN = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file, equal to pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``; its sha256 starts so."""
_SHA256 = "6726825d"
_REMEDY = (
    f"download {KNOWN} (95 MB) from https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0 "
    "and set 'weights' to its path"
)


class Inception(nn.Module):
    """Images in [0, 1], float32 (N, 3 or 1, H, W) -> the 2048 features before the classifier, float32 (N, 2048).

    As in torch-fidelity, images are rounded to 8 bits, also those of 16, and resized to 299 x 299 px as TensorFlow 1
    did. The plane of grey images is repeated.

    Args:
        file: State dict of the weights.

    Raises:
        WeightsError: when torch-fidelity or the file is missing, or the file is of another network.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise WeightsError('FID and KID need torch-fidelity: pip install "enface[fidelity]"') from error
        if file is None:
            raise WeightsError(f"FID and KID need the weights of an Inception network: {_REMEDY}")
        state, self._digest = _read(file)
        self._file = file.name
        try:
            # It is initialised at random first, which must not advance the run's random generator.
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048"], feature_extractor_weights_path=_repacked(state)
                )
        except RuntimeError as error:
            reason = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
            raise WeightsError(
                f"{file}: is not of the Inception network that defines FID ({reason[:150]}); {_REMEDY}"
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        levels = (as_rgb(image) * 255).round().clamp(0, 255).byte()
        features: Tensor = self.network(levels)[0]
        return features.float()

    @property
    def card(self) -> dict[str, str]:
        """The card of metrics that use it."""
        known = self._digest.startswith(_SHA256)
        caution = "" if known else f"; NOT {KNOWN}: these numbers are comparable with no published ones"
        return {
            "implementation": f"torch-fidelity {version('torch-fidelity')}",
            "network": f"Inception-v3 of TensorFlow, 2048 features; {self._file}, sha256 {self._digest[:12]}{caution}",
            "data_range": "1, rounded to 8 bits",
            "colour": "RGB",
            "crop": "none",
            "resize": "bilinear, as TensorFlow 1, to 299 px",
        }


def _read(file: Path) -> tuple[dict[str, Tensor], str]:
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file; {_REMEDY}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in as many ways as there are formats.
        raise WeightsError(f"{file}: cannot be read as a state dict ({type(error).__name__}); {_REMEDY}") from error
    if not isinstance(content, dict) or not all(isinstance(item, Tensor) for item in content.values()):
        raise WeightsError(f"{file}: holds no state dict (tensors by name); {_REMEDY}")
    return content, digest


def _repacked(state: dict[str, Tensor]) -> io.BytesIO:
    """The tensors as a new file, because torch-fidelity would run any code in the user's file."""
    packed = io.BytesIO()
    torch.save(state, packed)
    packed.seek(0)
    return packed


class InceptionMetric(SetMetric):
    """A metric that compares sets of images by their Inception features.

    Args:
        weights: File of Inception's weights.

    Raises:
        RecipeError: when the images are neither RGB nor grey.
        WeightsError: when torch-fidelity or the file is missing, or the file is of another network.
    """

    def __init__(self, *, weights: Path | None = None, data: DataInfo) -> None:
        super().__init__()
        require_rgb(type(self).__name__.lower(), data)
        self.data = data
        self.inception = Inception(weights)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (FID_INCEPTION,)

    @property
    def card(self) -> dict[str, str]:
        return {**self.inception.card, "colour": rgb_text(self.data)}

    def features(self, image: Tensor) -> Tensor:
        return self.inception(image)
