"""checkpoint_gradients: less memory, same results."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from enface import DataInfo
from enface_plugins.generators import Nafnet, Resnet, Siamese, Unet
from enface_plugins.generators.gradient_checkpointing import CheckpointedSequential, checkpointed

OUTPUT = frozenset({"output"})
DATA = DataInfo.square(size=32, classes={"pose": 3})
BUILDS = [
    pytest.param(Siamese, {"width": 0.125}, id="siamese"),
    pytest.param(Siamese, {"width": 0.125, "decoder": "bilinear"}, id="siamese-bilinear"),
    pytest.param(Unet, {"width": 4, "norm": "batch", "dropout": 0.5}, id="unet-batch-dropout"),
    pytest.param(Unet, {"width": 4}, id="unet-instance"),
    pytest.param(Resnet, {"width": 4, "norm": "batch"}, id="resnet-batch"),
    pytest.param(Resnet, {"width": 4}, id="resnet-instance"),
    pytest.param(
        Nafnet, {"width": 4, "encoder_blocks": (2, 2), "middle_blocks": 2, "decoder_blocks": (2, 2)}, id="nafnet"
    ),
]


def build(kind, params, recompute: bool) -> nn.Module:
    torch.manual_seed(0)
    network = kind(**params, checkpoint_gradients=recompute, data=DATA)
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            nn.init.ones_(parameter)
    return network


def step(network: nn.Module) -> torch.Tensor:
    """Two steps as in training, each with its own dropout."""
    source = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.manual_seed(2)
    for _ in range(2):
        output = network(OUTPUT, source=source)["output"]
        output.square().sum().backward()
    return output.detach()


@pytest.mark.parametrize(("kind", "params"), BUILDS)
def test_outputs_gradients_statistics_and_random_numbers_are_the_same(kind, params):
    plain, saving = build(kind, params, False), build(kind, params, True)
    outputs, after = [], []
    for network in (plain, saving):
        outputs.append(step(network))
        after.append(torch.get_rng_state())
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-7)
    assert torch.equal(*after)
    assert plain.state_dict().keys() == saving.state_dict().keys()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if one.grad is None:
            assert other.grad is None, name
        else:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7, msg=name)
    for (name, one), other in zip(plain.named_buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)
        if name.endswith("num_batches_tracked"):
            assert one == other == 2


@pytest.mark.parametrize(("kind", "params"), BUILDS)
def test_a_frozen_encoder_stays_as_it_is(kind, params):
    networks = [build(kind, params, recompute) for recompute in (False, True)]
    for network in networks:
        network.parts["encoder"].requires_grad_(False).eval()
    outputs = [step(network) for network in networks]
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-7)
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7)
    fresh = build(kind, params, True).parts["encoder"]
    for name, item in fresh.state_dict().items():
        assert torch.equal(item, networks[1].parts["encoder"].state_dict()[name]), name


def kept(network: nn.Module) -> int:
    """Return the number of bytes still allocated after a forward pass."""
    source = torch.zeros(8, 3, 32, 32)
    network(OUTPUT, source=source)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        output = network(OUTPUT, source=source)
    assert output["output"].requires_grad
    return sum(event.self_cpu_memory_usage for event in profiled.key_averages())


@pytest.mark.parametrize(("kind", "params"), BUILDS)
def test_less_memory_is_kept_for_the_backward_pass(kind, params):
    plain, saving = (kept(build(kind, params, recompute)) for recompute in (False, True))
    assert 0 < saving < 0.75 * plain


def test_other_columns_are_recomputed_too():
    networks = [build(Siamese, {"width": 0.125}, recompute) for recompute in (False, True)]
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    for network in networks:
        outputs = network(frozenset({"output", "partner_pose_logits"}), source=images, partner=images.flip(0))
        sum(item.square().sum() for item in outputs.values()).backward()
    for (name, one), other in zip(networks[0].named_buffers(), networks[1].buffers(), strict=True):
        assert torch.equal(one, other), name
    for (name, one), other in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_torchs_own_checkpoint_would_update_the_statistics_twice():
    from torch.utils.checkpoint import checkpoint

    counts = []
    for run in (lambda part, item: checkpoint(part, item, use_reentrant=False), checkpointed):
        part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
        run(part, torch.rand(2, 3, 8, 8)).sum().backward()
        counts.append(int(part[1].num_batches_tracked))
    assert counts == [2, 1]


def test_the_module_gets_its_buffers_back_after_an_error():
    class Failing(nn.Module):
        calls = 0

        def forward(self, features):
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("the second time")
            return features.sin()

    norm = nn.BatchNorm2d(3)
    running_mean = norm.running_mean
    output = CheckpointedSequential(nn.Sequential(norm, Failing()), recompute=True)(torch.rand(2, 3, 4, 4))
    with pytest.raises(RuntimeError, match="the second time"):
        output.sum().backward()
    assert norm.running_mean is running_mean
