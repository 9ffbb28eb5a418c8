"""Frozen torchvision classifiers as feature extractors, cut after the deepest requested layer."""

from __future__ import annotations

import difflib
import operator
import warnings
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from enface import RecipeError, WeightsError, px
from enface_plugins.frozen import Frozen, user_network_name
from enface_plugins.planes import as_rgb
from enface_plugins.pretrained import Weights
from enface_plugins.pretrained.networks import ALEXNET, VGG16

FETCHABLE: Mapping[str, Weights] = {"vgg16": VGG16, "alexnet": ALEXNET}
"""The backbones whose weights ``enface weights fetch`` downloads."""
LARGEST_SIZE = 512
"""Upper end of the search for an image size that a backbone accepts, in pixels."""

# As torchvision builds these two for pretrained weights: they undo part of the normalisation.
_MODEL_ARGUMENTS = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}
_OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


class Backbone(Frozen):
    """Features of a torchvision classifier: image (N, 3 or 1, H, W) in [-1, 1] -> a tensor for each requested layer.

    The plane of grey images is repeated. Images are mapped to [0, 1] and normalised as torchvision's preset for the
    network does (for nearly all, with ImageNet's mean and standard deviation). Layers past the deepest requested one
    are neither kept nor run. Building it draws no random numbers.

    Args:
        name: A classification network of torchvision.
        layers: Node names of torchvision's feature extraction (``features.15``, ``layer3``), or names such as
            ``conv3_3 relu3_3 pool3`` for VGG and ``conv3 relu3 pool1`` for AlexNet.
        size: Height and width of the images.
        weights: File of its state dict; default: the fetched weights.

    Attributes:
        shapes: Shape of each layer's features for one image.

    Raises:
        RecipeError: when torchvision has no such network, the network has no such layer, or it does not accept
            images of this size.
        WeightsError: when the weights are missing, damaged, or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Iterable[str], size: tuple[int, int], weights: Path | None = None) -> None:
        model, preset = _model_without_weights(name)
        nodes = _nodes(name, model, layers)
        network = _truncated(model, nodes.values())
        shapes = _shapes(name, network, size)
        tensors, origin = _tensors(name, weights)
        super().__init__(assign_weights(network, tensors, origin))
        self.nodes = nodes
        self.shapes = {layer: shapes[node] for layer, node in nodes.items()}
        # Not persistent, because torchvision defines them.
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(preset, statistic)).view(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        features = self.network(((as_rgb(image) + 1) / 2 - self.mean) / self.std)
        return {layer: features[node] for layer, node in self.nodes.items()}

    def detached(self, image: Tensor) -> dict[str, Tensor]:
        """Return the same features without gradients, as for a target."""
        with torch.no_grad():
            return self(image)


def default_layers(name: str) -> dict[str, float] | None:
    """Return pix2pixHD's five layers and their weights, or None for a backbone without such layers.

    For VGG the first ReLU of each block, with 1/32, 1/16, 1/8, 1/4 and 1 (Wang et al., CVPR 2018); for AlexNet its
    five ReLUs.
    """
    template = "relu{}_1" if name.startswith("vgg") else "relu{}" if name == "alexnet" else None
    if template is None:
        return None
    return {template.format(block): weight for block, weight in enumerate((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), 1)}


def backbone_network_name(backbone: str, weights: str | Path | None) -> str:
    """Return a backbone's name for ``networks()``: its own, or that of the user's weights."""
    return backbone if weights is None else user_network_name(weights)


def assign_weights(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Give a network on the meta device its weights, in its own data types; ignore tensors it has no place for.

    Raises:
        WeightsError: when a tensor is missing or has another shape; the message begins with ``origin``.
    """
    state = {}
    for name, expected in network.state_dict().items():
        # A count that only training reads; old files lack it.
        value = tensors.get(name, torch.zeros((), dtype=torch.long) if name.endswith("num_batches_tracked") else None)
        if value is None or value.shape != expected.shape:
            problem = "it is missing" if value is None else f"its shape is {tuple(value.shape)}"
            raise WeightsError(f"{origin}: expected a tensor {name} of shape {tuple(expected.shape)}, but {problem}")
        state[name] = value.to(expected.dtype, copy=True)
    network.load_state_dict(state, assign=True)
    missing = [name for name, item in (*network.named_parameters(), *network.named_buffers()) if item.is_meta]
    if missing:
        raise WeightsError(
            f"{origin}: the network also needs {missing[0]}, which state dicts do not contain; use another network"
        )
    return network


