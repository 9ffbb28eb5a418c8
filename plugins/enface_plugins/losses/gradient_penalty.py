"""The gradient penalty of WGAN-GP and its zero-centred form."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from enface import CriticLoss
from enface_plugins.losses.critic_gradient import Critic, critic_gradient, squared_norm


class GradientPenalty(CriticLoss):
    """Squared deviation of the critic's gradient norm from ``center``: (|grad D(x)| - center)^2.

    x = a target + (1 - a) output, with a drawn uniformly from [0, 1) for each image. ``center: 1`` is WGAN-GP's
    (Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017, with weight 10), ``center: 0`` the
    zero-centred one (Thanh-Tung et al., "Improving generalization and stability of generative adversarial networks",
    ICLR 2019).

    Shape: (N,). Range: [0, inf). Unit: squared logits per squared unit of the image.

    Args:
        center: Desired norm of the gradient.
    """

    aliases = ("wgan_gp", "gp")
    unit = "per image"
    non_negative = True
    deterministic = False
    uncompilable_reason = "it differentiates the critic twice, which torch.compile does not support"

    def __init__(self, *, center: Annotated[float, Ge(0)] = 1.0) -> None:
        super().__init__()
        self.center = center

    def critic(self, real_image: Tensor, fake_image: Tensor, judge: Critic) -> Tensor:
        share = torch.rand(len(real_image), 1, 1, 1, device=real_image.device)
        mixed = share * real_image.detach() + (1 - share) * fake_image.detach()
        squared = squared_norm(critic_gradient(judge, mixed))
        if self.center == 0:
            return squared
        # The root has an infinite derivative at 0; the constant keeps the gradient of a flat critic finite.
        return ((squared + 1e-12).sqrt() - self.center).square()
