"""The warping generator: sampling, masks, mirror images, sizes, precision."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from scipy.ndimage import map_coordinates

from enface import DataInfo, RecipeError
from enface_plugins.generators.resnet import Resnet
from enface_plugins.generators.sampling import sample, sample_by_index
from enface_plugins.generators.unet import Unet
from enface_plugins.generators.warp import Warp, _coarse_to_fine

EVERYTHING = frozenset({"output", "flow", "masks", "painted", "moved_source", "moved_mirror"})


def build(size=(16, 16), **params) -> Warp:
    torch.manual_seed(0)
    trunk = partial(lambda data: Unet(width=4, data=data))
    return Warp(trunk=trunk, data=DataInfo(size), **{"levels": 1, **params}).eval()


class Planes(torch.nn.Module):
    """A trunk that returns given planes."""

    multiple = None

    def __init__(self, planes: torch.Tensor) -> None:
        super().__init__()
        self.provides = {"output": ("source",)}
        self.planes = planes

    def forward(self, wants, source):
        self.seen = source
        return {"output": self.planes.expand(len(source), -1, -1, -1)}


def with_planes(planes: torch.Tensor, **params) -> Warp:
    return Warp(trunk=lambda data: Planes(planes), data=DataInfo(tuple(planes.shape[-2:])), **{"levels": 1, **params})


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
    torch.testing.assert_close(provided["moved_source"], right, atol=1e-5, rtol=0)
    torch.testing.assert_close(provided["moved_mirror"], below, atol=1e-5, rtol=0)
    assert provided["flow"].shape == (1, 2, 2, 8, 12)
    torch.testing.assert_close(provided["flow"][0, 0, :, 3, 4], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(provided["flow"][0, 1, :, 3, 4], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(provided["masks"][0, :, 0, 0], weights)
    torch.testing.assert_close(provided["painted"], planes[:, 4:7])


@pytest.mark.parametrize("function", [sample, sample_by_index])
def test_sampling_is_bilinear_with_repeated_edges(function):
    torch.manual_seed(1)
    image = torch.rand(1, 1, 7, 9)
    # Up to half the image, so that many places are beyond an edge.
    flow = torch.rand(1, 2, 7, 9) * 2 - 1
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    places = torch.stack([y + flow[0, 1] * 3.5, x + flow[0, 0] * 4.5]).numpy()
    expected = map_coordinates(image[0, 0].numpy(), places, order=1, mode="nearest")
    torch.testing.assert_close(function(image, flow)[0, 0], torch.from_numpy(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(16, 16), (96, 50), (33, 47), (7, 1)])
@pytest.mark.parametrize("function", [sample, sample_by_index])
def test_no_flow_returns_the_image_bit_for_bit(function, size):
    image = torch.randn(2, 3, *size)
    assert torch.equal(function(image, torch.zeros(2, 2, *size)), image)


@pytest.mark.parametrize("function", [sample, sample_by_index])
def test_far_beyond_an_edge_the_edge_is_sampled(function):
    image = torch.randn(1, 2, 6, 10)
    for far, column in ((1e6, -1), (-1e6, 0)):
        flow = torch.zeros(1, 2, 6, 10)
        flow[:, 0] = far
        assert torch.equal(function(image, flow), image[..., [column] * 10])


@pytest.mark.parametrize("function", [sample, sample_by_index])
def test_the_gradient_of_sampling_is_that_of_finite_differences(function):
    torch.manual_seed(2)
    image = torch.rand(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    # Between pixels and within the image: bilinear sampling has kinks at pixels and edges.
    steps = torch.randint(-1, 1, (2, 2, 5, 6)) + 0.3 + 0.4 * torch.rand(2, 2, 5, 6, dtype=torch.float64)
    flow = (steps / torch.tensor([3, 2.5], dtype=torch.float64)[:, None, None]).requires_grad_()
    assert torch.autograd.gradcheck(function, (image, flow))


def test_a_known_shift_is_recovered():
    """Trained on one image and its copy three pixels to the right, the flow into the source is three to the left."""
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8) * 2 - 1, size=(32, 32), mode="bicubic").clamp(-1, 1)
    target = smooth.roll(3, dims=-1)
    network = build((32, 32), images=("source",), levels=3).train()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(150):
        provided = network(frozenset({"moved_source", "flow"}), source=smooth)
        loss = (provided["moved_source"] - target)[..., 4:-4].abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inside = provided["flow"][:, 0, :, 8:-8, 8:-8]
    assert (inside[:, 0].median() + 3).abs() < 0.3
    assert inside[:, 1].median().abs() < 0.3


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
    provided = network(frozenset(network.provides), source=torch.randn(1, 3, 16, 16))
    assert set(provided) == {"output", "flow", "masks", "painted", *(f"moved_{name}" for name in images)}
    assert provided["masks"].shape[1] == len(images) + 1
    torch.testing.assert_close(provided["masks"].sum(1), torch.ones(1, 16, 16))


def test_the_partner_is_sampled_and_seen_by_the_trunk():
    planes = torch.zeros(1, 10, 4, 4)
    # Nearly all weight on the partner, which is not moved.
    planes[:, 8] = 10.0
    network = with_planes(planes, images=("source", "partner"))
    assert network.provides["output"] == ("source", "partner")
    source, partner = torch.randn(2, 2, 3, 4, 4)
    provided = network(frozenset({"output", "moved_source", "moved_partner"}), source=source, partner=partner)
    torch.testing.assert_close(provided["output"], partner)
    assert torch.equal(network.trunk.seen, torch.cat([source, partner], dim=1))
    assert torch.equal(provided["moved_source"], source)
    assert torch.equal(provided["moved_partner"], partner)


def test_each_level_of_the_flow_is_the_mean_over_its_pixels():
    planes = torch.zeros(1, 2 * 2 + 3 + 2, 4, 4)
    planes[:, 0] = 0.25
    # The second level's field is its mean over 2 x 2 pixels, which is 0.5 everywhere.
    planes[:, 2] = torch.tensor([0.0, 1.0]).repeat(2)
    network = with_planes(planes, images=("source",), levels=2)
    provided = network(frozenset({"flow"}), source=torch.randn(1, 3, 4, 4))
    torch.testing.assert_close(provided["flow"][0, 0, 0], torch.full((4, 4), (0.25 + 0.5) * 2))


def test_coarse_levels_are_enlarged_bilinearly():
    coarse = torch.rand(1, 2, 8, 12)
    fields = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="nearest")
    expected = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    total = _coarse_to_fine((torch.zeros(1, 2, 16, 24), fields))
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("size", [(16, 16), (20, 18)])
def test_moved_features_start_without_an_effect_and_learn(size):
    source = torch.randn(2, 3, *size)
    plain, network = build(size), build(size, features=4)
    # The trunk is built first, from the same seed.
    for name, value in plain(EVERYTHING, source=source).items():
        torch.testing.assert_close(network(EVERYTHING, source=source)[name], value)
    optimizer = torch.optim.SGD(network.features.parameters(), 0.1)
    network.train()(EVERYTHING, source=source)["output"].square().mean().backward()
    optimizer.step()
    assert not torch.equal(
        network.eval()(EVERYTHING, source=source)["output"], plain(EVERYTHING, source=source)["output"]
    )
    assert set(network.parts) == {"encoder", "decoder", "features"}


@pytest.mark.parametrize(("size", "moved"), [((64, 64), False), ((128, 128), True), ((128, 64), False)])
def test_features_are_moved_from_128_px_on(size, moved):
    assert (build(size).features is not None) == moved
    assert build(size, features=0).features is None


@pytest.mark.parametrize("params", [{}, {"levels": 3}, {"features": 4}])
def test_compiling_changes_nothing(params):
    network = build((32, 32), **params)
    source = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    for name, value in compiled(EVERYTHING, source=source).items():
        torch.testing.assert_close(value, network(EVERYTHING, source=source)[name], atol=1e-5, rtol=0)


def test_any_size_that_its_trunk_takes():
    network = build()
    assert network.multiple == build().trunk.multiple
    assert network(EVERYTHING, source=torch.randn(1, 3, 32, 48))["output"].shape == (1, 3, 32, 48)


@pytest.mark.parametrize("params", [{}, {"levels": 3}, {"features": 4}])
def test_sampling_stays_in_float32_under_autocast(params):
    network = build((64, 64), **params)
    source = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        provided = network(EVERYTHING, source=source)
    assert {value.dtype for value in provided.values()} == {torch.float32}


def test_wrong_planes_and_images_are_refused():
    with pytest.raises(RecipeError, match="source has 1 and target 3"):
        Warp(trunk=lambda data: Unet(width=4, data=data), data=DataInfo((16, 16), channels={"source": 1, "target": 3}))
    for images in ((), ("source", "source")):
        with pytest.raises(RecipeError, match="at least one image, and each once"):
            build(images=images)
    with pytest.raises(RecipeError, match="16 px cannot be halved 5 times; use fewer levels"):
        build(levels=6)


class Trunk(torch.nn.Module):
    """A trunk whose output is a function of the image, and of nothing else."""

    multiple = None

    def __init__(self, call, provides=None) -> None:
        super().__init__()
        self.call, self.provides = call, provides or {"output": ("source",)}

    def forward(self, wants, source, **others):
        return {"output": self.call(source)}


def refused(trunk, size=(16, 16)) -> str:
    """The message of the error about a trunk."""
    with pytest.raises(RecipeError) as error:
        Warp(trunk=lambda data: trunk, data=DataInfo(size), levels=1)
    return str(error.value)


def test_a_trunk_without_a_value_per_pixel_is_refused():
    half = lambda source: torch.zeros(len(source), 10, 8, 8)  # noqa: E731
    expected = r"trunk: must give a value for each pixel, (N, 10, 16, 16) for N images, not (N, 10, 8, 8)"
    assert expected in refused(Trunk(half))
    assert "trunk: provides no output, only code" in refused(Trunk(half, {"code": ("source",)}))
    # With columns that are unknown until there is a batch.
    network = Warp(trunk=lambda data: Trunk(half, {"output": ("source", "pose")}), data=DataInfo((16, 16)), levels=1)
    with pytest.raises(RecipeError, match=r"not \(N, 10, 8, 8\)"):
        network(EVERYTHING, source=torch.zeros(2, 3, 16, 16), pose=torch.zeros(2))


def test_a_trunk_that_fails_for_the_size_is_refused():
    def with_skip(source):
        return torch.nn.functional.avg_pool2d(source, 2).repeat_interleave(2, -1).repeat_interleave(2, -2) + source

    message = refused(Trunk(with_skip), (16, 15))
    assert message.startswith("trunk: fails for images of 16 x 15 px (The size of tensor a (14) must match")
    assert message.endswith("use another size or another trunk")


def test_an_error_of_the_trunk_names_the_trunk_and_its_planes():
    with pytest.raises(RecipeError, match=r"trunk, from 3 to 10 planes: warp .* source has 3 and target 10"):
        Warp(
            trunk=lambda data: Warp(trunk=lambda inner: Unet(width=4, data=inner), data=data),
            data=DataInfo((16, 16)),
            levels=1,
        )


def test_another_trunk():
    network = Warp(trunk=lambda data: Resnet(width=4, blocks=1, data=data), data=DataInfo((16, 16)))
    assert network(EVERYTHING, source=torch.randn(2, 3, 16, 16))["output"].shape == (2, 3, 16, 16)
