"""Identity loss: distance of a face recogniser's embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from enface import DataInfo, Loss, RecipeError
from enface_plugins.frozen import Frozen, user_network_name
from enface_plugins.planes import as_rgb, centred_square, require_rgb
from enface_plugins.recognisers import load_torchscript, resize_matrix


class Identity(Loss):
    """Cosine distance between a frozen face recogniser's embeddings of output and target: 1 - cos.

    Recognisers differ in the images they expect, which their files do not say: set ``size``, ``range`` and ``colour``.
    Images are cropped to the largest centred square and resized bilinearly with antialiasing; the plane
    of grey images is repeated. As in Huang, Zhang, Li and He, "Beyond face rotation: global and
    local perception GAN", ICCV 2017, which preserves identity by a recogniser's features. No gradient flows through
    the target. Do not measure the result with the recogniser used for training; use another.

    The file is TorchScript (``torch.jit.trace(model.eval(), example).save(FILE)``). Loading it runs no Python, but
    TorchScript can read and write files: use one you trust. A torch.export program (``.pt2``) is not accepted, because
    reading one may unpickle it, which can run any code; an ONNX file has no gradients.

    Shapes: output, target (N, 3 or 1, H, W) in [-1, 1] -> (N,). Range: [0, 2]; 1 for unrelated embeddings.

    Args:
        file: The recogniser: images (N, 3, size, size) -> embeddings (N, D), for any N.
        size: Height and width of the images it expects, in pixels.
        range: Values of black and white it expects, lower first: [-1, 1], [0, 1], [0, 255].
        colour: Order of the channels it expects.

    Raises:
        WeightsError: when the file is missing or not TorchScript.
        RecipeError: when the images are neither RGB nor grey, or the recogniser does not accept such images, returns no
            embeddings, is not reproducible, or lets no gradient through.
    """

    aliases = ("arcface", "face_id", "id", "facenet", "cosine")
    unit = "per image"
    distance = True
    non_negative = True

    resize: Tensor | None

    def __init__(
        self,
        *,
        file: Path,
        size: Annotated[int, Ge(1)],
        range: tuple[float, float] = (-1.0, 1.0),
        colour: Literal["rgb", "bgr"] = "rgb",
        data: DataInfo,
    ) -> None:
        super().__init__()
        require_rgb("identity", data)
        self.low, self.high = range
        if self.low >= self.high:
            raise RecipeError(f"identity: range: [{self.low:g}, {self.high:g}] must be ascending")
        self.colour = colour
        self.recogniser = Frozen(load_torchscript(file))
        # Not persistent, because it follows from the recipe.
        self.register_buffer("resize", resize_matrix(data.shorter_side, size), persistent=False)
        _check(self.recogniser, file, size)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """An untrained recogniser for 32 px."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.simplefilter("ignore")
            network = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ELU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 16)).eval()
            torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(str(folder / "recogniser.pt"))
        return {"file": str(folder / "recogniser.pt"), "size": 32}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (user_network_name(params["file"]),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            target_embedding = self._embedding(target)
        return 1 - (self._embedding(output) * target_embedding).sum(1)

    def _embedding(self, image: Tensor) -> Tensor:
        image = centred_square(as_rgb(image))
        if self.resize is not None:
            # Two matrix products, because torch's interpolation has no deterministic gradient on CUDA.
            image = self.resize @ image @ self.resize.mT
        image = self.low + (image + 1) * ((self.high - self.low) / 2)
        return functional.normalize(self.recogniser(image.flip(1) if self.colour == "bgr" else image), dim=1, eps=1e-6)


def _check(recogniser: Frozen, file: Path, size: int) -> None:
    """Raise RecipeError, naming the file, unless the recogniser returns reproducible, differentiable embeddings."""
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(3, 3, size, size, generator=generator) * 2 - 1).requires_grad_()
    try:
        first, again, alone = recogniser(images), recogniser(images), recogniser(images[:1])
    except Exception as error:  # TorchScript code can raise errors of any type.
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise RecipeError(f"{file}: does not accept images (N, 3, {size}, {size}): {reason[:200]}") from error
    if not isinstance(first, Tensor) or first.dim() != 2 or len(first) != 3:
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise RecipeError(f"{file}: returns {shape} for 3 images; expected one embedding each, (3, D)")
    if not torch.allclose(first, again) or not torch.allclose(first[:1], alone, rtol=1e-3, atol=1e-4):
        raise RecipeError(f"{file}: the embedding of an image depends on the call or the batch; save it in eval mode")
    gradient = torch.autograd.grad(first.sum(), images, allow_unused=True)[0] if first.requires_grad else None
    if gradient is None or not gradient.any() or not gradient.isfinite().all():
        raise RecipeError(f"{file}: lets no gradient through to the image, so it cannot train a generator")
