"""Rules for metrics with a number per image, for their values in a region, and for every metric's card."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from enface_tools.conformance.fixture import BATCH, SIZE, Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import (
    is_field,
    require_rms_close,
    require_unchanged,
    sample_field,
    sample_input,
    smooth_images,
)
from enface_tools.conformance.variants import Variant, finite, require_works, variant_rules
from enface_tools.evaluate.metrics import FeatureMetric, Metric

STRENGTHS = (0.1, 0.4)
TOLERANCE = 1e-4
# The whole image as a region sums in another order.
REGION_TOLERANCE = 1e-3
# Largest effect of a change far from a region, relative to the same change within it. Deep features see far.
OUTSIDE = 0.25
QUARTER = SIZE // 4
CARD = ("implementation", "data_range", "crop")


def build_metric(fixture: Fixture) -> Metric:
    """Build a metric of any type."""
    metric: Metric = fixture.build().eval()
    return metric


def build_image_metric(fixture: Fixture) -> Metric:
    """Build a metric with a number per image; metrics of features have rules of their own."""
    metric = build_metric(fixture)
    if isinstance(metric, FeatureMetric):
        raise Skipped("it compares features, which have rules of their own")
    return metric


def build_comparison(fixture: Fixture) -> Metric:
    """Build a metric with a number per image that depends on output and target alone."""
    metric = build_image_metric(fixture)
    if metric.requests:
        raise Skipped(f"it requests {', '.join(metric.requests)}, so output and target alone do not decide it")
    return metric


def target_images(count: int = BATCH) -> Tensor:
    """Images in [0, 1]."""
    return (smooth_images(1, count=count) + 1) / 2


def distorted_images(strength: float, count: int = BATCH) -> Tensor:
    """The target images with noise of a strength, in [0, 1]."""
    target = target_images(count)
    return (target + strength * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def _values(
    metric: Metric, output: Tensor, target: Tensor, rows: Sequence[int] = range(BATCH), device: str = "cpu"
) -> Tensor:
    """Call a metric; whatever else it requests are samples, of which ``rows`` belong to these images."""
    size = (output.shape[-2], output.shape[-1])
    samples = {
        name: sample_field(name, size=size) if is_field(name) else sample_input(name) for name in metric.requests
    }
    with torch.no_grad():
        values: Tensor = metric(output, target, **{name: item[list(rows)].to(device) for name, item in samples.items()})
    return values


def _better(metric: Metric, first: Tensor, second: Tensor) -> list[bool]:
    """For each image, True if the first value is better than the second."""
    score = metric.direction.score
    return [score(one) > score(other) for one, other in zip(first.tolist(), second.tolist(), strict=True)]


def best_value(metric: Metric) -> float | None:
    """The best value that the metric declares, as its ideal or its better bound; None if there is no finite one."""
    best = max(metric.bounds, key=metric.direction.score) if metric.ideal is None and metric.bounds else metric.ideal
    return None if best is None or math.isinf(best) else float(best)


def extreme_pairs() -> list[tuple[str, Tensor, Tensor]]:
    """(description, output, target) at the ends of a metric's range."""
    target, black = target_images(), torch.zeros_like(target_images())
    return [
        ("equal images", target, target),
        ("equal black images", black, black),
        ("a distorted image", distorted_images(STRENGTHS[1]), target),
        ("another image", (smooth_images(2) + 1) / 2, target),
        ("the negative", 1 - target, target),
        ("black and white", black, black + 1),
    ]


@rule("shape")
def _shape(fixture: Fixture) -> None:
    """It gives a finite float32 number for each image, (N,)."""
    metric = build_image_metric(fixture)
    for pair, output, target in extreme_pairs():
        values = _values(metric, output, target)
        if values.shape != (BATCH,) or values.dtype != torch.float32:
            raise RuleViolation(
                f"for {BATCH} images it gives {values.dtype} {tuple(values.shape)}, not float32 ({BATCH},)"
            )
        if not values.isfinite().all():
            raise RuleViolation(f"for {pair} it gives {values.tolist()}; one such number spoils every mean")


@rule("identity")
def _identity(fixture: Fixture) -> None:
    """No image is better than the target itself, which has the ideal value or the better bound if one is declared."""
    metric = build_comparison(fixture)
    for target in (target_images(), torch.zeros_like(target_images())):
        same = _values(metric, target, target)
        if any(_better(metric, _values(metric, distorted_images(STRENGTHS[0]), target), same)):
            raise RuleViolation(f"a distorted image is better than the target itself ({same.tolist()})")
        best = best_value(metric)
        if best is not None and not torch.allclose(same, torch.full_like(same, best), rtol=TOLERANCE, atol=TOLERANCE):
            raise RuleViolation(f"for equal images it gives {same.tolist()}, but its declared best value is {best:g}")


