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
from enface_plugins.frozen import Frozen, own_network
from enface_plugins.recognisers import load_torchscript, resizing


class Identity(Loss):
    """Angle between the embeddings that a frozen recogniser of yours gives output and target: 1 - cos.

    Recognisers differ in what they are shown, and nothing in a file says it: ``size``, ``range`` and ``colour`` do.
    Images are resized bilinearly with antialiasing. As in Huang, Zhang, Li and He, "Beyond face rotation: global and
    local perception GAN", ICCV 2017, which keeps identity by a recogniser's features. The target's embedding takes no
    gradient. A recogniser used for training cannot judge the result: measure with another.

    The file is TorchScript (``torch.jit.trace(model.eval(), example).save(FILE)``). Loading it runs no Python, but
    TorchScript can read and write files: use one you trust. A torch.export program (``.pt2``) is not taken, for
    reading one falls back to unpickling, which can run anything; an ONNX file has no gradients.

    Shapes: output, target (N, 3, H, W) in [-1, 1] -> (N,). Range: [0, 2]; 1 for unrelated embeddings.

    Args:
        file: The recogniser: images (N, 3, size, size) -> embeddings (N, D), for any N.
        size: Height and width of the images it takes, in pixels.
        range: What it wants black and white to be, lowest first: [-1, 1], [0, 1], [0, 255].
        colour: Order of the channels it takes.

    Raises:
        WeightsError: when the file is missing or is no TorchScript.
        RecipeError: when the recogniser does not take such images, gives no embeddings, changes between two calls,
            or lets no gradient through.
    """

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
        self.low, self.high = range
        if self.low >= self.high:
            raise RecipeError(f"identity: range: [{self.low:g}, {self.high:g}] must rise")
        self.colour = colour
        self.still = Frozen(load_torchscript(file))
        # Not persistent: it follows from the recipe.
        self.register_buffer("resize", resizing(data.size, size), persistent=False)
        _check(self.still, file, size)

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A recogniser of nobody in particular, of 32 px."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.simplefilter("ignore")
            network = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ELU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 16)).eval()
            torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(str(folder / "recogniser.pt"))
        return {"file": str(folder / "recogniser.pt"), "size": 32}

    @classmethod
    def networks(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (own_network(params["file"]),)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._embedding(target)
        return 1 - (self._embedding(output) * wanted).sum(1)

    def _embedding(self, image: Tensor) -> Tensor:
        if self.resize is not None:
            # By two products, for the kernel that interpolates has no deterministic gradient on CUDA.
            image = self.resize @ image @ self.resize.mT
        shown = self.low + (image + 1) * ((self.high - self.low) / 2)
        return functional.normalize(self.still(shown.flip(1) if self.colour == "bgr" else shown), dim=1, eps=1e-6)


def _check(recogniser: Frozen, file: Path, size: int) -> None:
    """Refuse what cannot measure. Raises RecipeError naming the file."""
    draw = torch.Generator().manual_seed(0)
    images = (torch.rand(3, 3, size, size, generator=draw) * 2 - 1).requires_grad_()
    try:
        first, again, alone = recogniser(images), recogniser(images), recogniser(images[:1])
    except Exception as error:  # The interpreter raises whatever the recogniser's code provokes.
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise RecipeError(f"{file}: does not take images (N, 3, {size}, {size}): {reason[:200]}") from error
    if not isinstance(first, Tensor) or first.dim() != 2 or len(first) != 3:
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise RecipeError(f"{file}: gives {shape} for 3 images; an embedding each, (3, D), is needed")
    if not torch.allclose(first, again) or not torch.allclose(first[:1], alone, rtol=1e-3, atol=1e-4):
        raise RecipeError(f"{file}: judges an image differently the second time or alone; save it in eval mode")
    gradient = torch.autograd.grad(first.sum(), images, allow_unused=True)[0] if first.requires_grad else None
    if gradient is None or not gradient.any() or not gradient.isfinite().all():
        raise RecipeError(f"{file}: lets no gradient through to the image, so nothing can be learnt from it")
