"""Sampling of images along a flow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad


def sample(image: Tensor, flow: Tensor) -> Tensor:
    """Sample images at every pixel plus its flow, bilinearly; beyond the edge, the edge is repeated.

    A flow of 0 returns the image bit for bit.

    Args:
        image: (N, C, H, W), float32.
        flow: (N, 2, H, W), right and down, in halves of width and height, float32.

    Returns:
        (N, C, H, W).
    """
    if image.requires_grad and image.is_cuda:
        return sample_by_index(image, flow)
    height, width = flow.shape[-2:]
    # Only coordinates in halves of a power of two are exact.
    down, right = (_power_of_two(side) for side in (height, width))
    if (height, width) != (down, right):
        image = pad(image, (0, right - width, 0, down - height), mode="replicate")
        flow = flow * flow.new_tensor([width / right, height / down])[:, None, None]
    across = (torch.arange(width, device=flow.device) + 0.5) * (2 / right) - 1
    along = (torch.arange(height, device=flow.device) + 0.5) * (2 / down) - 1
    grid = torch.stack(torch.broadcast_tensors(across[None, :], along[:, None]), dim=-1)
    return grid_sample(image, grid + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def sample_by_index(image: Tensor, flow: Tensor) -> Tensor:
    """Sample as :func:`sample` does, with a gradient to the image that is deterministic on CUDA, but more slowly."""
    height, width = flow.shape[-2:]
    x = (torch.arange(width, device=flow.device) + flow[:, 0] * (width / 2)).clamp(0, width - 1)
    y = (torch.arange(height, device=flow.device)[:, None] + flow[:, 1] * (height / 2)).clamp(0, height - 1)
    left, top = x.detach().long(), y.detach().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    number = torch.arange(len(image), device=image.device)[:, None, None]
    last = image.permute(0, 2, 3, 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = last[number, top, left].lerp(last[number, top, right], across)
    lower = last[number, bottom, left].lerp(last[number, bottom, right], across)
    return upper.lerp(lower, down).permute(0, 3, 1, 2)


def _power_of_two(side: int | torch.SymInt) -> int | torch.SymInt:
    """Return the next power of two; the side itself while torch.export traces it as a symbol."""
    return side if isinstance(side, torch.SymInt) else 1 << (side - 1).bit_length()
