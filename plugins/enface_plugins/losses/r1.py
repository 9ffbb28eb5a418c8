"""The R1 regulariser."""

from __future__ import annotations

from torch import Tensor

from enface import CriticLoss
from enface_plugins.losses.critic_gradient import Critic, critic_gradient, squared_norm


class R1(CriticLoss):
    """Half the squared norm of the critic's gradient at real images: |grad D(target)|^2 / 2.

    It keeps a confident critic from having steep gradients, so that training converges near the equilibrium.
    ``weight`` is the papers' gamma; ``every: 16`` applies it lazily (Karras et al., CVPR 2020). A patch critic's
    logits are summed, so the gradient, and with it a sensible gamma, depends on their number. After Mescheder et al.,
    "Which training methods for GANs do actually converge?", ICML 2018.

    With ``augment`` the gradient is that at the augmented image, with respect to it; the
    published code of StyleGAN2-ADA, DiffAugment and R3GAN differentiates with respect to the image before.

    Shape: (N,). Range: [0, inf). Unit: squared logits per squared unit of the image.
    """

    unit = "per image"
    non_negative = True
    uncompilable_reason = "it differentiates the critic twice, which torch.compile does not support"

    def critic(self, real_image: Tensor, judge: Critic) -> Tensor:
        return squared_norm(critic_gradient(judge, real_image)) / 2
