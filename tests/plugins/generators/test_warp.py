"""The warping generator: sampling, masks, mirror images, sizes, precision."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from scipy.ndimage import map_coordinates

from enface import DataInfo, RecipeError
from enface_plugins.generators.resnet import Resnet
from enface_plugins.generators.unet import Unet
from enface_plugins.generators.warp import Warp, _sample

EVERYTHING = frozenset({"output", "flow", "masks", "painted"})


def build(size=(16, 16), **params) -> Warp:
    torch.manual_seed(0)
    trunk = partial(lambda data: Unet(width=4, data=data))
    return Warp(trunk=trunk, data=DataInfo(size), **params).eval()


class Planes(torch.nn.Module):
    """A trunk that returns given planes."""

    multiple = None

    def __init__(self, planes: torch.Tensor) -> None:
        super().__init__()
        self.provides = {"output": ("source",)}
        self.planes = planes

    def forward(self, wants, source):
        return {"output": self.planes.expand(len(source), -1, -1, -1)}


def with_planes(planes: torch.Tensor, **params) -> Warp:
    return Warp(trunk=lambda data: Planes(planes), data=DataInfo(tuple(planes.shape[-2:])), **params)


def test_the_output_is_the_blend_of_moved_and_painted_images():
    source = torch.rand(1, 3, 8, 12) * 2 - 1
    planes = torch.zeros(1, 10, 8, 12)
    # The source two pixels to the right of each pixel: 2 of 6 pixels in half the width.
    planes[:, 0] = 2 / 6
    # The mirror image one pixel below.
    planes[:, 3] = 1 / 4
    planes[:, 4:7] = 0.5
    planes[:, 7], planes[:, 8], planes[:, 9] = 0.25, 0.0, -0.25
    provided = with_planes(planes)(EVERYTHING, source=source)
    weights = torch.tensor([2.0, 0.0, -2.0]).softmax(0)
    right = source[..., [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 11]]
    below = source.flip(-1)[..., [1, 2, 3, 4, 5, 6, 7, 7], :]
    expected = weights[0] * right + weights[1] * below + weights[2] * 0.5
    torch.testing.assert_close(provided["output"], expected, atol=1e-5, rtol=0)
    assert provided["flow"].shape == (1, 2, 2, 8, 12)
    torch.testing.assert_close(provided["flow"][0, 0, :, 3, 4], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(provided["flow"][0, 1, :, 3, 4], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(provided["masks"][0, :, 0, 0], weights)
    torch.testing.assert_close(provided["painted"], planes[:, 4:7])


def test_sampling_is_bilinear_with_repeated_edges():
    torch.manual_seed(1)
    image = torch.rand(1, 1, 7, 9)
    flow = torch.rand(1, 2, 7, 9) - 0.5
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    places = torch.stack([y + flow[0, 1] * 3.5, x + flow[0, 0] * 4.5]).numpy()
    expected = map_coordinates(image[0, 0].numpy(), places, order=1, mode="nearest")
    torch.testing.assert_close(_sample(image, flow)[0, 0], torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_only_what_is_wanted_is_returned_and_all_of_it_trains():
    network = build().train()
    source = torch.randn(2, 3, 16, 16)
    provided = network(EVERYTHING, source=source)
    assert set(provided) == EVERYTHING
    assert set(network(frozenset({"masks"}), source=source)) == {"masks"}
    assert network(frozenset()) == {}
    sum(value.square().mean() for value in provided.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("images", [("source",), ("mirror",), ("source", "mirror")])
def test_the_images_that_are_sampled(images):
    network = build(images=images)
    provided = network(EVERYTHING, source=torch.randn(1, 3, 16, 16))
    assert provided["masks"].shape[1] == len(images) + 1
    torch.testing.assert_close(provided["masks"].sum(1), torch.ones(1, 16, 16))


def test_any_size_that_its_trunk_takes():
    network = build()
    assert network.multiple == build().trunk.multiple
    assert network(EVERYTHING, source=torch.randn(1, 3, 32, 48))["output"].shape == (1, 3, 32, 48)


def test_sampling_stays_in_float32_under_autocast():
    network = build((64, 64))
    source = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        provided = network(EVERYTHING, source=source)
    assert {value.dtype for value in provided.values()} == {torch.float32}


def test_wrong_planes_and_images_are_refused():
    with pytest.raises(RecipeError, match="source has 1 and target 3"):
        Warp(trunk=lambda data: Unet(width=4, data=data), data=DataInfo((16, 16), channels={"source": 1, "target": 3}))
    for images in ((), ("source", "source")):
        with pytest.raises(RecipeError, match="different images"):
            build(images=images)


def test_another_trunk():
    network = Warp(trunk=lambda data: Resnet(width=4, blocks=1, data=data), data=DataInfo((16, 16)))
    assert network(EVERYTHING, source=torch.randn(2, 3, 16, 16))["output"].shape == (2, 3, 16, 16)
