"""Less memory for more time: layers whose insides are computed again when the backward pass needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Stages(nn.Sequential):
    """Modules one after another; with ``recompute``, of each only its input is kept for the backward pass.

    Outputs, gradients, dropout and running statistics are the same either way.
    """

    def __init__(self, *modules: nn.Module, recompute: bool = False) -> None:
        super().__init__(*modules)
        self.recompute = recompute

    def forward(self, features: Tensor) -> Tensor:
        for stage in self:
            features = self.call(stage, features)
        return features

    def call(self, stage: nn.Module, features: Tensor) -> Tensor:
        """One module's output, kept or to be computed again as this sequence's own are."""
        return recomputed(stage, features) if self.recompute else stage(features)


def recomputed(module: nn.Module, features: Tensor) -> Tensor:
    """A module's output, whose backward pass runs the module again.

    Source:
        Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
    """
    # A compiler chooses by itself what it keeps and what it computes again.
    if torch.compiler.is_compiling():
        return module(features)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _on_copies_of_buffers(module)

    return checkpoint(module, features, use_reentrant=False, context_fn=contexts)


@contextmanager
def _on_copies_of_buffers(module: nn.Module) -> Iterator[None]:
    """Keep from the module's buffers what a pass does to them: BatchNorm would count the same batch twice.

    Its momentum or flags are not touched, for each kind of BatchNorm reads others.
    """
    kept = [(each, dict(each._buffers)) for each in module.modules() if each._buffers]
    for each, buffers in kept:
        each._buffers.update({name: None if item is None else item.clone() for name, item in buffers.items()})
    try:
        yield
    finally:
        for each, buffers in kept:
            each._buffers.update(buffers)
