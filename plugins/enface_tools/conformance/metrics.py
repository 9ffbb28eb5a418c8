"""Rules for metrics that give a number an image, and for every metric's card."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enface.plugin.components import FeatureMetric, Metric
from enface_tools.conformance.comparing import agree, refuse_changed
from enface_tools.conformance.fixture import BATCH, Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import smooth

STRENGTHS = (0.1, 0.4)
CLOSE = 1e-4
CARD = ("implementation", "data_range", "crop")


def any_metric(subject: Subject) -> Metric:
    """A new one, of whatever sort."""
    made: Metric = subject.build().eval()
    return made


def image_metric(subject: Subject) -> Metric:
    """A new one that gives a number an image; one of features has rules of its own."""
    made = any_metric(subject)
    if isinstance(made, FeatureMetric):
        raise NotAsked("it looks at features, which have rules of their own")
    return made


def a_target(count: int = BATCH) -> Tensor:
    """Images in [0, 1]."""
    return (smooth(1, count=count) + 1) / 2


def distorted(strength: float, count: int = BATCH) -> Tensor:
    """The target with so much noise, in [0, 1]."""
    target = a_target(count)
    return (target + strength * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def _of(metric: Metric, output: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = metric(output, target)
    return found


def better(metric: Metric, first: Tensor, second: Tensor) -> Tensor:
    """For which images the first number is better; where there is an ideal value, that is nearer to it."""
    ideal = metric.ideal
    if ideal is not None:
        return (first - ideal).abs() < (second - ideal).abs()
    return first > second if metric.higher_is_better else first < second


def best_value(metric: Metric) -> float | None:
    """The best value that the metric declares, if it does."""
    ideal, bounds = metric.ideal, metric.bounds
    best = bounds[1 if metric.higher_is_better else 0] if ideal is None and bounds else ideal
    return None if best is None or math.isinf(best) else float(best)


def extremes() -> list[tuple[str, Tensor, Tensor]]:
    """Pairs that take a metric to its ends."""
    target, black = a_target(), torch.zeros_like(a_target())
    return [
        ("equal images", target, target),
        ("equal black images", black, black),
        ("a distorted image", distorted(STRENGTHS[1]), target),
        ("another image", (smooth(2) + 1) / 2, target),
        ("the negative", 1 - target, target),
        ("black and white", black, black + 1),
    ]


@rule("shape")
def _shape(subject: Subject) -> None:
    """It gives a finite float32 number for each image, (N,)."""
    metric = image_metric(subject)
    for what, output, target in extremes():
        found = _of(metric, output, target)
        if found.shape != (BATCH,) or found.dtype != torch.float32:
            raise BrokenRule(f"for {BATCH} images it gives {found.dtype} {tuple(found.shape)}; float32 ({BATCH},)")
        if not found.isfinite().all():
            raise BrokenRule(f"for {what} it gives {found.tolist()}; one such number spoils every mean")


@rule("identity")
def _identity(subject: Subject) -> None:
    """No image is better than the target itself, which has the ideal value or the better bound if it declares one."""
    metric = image_metric(subject)
    for target in (a_target(), torch.zeros_like(a_target())):
        same = _of(metric, target, target)
        if better(metric, _of(metric, distorted(STRENGTHS[0]), target), same).any():
            raise BrokenRule(f"a distorted image is better than the target itself ({same.tolist()})")
        best = best_value(metric)
        if best is not None and not torch.allclose(same, torch.full_like(same, best), rtol=CLOSE, atol=CLOSE):
            raise BrokenRule(f"for equal images it gives {same.tolist()}; its best value is said to be {best:g}")


@rule("bounds")
def _bounds(subject: Subject) -> None:
    """It stays within the bounds that it declares."""
    metric = image_metric(subject)
    bounds = metric.bounds
    if bounds is None:
        raise NotAsked("it declares no bounds")
    for what, output, target in extremes():
        found = _of(metric, output, target)
        if float(found.min()) < bounds[0] - CLOSE or float(found.max()) > bounds[1] + CLOSE:
            raise BrokenRule(f"for {what} it gives {found.tolist()}, outside {bounds[0]:g} to {bounds[1]:g}")


@rule("direction")
def _direction(subject: Subject) -> None:
    """The more an image is distorted the worse its number, as higher_is_better says."""
    metric = image_metric(subject)
    target = a_target()
    same, little, much = (_of(metric, distorted(strength), target) for strength in (0.0, *STRENGTHS))
    if not bool((better(metric, same, little) & better(metric, little, much)).all()):
        ideal, side = metric.ideal, "higher" if metric.higher_is_better else "lower"
        says = f"{side} is better" if ideal is None else f"{ideal:g} is best"
        raise BrokenRule(
            f"it says that {says}, and with growing distortion goes from {same.tolist()} to {little.tolist()} "
            f"to {much.tolist()}"
        )


@rule("each image by itself")
def _by_itself(subject: Subject) -> None:
    """An image's number depends on that image and its target alone, not on the rest of the batch or its order."""
    metric = image_metric(subject)
    output, target = distorted(STRENGTHS[1]), a_target()
    together = _of(metric, output, target)
    agree(_of(metric, output.flip(0), target.flip(0)).flip(0), together, "in another order it gives other numbers")
    alone = torch.cat([_of(metric, output[i : i + 1], target[i : i + 1]) for i in range(BATCH)])
    agree(alone, together, "an image alone gets another number than in a batch")


