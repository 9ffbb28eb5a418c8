"""What all networks that measure have in common."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn


class Frozen(nn.Module):
    """A network that measures: its weights take no gradient, and ``train()`` around it does not reach it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for parameter in network.parameters():  # One by one, for TorchScript's modules lack requires_grad_.
            parameter.requires_grad_(False)
        self.training = False

    def train(self, mode: bool = True) -> Frozen:
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def own_network(file: str | Path) -> str:
    """A user's network is named after its file: two components that read the same one see alike."""
    return str(Path(file).expanduser().resolve())
