"""BatchNorm over the batches of all processes.

torch.nn.SyncBatchNorm does this on GPUs, refuses CPU tensors and has no second derivative; :class:`SharedBatchNorm`
does it anywhere and as often as wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Total(torch.autograd.Function):
    """The sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # As a function of its own, or a second derivative would take the other processes' part for a constant.
        return _total(gradient.contiguous())


class SharedBatchNorm(_BatchNorm):
    """Normalises by the mean and variance over every process's part of the batch; equal parts are assumed.

    Source:
        Ioffe and Szegedy, Batch Normalization, 2015, with the statistics of the whole batch.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        processes = torch.distributed.get_world_size()
        mean = _total(input.float().mean(axes)) / processes
        centred = input.float() - mean.view(shape)
        # Two passes: a difference of large squares would lose the digits that equality with one process needs.
        variance = _total(centred.square().mean(axes)) / processes
        count = input.numel() // input.shape[1] * processes
        self._track(mean.detach(), variance.detach() * count / max(count - 1, 1))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        factor = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance, factor)


def _total(value: Tensor) -> Tensor:
    total = _Total.apply(value)
    assert isinstance(total, Tensor)
    return total


def synchronized(module: nn.Module, device: torch.device, *, twice: bool = False) -> nn.Module:
    """The module with every BatchNorm replaced by one that spans processes; parameters are kept.

    Args:
        twice: It must have a second derivative.
    """
    if device.type == "cuda" and not twice:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    if isinstance(module, _BatchNorm):
        shared = SharedBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        shared.load_state_dict(module.state_dict())
        shared.requires_grad_(module.weight.requires_grad if module.affine else False)
        return shared.train(module.training)
    for name, child in module.named_children():
        replacement = synchronized(child, device, twice=twice)
        if replacement is not child:
            setattr(module, name, replacement)
    return module
