"""Rules for metrics of features: of sets, and of galleries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.plugin.components import FeatureMetric, GalleryMetric, SetMetric
from enface_tools.conformance.comparing import agree, refuse_changed
from enface_tools.conformance.fixture import BATCH, Subject
from enface_tools.conformance.metrics import STRENGTHS, a_target, any_metric, best_value, distorted, extremes
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule

Features = npt.NDArray[np.float32]
# The most images that are made to try a metric of sets with.
MOST = 64
# Features, and numbers made of them, come out of long sums.
CLOSE = 1e-3


def _feature_metric(subject: Subject) -> FeatureMetric:
    made = any_metric(subject)
    if not isinstance(made, FeatureMetric):
        raise NotAsked("it gives a number an image, without features")
    return made


def _set_metric(subject: Subject) -> tuple[SetMetric, int]:
    """One of sets, and how many images to try it with."""
    made = any_metric(subject)
    if not isinstance(made, SetMetric):
        raise NotAsked("it does not compare sets")
    if made.min_images > MOST:
        raise NotAsked(f"it needs {made.min_images} images; {MOST} at most are made to try it")
    return made, max(2 * BATCH, made.min_images)


def _gallery_metric(subject: Subject) -> GalleryMetric:
    made = any_metric(subject)
    if not isinstance(made, GalleryMetric):
        raise NotAsked("it searches no gallery")
    return made


def _seen(metric: FeatureMetric, image: Tensor) -> Tensor:
    with torch.no_grad():
        found = metric.features(image)
    if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(image) or found.dtype != torch.float32:
        told = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise BrokenRule(f"for {len(image)} images its features are {told}; float32 ({len(image)}, D)")
    if not found.isfinite().all():
        raise BrokenRule("a feature is not finite")
    return found


def _array(metric: FeatureMetric, image: Tensor) -> Features:
    found: Features = _seen(metric, image).cpu().numpy()
    return found


@rule("features")
def _features(subject: Subject) -> None:
    """It gives each image finite float32 features, (N, D), as many of one kind of image as of another."""
    metric = _feature_metric(subject)
    lengths = {_seen(metric, output).shape[1] for _, output, _ in extremes()}
    if len(lengths) > 1:
        raise BrokenRule(f"for some images it gives {min(lengths)} features, for others {max(lengths)}")


@rule("features of each image")
def _features_by_itself(subject: Subject) -> None:
    """An image's features depend on that image alone, and are the same again."""
    metric, image = _feature_metric(subject), distorted(STRENGTHS[1])
    together = _seen(metric, image)
    refuse_changed({"the images": distorted(STRENGTHS[1])}, {"the images": image})
    agree(_seen(metric, image), together, "the same images have other features the second time", CLOSE)
    agree(_seen(metric, image.flip(0)).flip(0), together, "in another order images have other features", CLOSE)
    alone = torch.cat([_seen(metric, image[i : i + 1]) for i in range(BATCH)])
    agree(alone, together, "an image alone has other features than in a batch", CLOSE)
    if bool((together == together[:1]).all()):
        raise BrokenRule("unlike images all have the same features")


@rule("equal sets")
def _equal_sets(subject: Subject) -> None:
    """No set of images is nearer to the targets than they are themselves: that has the best value it declares."""
    metric, count = _set_metric(subject)
    targets = _array(metric, a_target(count))
    same, other = (float(metric.distance(one, targets)) for one in (targets, _distorted(metric, 0, count)))
    scale = max(1.0, abs(other))
    best = best_value(metric)
    if best is not None and not abs(same - best) <= CLOSE * scale:
        raise BrokenRule(f"for equal sets it gives {same:g}; its best value is said to be {best:g}")
    if metric.score(other) > metric.score(same) + CLOSE * scale:
        raise BrokenRule(f"distorted images ({other:g}) are nearer to the targets than they are themselves ({same:g})")


@rule("distorted sets")
def _distorted_sets(subject: Subject) -> None:
    """The more images are distorted the worse the number of their set; it is finite, and within its bounds."""
    metric, count = _set_metric(subject)
    targets = _array(metric, a_target(count))
    sets = [targets, *(_distorted(metric, number, count) for number in range(len(STRENGTHS)))]
    found = [float(metric.distance(one, targets)) for one in sets]
    if not all(math.isfinite(number) for number in found):
        raise BrokenRule(f"for {count} images it gives {found}")
    low, high = metric.bounds or (-math.inf, math.inf)
    if not all(low - CLOSE <= number <= high + CLOSE for number in found):
        raise BrokenRule(f"it gives {found}, outside {low:g} to {high:g}")
    scores = [metric.score(number) for number in found]
    if not scores[0] > scores[1] > scores[2]:
        raise BrokenRule(f"it says that {metric.direction.words}, and with growing distortion gives {found}")


