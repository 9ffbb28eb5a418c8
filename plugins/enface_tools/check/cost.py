"""Costs of a recipe's networks, measured on an image without values: parameters, operations, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from enface.errors import EnfaceError, RecipeError
from enface.plugin.components import DataInfo, Discriminator, Generator
from enface.plugin.schema import requested_arguments
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import OptimizerModel, StageModel
from enface.recipe.optimizers import optimizer_builder

FLOAT = 4
"""Bytes of a number in float32."""


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network.

    Attributes:
        use: Name of the component.
        parameters: Number of parameters.
        trained: Number of parameters that the stage trains.
        flop: Floating point operations of a forward pass per image; a multiplication and an addition count 2.
        activations: Bytes per image that a forward pass in float32 keeps for the backward pass.
    """

    use: str
    parameters: int
    trained: int
    flop: int
    activations: int


@dataclass(frozen=True)
class StageCost:
    """Cost of a stage's networks.

    Attributes:
        critics: Its discriminators by name; None if the cost is unknown.
        memory: Bytes of weights, gradients, optimizer states and activations in float32; networks within losses are
            not included. None if a network's cost is unknown.
    """

    generator: NetworkCost | None
    critics: Mapping[str, NetworkCost | None]
    memory: int | None


def stage_costs(loaded: LoadedRecipe, classes: Mapping[str, int]) -> dict[str, StageCost]:
    """Return the cost of each stage by name.

    Args:
        classes: Number of distinct values of each column of the data; empty if they are unknown.

    Raises:
        RecipeError: if a network refuses its parameters or the size, planes or columns of the data; names file, line
            and key. Not if ``classes`` is empty.
    """
    info = loaded.recipe.data.info(classes=classes)
    return {name: _stage_cost(loaded, name, stage, info) for name, stage in loaded.recipe.stages.items()}


def _stage_cost(loaded: LoadedRecipe, stage_name: str, stage: StageModel, info: DataInfo) -> StageCost:
    refuse = loaded.place if info.classes else None
    generator = _cost(partial(_generator, loaded, stage, info), ("generator",), refuse)
    critics = {
        name: _cost(partial(_critic, loaded, stage, name, info), ("stages", stage_name, "discriminators", name), refuse)
        for name in stage.discriminators
    }
    images = stage.batch // stage.accumulate
    if generator is None or None in critics.values():
        return StageCost(generator, critics, None)
    memory = _memory(loaded, generator, stage.optimizer, images) + (generator.parameters * FLOAT if stage.ema else 0)
    for name, critic in critics.items():
        assert critic is not None
        # Target and output.
        memory += _memory(loaded, critic, stage.discriminators[name].optimizer, 2 * images)
    return StageCost(generator, critics, memory)


def _memory(loaded: LoadedRecipe, cost: NetworkCost, optimizer: OptimizerModel, images: int) -> int:
    states = 1 + _states(loaded, optimizer)
    return round(FLOAT * (cost.parameters + states * cost.trained)) + images * cost.activations


def _states(loaded: LoadedRecipe, model: OptimizerModel) -> float:
    """Return the numbers that an optimizer keeps per parameter."""
    # The usual ones, because the first step of any imports torch's compiler, which takes seconds.
    if model.use in ("adam", "adamw") and model.use not in loaded.catalog.names("optimizer"):
        return 3 if model.params.get("amsgrad") else 2
    parameter = nn.Parameter(torch.zeros(16, 16))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = optimizer_builder(loaded.catalog, model)([{"params": [parameter]}], 1e-3)
    if hasattr(optimizer, "train"):
        optimizer.train()
    optimizer.step()
    kept = [item for item in optimizer.state[parameter].values() if isinstance(item, Tensor)]
    return sum(item.numel() for item in kept) / parameter.numel()


@dataclass(frozen=True)
class _Forward:
    """A network, and the arguments of its forward pass."""

    use: str
    network: nn.Module
    arguments: tuple[Any, ...]
    columns: Mapping[str, Tensor]


def _cost(
    build: Callable[[int], _Forward], key: tuple[str, ...], place: Callable[[tuple[str, ...]], str] | None
) -> NetworkCost | None:
    """Measure a network on images on the CPU; None if it cannot be built here.

    Args:
        key: The network's key in the recipe.
        place: Names file, line and key in the error of a network that refuses the recipe; None to raise none.
    """
    # BatchNorm may refuse a single image.
    for images in (1, 2):
        try:
            with torch.random.fork_rng(devices=[]):
                return _measured(build(images), images)
        except RecipeError as error:
            if place is not None:
                raise RecipeError(f"{place(key)}: {error}") from error
            return None
        except EnfaceError:
            return None
        except (RuntimeError, ValueError):
            continue
    return None


def _measured(forward: _Forward, images: int) -> NetworkCost:
    kept: dict[int, int] = {}
    # Held, because storages that are freed give their identity to others.
    held: list[Tensor] = [*forward.network.parameters(), *forward.network.buffers()]
    own = {item.untyped_storage()._cdata for item in held}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        held.append(tensor)
        return tensor

    counter = _FlopCounter()  # type: ignore[no-untyped-call]
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda item: item):
        result = forward.network(*forward.arguments, **forward.columns)
    del result
    parameters = list(forward.network.parameters())
    return NetworkCost(
        forward.use,
        sum(item.numel() for item in parameters),
        sum(item.numel() for item in parameters if item.requires_grad),
        counter.flop // images,
        sum(kept.values()) // images,
    )


class _Counts:
    """Counts operations by torch's own formulas, as its ``FlopCounterMode`` does.

    That one imports torch's compiler, which takes seconds. So does every mode that defines this method itself.
    """

    flop = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=result)
        return result


class _FlopCounter(_Counts, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which operations are counted."""


def _generator(loaded: LoadedRecipe, stage: StageModel, info: DataInfo, images: int) -> _Forward:
    spec = loaded.recipe.generator
    network = loaded.catalog.build("generator", spec.use, spec.params, info)
    assert isinstance(network, Generator)
    for name in stage.freeze:
        if name in network.parts:
            network.parts[name].requires_grad_(False)
    columns = {name: _column(name, info, images) for name in network.provides["output"]}
    return _Forward(spec.use, network, (frozenset({"output"}),), columns)


def _critic(loaded: LoadedRecipe, stage: StageModel, name: str, info: DataInfo, images: int) -> _Forward:
    model = stage.discriminators[name]
    network = loaded.catalog.build("discriminator", model.use, model.params, info)
    assert isinstance(network, Discriminator)
    further = list(requested_arguments(network.forward))[1:]
    columns = {argument: _column(model.inputs.get(argument, argument), info, images) for argument in further}
    return _Forward(model.use, network, (_column("target", info, images),), columns)


def _column(name: str, info: DataInfo, images: int) -> Tensor:
    """Return a column of a batch, of zeros."""
    if name in ("source", "partner", "target"):
        return torch.zeros(images, info.channels["target" if name == "target" else "source"], *info.size)
    return torch.zeros(images, dtype=torch.long if name.endswith("_class") else torch.float32)
