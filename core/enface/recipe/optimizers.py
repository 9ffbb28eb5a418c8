"""Optimizers: torch.optim's, by their names in lower case."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from enface.plugin.schema import closest

# The base class, and two that take other steps than one gradient's: a closure, sparse gradients.
_OTHERS = {"optimizer", "lbfgs", "sparseadam"}


def optimizers() -> dict[str, Any]:
    """Every optimizer a recipe may name."""
    return {
        name.lower(): item
        for name, item in vars(torch.optim).items()
        if isinstance(item, type) and issubclass(item, torch.optim.Optimizer) and name.lower() not in _OTHERS
    }


def check_optimizer(use: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a recipe's optimizer: (key, message) pairs."""
    known = optimizers()
    if use not in known:
        yield "use", f"torch.optim has no {use!r}{closest(use, known)}"
        return
    options = list(inspect.signature(known[use].__init__).parameters)[2:]
    for key in params:
        if key not in options:
            yield key, f"unknown key {key!r}{closest(key, options)}"


def fast(optimizer: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's parameters, and its fused kernel where it has one and no other is asked for."""
    options = inspect.signature(optimizer.__init__).parameters
    others = {"foreach", "fused", "capturable", "differentiable"}
    if "fused" not in options or others & set(params):
        return dict(params)
    return {"fused": True, **params}
