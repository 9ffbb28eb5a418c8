"""Rules for metrics that measure a part of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.plugin.components import Metric
from enface_tools.conformance.comparing import agree, refuse_changed
from enface_tools.conformance.fixture import BATCH, SIZE, Subject
from enface_tools.conformance.metrics import STRENGTHS, a_target, distorted, image_metric
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule

# Within it a number of the whole image may differ from that of a part that is all of it: sums in another order.
CLOSE = 1e-3
# What far away changes may tell on a part, as a share of what it tells on its own place. Deep features see far.
ELSEWHERE = 0.25
QUARTER = SIZE // 4


def _regional(subject: Subject) -> Metric:
    metric = image_metric(subject)
    if not metric.has_regional:
        raise NotAsked("it cannot measure a part of an image (it has no map)")
    return metric


def _within(metric: Metric, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The metric in one part, asked for twice at once."""
    with torch.no_grad():
        found = metric.regional(output, target, weights.expand(-1, 2, -1, -1))
    if found.shape != (BATCH, 2):
        raise BrokenRule(f"within gives {tuple(found.shape)} for {BATCH} images and 2 parts; ({BATCH}, 2)")
    agree(found[:, 1].nan_to_num(), found[:, 0].nan_to_num(), "the same part asked for twice gets two numbers", CLOSE)
    return found[:, 0]


def _left(count: int = 1) -> Tensor:
    """Weights on the left quarter."""
    weights = torch.zeros(count, 1, SIZE, SIZE)
    weights[..., :QUARTER] = 1
    return weights


@rule("all of the image is a part of it")
def _whole(subject: Subject) -> None:
    """Over a part that is the whole image, however heavy, a metric gives the image's number."""
    metric, output, target = _regional(subject), distorted(STRENGTHS[1]), a_target()
    with torch.no_grad():
        wanted = metric(output, target)
    for weights in (torch.ones(1, 1, SIZE, SIZE), torch.full((BATCH, 1, SIZE, SIZE), 3.0)):
        found = _within(metric, output, target, weights)
        heavy = f"with every weight {weights.max():g} within gives another number than for the whole image"
        agree(found, wanted, heavy, CLOSE)


@rule("a part is not the rest")
def _part(subject: Subject) -> None:
    """Over a part of the image a metric sees what changes there, and hardly what changes far from it."""
    metric, target = _regional(subject), a_target()
    left = _left()
    right = left.flip(-1)
    output = torch.where(right > 0, distorted(STRENGTHS[1]), target)
    here, there = (_within(metric, output, target, part) for part in (left, right))
    still, clean = (_within(metric, target, target, part) for part in (left, right))
    told, own = (here - still).abs(), (there - clean).abs()
    if not bool((own > 0).all()):
        raise BrokenRule("within does not see what changes in the part; weigh the map by the weights")
    if not bool((told <= ELSEWHERE * own).all()):
        raise BrokenRule(
            f"what changes at the other side of the image changes within by {told.tolist()}, and in the part itself by "
            f"{own.tolist()}; only what lies in the part may count"
        )


@rule("each image has its part")
def _each(subject: Subject) -> None:
    """Each image is measured in a part of its own, and one that has none gets NaN."""
    metric, output, target = _regional(subject), distorted(STRENGTHS[1]), a_target()
    weights = torch.cat([_left(), _left().flip(-1), _left() * 0, _left() + 1])
    assert len(weights) == BATCH, "a part for each image"
    found = _within(metric, output, target, weights)
    if not found[2].isnan() or found[[0, 1, 3]].isnan().any():
        raise BrokenRule(f"within gives {found.tolist()}; NaN for the third image, whose weights are 0, and no other")
    for image in (0, 1, 3):
        alone = _within(metric, output, target, weights[image : image + 1])[image]
        agree(found[image], alone, "with other parts in the batch an image's part gets another number", CLOSE)


@rule("weights kept")
def _weights_kept(subject: Subject) -> None:
    """The weights of a part are the same after it was measured."""
    weights = {"weights": _left(BATCH) * 2}
    with torch.no_grad():
        _regional(subject).regional(distorted(STRENGTHS[1]), a_target(), weights["weights"])
    refuse_changed({"weights": _left(BATCH) * 2}, weights)


PART_RULES = (_whole, _part, _each, _weights_kept)
