"""Masks that break a rule each, and those that keep all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enface import DataError, DataInfo, EnfaceError, Mask, WeightsError
from enface_tools.conformance.masks import MASK_RULES, drawn_targets


class Ramp(Mask):
    """Grows from left to right, and with the step."""

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.size = data.size
        self.register_buffer("shape", torch.linspace(0, 1, data.size).expand(1, 1, data.size, data.size).clone())

    def forward(self, step):
        return self.shape * (1 + step)


class Bright(Ramp):
    """Weighs what is bright in the source."""

    def forward(self, source):
        return (source.mean(1, keepdim=True) + 1) / 2


class Head(Ramp):
    """Made of training targets."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        targets = data.targets(2)
        self.register_buffer("shape", torch.from_numpy(targets.regions == 1).float().mean(0)[None, None])


class Inside(Ramp):
    def forward(self, source_regions):
        return (source_regions == 1).float()[:, None]


class OneSize(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=DataInfo(96))


class Choosy(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.size < 64:
            raise EnfaceError(f"choosy takes no images of {data.size} px")


class Curt(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.size < 64:
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
    """The highest step it has seen counts."""

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
    """The digits that bf16 does not have decide."""

    def forward(self, source):
        return (source.mean(1, keepdim=True) * 1e5).sin() + 1


class Photographs(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        raise DataError(f"no face found in {len(data.targets(2).keys)} images")


class Downloaded(Ramp):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        raise WeightsError("weights are missing")


@pytest.mark.parametrize("mask", [Ramp, Bright, Head, Inside, Choosy])
def test_a_sound_mask_breaks_no_rule(verdicts, mask):
    found = verdicts(mask, MASK_RULES)
    assert {name: item.why for name, item in found.items() if item.result == "broken"} == {}
    assert found["half precision"].result == ("holds" if mask is Bright else "not asked")


@pytest.mark.parametrize(
    ("mask", "rule", "words"),
    [
        (OneSize, "shape", "for 4 images of 32 px the weights are (1, 1, 96, 96)"),
        (Flat, "shape", "(1, 32, 32)"),
        (Curt, "shape", "does not name that size"),
        (Negative, "range", "reward errors"),
        (NotANumber, "range", "not finite"),
        (Nothing, "range", "every weight is 0"),
        (Double, "dtype", "torch.float64"),
        (Learning, "no gradient", "register buffers"),
        (Random, "same again", "second time"),
        (Remembering, "resume at any step", "at step 1 a new mask"),
        (InPlace, "no in-place change", "source in place"),
        (Sensitive, "half precision", "rounded to bf16"),
    ],
)
def test_a_mask_that_breaks_a_rule_is_told_so(broken, mask, rule, words):
    assert words in broken(mask, MASK_RULES, rule)


def test_a_mask_that_finds_nothing_in_drawings_is_not_asked(verdicts):
    (found,) = verdicts(Photographs, MASK_RULES, only="range").values()
    assert (found.result, found.why) == ("not asked", "from drawn training targets: no face found in 2 images")


@pytest.mark.parametrize("rule", ["shape", "range"])
def test_a_mask_without_its_weights_is_not_asked(verdicts, rule):
    (found,) = verdicts(Downloaded, MASK_RULES, only=rule).values()
    assert (found.result, found.why) == ("not asked", "weights are missing")


def test_drawn_targets_are_as_many_as_wanted_and_each_another():
    targets = drawn_targets(32, 2)
    assert targets.images.shape == (2, 3, 32, 32)
    assert targets.regions is not None
    assert (targets.images[0] != targets.images[1]).any()
    assert set(targets.regions.flatten()) == set(range(len(targets.region_names)))
    assert len(drawn_targets(32, 20).keys) == 3


def test_a_mask_of_landmarks_keeps_every_rule_on_a_photograph(tmp_path):
    pytest.importorskip("dlib")
    from PIL import Image
    from skimage.data import astronaut

    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.conformance.fixture import Subject
    from enface_tools.conformance.rules import judge

    Image.fromarray(astronaut()[:256, 96:352]).save(tmp_path / "portrait.png")
    catalog = Catalog(load_plugins())
    entry = catalog.get("mask", "boundary_from_landmarks")
    with Subject(entry, catalog, {"images": str(tmp_path)}) as subject:
        found = {rule.name: judge(rule, subject) for rule in MASK_RULES}
    if "landmarks need" in found["shape"].why:
        pytest.skip(found["shape"].why)
    assert {name for name, item in found.items() if item.result != "holds"} <= {"half precision", "CUDA"}