@rule("bounds")
def _bounds(fixture: Fixture) -> None:
    """It stays within its declared bounds."""
    metric = build_image_metric(fixture)
    bounds = metric.bounds
    if bounds is None:
        raise Skipped("it declares no bounds")
    for pair, output, target in extreme_pairs():
        values = _values(metric, output, target)
        if float(values.min()) < bounds[0] - TOLERANCE or float(values.max()) > bounds[1] + TOLERANCE:
            raise RuleViolation(f"for {pair} it gives {values.tolist()}, outside {bounds[0]:g} to {bounds[1]:g}")


@rule("direction")
def _direction(fixture: Fixture) -> None:
    """The more an image is distorted, the worse its number in the declared direction."""
    metric = build_comparison(fixture)
    target = target_images()
    same, little, much = (_values(metric, distorted_images(strength), target) for strength in (0.0, *STRENGTHS))
    if not all((*_better(metric, same, little), *_better(metric, little, much))):
        raise RuleViolation(
            f"it declares that {metric.direction.words}, but with growing distortion goes from {same.tolist()} to"
            f" {little.tolist()} to {much.tolist()}"
        )


@rule("independent of the batch")
def _independent_of_the_batch(fixture: Fixture) -> None:
    """An image's number depends on that image and its target only, not on the rest of the batch or its order."""
    metric = build_image_metric(fixture)
    output, target = distorted_images(STRENGTHS[1]), target_images()
    together = _values(metric, output, target)
    reordered = _values(metric, output.flip(0), target.flip(0), range(BATCH)[::-1]).flip(0)
    require_rms_close(reordered, together, "in another order it gives other numbers")
    alone = torch.cat([_values(metric, output[i : i + 1], target[i : i + 1], [i]) for i in range(BATCH)])
    require_rms_close(alone, together, "an image alone gets another number than in a batch")


