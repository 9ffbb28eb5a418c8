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

Groups = list[dict[str, Any]]
Build = Callable[[Groups, float], torch.optim.Optimizer]
"""Makes an optimizer of parameter groups, with a learning rate."""

# The base class, and two whose steps need a closure or sparse gradients.
_UNSUPPORTED = {"optimizer", "lbfgs", "sparseadam"}
# Set by the trainer, or useless in it.
_RESERVED = {"self", "params", "lr", "capturable", "differentiable"}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


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
    return create_model(f"{optimizer.__name__}Options", __base__=_Options, **fields)


def optimizer_builder(catalog: Catalog, model: OptimizerModel) -> Build:
    """Return the function that builds a recipe's optimizer; a component goes before torch.optim's of the same name.

    Raises RecipeError if there is no optimizer of that name.
    """
    if model.use in catalog.names("optimizer"):
        component = catalog.build("optimizer", model.use, model.params)
        assert isinstance(component, Optimizer)
        return component.build
    optimizer: Any = torch_optimizers().get(model.use)
    if optimizer is None:
        known = [*catalog.names("optimizer"), *torch_optimizers()]
        raise RecipeError(f"there is no optimizer {model.use!r}{closest(model.use, known)}")
    checked = options_model(optimizer).model_validate(model.params)
    options = {name: getattr(checked, name) for name in checked.model_fields_set}
    # The fused kernel, unless another one is requested.
    if "fused" in options_model(optimizer).model_fields and not {"foreach", "fused"} & set(options):
        options["fused"] = True
    return lambda groups, lr: optimizer(groups, lr=lr, **options)


def check_optimizer(catalog: Catalog, model: OptimizerModel) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield path and message of everything wrong with a recipe's optimizer; one step finds what types do not show."""
    try:
        build = optimizer_builder(catalog, model)
    except ValidationError as error:
        fields = options_model(torch_optimizers()[model.use]).model_fields  # type: ignore[arg-type]
        yield from (explain(item, fields) for item in error.errors())
        return
    except RecipeError as error:
        yield ("use",), str(error)
        return
    try:
        optimizer = _trial(build)
        known = [name for name in optimizer.defaults if name != "lr"]
        for name, group in model.groups.items():
            for key in group.params:
                if key not in known:
                    yield ("groups", name, key), f"unknown key {key!r}{closest(key, known)}"
            _trial(build, {key: value for key, value in group.params.items() if key in known})
    except EnfaceError as error:
        yield (), str(error)
    except Exception as error:
        # Whatever an optimizer makes of options that it cannot use.
        yield (), f"{model.use} cannot use these options: {str(error) or type(error).__name__}"


def _trial(build: Build, options: Mapping[str, Any] | None = None) -> torch.optim.Optimizer:
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = build([{"params": [parameter], **group_options(options or {})}], 1e-3)
    training_mode(optimizer)
    optimizer.step()
    return optimizer


def group_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's options as optimizers take them: lists, which YAML has, as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def training_mode(optimizer: torch.optim.Optimizer) -> None:
    """Put a schedule-free optimizer, which has two sets of weights, into training mode."""
    if hasattr(optimizer, "train"):
        optimizer.train()
