"""Frozen networks that losses measure with: torchvision's classifiers, up to the deepest layer asked for."""

from __future__ import annotations

import difflib
import operator
import warnings
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from enface import RecipeError, Weights, WeightsError
from enface_plugins.frozen import Frozen, own_network
from enface_plugins.metrics.pretrained import ALEXNET, VGG16

FETCHED: Mapping[str, Weights] = {"vgg16": VGG16, "alexnet": ALEXNET}
"""The backbones whose weights ``enface weights fetch`` brings."""
LARGEST = 512
"""Where the search for a side that a backbone takes ends, in pixels."""

# As torchvision builds them when it brings the weights: these two then undo part of the normalisation.
_EXTRA = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}
_OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


class Backbone(Frozen):
    """Features of a torchvision classifier: image (N, 3, H, W) in [-1, 1] -> a tensor for each layer named.

    Images are mapped to [0, 1] and normalised as torchvision's own preset for the network does (ImageNet's mean and
    standard deviation for nearly all). Nothing past the deepest layer is built or run. No random number is drawn.

    Args:
        name: A classification network of torchvision.
        layers: Names of nodes as torchvision's feature extraction has them (``features.15``, ``layer3``), or, for
            VGG ``conv3_3 relu3_3 pool3`` and for AlexNet ``conv3 relu3 pool1``.
        size: Height and width of the images.
        weights: A file of its state dict; by default the fetched weights.

    Attributes:
        shapes: Each layer's features for one image.

    Raises:
        RecipeError: when torchvision has no such network, it has no such layer, or it takes no images of this size.
        WeightsError: when the weights are missing, damaged, or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Iterable[str], size: int, weights: Path | None = None) -> None:
        model, preset = _empty(name)
        nodes = _nodes(name, model, layers)
        network = _cut(model, nodes.values())
        shapes = _shapes(name, network, size)
        tensors, origin = _tensors(name, weights)
        super().__init__(fill(network, tensors, origin))
        self.nodes = nodes
        self.shapes = {layer: shapes[node] for layer, node in nodes.items()}
        # Plain numbers, so not persistent.
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(preset, statistic)).view(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        found = self.network(((image + 1) / 2 - self.mean) / self.std)
        return {layer: found[node] for layer, node in self.nodes.items()}

    def fixed(self, image: Tensor) -> dict[str, Tensor]:
        """The same without gradients, for what is given (the target)."""
        with torch.no_grad():
            return self(image)


def default_layers(name: str) -> dict[str, float] | None:
    """pix2pixHD's five layers and their weights where the backbone has them, else None.

    The first ReLU of each of VGG's blocks, 1/32, 1/16, 1/8, 1/4 and 1 (Wang et al., CVPR 2018); of AlexNet its five.
    """
    template = "relu{}_1" if name.startswith("vgg") else "relu{}" if name == "alexnet" else None
    if template is None:
        return None
    return {template.format(block): weight for block, weight in enumerate((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), 1)}


def seen_through(backbone: str, weights: str | Path | None) -> str:
    """A backbone's name for :meth:`enface.Component.networks`; with weights of the user's own it is their file."""
    return backbone if weights is None else own_network(weights)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> nn.Module:
    """A network built on the meta device with its weights in it, float32; tensors it has no place for are left out.

    Raises:
        WeightsError: naming ``origin`` and a tensor that is missing or of another shape.
    """
    filled = {}
    for name, wanted in network.state_dict().items():
        # A count that only training reads; old files lack it.
        value = tensors.get(name, torch.zeros((), dtype=torch.long) if name.endswith("num_batches_tracked") else None)
        if value is None or value.shape != wanted.shape:
            found = "no such tensor" if value is None else f"it is {tuple(value.shape)}"
            raise WeightsError(f"{origin}: tensor {name} {tuple(wanted.shape)} is needed; {found} there")
        filled[name] = value.to(wanted.dtype, copy=True)
    network.load_state_dict(filled, assign=True)
    empty = [name for name, item in (*network.named_parameters(), *network.named_buffers()) if item.is_meta]
    if empty:
        raise WeightsError(f"{origin}: the network also needs {empty[0]}, which no state dict holds; use another one")
    return network


def _empty(name: str) -> tuple[nn.Module, object]:
    """The network without weights, on the meta device, and torchvision's preset for its input."""
    # Imported here, for it takes seconds.
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise RecipeError(f"torchvision has no classification network {name!r}{_closest(name, known)}")
    preset = models.get_model_weights(name).DEFAULT.transforms()
    # On the meta device nothing is drawn, so the run's random numbers stay the same with and without this network,
    # and a weight that is not filled in later cannot be used by mistake.
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            return models.get_model(name, weights=None, **_EXTRA.get(name, {})).eval(), preset
        except NotImplementedError as error:  # RegNets read numbers from tensors while they are built.
            raise RecipeError(f"backbone {name} cannot be built without drawing weights; use another one") from error