def _model_without_weights(name: str) -> tuple[nn.Module, object]:
    """Return the network on the meta device, and torchvision's preset for its input."""
    # Imported here because it takes seconds.
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise RecipeError(f"torchvision has no classification network {name!r}{_suggestion(name, known)}")
    preset = models.get_model_weights(name).DEFAULT.transforms()
    # The meta device draws no random numbers, so those of the run are the same with and without this network, and a
    # weight that is never loaded cannot be used by mistake.
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            return models.get_model(name, weights=None, **_MODEL_ARGUMENTS.get(name, {})).eval(), preset
        except NotImplementedError as error:  # RegNets read values of tensors while being built.
            raise RecipeError(f"backbone {name} cannot be built on the meta device; use another backbone") from error


def _nodes(name: str, model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Map each layer to its node in torchvision's feature extraction."""
    from torchvision.models.feature_extraction import get_graph_node_names

    named = _block_names(name, model)
    _, nodes = get_graph_node_names(model, suppress_diff_warning=True)
    # A module's name stands for its last node, so ``layer3`` is valid as well as ``layer3.5.relu``.
    parts = {prefix for node in nodes[1:] for prefix in accumulate(node.split("."), "{}.{}".format)}
    node_of = {}
    for layer in layers:
        if layer not in named and layer not in parts:
            hint = _suggestion(layer, parts if "." in layer else list(named) or nodes[1:])
            raise RecipeError(f"backbone {name} has no layer {layer!r}{hint}")
        node_of[layer] = named.get(layer, layer)
    return node_of


def _block_names(name: str, model: nn.Module) -> dict[str, str]:
    """Map the papers' layer names (``relu3_3``: block 3, convolution 3) to modules; empty for other networks."""
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
            is_convolution = isinstance(layer, nn.Conv2d)
            convolution, count = convolution + is_convolution, count + is_convolution
            number = f"{block}_{convolution}" if name.startswith("vgg") else str(count)
            named[f"{'conv' if is_convolution else 'relu'}{number}"] = f"features.{index}"
    return named


def _truncated(model: nn.Module, nodes: Iterable[str]) -> fx.GraphModule:
    """Return the part of the network that computes some nodes."""
    from torchvision.models.feature_extraction import create_feature_extractor

    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    network = create_feature_extractor(model, list(dict.fromkeys(nodes)), suppress_diff_warning=True).eval()
    # An in-place operation would change the features of the layer before it after they were returned.
    for node in network.graph.nodes:
        node.target = _OUT_OF_PLACE.get(node.target, node.target)
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
    network.recompile()
    return network


def _shapes(name: str, network: nn.Module, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each node's features for images of a size, from a pass on the meta device."""

    def shapes(height: int, width: int) -> dict[str, tuple[int, ...]] | None:
        try:
            with torch.no_grad():
                features = network(torch.empty(2, 3, height, width, device="meta"))
        except (RuntimeError, AssertionError, ValueError):  # Networks raise different errors.
            return None
        return {node: tuple(value.shape[1:]) for node, value in features.items()}

    own_shapes = shapes(*size)
    if own_shapes is None:
        larger = ((max(side, size[0]), max(side, size[1])) for side in range(min(size) + 1, LARGEST_SIZE + 1))
        accepted = next((sides for sides in larger if shapes(*sides)), None)
        hint = f"no size up to {LARGEST_SIZE} px works"
        if accepted:
            hint = f"use {px(accepted)} px, the next larger size"
        raise RecipeError(f"backbone {name} with these layers does not accept images of {px(size)} px; {hint}")
    return own_shapes


def _tensors(name: str, file: Path | None) -> tuple[Mapping[str, Tensor], str]:
    if file is not None:
        return _read(file), str(file)
    if name not in FETCHABLE:
        raise WeightsError(
            f"enface has no weights for backbone {name!r}: set 'weights' to a file of its state dict "
            f"(.safetensors or .pth), or use {' or '.join(FETCHABLE)}"
        )
    weights = FETCHABLE[name]
    return weights.load(), f"fetched weights {weights.name!r} ({weights.about})"


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file; check 'weights'")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # Damaged files raise errors of many types.
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(
            f"{file}: cannot be read as a state dict ({type(error).__name__}: {reason[:100]}); "
            "expected a .safetensors file or one written by torch.save(model.state_dict(), FILE)"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file}: contains a {type(content).__name__}, not a state dict (tensors by name)")
    return {name: item for name, item in content.items() if isinstance(item, Tensor)}


def _suggestion(name: str, known: Iterable[str]) -> str:
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; it has {', '.join(names[:40])}{' ...' if len(names) > 40 else ''}"