@rule("same again")
def _same_again(subject: Subject) -> None:
    """The same images get the same numbers, of a new one too, and nothing in it moves."""
    metric = image_metric(subject)
    before = {name: value.clone() for name, value in metric.state_dict().items()}
    output, target = distorted(STRENGTHS[1]), a_target()
    first = _of(metric, output, target)
    if not all(torch.equal(_of(one, output, target), first) for one in (metric, image_metric(subject))):
        raise BrokenRule("the same images get other numbers the second time")
    moved = [name for name, value in metric.state_dict().items() if not torch.equal(value, before[name])]
    if moved:
        raise BrokenRule(f"measuring changes its {', '.join(moved[:3])}")


@rule("no in-place change")
def _no_in_place_change(subject: Subject) -> None:
    """The images are the same after they were measured."""
    images = {"output": distorted(STRENGTHS[1]), "target": a_target()}
    before = {name: image.clone() for name, image in images.items()}
    _of(image_metric(subject), images["output"], images["target"])
    refuse_changed(before, images)


@rule("card")
def _card(subject: Subject) -> None:
    """Its card says in words what makes two numbers comparable, with the version of what computes them."""
    card = any_metric(subject).card
    missing = [key for key in CARD if key not in card]
    if missing:
        raise BrokenRule(f"its card says nothing of {', '.join(missing)}")
    empty = [key for key, value in card.items() if not (isinstance(value, str) and value)]
    if empty:
        raise BrokenRule(f"{empty[0]} of its card is {card[empty[0]]!r}; give text")
    # Our own version is in a run's environment.json.
    if card["implementation"] != "enface" and not any(letter.isdigit() for letter in card["implementation"]):
        raise BrokenRule(f"its card has no version of {card['implementation']!r}; add importlib.metadata.version(...)")


@rule("map")
def _map(subject: Subject) -> None:
    """If it has a map, that is (N, C, H, W) and its mean over an image is the image's number."""
    metric = image_metric(subject)
    if type(metric).map is Metric.map:
        raise NotAsked("it has no map over the image")
    output, target = distorted(STRENGTHS[1]), a_target()
    found = metric.map(output, target)
    if found.dim() != 4 or found.shape[0] != BATCH:
        raise BrokenRule(f"its map is {tuple(found.shape)}; (N, C, H, W)")
    agree(found.flatten(1).mean(1), _of(metric, output, target), "its map's mean is another number", CLOSE)


@rule("CUDA")
def _cuda(subject: Subject) -> None:
    """On a CUDA device it gives the numbers that it gives on the CPU."""
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device here")
    metric, output, target = image_metric(subject), distorted(STRENGTHS[1]), a_target()
    wanted = _of(metric, output, target)
    agree(_of(metric.to("cuda"), output.to("cuda"), target.to("cuda")), wanted, "on CUDA it gives other numbers", 0.01)


METRIC_RULES = (
    *(_shape, _identity, _bounds, _direction, _by_itself),
    *(_same_again, _no_in_place_change, _card, _map, _cuda),
)
