"""FID and KID: torch-fidelity's values, checks of the weights, and sets that are close.

The weights are random, so features are meaningful enough for tests, but not those of a published FID.
"""

from __future__ import annotations

import io
import sys

import pytest
import torch
from torch import nn

from enface import WeightsError
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
    return FID(weights=weights)


@pytest.fixture(scope="module")
def kid(weights):
    return KID(weights=weights)


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


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_they_pass_the_conformance_rules_of_sets(name, weights, few):
    catalog = Catalog(load_plugins())
    with Fixture(catalog.get("metric", name), catalog, {"weights": str(weights)}) as fixture:
        metric = fixture.build()
        metric.inception = few
        fixture.build = lambda *given: metric
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
    metric = FID(weights=weights)
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
            metric(weights=None if name is None else tmp_path / name)
        assert where in str(caught.value)


def test_without_torch_fidelity_the_error_says_how_to_install_it(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(WeightsError, match=r'pip install "enface\[fidelity\]"'):
        FID(weights=weights)
