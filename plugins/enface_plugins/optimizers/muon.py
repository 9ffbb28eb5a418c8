"""Muon for matrices, AdamW for the rest."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from enface import Optimizer

# Coefficients of the quintic Newton-Schulz iteration, chosen by Jordan for the steepest slope at zero.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """Muon for weights of two or more dimensions, AdamW for biases and norms.

    The momentum of a matrix is replaced by the nearest semi-orthogonal matrix, so that all its directions move equally
    far. A convolution kernel (O, I, h, w) counts as a matrix (O, I h w). The step of a matrix is scaled by
    0.2 sqrt(max(O, I h w)), which makes a learning rate that suits AdamW suit Muon. Jordan et al., "Muon: An optimizer
    for hidden layers in neural networks", 2024; scale: Liu et al., "Muon is Scalable for LLM Training",
    arXiv 2502.16982. Computed in float32.

    Args:
        momentum: Momentum of matrices.
        nesterov: Use Nesterov momentum for matrices.
        iterations: Newton-Schulz iterations; five suffice.
        weight_decay: Decoupled weight decay of matrices.
        betas: Of AdamW, for all other weights.
        eps: Of AdamW.
    """

    def __init__(
        self,
        *,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.95,
        nesterov: bool = True,
        iterations: Annotated[int, Ge(1)] = 5,
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999),
        eps: Annotated[float, Gt(0)] = 1e-8,
    ) -> None:
        self._options = {"betas": betas, "eps": eps, "weight_decay": weight_decay}
        self._matrix = {"momentum": momentum, "nesterov": nesterov, "iterations": iterations}

    def build(self, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
        """Return the optimizer."""
        divided = []
        for group in groups:
            matrices = [item for item in group["params"] if item.dim() >= 2]
            others = [item for item in group["params"] if item.dim() < 2]
            divided += [{**group, "params": matrices, "matrices": True}] if matrices else []
            divided += [{**group, "params": others, "weight_decay": 0.0, "matrices": False}] if others else []
        return MuonWithAdamW(divided, lr=lr, **self._options, **self._matrix)


class MuonWithAdamW(torch.optim.AdamW):
    """AdamW whose groups with ``matrices: True`` take Muon's step."""

    def __init__(
        self, groups: list[dict[str, Any]], *, momentum: float, nesterov: bool, iterations: int, **options: Any
    ) -> None:
        matrix = {"momentum": momentum, "nesterov": nesterov, "iterations": iterations, "matrices": False}
        super().__init__([{**matrix, **group} for group in groups], fused=True, **options)
        self.defaults |= matrix

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step of all groups."""
        everything = self.param_groups
        try:
            self.param_groups = [group for group in everything if not group["matrices"]]
            loss = super().step(closure)
        finally:
            self.param_groups = everything
        for group in everything:
            for parameter in group["params"] if group["matrices"] else ():
                if parameter.grad is not None:
                    self._step_matrix(parameter, group)
        return loss

    def _step_matrix(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        # AdamW expects a step in every state that it loads.
        state.setdefault("step", torch.zeros(()))
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        matrix = direction.flatten(1)
        update = orthogonalized(matrix, group["iterations"]).view_as(direction)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalized(matrix: Tensor, iterations: int, eps: float = 1e-7) -> Tensor:
    """Return the matrix with all singular values moved close to 1, by Newton-Schulz iterations.

    Args:
        matrix: (M, N), float.
    """
    a, b, c = COEFFICIENTS
    # The smaller Gram matrix is cheaper.
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.float().T if tall else matrix.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
