"""Images that a metric treats otherwise are counted, by role and pose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from enface_tools.evaluate.fallbacks import fallback_caveats
from enface_tools.evaluate.measure import Measure
from enface_tools.evaluate.metrics import GalleryMetric, Metric
from enface_tools.evaluate.summary import Summarizer

DARK = 0.1
EFFECT = "there the whole image counts"


class Detects(Metric):
    """Mean absolute error; in images darker than 0.1 it detects nothing."""

    higher_is_better = False
    card = {"implementation": "test"}  # noqa: RUF012
    fallback_words = ("nothing was detected", EFFECT)

    def fallback(self, image):
        return image.flatten(1).mean(1) < DARK

    def forward(self, output, target):
        return (output - target).abs().flatten(1).mean(1)


class Whole(Detects):
    """The same without detection."""

    def fallback(self, image):
        return None


class Nearest(GalleryMetric):
    """1 if the nearest gallery image by brightness is of the right person; dark images have no features."""

    higher_is_better = True
    bounds = (0.0, 1.0)
    card = {"implementation": "test"}  # noqa: RUF012

    def features(self, image):
        brightness = image.flatten(1).mean(1, keepdim=True)
        return torch.where(brightness < DARK, torch.nan, brightness)

    def matched(self, outputs, identities, gallery, gallery_identities):
        assert not np.isnan(outputs).any()
        assert not np.isnan(gallery).any()
        nearest = np.abs(outputs - gallery.T).argmin(1)
        return (gallery_identities[nearest] == identities).astype(np.float32)


def flat(*levels):
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()


ABOUT = pd.DataFrame({"key": list("abcdef"), "identity": list("uuuvvv"), "pose": [-60, 0, 60] * 2})
OUTPUT = flat(0.0, 0.5, 0.0, 0.5, 0.5, 0.0)
SOURCE = flat(0.0, 0.5, 0.0, 0.0, 0.5, 0.0)
TARGET = flat(0.5, 0.5, 0.5, 0.0, 0.0, 0.0)


def scores(metrics, output=OUTPUT):
    measure = Measure(metrics)
    batches = [measure.batch(output[i : i + 4], TARGET[i : i + 4], source=SOURCE[i : i + 4]) for i in (0, 4)]
    return measure.gather(batches, ABOUT["identity"].to_numpy())


def test_fallbacks_are_counted_by_role_and_by_pose_and_named_once():
    metrics = {"one": Detects(), "two": Detects(), "whole": Whole()}
    result, source = scores(metrics), scores(metrics, SOURCE)
    expected = (
        "one and two: nothing was detected in 3 of 6 outputs (pose -60: 1 of 2, 60: 2 of 2), 3 of 6 targets and "
        f"4 of 6 sources (pose -60: 2 of 2, 60: 2 of 2); {EFFECT}."
    )
    assert fallback_caveats(ABOUT, result, {"source": source}, metrics) == [expected]
    summary = Summarizer(ABOUT, result, {"source": source}, metrics, networks={}).summary(
        kind="run", name="n", caveats=["first."]
    )
    assert summary.caveats[:2] == ["first.", expected]


def test_without_poses_or_sources_they_are_counted_too():
    metrics = {"one": Detects()}
    (sentence,) = fallback_caveats(ABOUT.drop(columns="pose"), scores(metrics), {}, metrics)
    assert sentence == f"one: nothing was detected in 3 of 6 outputs and 3 of 6 targets; {EFFECT}."


def test_without_any_fallback_there_is_no_caveat():
    metrics = {"one": Detects(), "whole": Whole()}
    measure = Measure(metrics)
    result = measure.gather([measure.batch(flat(0.5, 0.6), flat(0.5, 0.7))])
    assert fallback_caveats(ABOUT[:2], result, {}, metrics) == []


def test_images_without_features_are_neither_probes_nor_in_the_gallery():
    """u's gallery image is 0.5; v's first target is dark, its second is 0.9; w has none at all."""
    measure = Measure({"nearest": Nearest()})
    output, target = flat(0.6, 0.0, 0.6, 0.8, 0.9), flat(0.5, 0.5, 0.0, 0.9, 0.0)
    result = measure.gather([measure.batch(output, target)], np.array(list("uuvvw"), object))
    np.testing.assert_array_equal(result.images["nearest"], [1, np.nan, 0, 1, np.nan])
