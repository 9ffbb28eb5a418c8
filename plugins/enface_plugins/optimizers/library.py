"""The optimizers of the package pytorch-optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from enface import Optimizer, PluginError
from enface_plugins.optimizers.packages import require


class PytorchOptimizer(Optimizer):
    """Any optimizer of the package ``pytorch-optimizer`` that steps on one gradient, such as lion, adan or lamb.

    Args:
        name: Its name in that package, in lower case.
        options: Its options, in that package's names; default: none.
    """

    def __init__(self, *, name: str, options: Mapping[str, Any] | None = None) -> None:
        self._name, self._options = name, dict(options or {})

    @classmethod
    def example(cls, folder: Any) -> Mapping[str, Any]:
        """Lion, the sign of the momentum."""
        return {"name": "lion"}

    def build(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        """Return the optimizer."""
        package = require("pytorch_optimizer", "pytorch_optimizer")
        try:
            optimizer: torch.optim.Optimizer = package.load_optimizer(self._name)(groups, lr=lr, **self._options)
        except NotImplementedError as error:
            raise PluginError(f"pytorch_optimizer: {error}") from error
        return optimizer
