"""Frozen networks, used by losses, metrics and discriminators."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn


class Frozen(nn.Module):
    """A network whose weights take no gradient and which stays in eval mode when a parent module is trained."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for parameter in network.parameters():  # One by one, because TorchScript modules have no requires_grad_.
            parameter.requires_grad_(False)
        self.training = False

    def train(self, mode: bool = True) -> Frozen:
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def user_network_name(file: str | Path) -> str:
    """Return a user's network's name for ``networks()``: the path, so that two components of one file agree."""
    return str(Path(file).expanduser().resolve())