@rule("deterministic")
def _deterministic(fixture: Fixture) -> None:
    """The same images get the same numbers, also from a new metric, and no buffer changes."""
    metric = build_image_metric(fixture)
    before = {name: value.clone() for name, value in metric.state_dict().items()}
    output, target = distorted_images(STRENGTHS[1]), target_images()
    first = _values(metric, output, target)
    if not all(torch.equal(_values(one, output, target), first) for one in (metric, build_image_metric(fixture))):
        raise RuleViolation("the same images get other numbers the second time")
    changed = [name for name, value in metric.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        raise RuleViolation(f"measuring changes its {', '.join(changed[:3])}")


@rule("no in-place change")
def _no_in_place_change(fixture: Fixture) -> None:
    """The images stay unchanged."""
    images = {"output": distorted_images(STRENGTHS[1]), "target": target_images()}
    before = {name: image.clone() for name, image in images.items()}
    _values(build_image_metric(fixture), images["output"], images["target"])
    require_unchanged(before, images)


@rule("card")
def _card(fixture: Fixture) -> None:
    """Its card states in text the conditions for comparing numbers, with the version of the implementation."""
    card = build_metric(fixture).card
    missing = [key for key in CARD if key not in card]
    if missing:
        raise RuleViolation(f"its card does not state {', '.join(missing)}")
    empty = [key for key, value in card.items() if not (isinstance(value, str) and value)]
    if empty:
        raise RuleViolation(f"{empty[0]} of its card is {card[empty[0]]!r}; give text")
    # enface's own version is in a run's environment.json.
    if card["implementation"] != "enface" and not any(letter.isdigit() for letter in card["implementation"]):
        raise RuleViolation(
            f"its card has no version of {card['implementation']!r}; add importlib.metadata.version(...)"
        )


@rule("map")
def _map(fixture: Fixture) -> None:
    """If it has a map, that is (N, C, H, W) and its mean over an image is the image's number."""
    metric = build_image_metric(fixture)
    if type(metric).map is Metric.map:
        raise Skipped("it has no map over the image")
    output, target = distorted_images(STRENGTHS[1]), target_images()
    values = metric.map(output, target)
    if values.dim() != 4 or values.shape[0] != BATCH:
        raise RuleViolation(f"its map is {tuple(values.shape)}, not (N, C, H, W)")
    mean = values.flatten(1).mean(1)
    require_rms_close(mean, _values(metric, output, target), "its map's mean is another number", TOLERANCE)


@rule("CUDA")
def _cuda(fixture: Fixture) -> None:
    """It gives the same numbers on a CUDA device as on the CPU."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    metric, output, target = build_image_metric(fixture), distorted_images(STRENGTHS[1]), target_images()
    expected = _values(metric, output, target)
    on_cuda = _values(metric.to("cuda"), output.to("cuda"), target.to("cuda"), device="cuda")
    require_rms_close(on_cuda, expected, "on CUDA it gives other numbers", 0.01)


def _variant(fixture: Fixture, variant: Variant) -> None:
    metric: Metric | None = variant.build(fixture)
    if metric is None:
        return
    target, output = (variant.column(name) / 2 + 0.5 for name in ("target", "output"))
    metric.eval()
    if isinstance(metric, FeatureMetric):
        features = metric.features(target)
        require_works(variant, len(features) == BATCH and finite(features), "its features are not finite")
        return
    values, same = _values(metric, output, target), _values(metric, target, target)
    shape = tuple(values.shape)
    require_works(variant, shape == (BATCH,) and finite(values), f"it gives {shape}, or numbers that are not finite")
    require_works(variant, not any(_better(metric, values, same)), "another image is better than the target itself")
    if metric.has_regional:
        whole = metric.regional(output, target, torch.ones(1, 1, *variant.size))[:, 0].detach()
        message = f"for {variant.words} a region that is the whole image has another number than the image"
        require_rms_close(whole, values, message, REGION_TOLERANCE)


METRIC_RULES = (
    *(_shape, _identity, _bounds, _direction, _independent_of_the_batch),
    *(_deterministic, _no_in_place_change, _card, _map, _cuda),
    *variant_rules(_variant),
)


def _regional_metric(fixture: Fixture) -> Metric:
    metric = build_image_metric(fixture)
    if not metric.has_regional:
        raise Skipped("it cannot measure a region of an image (it has no map)")
    return metric


def _region_values(metric: Metric, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The metric in one region, which is given twice."""
    with torch.no_grad():
        values = metric.regional(output, target, weights.expand(-1, 2, -1, -1))
    if values.shape != (BATCH, 2):
        raise RuleViolation(f"regional gives {tuple(values.shape)} for {BATCH} images and 2 regions, not ({BATCH}, 2)")
    first, second = values[:, 0].nan_to_num(), values[:, 1].nan_to_num()
    require_rms_close(second, first, "the same region given twice gets two numbers", REGION_TOLERANCE)
    return values[:, 0]


def _left_quarter(count: int = 1) -> Tensor:
    """Weights of 1 in the left quarter, (count, 1, SIZE, SIZE)."""
    weights = torch.zeros(count, 1, SIZE, SIZE)
    weights[..., :QUARTER] = 1
    return weights


@rule("region of the whole image")
def _whole_image(fixture: Fixture) -> None:
    """In a region that is the whole image, of any weight, a metric gives the image's number."""
    metric, output, target = _regional_metric(fixture), distorted_images(STRENGTHS[1]), target_images()
    expected = _values(metric, output, target)
    for weights in (torch.ones(1, 1, SIZE, SIZE), torch.full((BATCH, 1, SIZE, SIZE), 3.0)):
        values = _region_values(metric, output, target, weights)
        message = f"with every weight {weights.max():g} regional gives another number than for the whole image"
        require_rms_close(values, expected, message, REGION_TOLERANCE)


@rule("only the region counts")
def _only_the_region(fixture: Fixture) -> None:
    """In a region, a metric measures the changes within it and hardly those far from it."""
    metric, target = _regional_metric(fixture), target_images()
    left = _left_quarter()
    right = left.flip(-1)
    output = torch.where(right > 0, distorted_images(STRENGTHS[1]), target)
    on_left, on_right = (_region_values(metric, output, target, region) for region in (left, right))
    clean_left, clean_right = (_region_values(metric, target, target, region) for region in (left, right))
    outside, within = (on_left - clean_left).abs(), (on_right - clean_right).abs()
    if not bool((within > 0).all()):
        raise RuleViolation("regional does not measure changes in the region; weight the map by the weights")
    if not bool((outside <= OUTSIDE * within).all()):
        raise RuleViolation(
            f"changes at the other side of the image change regional by {outside.tolist()}, and those in the region by"
            f" {within.tolist()}; only the region may count"
        )


@rule("a region for each image")
def _region_for_each_image(fixture: Fixture) -> None:
    """Each image is measured in its own region, and an image without one gets NaN."""
    metric, output, target = _regional_metric(fixture), distorted_images(STRENGTHS[1]), target_images()
    left = _left_quarter()
    weights = torch.cat([left, left.flip(-1), left * 0, left + 1])
    assert len(weights) == BATCH, "a region for each image"
    values = _region_values(metric, output, target, weights)
    if not values[2].isnan() or values[[0, 1, 3]].isnan().any():
        raise RuleViolation(
            f"regional gives {values.tolist()}; only the third image, whose weights are 0, should get NaN"
        )
    message = "with other regions in the batch an image's region gets another number"
    for image in (0, 1, 3):
        alone = _region_values(metric, output, target, weights[image : image + 1])[image]
        require_rms_close(values[image], alone, message, REGION_TOLERANCE)


@rule("region weights unchanged")
def _weights_unchanged(fixture: Fixture) -> None:
    """The weights of a region stay unchanged."""
    weights = {"weights": _left_quarter(BATCH) * 2}
    with torch.no_grad():
        _regional_metric(fixture).regional(distorted_images(STRENGTHS[1]), target_images(), weights["weights"])
    require_unchanged({"weights": _left_quarter(BATCH) * 2}, weights)


REGION_RULES = (_whole_image, _only_the_region, _region_for_each_image, _weights_unchanged)
