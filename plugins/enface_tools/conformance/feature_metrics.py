"""Rules for metrics of features: of sets, and of galleries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface_tools.conformance.fixture import BATCH, Fixture
from enface_tools.conformance.metrics import (
    STRENGTHS,
    best_value,
    build_metric,
    distorted_images,
    extreme_pairs,
    target_images,
)
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import require_rms_close, require_unchanged
from enface_tools.evaluate.metrics import FeatureMetric, GalleryMetric, SetMetric

Features = npt.NDArray[np.float32]
MAX_IMAGES = 64
# Of a gallery, one image each: 132 impostor scores, enough for a false accept rate of 1 %.
PEOPLE = 12
# Features, and numbers computed from them, are long sums.
TOLERANCE = 1e-3


def _feature_metric(fixture: Fixture) -> FeatureMetric:
    metric = build_metric(fixture)
    if not isinstance(metric, FeatureMetric):
        raise Skipped("it gives a number per image, without features")
    return metric


def _set_metric(fixture: Fixture) -> tuple[SetMetric, int]:
    """Build a metric of sets; return it with the number of images to test it with."""
    metric = build_metric(fixture)
    if not isinstance(metric, SetMetric):
        raise Skipped("it does not compare sets")
    if metric.min_images > MAX_IMAGES:
        raise Skipped(f"it needs {metric.min_images} images; tests use at most {MAX_IMAGES}")
    return metric, max(2 * BATCH, metric.min_images)


def _gallery_metric(fixture: Fixture) -> GalleryMetric:
    metric = build_metric(fixture)
    if not isinstance(metric, GalleryMetric):
        raise Skipped("it searches no gallery")
    return metric


def _feature_tensor(metric: FeatureMetric, image: Tensor) -> Tensor:
    with torch.no_grad():
        features = metric.features(image)
    expected = f"float32 ({len(image)}, D)"
    if not isinstance(features, Tensor):
        raise RuleViolation(f"for {len(image)} images its features are {type(features).__name__}, not {expected}")
    if features.dim() != 2 or len(features) != len(image) or features.dtype != torch.float32:
        described = f"{features.dtype} {tuple(features.shape)}"
        raise RuleViolation(f"for {len(image)} images its features are {described}, not {expected}")
    if not features.isfinite().all():
        raise RuleViolation("a feature is not finite")
    return features


def _feature_array(metric: FeatureMetric, image: Tensor) -> Features:
    features: Features = _feature_tensor(metric, image).cpu().numpy()
    return features


def _distorted(metric: FeatureMetric, strength: int, count: int) -> Features:
    """Features of distorted images."""
    return _feature_array(metric, distorted_images(STRENGTHS[strength], count))


def _require_within_bounds(metric: FeatureMetric, values: list[float]) -> None:
    low, high = metric.bounds or (-math.inf, math.inf)
    if not all(low - TOLERANCE <= value <= high + TOLERANCE for value in values):
        raise RuleViolation(f"it gives {values}, outside {low:g} to {high:g}")


@rule("features")
def _features(fixture: Fixture) -> None:
    """It gives each image finite float32 features, (N, D), with the same D for all images."""
    metric = _feature_metric(fixture)
    lengths = {_feature_tensor(metric, output).shape[1] for _, output, _ in extreme_pairs()}
    if len(lengths) > 1:
        raise RuleViolation(f"for some images it gives {min(lengths)} features, for others {max(lengths)}")


@rule("features independent of the batch")
def _features_independent_of_the_batch(fixture: Fixture) -> None:
    """An image's features depend on that image only, and are the same the second time."""
    metric, image = _feature_metric(fixture), distorted_images(STRENGTHS[1])
    together = _feature_tensor(metric, image)
    require_unchanged({"the images": distorted_images(STRENGTHS[1])}, {"the images": image})
    again = _feature_tensor(metric, image)
    require_rms_close(again, together, "the same images have other features the second time", TOLERANCE)
    reordered = _feature_tensor(metric, image.flip(0)).flip(0)
    require_rms_close(reordered, together, "in another order images have other features", TOLERANCE)
    alone = torch.cat([_feature_tensor(metric, image[i : i + 1]) for i in range(BATCH)])
    require_rms_close(alone, together, "an image alone has other features than in a batch", TOLERANCE)
    if bool((together == together[:1]).all()):
        raise RuleViolation("different images all have the same features")


@rule("equal sets")
def _equal_sets(fixture: Fixture) -> None:
    """The targets' distance from themselves has the declared best value; no other set of images is better."""
    metric, count = _set_metric(fixture)
    targets = _feature_array(metric, target_images(count))
    same, other = (float(metric.distance(one, targets)) for one in (targets, _distorted(metric, 0, count)))
    scale = max(1.0, abs(other))
    best = best_value(metric)
    if best is not None and not abs(same - best) <= TOLERANCE * scale:
        raise RuleViolation(f"for equal sets it gives {same:g}, but its declared best value is {best:g}")
    if metric.direction.score(other) > metric.direction.score(same) + TOLERANCE * scale:
        raise RuleViolation(f"distorted images ({other:g}) are nearer to the targets than the targets ({same:g})")


