"""Self-attention over the pixels of a feature map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


class SelfAttention(nn.Module):
    """x + project(attention(norm(x))): each pixel of features (N, C, H, W) is a query, a key and a value.

    One head of C channels. Time and memory grow with (H W)^2. The projection starts at 0, so a new layer is the
    identity. After Vaswani et al., "Attention is all you need", NeurIPS 2017, as in Ho, Jain and Abbeel, "Denoising
    diffusion probabilistic models", NeurIPS 2020, whose U-Net has it at 16 px.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.norm(features).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens)[:, None].chunk(3, dim=-1)
        # The faster kernels have no deterministic gradient on CUDA.
        with sdpa_kernel(SDPBackend.MATH):
            attended = scaled_dot_product_attention(query, key, value)
        return features + self.project(attended[:, 0]).transpose(1, 2).reshape(features.shape)