def _distorted(metric: FeatureMetric, strength: int, count: int) -> Features:
    return _array(metric, distorted(STRENGTHS[strength], count))


@rule("order in a set")
def _order_in_a_set(subject: Subject) -> None:
    """The order of images in a set does not matter, and the features are the same after they were compared."""
    metric, count = _set_metric(subject)
    outputs, targets = _distorted(metric, 1, count), _array(metric, a_target(count))
    before = outputs.copy(), targets.copy()
    first = float(metric.distance(outputs, targets))
    if not all(np.array_equal(one, other) for one, other in zip(before, (outputs, targets), strict=True)):
        raise BrokenRule("it changes the features in place; work on a copy")
    turned = float(metric.distance(outputs[::-1].copy(), np.roll(targets, 1, axis=0)))
    if not math.isclose(first, turned, rel_tol=CLOSE, abs_tol=CLOSE):
        raise BrokenRule(f"it gives {first:g}, and {turned:g} when the same images come in another order")


@rule("gallery")
def _gallery(subject: Subject) -> None:
    """Its numbers are float32, one an image, within its bounds; a gallery's own images have the best value there."""
    metric = _gallery_metric(subject)
    people = np.arange(BATCH)
    targets = _array(metric, a_target())
    same = _matched(metric, targets, people, targets, people)
    best = best_value(metric)
    if best is not None and not np.allclose(same, best, atol=CLOSE):
        raise BrokenRule(f"images that are in the gallery get {same.tolist()}; the best value is said to be {best:g}")
    worst = _matched(metric, targets, np.roll(people, 1), targets, people)
    if any(metric.score(other) >= metric.score(own) for other, own in zip(worst, same, strict=True)):
        raise BrokenRule(f"images of other people in the gallery ({worst.tolist()}) do as well as one's own {same}")
    low, high = metric.bounds or (-math.inf, math.inf)
    found = [*same, *worst, *_matched(metric, _distorted(metric, 1, BATCH), people, targets, people)]
    if not all(low - CLOSE <= number <= high + CLOSE for number in found):
        raise BrokenRule(f"it gives {found}, outside {low:g} to {high:g}")


@rule("order in a gallery")
def _order_in_a_gallery(subject: Subject) -> None:
    """Neither the order of the gallery matters nor what else is looked for in it, and people may be texts."""
    metric = _gallery_metric(subject)
    people = np.array(["bea", "al", "dee", "cy"][:BATCH])
    outputs, targets = _distorted(metric, 0, BATCH), _array(metric, a_target())
    first = _matched(metric, outputs, people, targets, people)
    turned = _matched(metric, outputs, people, targets[::-1].copy(), people[::-1].copy())
    alone = np.concatenate(
        [_matched(metric, outputs[i : i + 1], people[i : i + 1], targets, people) for i in range(BATCH)]
    )
    for other, what in ((turned, "with the gallery in another order"), (alone, "looked for by itself")):
        if not np.allclose(first, other, atol=CLOSE):
            raise BrokenRule(f"images get {first.tolist()}, and {other.tolist()} {what}")


def _matched(
    metric: GalleryMetric,
    outputs: Features,
    identities: npt.NDArray[Any],
    gallery: Features,
    gallery_identities: npt.NDArray[Any],
) -> Features:
    found = metric.matched(outputs, identities, gallery, gallery_identities)
    if not isinstance(found, np.ndarray) or found.shape != (len(outputs),) or found.dtype != np.float32:
        told = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise BrokenRule(f"for {len(outputs)} images matched gives {told}; float32 ({len(outputs)},)")
    if not np.isfinite(found).all():
        raise BrokenRule(f"matched gives {found.tolist()}")
    return found


@rule("features on CUDA")
def _features_on_cuda(subject: Subject) -> None:
    """Images on a CUDA device have the features that they have on the CPU."""
    metric = _feature_metric(subject)
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device here")
    wanted = _seen(metric, a_target())
    agree(_seen(metric.to("cuda"), a_target().to("cuda")), wanted, "on CUDA images have other features", 0.01)


FEATURE_RULES = (
    *(_features, _features_by_itself, _equal_sets, _distorted_sets, _order_in_a_set),
    *(_gallery, _order_in_a_gallery, _features_on_cuda),
)
