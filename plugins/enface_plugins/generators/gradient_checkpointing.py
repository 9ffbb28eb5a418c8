"""Gradient checkpointing: recompute activations in the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CheckpointedSequential(nn.Sequential):
    """A sequence of modules; with ``recompute``, only the input of each is kept for the backward pass.

    Outputs, gradients, dropout and running statistics are the same either way.
    """

    def __init__(self, *modules: nn.Module, recompute: bool = False) -> None:
        super().__init__(*modules)
        self.recompute = recompute

    def forward(self, features: Tensor) -> Tensor:
        for module in self:
            features = self.call(module, features)
        return features

    def call(self, module: nn.Module, features: Tensor) -> Tensor:
        """Return one module's output, checkpointed if this sequence is."""
        return checkpointed(module, features) if self.recompute else module(features)


def checkpointed(module: nn.Module, features: Tensor) -> Tensor:
    """Return a module's output; the backward pass runs the module again.

    Source:
        Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
    """
    # torch.compile itself chooses the activations to recompute.
    if torch.compiler.is_compiling():
        return module(features)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _preserved_buffers(module)

    return checkpoint(module, features, use_reentrant=False, context_fn=contexts)


@contextmanager
def _preserved_buffers(module: nn.Module) -> Iterator[None]:
    """Discard a pass's changes to the module's buffers: BatchNorm would count the same batch twice.

    BatchNorm's momentum and flags stay as they are, because its variants read different ones.
    """
    originals = [(part, dict(part._buffers)) for part in module.modules() if part._buffers]
    for part, buffers in originals:
        part._buffers.update({name: None if item is None else item.clone() for name, item in buffers.items()})
    try:
        yield
    finally:
        for part, buffers in originals:
            part._buffers.update(buffers)
