"""The R2 regulariser."""

from __future__ import annotations

from torch import Tensor

from enface import CriticLoss
from enface_plugins.losses.critic_gradient import Critic, critic_gradient, squared_norm


class R2(CriticLoss):
    """Half the squared norm of the critic's gradient at fake images: |grad D(output)|^2 / 2.

    The counterpart of ``r1``; R3GAN uses both. After Mescheder et al., ICML 2018, and Huang et al.,
    "The GAN is dead; long live the GAN!", NeurIPS 2024.

    With ``augment`` the gradient is that at the augmented image, with respect to it; the
    published code of StyleGAN2-ADA, DiffAugment and R3GAN differentiates with respect to the image before.

    Shape: (N,). Range: [0, inf). Unit: squared logits per squared unit of the image.
    """

    unit = "per image"
    non_negative = True
    uncompilable_reason = "it differentiates the critic twice, which torch.compile does not support"

    def critic(self, fake_image: Tensor, judge: Critic) -> Tensor:
        return squared_norm(critic_gradient(judge, fake_image)) / 2
