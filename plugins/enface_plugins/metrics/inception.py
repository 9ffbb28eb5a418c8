"""The Inception network that FID and KID look through, of torch-fidelity, with a file of weights that users bring."""

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

from enface import SetMetric, WeightsError

FID_INCEPTION = "fid_inception"
"""Its name among pretrained networks."""
KNOWN = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file, and pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``; the digits begin its sha256."""
_SHA256 = "6726825d"
_WHERE = (
    f"{KNOWN} (95 MB) is at https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0; "
    "download it and name it with 'weights'"
)


class Inception(nn.Module):
    """Images in [0, 1], float32 (N, 3, H, W) -> the 2048 numbers before the classifier, float32 (N, 2048).

    As torch-fidelity does it: images are rounded to 8 bits and resized to 299 px as TensorFlow 1 did.

    Args:
        file: Of the weights, a state dict.

    Raises:
        WeightsError: when torch-fidelity is not installed, there is no file, or it is not of this network.
    """

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise WeightsError('FID and KID need torch-fidelity: pip install "enface[fidelity]"') from error
        if file is None:
            raise WeightsError(f"FID and KID need the weights of an Inception network: {_WHERE}")
        state, self._digest = _read(file)
        self._file = file.name
        try:
            # What it builds it first fills with random numbers; the run's own must not be drawn from.
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.network = FeatureExtractorInceptionV3(
                    "inception-v3-compat", ["2048"], feature_extractor_weights_path=_repacked(state)
                )
        except RuntimeError as error:
            reason = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
            raise WeightsError(
                f"{file}: is not of the Inception network that FID is defined by ({reason[:150]}); {_WHERE}"
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        levels = (image * 255).round().clamp(0, 255).byte()
        found: Tensor = self.network(levels)[0]
        return found.float()

    @property
    def card(self) -> dict[str, str]:
        """For the metrics' cards."""
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
        raise WeightsError(f"{file}: there is no such file; {_WHERE}")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in as many ways as there are formats.
        raise WeightsError(f"{file}: cannot be read as a state dict ({type(error).__name__}); {_WHERE}") from error
    if not isinstance(content, dict) or not all(isinstance(item, Tensor) for item in content.values()):
        raise WeightsError(f"{file}: holds no state dict (tensors by name); {_WHERE}")
    return content, digest


def _repacked(state: dict[str, Tensor]) -> io.BytesIO:
    """The tensors alone as a file, for torch-fidelity would run whatever code a user's file holds."""
    packed = io.BytesIO()
    torch.save(state, packed)
    packed.seek(0)
    return packed


class InceptionMetric(SetMetric):
    """What metrics of sets share that look through Inception.

    Args:
        weights: The file of its weights.

    Raises:
        WeightsError: when torch-fidelity or the file is missing, or the file is not of this network.
    """

    def __init__(self, *, weights: Path | None = None) -> None:
        super().__init__()
        self.inception = Inception(weights)

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (FID_INCEPTION,)

    @property
    def card(self) -> dict[str, str]:
        return self.inception.card

    def features(self, image: Tensor) -> Tensor:
        return self.inception(image)
