"""Cross-entropy of class logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from enface import Loss


class CrossEntropy(Loss):
    """Cross-entropy of class logits, -log softmax(logits)[label], in nats.

    The term names logits and labels: ``inputs: {logits: pose_logits, labels: pose}``.

    Shapes: logits (N, K), labels (N,) int64 in [0, K) -> (N,). Range: [0, inf); log K for equal logits.
    """

    aliases = ("ce", "nll", "classification")
    unit = "per image"
    non_negative = True

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="none")
