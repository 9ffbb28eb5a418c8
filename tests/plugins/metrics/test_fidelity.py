"""FID and KID: torch-fidelity's values, checks of the weights, and sets that are close.

The weights are random, so features are meaningful enough for tests, but not those of a published FID.
"""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from torch import nn

from enface import DataInfo, WeightsError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_plugins.metrics import FID, KID
from enface_tools.conformance.feature_metrics import FEATURE_METRIC_RULES
from enface_tools.conformance.metrics import METRIC_RULES
from enface_tools.conformance.suite import Fixture, run_rule

torch_fidelity = pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, with features that neither vanish nor explode."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The constructor loads weights; here it must not.
    original = FeatureExtractorInceptionV3.load_state_dict
    FeatureExtractorInceptionV3.load_state_dict = lambda self, state: None
    try:
        empty = io.BytesIO()
        torch.save({}, empty)
        empty.seek(0)
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=empty)
    finally:
        FeatureExtractorInceptionV3.load_state_dict = original
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def fid(weights):
    return FID(weights=weights, data=DataInfo.square(64))


@pytest.fixture(scope="module")
def kid(weights):
    return KID(weights=weights, data=DataInfo.square(64))


@pytest.fixture(scope="module")
def images():
    """Two sets of uint8 images of different appearance, (12, 3, 32, 32) each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 12, 3, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse.flatten(0, 1), size=32, mode="bilinear").unflatten(0, (2, 12))
    smooth[1] = (smooth[1] + 0.2 * torch.rand(smooth[1].shape, generator=generator)).clamp(0, 1)
    return (smooth * 255).round().byte()


class FewFeatures(nn.Module):
    """The first 48 features, cached by batch: distances of 2048 take seconds, and the rules compute many."""

    def __init__(self, inception):
        super().__init__()
        self.inception, self.card, self.cache = inception, inception.card, {}

    def forward(self, image):
        key = image.numpy().tobytes()
        if key not in self.cache:
            self.cache[key] = self.inception(image)[:, :48]
        return self.cache[key].clone()


@pytest.fixture(scope="module")
def few(fid):
    return FewFeatures(fid.inception)


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


@pytest.fixture(scope="module")
def official(weights, images):
    """Values of torch-fidelity alone."""
    return torch_fidelity.calculate_metrics(
        input1=Images(images[1]),
        input2=Images(images[0]),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=len(images[0]),
        feature_extractor_weights_path=str(weights),
        cuda=False,
        cache=False,
        batch_size=5,
        save_cpu_ram=True,
        verbose=False,
    )


def measured(metric, images):
    with torch.no_grad():
        features = [metric.features(each.float() / 255).numpy() for each in images]
    return metric.distance(features[1], features[0])


def agree(name, value, expected, tolerance):
    """Compare, and with ``-s`` print the difference for the documentation."""
    difference = abs(value - expected) / abs(expected)
    print(f"\n| `{name}` | torch-fidelity (relative) | 1 | {difference:.1e} | {tolerance:.0e} |")
    assert difference <= tolerance


def test_fid_is_torch_fidelitys(fid, images, official):
    expected = official["frechet_inception_distance"]
    assert expected > 1e-3
    agree("fid", measured(fid, images), expected, 1e-4)


def test_kid_is_torch_fidelitys(kid, images, official):
    expected = official["kernel_inception_distance_mean"]
    assert expected > 1e-6
    # torch-fidelity sums in float32.
    agree("kid", measured(kid, images), expected, 1e-4)


def unit_kernel(one, other):
    return float((one.astype(np.float64) @ other.astype(np.float64) / len(one) + 1) ** 3)


def test_kid_leaves_out_pairs_of_one_person(kid):
    """All pairs one by one: twelve outputs of three people, two targets of one of them."""
    rng = np.random.default_rng(0)
    outputs, targets = (rng.normal(size=(count, 6)).astype(np.float32) for count in (12, 4))
    people, of_targets = np.repeat(["a", "b", "c"], 4), np.array(["a", "a", "b", "c"])

    def mean(one, first, other, second):
        pairs = [(x, y) for x, p in zip(one, first, strict=True) for y, q in zip(other, second, strict=True) if p != q]
        return np.mean([unit_kernel(x, y) for x, y in pairs])

    expected = mean(outputs, people, outputs, people) + mean(targets, of_targets, targets, of_targets)
    expected -= 2 * mean(outputs, people, targets, of_targets)
    assert kid.clustered_distance(outputs, people, targets, of_targets) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(kid.clustered_distance(outputs, np.zeros(12), targets, np.zeros(4))), "one person has no such pair"


def test_kid_is_unbiased_however_many_sources_a_target_has(kid):
    """Outputs and targets of one distribution, 16 people with 12 outputs each: the truth is 0."""
    rng = np.random.default_rng(1)
    values, repeated = [], []
    for _ in range(200):
        faces, others = rng.normal(size=(2, 16, 24)).astype(np.float32)
        people = np.arange(16)
        outputs, of_outputs = np.repeat(others, 12, 0), np.repeat(people, 12)
        outputs = outputs + 0.1 * rng.normal(size=outputs.shape).astype(np.float32)
        targets = faces + 0.1 * rng.normal(size=faces.shape).astype(np.float32)
        values.append(kid.clustered_distance(outputs, of_outputs, targets, people))
        repeated.append(kid.distance(outputs, np.repeat(targets, 12, 0)))
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert np.mean(repeated) > 20 * error, "if each image counted for itself"


def test_kid_of_perfect_outputs_is_0(kid):
    targets = np.random.default_rng(2).normal(size=(8, 24)).astype(np.float32)
    people = np.arange(8)
    value = kid.clustered_distance(np.repeat(targets, 12, 0), np.repeat(people, 12), targets, people)
    assert value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("outputs", "targets", "says"),
    [
        (192, 16, "192 outputs from 16 targets; below 2,048 images the covariances are singular. Below 10,000"),
        (9000, 2048, "9,000 outputs from 2,048 targets. Below 10,000 images it is too high"),
        (10_000, 10_000, ""),
    ],
)
def test_fid_of_few_images_has_a_caveat(fid, outputs, targets, says):
    assert says in fid.caveat(outputs, targets)
    assert bool(says) == bool(fid.caveat(outputs, targets))


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_they_pass_the_conformance_rules_of_sets(name, weights, few):
    catalog = Catalog(load_plugins())
    with Fixture(catalog.get("metric", name), catalog, {"weights": str(weights)}) as fixture:
        build, metric = fixture.build, fixture.build()
        metric.inception = few
        # Images of other planes are for the metric itself, which refuses four.
        rgb = {"source": 3, "target": 3}
        fixture.build = lambda *given: metric if given[2:] in ((), (rgb,)) else build(*given)
        verdicts = {rule.name: run_rule(rule, fixture) for rule in (*METRIC_RULES, *FEATURE_METRIC_RULES)}
    assert {name: item.why for name, item in verdicts.items() if item.result == "failed"} == {}
    passed = {name for name, item in verdicts.items() if item.result == "passed"}
    independent = "features independent of the batch"
    assert passed >= {"features", independent, "equal sets", "distorted sets", "order in a set", "card"}


def test_the_sets_may_have_different_sizes(fid, kid, few, images):
    with torch.no_grad():
        short, long = (few(each.float() / 255).numpy() for each in (images[0, :5], images[1]))
    for metric in (fid, kid):
        one, other = metric.distance(short, long), metric.distance(long, short)
        assert one == pytest.approx(other, rel=0.5)
        assert one > metric.distance(short, short)


def test_building_draws_no_random_numbers_and_leaves_nothing_to_train(weights):
    before = torch.get_rng_state()
    metric = FID(weights=weights, data=DataInfo.square(64))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(each.requires_grad for each in metric.parameters())


def test_the_card_reports_unknown_weights(fid, monkeypatch):
    assert "random.pth, sha256" in fid.card["network"]
    assert "NOT weights-inception-2015-12-05-6726825d.pth" in fid.card["network"]
    monkeypatch.setattr(fid.inception, "_digest", "6726825d0af5f729")
    assert "NOT" not in fid.card["network"]


@pytest.mark.parametrize("metric", [FID, KID])
def test_weights_that_are_refused(metric, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    where = "https://github.com/toshas/torch-fidelity/releases"
    for name, message in (
        (None, "need the weights of an Inception network"),
        ("none.pth", "no such file"),
        ("bad.pth", "cannot be read as a state dict"),
        ("module.pth", "cannot be read as a state dict"),
        ("list.pth", "holds no state dict"),
        ("other.pth", "is not of the Inception network"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            metric(weights=None if name is None else tmp_path / name, data=DataInfo.square(64))
        assert where in str(caught.value)


def test_without_torch_fidelity_the_error_says_how_to_install_it(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(WeightsError, match=r'pip install "enface\[fidelity\]"'):
        FID(weights=weights, data=DataInfo.square(64))