def _nodes(name: str, model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """For each layer the name that feature extraction knows it by."""
    from torchvision.models.feature_extraction import get_graph_node_names

    named = _block_names(name, model)
    _, nodes = get_graph_node_names(model, suppress_diff_warning=True)
    # A module's own name stands for its last node, so ``layer3`` is one as well as ``layer3.5.relu``.
    parts = {prefix for node in nodes[1:] for prefix in accumulate(node.split("."), "{}.{}".format)}
    found = {}
    for layer in layers:
        if layer not in named and layer not in parts:
            hint = _closest(layer, list(named) or nodes[1:]) if "." not in layer else _closest(layer, parts)
            raise RecipeError(f"backbone {name} has no layer {layer!r}{hint}")
        found[layer] = named.get(layer, layer)
    return found


def _block_names(name: str, model: nn.Module) -> dict[str, str]:
    """The names papers use (``relu3_3``: third block, third convolution), for networks built of such blocks."""
    if not name.startswith(("vgg", "alexnet")):
        return {}
    features = model.features
    assert isinstance(features, nn.Sequential)
    named, block, convolution, count = {}, 1, 0, 0
    for index, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            named[f"pool{block}"] = f"features.{index}"
            block, convolution = block + 1, 0
        elif isinstance(layer, nn.Conv2d | nn.ReLU):
            new = isinstance(layer, nn.Conv2d)
            convolution, count = convolution + new, count + new
            place = f"{block}_{convolution}" if name.startswith("vgg") else str(count)
            named[f"{'conv' if new else 'relu'}{place}"] = f"features.{index}"
    return named


def _cut(model: nn.Module, nodes: Iterable[str]) -> fx.GraphModule:
    """The part of the network that leads to some nodes."""
    from torchvision.models.feature_extraction import create_feature_extractor

    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    network = create_feature_extractor(model, list(dict.fromkeys(nodes)), suppress_diff_warning=True).eval()
    # An operation in place would change the features of the layer before it, after they were taken.
    for node in network.graph.nodes:
        node.target = _OUT_OF_PLACE.get(node.target, node.target)
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
    network.recompile()
    return network


def _shapes(name: str, network: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """The shape of each node's features for images of a size, found without computing them."""

    def shapes(side: int) -> dict[str, tuple[int, ...]] | None:
        try:
            with torch.no_grad():
                found = network(torch.empty(2, 3, side, side, device="meta"))
        except (RuntimeError, AssertionError, ValueError):  # What networks raise differs.
            return None
        return {node: tuple(value.shape[1:]) for node, value in found.items()}

    found = shapes(size)
    if found is None:
        fitting = next((side for side in range(size + 1, LARGEST + 1) if shapes(side)), None)
        hint = f"the next size it takes is {fitting} px" if fitting else f"nor any larger up to {LARGEST} px"
        raise RecipeError(f"backbone {name}, up to the layers asked for, takes no images of {size} px; {hint}")
    return found


def _tensors(name: str, file: Path | None) -> tuple[Mapping[str, Tensor], str]:
    if file is not None:
        return _read(file), str(file)
    if name not in FETCHED:
        raise WeightsError(
            f"no weights for backbone {name!r} are known here: name a file of its state dict (.safetensors, .pth) "
            f"with 'weights', or use {' or '.join(FETCHED)}"
        )
    weights = FETCHED[name]
    return weights.load(), f"fetched weights {weights.name!r} ({weights.about})"


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file of weights")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in as many ways as there are formats.
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(
            f"{file}: cannot be read as a state dict ({type(error).__name__}: {reason[:100]}); "
            "a .safetensors file, or what torch.save(model.state_dict(), FILE) writes, is needed"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file}: holds a {type(content).__name__}, not a state dict (tensors by name)")
    return {name: item for name, item in content.items() if isinstance(item, Tensor)}


def _closest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; it has {', '.join(names[:40])}{' ...' if len(names) > 40 else ''}"
