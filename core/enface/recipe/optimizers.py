"""Optimizers of a recipe: those of torch.optim by their names in lower case, and components."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import nn

from enface.errors import EnfaceError, RecipeError
from enface.plugin.catalog import Catalog
from enface.plugin.components import Optimizer
from enface.plugin.schema import closest, explain
from enface.recipe.models import OptimizerModel

Build = Callable[[list[dict[str, Any]], float], torch.optim.Optimizer]
"""Makes an optimizer of parameter groups, with a learning rate."""

# The base class, and two whose steps need a closure or sparse gradients.
_UNSUPPORTED = {"optimizer", "lbfgs", "sparseadam"}
# Set by the trainer, or useless in it.
_RESERVED = {"self", "params", "lr", "capturable", "differentiable"}
_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


@cache
def torch_optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Return the optimizers of torch.optim by their names in lower case."""
    return {
        name.lower(): item
        for name, item in vars(torch.optim).items()
        if isinstance(item, type) and issubclass(item, torch.optim.Optimizer) and name.lower() not in _UNSUPPORTED
    }


@cache
def options_model(optimizer: type[torch.optim.Optimizer]) -> type[BaseModel]:
    """Return the pydantic model of an optimizer's options, from the signature of its ``__init__``."""
    hints = get_type_hints(optimizer.__init__)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(optimizer.__init__).parameters.items()
        if name not in _RESERVED
    }
    return create_model(f"{optimizer.__name__}Options", __config__=_STRICT, **fields)


def optimizer_builder(catalog: Catalog, model: OptimizerModel) -> Build:
    """Return the function that builds a checked optimizer; a component goes before torch.optim's of the same name."""
    if model.use in catalog.names("optimizer"):
        component = catalog.build("optimizer", model.use, model.params)
        assert isinstance(component, Optimizer)
        return component.build
    optimizer: Any = torch_optimizers()[model.use]
    checked = options_model(optimizer).model_validate(model.params)
    options = {name: getattr(checked, name) for name in checked.model_fields_set}
    # The fused kernel, unless another one is requested.
    if "fused" in options_model(optimizer).model_fields and not {"foreach", "fused"} & set(options):
        options["fused"] = True
    return lambda groups, lr: optimizer(groups, lr=lr, **options)


def check_optimizer(catalog: Catalog, model: OptimizerModel) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield path and message of everything wrong with a recipe's optimizer."""
    components = catalog.names("optimizer")
    if model.use not in components and model.use not in torch_optimizers():
        known = [*components, *torch_optimizers()]
        yield ("use",), f"there is no optimizer {model.use!r}{closest(model.use, known)}"
        return
    try:
        if model.use in components:
            _try_component(optimizer_builder(catalog, model), model)
            return
        optimizer: Any = torch_optimizers()[model.use]
        yield from _check_options(optimizer, model.params)
        for name, group in model.groups.items():
            yield from ((("groups", name, *where), text) for where, text in _check_options(optimizer, group.params))
    except EnfaceError as error:
        yield (), str(error)
    except Exception as error:
        # Whatever an optimizer makes of options that it cannot use.
        yield (), f"{model.use} cannot use these options: {str(error) or type(error).__name__}"


def _check_options(optimizer: Any, options: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Check options of torch.optim by their types, then by the ``__init__`` of the optimizer."""

    class Probe(optimizer):  # type: ignore[misc]
        def add_param_group(self, param_group: dict[str, Any]) -> None:
            # torch's own imports its compiler, which takes as long as the whole check.
            self.param_groups.append({**self.defaults, **param_group})

    model = options_model(optimizer)
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        yield from (explain(item, model.model_fields) for item in error.errors())
        return
    Probe([nn.Parameter(torch.zeros(2, 2))], lr=1e-3, **{key: getattr(checked, key) for key in options})


def _try_component(build: Build, model: OptimizerModel) -> None:
    """Take a step with a component's optimizer, for itself and with the options of each group."""
    for options in ({}, *(group.params for group in model.groups.values())):
        parameter = nn.Parameter(torch.zeros(2, 2))
        parameter.grad = torch.zeros_like(parameter)
        optimizer = build([{"params": [parameter], **group_options(options)}], 1e-3)
        unknown = [key for key in options if key not in optimizer.defaults]
        if unknown:
            raise RecipeError(f"groups: unknown key {unknown[0]!r}{closest(unknown[0], optimizer.defaults)}")
        training_mode(optimizer)
        optimizer.step()


def group_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's options as optimizers take them: lists, which YAML has, as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def training_mode(optimizer: torch.optim.Optimizer) -> None:
    """Put a schedule-free optimizer, which has two sets of weights, into training mode."""
    if hasattr(optimizer, "train"):
        optimizer.train()
