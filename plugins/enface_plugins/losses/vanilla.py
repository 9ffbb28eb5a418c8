"""The original adversarial loss."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import softplus

from enface import AdversarialLoss


class Vanilla(AdversarialLoss):
    """Binary cross-entropy, non-saturating for the generator.

    With D = sigmoid(logit), generator: -log D(fake). Critic: -(1 - s) log D(real) - s log(1 - D(real))
    - log(1 - D(fake)), where s is ``smoothing``. After Goodfellow et al., "Generative adversarial nets", NeurIPS
    2014; one-sided label smoothing after Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.

    Shapes: logits (N, 1, H, W) or (N,) -> the same. Range: [0, inf); a critic that outputs 0 gives 2 log 2 = 1.39,
    its generator log 2 = 0.69. Unit: nats.

    Args:
        smoothing: Reduction of the critic's label for real images; 0.1 makes it 0.9.
    """

    aliases = ("gan", "adversarial", "bce", "bce_with_logits", "non_saturating", "logistic", "dcgan", "minimax")
    unit = "per logit"
    non_negative = True

    def __init__(self, *, smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, fake_logits: Tensor) -> Tensor:
        return softplus(-fake_logits)

    def critic(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        # -log D(x) is softplus(-x) and -log(1 - D(x)) is softplus(-x) + x.
        return softplus(-real_logits) + self.smoothing * real_logits + softplus(fake_logits)
