"""Generators that violate one rule each, and some that violate none."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from enface import DataInfo, EnfaceError, Generator
from enface_tools.conformance.generators import GENERATOR_RULES


class Small(Generator):
    """A convolution down and one up."""

    multiple = 4

    def __init__(self, *, data: DataInfo):
        super().__init__()
        self.down = nn.Conv2d(data.channels["source"], 4, 4, 4)
        self.up = nn.ConvTranspose2d(4, data.channels["target"], 4, 4)

    @property
    def parts(self):
        return {"down": self.down, "up": self.up}

    def forward(self, wants, source=None):
        return {"output": self.draw(source)} if "output" in wants else {}

    def draw(self, source):
        return self.up(self.down(source)).tanh()


class Encoding(Small):
    """Also provides codes of source and of partner."""

    provides: ClassVar[dict[str, Any]] = {
        "output": ("source", "pose_class"),
        "code": ("source",),
        "partner_code": ("partner",),
    }

    def forward(self, wants, source=None, pose_class=None, partner=None):
        outputs = {}
        if "output" in wants:
            outputs["output"] = self.draw(source * (1 + pose_class.view(-1, 1, 1, 1)))
        if "code" in wants:
            outputs["code"] = self.down(source).flatten(1)
        if "partner_code" in wants:
            outputs["partner_code"] = self.down(partner).flatten(1)
        return outputs


class Dropping(Small):
    """Has dropout and batch norm."""

    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.down = nn.Sequential(self.down, nn.BatchNorm2d(4), nn.Dropout(0.5))


class Choosy(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.size != (96, 96):
            raise EnfaceError(f"choosy makes 96 px only, not {data.size}")


class NoOutput(Small):
    provides: ClassVar[dict[str, Any]] = {"picture": ("source",)}


class Eager(Encoding):
    """Computes a code even if it is not wanted."""

    def forward(self, wants, source=None, pose_class=None, partner=None):
        code = self.down(source if source is not None else partner).flatten(1)
        return {**super().forward(wants, source, pose_class, partner), "code": code}


class NotANumber(Small):
    def draw(self, source):
        return (super().draw(source) - 2).sqrt()


class Smaller(Small):
    def draw(self, source):
        return super().draw(source)[..., ::2, ::2]


class Unbounded(Small):
    def draw(self, source):
        return super().draw(source) * 100


class Costly(Small):
    def forward(self, wants, source=None):
        self.down(torch.zeros(1, 3, 4, 4))
        return super().forward(wants, source)


class Partial(Small):
    @property
    def parts(self):
        return {"down": self.down}


class Shared(Small):
    @property
    def parts(self):
        return {"down": self.down, "all": nn.ModuleList([self.down, self.up])}


class Foreign(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.hidden = [nn.Linear(1, 1)]

    @property
    def parts(self):
        return {**super().parts, "hidden": self.hidden[0]}


class Coded(Small):
    """Takes a code in place of an image."""

    encoder_part = "down"

    def forward(self, wants, source=None, encoded_source=None):
        if "output" not in wants:
            return {}
        code = self.down(source) if encoded_source is None else encoded_source
        return {"output": self.up(code).tanh()}


class Misnamed(Coded):
    encoder_part = "encoder"


class Deaf(Coded):
    """Also uses the image, which it does not get with a code."""

    def forward(self, wants, source=None, encoded_source=None):
        shift = 0 if source is None else source.mean()
        return {name: value + shift for name, value in super().forward(wants, source, encoded_source).items()}


class Cut(Small):
    def draw(self, source):
        return super().draw(source).detach() + source * 0


class Unused(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.up.spare = nn.Linear(2, 2)


class Steep(Small):
    def draw(self, source):
        return super().draw(source) + (self.up.bias.sum() * 0).abs().sqrt() * 0


class OneSize(Small):
    def draw(self, source):
        return nn.functional.interpolate(super().draw(source), 96)


class Curt(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        if data.shorter_side != 96:
            raise EnfaceError("no")


class InPlace(Small):
    def draw(self, source):
        with torch.no_grad():
            source.clamp_(-0.5, 0.5)
        return super().draw(source)


class BatchSpread(Small):
    def draw(self, source):
        return super().draw(source / source.std(0, keepdim=True).mean())


class Noisy(Small):
    def draw(self, source):
        return super().draw(source + torch.rand(()))


class Forgetful(Small):
    def __init__(self, *, data: DataInfo):
        super().__init__(data=data)
        self.mean = torch.zeros(())

    def draw(self, source):
        if self.training:
            self.mean = self.mean + 0.1
        return super().draw(source - self.mean)


class Strided(Small):
    def draw(self, source):
        flat = source.as_strided((source.numel(),), (1,)).view(len(source), -1)
        return super().draw(source * flat[:, :96].mean(1).view(-1, 1, 1, 1))


class Coarse(Small):
    def draw(self, source):
        return self.up(self.down(source) + 1000 - 1000).tanh()


class OtherwiseCompiled(Small):
    def draw(self, source):
        return super().draw(source * 2 if torch.compiler.is_compiling() else source)


class Breaking(Small):
    """Passes a keyword that the compiler does not accept."""

    def draw(self, source):
        if torch.compiler.is_compiling():
            source = torch.relu(source, slope=2)
        return super().draw(source)


class Moving(Small):
    """Blends the image itself, and one painted over it."""

    provides: ClassVar[dict[str, Any]] = dict.fromkeys(("output", "flow", "masks", "painted"), ("source",))

    def forward(self, wants, source=None):
        if not wants:
            return {}
        painted = self.draw(source)
        masks = self.masks(torch.stack([painted[:, 0], source[:, 0] + 0 * painted[:, 0]], dim=1))
        made = {"masks": masks, "painted": painted}
        made["output"] = self.blend(masks[:, :1] * source + masks[:, 1:] * painted)
        made["flow"] = self.flow(painted)
        return {name: made[name] for name in wants}

    def masks(self, logits):
        return logits.softmax(1)

    def blend(self, output):
        return output

    def flow(self, painted):
        return 5 * painted[:, None, :2]


class NotSumming(Moving):
    def masks(self, logits):
        return logits.sigmoid()


class Negative(Moving):
    def masks(self, logits):
        return torch.cat([logits[:, :1], 1 - logits[:, :1]], dim=1)


class ManyFlows(Moving):
    def flow(self, painted):
        return super().flow(painted).repeat(1, 3, 1, 1, 1)


class FlatMasks(Moving):
    def masks(self, logits):
        return logits.softmax(1)[:, :, :48]

    def blend(self, output):
        return output.repeat_interleave(2, 2)

    def draw(self, source):
        return super().draw(source)[:, :, :48]

    def forward(self, wants, source=None):
        return super().forward(wants, source[:, :, :48] if source is not None else source)


class Overflowing(Moving):
    def flow(self, painted):
        # Finite for the weights as they are built.
        return (20 * self.up.weight.abs().max()).exp() * painted[:, None, :2]


class Brighter(Moving):
    def blend(self, output):
        return (output + 1).clamp(max=1)


@pytest.mark.parametrize("generator", [Small, Encoding, Dropping, Choosy, Coded, Moving])
def test_a_valid_generator_passes_every_rule(verdicts, generator):
    results = verdicts(generator, GENERATOR_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert {name for name, item in results.items() if item.result == "skipped"} <= {"CUDA", "layers"}
    assert (results["layers"].result == "passed") == (generator is Moving)


@pytest.mark.parametrize(
    ("generator", "rule", "reason"),
    [
        (NoOutput, "provides", "provides no 'output'"),
        (Eager, "provides", "compute only what is wanted"),
        (NotANumber, "provides", "not finite"),
        (Smaller, "output", "the output is (4, 3, 48, 48)"),
        (Unbounded, "output", "keep it in [-1, 1]"),
        (Costly, "no unwanted computation", "it runs down"),
        (Eager, "no unwanted computation", "raises"),
        (Partial, "parts", "up.weight"),
        (Shared, "parts", "share a weight"),
        (Foreign, "parts", "not the generator's"),
        (Misnamed, "codes", "not one of its parts"),
        (Deaf, "codes", "output differs if codes are given"),
        (Cut, "learns", "detached"),
        (Unused, "learns", "up.spare.weight"),
        (Steep, "learns", "up.bias"),
        (NotSumming, "layers", "not weights that sum to 1"),
        (Negative, "layers", "not weights that sum to 1"),
        (ManyFlows, "layers", "with masks (4, 2, 96, 96), the flow is (4, 3, 2, 96, 96), not (4, 1, 2, 96, 96)"),
        (FlatMasks, "layers", "its masks are (4, 2, 48, 96), not (N, images + 1, H, W)"),
        (Overflowing, "layers", "with weights 100 times as large, flow is not finite"),
        (Brighter, "layers", "exceeds the range of its layers"),
        (OneSize, "sizes", "for images of 16 px the output is (4, 3, 96, 96)"),
        (Curt, "sizes", "does not name that size"),
        (InPlace, "no in-place change", "source in place"),
        (BatchSpread, "independent of the batch", "alone"),
        (Noisy, "unchanged by a forward pass", "second time"),
        (Forgetful, "state restored", "plain attribute"),
        (Strided, "channels_last", "other numbers"),
        (Coarse, "half precision", "bf16 autocast"),
        (OtherwiseCompiled, "torch.compile", "compiled it gives other numbers"),
        (Breaking, "torch.compile", "torch.compile fails"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, generator, rule, reason):
    assert reason in failure(generator, GENERATOR_RULES, rule)


@pytest.mark.parametrize(
    "params",
    [{"levels": 2, "features": 2}, {"images": ["source", "mirror", "partner"]}],
    ids=["features", "partner"],
)
def test_a_warping_generator_passes_every_rule(params):
    """As ``enface test-plugin warp --with KEY=VALUE`` does."""
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.conformance.fixture import fixture_for
    from enface_tools.conformance.suite import run_rule

    catalog = Catalog(load_plugins())
    with fixture_for(catalog.get("generator", "warp"), catalog, params, "aot_eager") as fixture:
        results = {rule.name: run_rule(rule, fixture) for rule in GENERATOR_RULES}
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert {name for name, item in results.items() if item.result == "skipped"} <= {"CUDA"}
