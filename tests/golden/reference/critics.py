"""Adversarial losses, critic regularisers and losses of features by their published formulas, in NumPy, float64."""

from __future__ import annotations

import numpy as np
from scipy import special


def softplus(x):
    return np.logaddexp(0, x)


def vanilla(fake_logits):
    return -np.log(special.expit(fake_logits))


def vanilla_critic(real_logits, fake_logits, smoothing=0.0):
    real, fake = special.expit(real_logits), special.expit(fake_logits)
    return -(1 - smoothing) * np.log(real) - smoothing * np.log(1 - real) - np.log(1 - fake)


def lsgan(fake_logits):
    return (fake_logits - 1) ** 2 / 2


def lsgan_critic(real_logits, fake_logits):
    return (real_logits - 1) ** 2 / 2 + fake_logits**2 / 2


def hinge(fake_logits):
    return -fake_logits


def hinge_critic(real_logits, fake_logits):
    return -np.minimum(0, -1 + real_logits) - np.minimum(0, -1 - fake_logits)


def wgan(fake_logits):
    return -fake_logits


def wgan_critic(real_logits, fake_logits):
    return -(real_logits - fake_logits)


def relativistic_average(real_logits, fake_logits):
    real, fake = _average_chances(real_logits, fake_logits)
    return -np.log(1 - real) - np.log(fake)


def relativistic_average_critic(real_logits, fake_logits):
    real, fake = _average_chances(real_logits, fake_logits)
    return -np.log(real) - np.log(1 - fake)


def _average_chances(real_logits, fake_logits):
    """Chance that a real image is more realistic than the average fake one, and that a fake one than real ones."""
    return special.expit(real_logits - fake_logits.mean()), special.expit(fake_logits - real_logits.mean())


def relativistic_paired(real_logits, fake_logits):
    return softplus(-(fake_logits - real_logits))


def relativistic_paired_critic(real_logits, fake_logits):
    return softplus(-(real_logits - fake_logits))


def r1(real_image, judge):
    return squared_norm(real_image, judge) / 2


def r2(fake_image, judge):
    return squared_norm(fake_image, judge) / 2


def gradient_penalty(real_image, fake_image, judge, draws, center=1.0):
    mixed = draws * real_image + (1 - draws) * fake_image
    return (np.sqrt(squared_norm(mixed, judge)) - center) ** 2


def squared_norm(image, judge):
    """Squared norm of the gradient of the logits, summed over positions and averaged over the critic's scales."""
    scales = judge if isinstance(judge, tuple) else (judge,)
    gradient = sum(_slopes(image, weights) for weights in scales) / len(scales)
    return (gradient**2).sum((1, 2, 3))


def _slopes(image, weights):
    """Gradient of the sum over patches of sum_k tanh(weights_k . patch): (N, 3, H, W)."""
    count, channels, height, width = image.shape
    side = round((weights.shape[1] / channels) ** 0.5)
    rows, columns = height // side, width // side
    blocks = image.reshape(count, channels, rows, side, columns, side).transpose(0, 2, 4, 1, 3, 5)
    flat = blocks.reshape(count, rows, columns, -1)
    slopes = (1 - np.tanh(flat @ weights.T) ** 2) @ weights
    return slopes.reshape(blocks.shape).transpose(0, 3, 1, 4, 2, 5).reshape(image.shape)


def lecam(real_logits, fake_logits, before, decay, held_real=None, held_fake=None):
    """The published code's one-sided penalty; the averages, without bias to 0, include this batch and the earlier ones.

    The averages are held: ``held_real`` and ``held_fake`` stand for this batch in them.
    """
    batches = [(one["real_logits"], one["fake_logits"]) for one in before]
    batches.append((real_logits if held_real is None else held_real, fake_logits if held_fake is None else held_fake))
    shares = decay ** np.arange(len(batches))[::-1]
    real, fake = (np.average([one.mean() for one in side], weights=shares) for side in zip(*batches, strict=True))
    return np.maximum(real_logits - fake, 0) ** 2 + np.maximum(real - fake_logits, 0) ** 2


def feature_matching(real_features, fake_features):
    layers = zip(real_features, fake_features, strict=True)
    return np.mean([np.abs(real - fake).mean((1, 2, 3)) for real, fake in layers], axis=0)


def patch_nce(features, output_features, points=256, temperature=0.07):
    layers = zip(features, output_features, strict=True)
    return np.mean([_nce(source, output, points, temperature) for source, output in layers], axis=0)


def _nce(source, output, points, temperature):
    keys, queries = (_unit(_spaced(item, points)) for item in (source, output))
    similarities = np.einsum("nic,njc->nij", queries, keys) / temperature
    positive = np.einsum("nii->ni", similarities)
    return (special.logsumexp(similarities, axis=2) - positive).mean(1)


def _spaced(features, points):
    flat = features.reshape(*features.shape[:2], -1).transpose(0, 2, 1)
    if flat.shape[1] <= points:
        return flat
    return flat[:, np.round(np.linspace(0, flat.shape[1] - 1, points)).astype(int)]


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    return -special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def contrastive(a, b, same, margin=2.0):
    distance = np.linalg.norm((a - b).reshape(len(a), -1), axis=1)
    return np.where(same, distance**2, np.maximum(0, margin - distance) ** 2)


def identity(output, target, weights, size, low=-1.0, high=1.0, colour="rgb"):
    """1 - cosine of tanh(weights . image), the images in [-1, 1] resized and scaled to [low, high]."""
    codes = [embedding((item + 1) / 2, weights, size, low, high, colour) for item in (output, target)]
    return 1 - cosine(*codes)


def embedding(image, weights, size, low, high, colour):
    """The golden recogniser's embedding of images in [0, 1]."""
    rows, columns = (_triangle(side, size) for side in image.shape[2:])
    image = low + (high - low) * np.einsum("rh,nchw,sw->ncrs", rows, image, columns)
    image = image[:, ::-1] if colour == "bgr" else image
    return np.tanh(image.reshape(len(image), -1) @ weights.T)


def cosine(one, other):
    return (_unit(one) * _unit(other)).sum(-1)


def _triangle(given, wanted):
    """Antialiased bilinear resizing as Pillow defines it: a triangle as wide as the ratio of sizes, (wanted, given)."""
    scale = max(given / wanted, 1)
    centres = (np.arange(wanted) + 0.5) * given / wanted
    heights = np.maximum(0, 1 - np.abs(np.arange(given) + 0.5 - centres[:, None]) / scale)
    return heights / heights.sum(1, keepdims=True)
