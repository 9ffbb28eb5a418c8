"""Metrics over batches, parts of images, sets and galleries."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from enface_tools.evaluate.features import digests
from enface_tools.evaluate.measure import Measure, card_of, rounded, unit
from enface_tools.evaluate.metrics import GalleryMetric, Metric, SetMetric


class Error(Metric):
    higher_is_better = False
    card: ClassVar[dict[str, str]] = {"implementation": "test"}

    def map(self, output, target):
        return (output - target).abs()

    def forward(self, output, target):
        return self.map(output, target).flatten(1).mean(1)


class Whole(Metric):
    """Without a map, so that it has no regions."""

    higher_is_better = True

    def forward(self, output, target):
        return output.flatten(1).amax(1)


class Middle(SetMetric):
    higher_is_better = False
    min_images = 3

    def features(self, image):
        return image.flatten(1).mean(1, keepdim=True)

    def distance(self, outputs, targets):
        return float(abs(outputs.mean() - targets.mean()))


class Nearest(GalleryMetric):
    higher_is_better = True

    def features(self, image):
        return image.flatten(1).mean(1, keepdim=True)

    def matched(self, outputs, identities, gallery, gallery_identities):
        nearest = np.abs(outputs - gallery.T).argmin(1)
        return (gallery_identities[nearest] == identities).astype(np.float32)


def flat(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def test_regions_of_metrics_that_can():
    output = torch.zeros(2, 3, 4, 4)
    output[0, :, :2] = 1
    top, nowhere = torch.zeros(1, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    top[..., :2, :] = 0.5
    nowhere[1, :, 2:] = 1
    measure = Measure({"whole": Whole(), "error": Error()})
    table = measure.gather([measure.batch(output, torch.zeros_like(output), {"top": top, "low": nowhere})]).images
    assert list(table.columns) == ["whole", "error", "error@top", "error@low"]
    assert table["error"].tolist() == [0.5, 0.0]
    assert table["error@top"].tolist() == [1.0, 0.0]
    assert math.isnan(table["error@low"][0])
    assert table["error@low"][1] == 0.0


def test_sets_see_all_batches_together():
    measure = Measure({"middle": Middle()})
    batches = [measure.batch(flat(0.0, 0.4), flat(0.0, 0.2)), measure.batch(flat(1.0), flat(0.0, 0.4)[1:])]
    scores = measure.gather(batches)
    assert scores.sets["middle"] == pytest.approx(1.4 / 3 - 0.2)
    assert list(scores.images.columns) == []
    assert math.isnan(measure.gather(batches[:1]).sets["middle"])


def test_a_gallery_has_the_first_target_of_each_identity():
    measure = Measure({"nearest": Nearest()})
    batch = measure.batch(flat(0.1, 0.45, 0.9), flat(0.0, 0.5, 1.0))
    identities = np.array(["b", "b", "a"], dtype=object)
    # The gallery is 0.0 for b and 1.0 for a: the second output is nearest to its own person's first target.
    assert measure.gather([batch], identities).images["nearest"].tolist() == [1.0, 1.0, 1.0]
    # Here it is 0.0 for b and 0.5 for a; b's second target, 1.0, is in none.
    other = np.array(["b", "a", "b"], dtype=object)
    assert measure.gather([batch], other).images["nearest"].tolist() == [1.0, 1.0, 0.0]


def test_a_target_of_several_sources_counts_once():
    measure = Measure({"middle": Middle()})
    scores = measure.gather([measure.batch(flat(0.0, 0.2, 0.4, 0.6), flat(0.0, 0.2, 0.6, 0.6))])
    # The outputs' mean is 0.3; that of the targets 0, 0.2 and 0.6 is 0.8 / 3, with the repeated one 0.35.
    assert scores.sets["middle"] == pytest.approx(0.3 - 0.8 / 3)
    too_few = measure.gather([measure.batch(flat(0.0, 0.2, 0.4), flat(0.0, 0.2, 0.2))])
    assert math.isnan(too_few.sets["middle"])
    assert too_few.caveats == ["middle has no number: it needs at least 3 outputs and different targets."]


def test_an_output_made_from_its_persons_gallery_image_is_no_probe():
    measure = Measure({"nearest": Nearest()})
    output, target, source = flat(0.0, 0.1, 0.9, 0.8), flat(0.0, 0.2, 1.0, 1.0), flat(0.4, 0.0, 0.0, 1.0)
    people = np.array(["a", "a", "b", "b"], dtype=object)
    scores = measure.gather([measure.batch(output, target, source=source)], people)
    # a's gallery image is 0.0, of which the second output was made; the third was made of another person's. The fourth
    # was made of b's, 1.0.
    np.testing.assert_array_equal(scores.images["nearest"], [1, np.nan, 1, np.nan])
    assert scores.caveats == ["nearest leaves out 2 outputs made from their person's gallery image."]
    assert scores.mean("nearest") == 1


def test_a_gallery_of_one_person_gives_no_number():
    measure = Measure({"nearest": Nearest()})
    scores = measure.gather([measure.batch(flat(0.0, 0.1), flat(0.0, 0.2))], np.array(["a", "a"], dtype=object))
    assert scores.images["nearest"].isna().all()
    assert scores.caveats == ["nearest has no number: its gallery needs at least 2 people."]


def test_without_identities_equal_targets_show_one_person():
    measure = Measure({"nearest": Nearest()})
    # With a person per image the two equal targets would tie.
    values = measure.gather([measure.batch(flat(0.9, 0.8, 0.1), flat(1.0, 1.0, 0.0))]).images["nearest"]
    assert values.tolist() == [1, 1, 1]


def test_images_are_rounded_to_8_bits_half_up_before_they_are_measured():
    assert rounded(torch.tensor([-0.1, 0.4 / 255, 0.5 / 255, 1.49 / 255, 2.0])).mul(255).tolist() == [0, 0, 1, 1, 255]
    levels = torch.arange(256) / 255
    assert torch.equal(rounded(levels), levels)
    # A pack's images arrive in [-1, 1].
    assert torch.equal(rounded(unit(torch.arange(256) / 127.5 - 1)), levels)
    seen = []

    class Seen(Middle):
        def features(self, image):
            seen.append(image)
            return super().features(image)

    measure = Measure({"error": Error(), "seen": Seen()})
    scores = measure.batch(flat(0.501), flat(0.25))
    assert scores.numbers["error"].item() == pytest.approx((128 - 64) / 255)
    assert [image.unique().mul(255).round().item() for image in seen] == [128, 64]
    assert card_of(measure.metrics["error"]) == {"implementation": "test", "rounding": "output and target to 8 bits"}


def test_images_of_16_bits_are_rounded_to_16_bits():
    levels = torch.arange(65536) / 65535
    assert torch.equal(rounded(levels, 16), levels)
    # 0.3 * 65535 is 19660.5, which rounds up.
    values = torch.tensor([0.25 / 65535, 0.5 / 65535, 0.3001])
    torch.testing.assert_close(rounded(values, 16) * 65535, torch.tensor([0.0, 1.0, 19667.0]), rtol=0, atol=1e-2)
    measure = Measure({"error": Error()}, depth=16)
    assert measure.batch(flat(0.501), flat(0.25)).numbers["error"].item() == pytest.approx((32833 - 16384) / 65535)
    assert card_of(Error(), 16)["rounding"] == "output and target to 16 bits"


def test_images_that_differ_in_lower_bits_are_different_images():
    pair = torch.zeros(2, 1, 4, 4)
    pair[1] = 1 / 65535
    assert len(set(digests(pair, 8).tolist())) == 1
    assert len(set(digests(pair, 16).tolist())) == 2


def test_batches_make_no_difference():
    output, target = torch.rand(6, 3, 4, 4), torch.rand(6, 3, 4, 4)
    measure = Measure({"error": Error(), "middle": Middle(), "nearest": Nearest()})
    whole = measure.gather([measure.batch(output, target)])
    parts = measure.gather([measure.batch(output[i : i + 2], target[i : i + 2]) for i in (0, 2, 4)])
    np.testing.assert_allclose(whole.images, parts.images, rtol=1e-6)
    assert whole.sets["middle"] == pytest.approx(parts.sets["middle"], abs=1e-6)


def test_images_as_metrics_see_them():
    assert unit(torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.bfloat16)).tolist() == [0, 0, 0.5, 1, 1]


def test_features_of_targets_that_were_seen_are_not_computed_again(monkeypatch):
    calls = []

    class Colour(SetMetric):
        higher_is_better = False

        def features(self, image):
            calls.append(image)
            return image.mean((2, 3))

    measure = Measure({"colour": Colour()})
    output, target = torch.rand(2, 4, 3, 8, 8)
    first = measure.batch(output, target)
    assert len(calls) == 2
    second = measure.batch(output.flip(0), target, target_features=first.targets)
    assert len(calls) == 3
    np.testing.assert_array_equal(second.targets["colour"], first.targets["colour"])
    np.testing.assert_array_equal(second.outputs["colour"], first.outputs["colour"][::-1])


def test_a_batch_fits_what_measures_it():
    from enface_tools.evaluate.measure import batch_for

    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [batch_for(cpu, size**2) for size in (16, 64, 128, 1024)] == [64, 32, 8, 1]
    assert [batch_for(cuda, size**2) for size in (64, 256, 2048)] == [64, 16, 1]
