"""The exponential linear unit, fast on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ELU(nn.ELU):
    """max(x, exp(min(x, 0)) - 1), of any shape; alpha is 1.

    In float32 on a CPU, torch spends most of an ELU's time on expm1. There this computes 2 t / (1 - t) with
    t = tanh(x / 2), in half the time and with a relative error of 2e-7, also near 0. Elsewhere it is torch.nn.ELU.

    Source:
        Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear units",
        ICLR 2016.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        if input.is_cpu and input.dtype is torch.float32 and not torch.compiler.is_compiling():
            result = _FastELU.apply(input)
            assert isinstance(result, Tensor)
            return result
        return super().forward(input)


class _FastELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        half = input.clamp(max=0).mul_(0.5).tanh_()
        low = torch.div(half, torch.rsub(half, 0.5, alpha=0.5), out=half)
        result = torch.maximum(input, low, out=low)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        input_gradient: Tensor = torch.ops.aten.elu_backward(gradient, 1, 1, 1, True, result)
        return input_gradient