@rule("distorted sets")
def _distorted_sets(fixture: Fixture) -> None:
    """The more the images of a set are distorted, the worse its number, which is finite and within the bounds."""
    metric, count = _set_metric(fixture)
    targets = _feature_array(metric, target_images(count))
    sets = [targets, *(_distorted(metric, number, count) for number in range(len(STRENGTHS)))]
    distances = [float(metric.distance(one, targets)) for one in sets]
    if not all(math.isfinite(distance) for distance in distances):
        raise RuleViolation(f"for {count} images it gives {distances}")
    _require_within_bounds(metric, distances)
    scores = [metric.direction.score(distance) for distance in distances]
    if not scores[0] > scores[1] > scores[2]:
        raise RuleViolation(f"it declares that {metric.direction.words}, but with growing distortion gives {distances}")


@rule("order in a set")
def _order_in_a_set(fixture: Fixture) -> None:
    """The order of images in a set does not matter, and comparing sets leaves the features unchanged."""
    metric, count = _set_metric(fixture)
    outputs, targets = _distorted(metric, 1, count), _feature_array(metric, target_images(count))
    before = outputs.copy(), targets.copy()
    first = float(metric.distance(outputs, targets))
    if not all(np.array_equal(one, other) for one, other in zip(before, (outputs, targets), strict=True)):
        raise RuleViolation("it changes the features in place; work on a copy")
    reordered = float(metric.distance(outputs[::-1].copy(), np.roll(targets, 1, axis=0)))
    if not math.isclose(first, reordered, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        raise RuleViolation(f"it gives {first:g}, and {reordered:g} for the same images in another order")


@rule("gallery")
def _gallery(fixture: Fixture) -> None:
    """It gives float32 numbers (N,) within its bounds, and the best value for images that are in the gallery."""
    metric = _gallery_metric(fixture)
    people = np.arange(PEOPLE)
    targets = _feature_array(metric, target_images(PEOPLE))
    same = _matched(metric, targets, people, targets, people)
    best = best_value(metric)
    if best is not None and not np.allclose(same, best, atol=TOLERANCE):
        raise RuleViolation(
            f"images that are in the gallery get {same.tolist()}, but the declared best value is {best:g}"
        )
    others = _matched(metric, targets, np.roll(people, 1), targets, people)
    score = metric.direction.score
    if any(score(other) >= score(own) for other, own in zip(others, same, strict=True)):
        raise RuleViolation(f"images of other people in the gallery ({others.tolist()}) do as well as one's own {same}")
    distorted = _matched(metric, _distorted(metric, 1, PEOPLE), people, targets, people)
    _require_within_bounds(metric, [*same, *others, *distorted])


@rule("order in a gallery")
def _order_in_a_gallery(fixture: Fixture) -> None:
    """The gallery's order does not matter, nor other probes unless ``pooled``, and identities may be texts."""
    metric = _gallery_metric(fixture)
    people = np.array([f"{'badc'[number % 4]}{number}" for number in range(PEOPLE)])
    outputs, targets = _distorted(metric, 0, PEOPLE), _feature_array(metric, target_images(PEOPLE))
    first = _matched(metric, outputs, people, targets, people)
    reordered = _matched(metric, outputs, people, targets[::-1].copy(), people[::-1].copy())
    others = {"with the gallery in another order": reordered}
    if not metric.pooled:
        alone = [_matched(metric, outputs[i : i + 1], people[i : i + 1], targets, people) for i in range(PEOPLE)]
        others["if each is the only probe"] = np.concatenate(alone)
    for case, other in others.items():
        if not np.allclose(first, other, atol=TOLERANCE):
            raise RuleViolation(f"images get {first.tolist()}, and {other.tolist()} {case}")


def _matched(
    metric: GalleryMetric,
    outputs: Features,
    identities: npt.NDArray[Any],
    gallery: Features,
    gallery_identities: npt.NDArray[Any],
) -> Features:
    values = metric.matched(outputs, identities, gallery, gallery_identities)
    if not isinstance(values, np.ndarray) or values.shape != (len(outputs),) or values.dtype != np.float32:
        described = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise RuleViolation(f"for {len(outputs)} images matched gives {described}, not float32 ({len(outputs)},)")
    if np.isnan(values).all() and (caveat := metric.caveat(len(outputs), len(gallery))):
        raise Skipped(f"with the images of these tests it {caveat}")
    if not np.isfinite(values).all():
        raise RuleViolation(f"matched gives {values.tolist()}; if there are too few scores, state it by caveat")
    return values


@rule("features on CUDA")
def _features_on_cuda(fixture: Fixture) -> None:
    """Images have the same features on a CUDA device as on the CPU."""
    metric = _feature_metric(fixture)
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    expected = _feature_tensor(metric, target_images())
    on_cuda = _feature_tensor(metric.to("cuda"), target_images().to("cuda"))
    require_rms_close(on_cuda, expected, "on CUDA images have other features", 0.01)


FEATURE_METRIC_RULES = (
    *(_features, _features_independent_of_the_batch, _equal_sets, _distorted_sets, _order_in_a_set),
    *(_gallery, _order_in_a_gallery, _features_on_cuda),
)
