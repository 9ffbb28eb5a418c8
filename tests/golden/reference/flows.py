"""Losses and metrics of flow fields and masks by their published formulas, in NumPy, float64."""

from __future__ import annotations

import numpy as np


def flow_epe(flow, source_flow, source_visible, partner_flow=None, partner_visible=None, images=(), eps=0.01):
    mirrored = source_flow[..., ::-1] * np.array([-1, 1])[:, None, None]
    truth = {
        "source": (source_flow, source_visible),
        "mirror": (mirrored, source_visible[..., ::-1]),
        "partner": (partner_flow, partner_visible),
    }
    maps = []
    for place, name in enumerate(images):
        field, visible = truth[name]
        error = np.sqrt(((flow[:, place] - field) ** 2).sum(1) + eps**2)
        maps.append(np.stack([_of_share(one, seen[0]) for one, seen in zip(error, visible, strict=True)]))
    return np.stack(maps, axis=1)


def flow_error(output, target, flow, source_flow, source_visible, index):
    error = np.linalg.norm(flow[:, index] - source_flow, axis=1)
    return np.array([one[seen[0] > 0].mean() for one, seen in zip(error, source_visible, strict=True)])


def flow_smoothness(flow, target, alpha):
    count, images, _, height, width = flow.shape
    out = np.zeros((count, 2 * images, height, width))
    for shift, crop in (((0, 1), np.s_[..., :, :-1]), ((1, 0), np.s_[..., :-1, :])):
        edge = np.abs(np.roll(target, np.negative(shift), (-2, -1)) - target).mean(1, keepdims=True)
        fields = flow.reshape(count, 2 * images, height, width)
        step = np.abs(np.roll(fields, np.negative(shift), (-2, -1)) - fields)
        out[crop] += (step * np.exp(-alpha * edge))[crop]
    return out


def mask_entropy(masks):
    return -(masks * np.log(masks)).sum(1, keepdims=True)


def cycle(output, source, flow, images=(), fixed_flow=None):
    """``fixed_flow``: the flow that the weights of the mean are computed from, without gradient."""
    fixed = flow if fixed_flow is None else fixed_flow
    maps = []
    for place, name in enumerate(images):
        image = source[..., ::-1] if name == "mirror" else source
        parts = []
        for one, wanted, field, held in zip(output, image, flow[:, place], fixed[:, place], strict=True):
            sums, weights = _splat(one, field)
            share = np.minimum(_splat(one, held)[1], 1)
            moved = sums / np.where(weights > 0, weights, 1)
            parts.append(_of_share(np.abs(moved - wanted), share))
        maps.append(np.stack(parts))
    return np.concatenate(maps, axis=1)


def _splat(image, flow):
    """Spread each pixel over the four around its place: sums (C, H, W) and weights (H, W)."""
    planes, height, width = image.shape
    sums, weights = np.zeros((planes, height, width)), np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        x, y = column + flow[0, row, column], row + flow[1, row, column]
        for down in (int(np.floor(y)), int(np.floor(y)) + 1):
            for across in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= down < height and 0 <= across < width:
                    weight = (1 - abs(x - across)) * (1 - abs(y - down))
                    sums[:, down, across] += weight * image[:, row, column]
                    weights[down, across] += weight
    return sums, weights


def _of_share(values, weights):
    """Weight values so that their mean over the image is the weighted mean; 0 without weight."""
    return values * weights * weights.size / weights.sum() if weights.any() else values * 0
