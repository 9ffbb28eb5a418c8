"""Masks that violate one rule each, and some that violate none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataError, DataInfo, EnfaceError, Mask, WeightsError
from enface_tools.conformance.masks import MASK_RULES, drawn_targets


class Ramp(Mask):
    """Weights that grow from left to right, and with the step."""

    def __init__(self, *, data: DataInfo):
        super().__init__()
        height, width = data.size
        self.register_buffer("shape", torch.linspace(0, 1, width).expand(1, 1, height, width).clone())

    def forward(self, step):
        return self.shape * (1 + step)


class Bright(Ramp):
    """Weights bright pixels of the source."""

    def forward(self, source):
        return (source.mean(1, keepdim=True) + 1) / 2


class Head(Ramp):
    """Built from training targets."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        targets = data.targets(2)
        self.register_buffer("shape", torch.from_numpy(targets.regions == 1).float().mean(0)[None, None])


class Inside(Ramp):
    def forward(self, source_regions):
        return (source_regions == 1).float()[:, None]


class OneSize(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=DataInfo.square(96))


class Choosy(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.shorter_side < 64:
            raise EnfaceError(f"choosy takes no images of {data.shorter_side} px")


class Curt(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.shorter_side < 64:
            raise EnfaceError("no")


class Flat(Ramp):
    def forward(self, step):
        return self.shape[0]


class Negative(Ramp):
    def forward(self, step):
        return self.shape * (50 - step)


class NotANumber(Ramp):
    def forward(self, step):
        return self.shape / (step - 7)


class Nothing(Ramp):
    def forward(self, step):
        return self.shape * 0


class Double(Ramp):
    def forward(self, step):
        return super().forward(step).double()


class Learning(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, step):
        return self.scale * self.shape


class Random(Ramp):
    def forward(self, step):
        return self.shape * torch.rand(())


class Remembering(Ramp):
    """Depends on the highest step so far."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.highest = 0

    def forward(self, step):
        self.highest = max(self.highest, step)
        return self.shape * (1 + self.highest)


class InPlace(Bright):
    def forward(self, source):
        return source.add_(1).mean(1, keepdim=True) / 2


class Sensitive(Bright):
    """Depends on digits that bf16 cannot represent."""

    def forward(self, source):
        return (source.mean(1, keepdim=True) * 1e5).sin() + 1


class Photographs(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        raise DataError(f"no face in {len(data.targets(2).keys)} images")


class Downloaded(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        raise WeightsError("weights are missing")


@pytest.mark.parametrize("mask", [Ramp, Bright, Head, Inside, Choosy])
def test_a_valid_mask_passes_every_rule(verdicts, mask):
    results = verdicts(mask, MASK_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert results["half precision"].result == ("passed" if mask is Bright else "skipped")


@pytest.mark.parametrize(
    ("mask", "rule", "reason"),
    [
        (OneSize, "shape", "for 4 images of 32 px the weights are (1, 1, 96, 96)"),
        (Flat, "shape", "(1, 32, 32)"),
        (Curt, "shape", "does not name that size"),
        (Negative, "range", "reward errors"),
        (NotANumber, "range", "not finite"),
        (Nothing, "range", "every weight is 0"),
        (Double, "dtype", "torch.float64"),
        (Learning, "no gradient", "register buffers"),
        (Random, "deterministic", "second time"),
        (Remembering, "resume at any step", "at step 1 a new mask"),
        (InPlace, "no in-place change", "source in place"),
        (Sensitive, "half precision", "rounded to bf16"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, mask, rule, reason):
    assert reason in failure(mask, MASK_RULES, rule)


def test_a_mask_that_detects_nothing_in_drawings_is_skipped(verdicts):
    (verdict,) = verdicts(Photographs, MASK_RULES, only="range").values()
    assert (verdict.result, verdict.why) == ("skipped", "from drawn training targets: no face in 2 images")


@pytest.mark.parametrize("rule", ["shape", "range"])
def test_a_mask_without_its_pretrained_weights_is_skipped(verdicts, rule):
    (verdict,) = verdicts(Downloaded, MASK_RULES, only=rule).values()
    assert (verdict.result, verdict.why) == ("skipped", "weights are missing")


def test_drawn_targets_differ_and_are_at_most_three():
    targets = drawn_targets(32, 2)
    assert targets.images.shape == (2, 3, 32, 32)
    assert targets.regions is not None
    assert (targets.images[0] != targets.images[1]).any()
    assert set(targets.regions.flatten()) == set(range(len(targets.region_names)))
    assert len(drawn_targets(32, 20).keys) == 3


def test_a_mask_of_landmarks_passes_every_rule_on_a_photograph(tmp_path):
    pytest.importorskip("dlib")
    from PIL import Image
    from skimage.data import astronaut

    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.conformance.suite import Fixture, run_rule

    Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "portrait.png")
    catalog = Catalog(load_plugins())
    entry = catalog.get("mask", "boundary_from_landmarks")
    with Fixture(entry, catalog, {"images": str(tmp_path)}) as fixture:
        results = {rule.name: run_rule(rule, fixture) for rule in MASK_RULES}
    if "landmarks need" in results["shape"].why:
        pytest.skip(results["shape"].why)
    assert {name for name, item in results.items() if item.result != "passed"} <= {"half precision", "CUDA"}
