"""Components on images of 1 and 4 planes, of 16 bits, and that are not square, against independent numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from enface import DataInfo, RecipeError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_plugins.planes import centred_square, nearest_sizes, require_side
from enface_plugins.pretrained.networks import TRUNKS

CATALOG = Catalog(load_plugins())
TALL = (96, 64)
PLANES = [1, 4]
needs_trunks = pytest.mark.skipif(any(one.find() is None for one in TRUNKS), reason="needs: enface weights fetch")


def data(planes: int, *, size: tuple[int, int] = TALL, depth: int = 8, source: int | None = None) -> DataInfo:
    return DataInfo(size, {}, channels={"source": source or planes, "target": planes}, depth=depth)


def build(kind: str, name: str, info: DataInfo, **params: Any) -> Any:
    return CATALOG.build(kind, name, params, info)


def pair(planes: int, size: tuple[int, int] = TALL) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images in [0, 1], and the same with noise."""
    generator = torch.Generator().manual_seed(planes)
    coarse = torch.rand(2, planes, 7, 5, generator=generator)
    target = nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    return (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


# ------------------------------------------------------------------ metrics and losses of any planes


@pytest.mark.parametrize("planes", PLANES)
def test_ssim_is_scikit_images(planes):
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    output, target = pair(planes)
    expected = [
        structural_similarity(
            *(image.double().numpy() for image in images),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for images in zip(output, target, strict=True)
    ]
    metric = build("metric", "ssim", data(planes))
    np.testing.assert_allclose(metric(output, target), expected, atol=2e-5)
    loss = build("loss", "ssim", data(planes))(2 * output - 1, 2 * target - 1)
    assert loss.shape == output.shape
    np.testing.assert_allclose(1 - loss[..., 5:-5, 5:-5].mean((1, 2, 3)), expected, atol=2e-5)


@pytest.mark.parametrize("planes", PLANES)
def test_ms_ssim_of_planes_is_the_mean_of_each(planes):
    output, target = pair(planes)
    values = build("metric", "ms_ssim", data(planes))(output, target)
    alone = [build("metric", "ms_ssim", data(1))(output[:, [plane]], target[:, [plane]]) for plane in range(planes)]
    torch.testing.assert_close(values, torch.stack(alone).mean(0))


def test_ms_ssim_has_the_scales_that_fit_the_shorter_side():
    # A window of 11 px at the third scale needs 44 px, at the fourth 88.
    assert build("metric", "ms_ssim", data(3, size=(96, 64))).card["scales"] == "3"
    with pytest.raises(RecipeError, match=r"larger than 80 px; these have 96 x 64; 3 fit"):
        build("loss", "ms_ssim", data(3), scales=4)


def test_psnr_tells_16_bit_images_apart_that_differ_by_one_step():
    target = torch.full((1, 1, *TALL), 0.5)
    output = target.clone()
    output[..., 10, 20] += 1 / 65535
    expected = -10 * math.log10((1 / 65535) ** 2 / (96 * 64))
    fine, coarse = (build("metric", "psnr", data(1, depth=depth)) for depth in (16, 8))
    assert expected == pytest.approx(134.2, abs=0.05)
    assert fine(output, target).item() == pytest.approx(expected, abs=0.1)
    assert fine(target, target).item() == pytest.approx(150)
    assert coarse(output, target).item() == pytest.approx(100)
    assert (fine.bounds, coarse.bounds) == ((0.0, 150.0), (0.0, 100.0))
    assert fine.card["highest"] == "150 dB"


@pytest.mark.parametrize(("depth", "step"), [(8, 1), (16, 257)])
def test_sharpness_adds_the_rounding_of_the_datas_bits(depth, step):
    # Stripes of +-1/255: the two differences across are 2 / 255, the two down 0, and each has 1/6 of a squared step.
    target = torch.full((1, 4, 2, 2), 0.5)
    output = target + torch.tensor([1.0, -1.0]) / 255
    rounding, energy = 4 / 6, 2 * (2 * step) ** 2
    value = build("metric", "sharpness", data(4, depth=depth))(output, target).item()
    assert value == pytest.approx(2 - rounding / (energy + rounding), abs=1e-6)


def wave(size: tuple[int, int], down: float, across: float, planes: int = 1) -> torch.Tensor:
    y, x = np.indices(size)
    image = 0.5 + 0.1 * np.cos(2 * np.pi * (down * y + across * x))
    return torch.from_numpy(image).float().expand(1, planes, *size)


@pytest.mark.parametrize("planes", PLANES)
def test_a_spectrum_orders_waves_by_their_period_in_any_direction(planes):
    from enface_plugins.metrics.spectrum import profile

    for down, across in ((1 / 8, 0), (0, 1 / 8)):
        power = profile(wave(TALL, down, across, planes), 8)
        assert power.shape == (1, planes, 32)
        assert power.argmax(-1).unique().tolist() == [7], "8 periods on the shorter side of 64 px, counted from 1"
    metric = build("metric", "spectrum", data(planes))
    assert metric(wave(TALL, 1 / 8, 0, planes), wave(TALL, 0, 1 / 8, planes)).item() < 0.2
    assert metric(wave(TALL, 1 / 4, 0, planes), wave(TALL, 1 / 8, 0, planes)).item() > 0.2


def test_a_spectrums_floor_is_that_of_the_datas_bits():
    flat = torch.full((1, 1, *TALL), 0.5)
    faint = flat + 1e-4 * (wave(TALL, 1 / 8, 0) - 0.5)
    coarse, fine = (build("metric", "spectrum", data(1, depth=depth))(faint, flat).item() for depth in (8, 16))
    assert coarse == pytest.approx(0, abs=1e-4), "a wave of 0.003 steps is less than rounding to 8 bits"
    assert fine > 0.01


@pytest.mark.parametrize("planes", PLANES)
def test_a_checkerboard_has_its_amplitude(planes):
    flat = torch.full((1, planes, *TALL), 0.5)
    sign = torch.from_numpy((-1.0) ** np.indices(TALL).sum(0)).float()
    assert build("metric", "checkerboard", data(planes))(flat + 0.02 * sign, flat).item() == pytest.approx(
        0.02, rel=1e-3
    )


@pytest.mark.parametrize("planes", PLANES)
def test_spectral_losses_are_numpys(planes):
    output, target = (2 * image - 1 for image in pair(planes))
    spectrum = np.fft.fft2((output - target).double().numpy(), norm="ortho")
    fft = build("loss", "fft", data(planes))(output, target)
    np.testing.assert_allclose(fft, np.abs(spectrum).mean((1, 2, 3)), rtol=1e-4)
    power = np.abs(spectrum) ** 2
    weights = np.sqrt(power / power.max((2, 3), keepdims=True))
    focal = build("loss", "focal_frequency", data(planes))(output, target)
    np.testing.assert_allclose(focal, (weights * power).mean((1, 2, 3)), rtol=1e-4)


# ------------------------------------------------------------------ components of RGB images


RGB = [
    ("loss", "perceptual", {"backbone": "alexnet"}),
    ("loss", "contextual", {"backbone": "alexnet", "layer": "relu3"}),
    ("loss", "lpips", {"net": "alex"}),
    ("loss", "dists", {}),
    ("metric", "lpips", {}),
    ("metric", "color_shift", {}),
]


@needs_trunks
@pytest.mark.parametrize(("kind", "name", "params"), RGB, ids=[f"{kind}-{name}" for kind, name, _ in RGB])
def test_a_grey_image_is_an_rgb_image_of_three_equal_planes(kind, name, params):
    if name == "dists":
        pytest.importorskip("DISTS_pytorch")
    output, target = pair(1)
    grey = build(kind, name, data(1), **params)(output, target)
    rgb = build(kind, name, data(3), **params)(output.repeat(1, 3, 1, 1), target.repeat(1, 3, 1, 1))
    torch.testing.assert_close(grey, rgb)


def test_the_colour_difference_of_grey_images_is_that_of_lightness():
    rgb2lab = pytest.importorskip("skimage.color").rgb2lab
    first, second = torch.full((1, 1, *TALL), 0.2), torch.full((1, 1, *TALL), 0.7)
    lightness = [rgb2lab(np.full((1, 1, 3), level))[0, 0, 0] for level in (0.2, 0.7)]
    metric = build("metric", "color_shift", data(1))
    assert metric(first, second).item() == pytest.approx(lightness[1] - lightness[0], rel=1e-3)
    assert metric.card["colour"] == "grey, repeated as RGB to L*a*b*"


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [
        *RGB,
        ("loss", "identity", {"file": "none.pt", "size": 8}),
        ("metric", "identity", {}),
        ("metric", "rank_1", {}),
        ("metric", "tar", {}),
        ("metric", "fid", {}),
        ("metric", "kid", {}),
        ("discriminator", "projected", {}),
    ],
)
@pytest.mark.parametrize("planes", [2, 4])
def test_other_planes_are_refused_with_the_components_name(kind, name, params, planes):
    with pytest.raises(RecipeError, match=rf"^{name} .* target images have {planes} planes$"):
        build(kind, name, data(planes), **params)


class Pool(nn.Module):
    """Means of the four quarters of each channel."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(image, 4).flatten(1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:Warning", "ignore:.*jit.trace:Warning")
def test_a_recogniser_sees_the_largest_centred_square(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Pool().eval(), torch.zeros(2, 3, 8, 8)).save(str(tmp_path / "pool.pt"))
    file, (output, target) = str(tmp_path / "pool.pt"), pair(1)
    middle = (slice(None), slice(None), slice(16, 80))
    loss = build("loss", "identity", data(1), file=file, size=8)
    square = build("loss", "identity", data(1, size=(64, 64)), file=file, size=8)
    torch.testing.assert_close(loss(output, target), square(output[middle], target[middle]))
    metric = build("metric", "identity", data(1), recogniser=file, size=8)
    square = build("metric", "identity", data(1, size=(64, 64)), recogniser=file, size=8)
    torch.testing.assert_close(metric(output, target), square(output[middle], target[middle]))
    assert (metric.card["crop"], square.card["crop"]) == ("the largest centred square", "none")
    assert metric.card["colour"] == "grey, repeated as RGB"


def test_the_centred_square_is_in_the_middle():
    image = torch.arange(12.0).view(1, 1, 2, 6)
    assert centred_square(image).tolist() == [[[[2.0, 3.0], [8.0, 9.0]]]]


# ------------------------------------------------------------------ networks


def test_a_critic_of_pairs_has_the_planes_of_both():
    critic = build("discriminator", "conditional_patch_gan", data(3, source=1), width=4, layers=2)
    assert critic.blocks[0][0].weight.shape[1] == 4
    logits = critic(torch.zeros(2, 3, *TALL), torch.zeros(2, 1, *TALL))["logits"]
    assert logits.shape == (2, 1, 96 // 4 - 2, 64 // 4 - 2)


def test_heads_of_the_siamese_network_see_the_whole_code():
    info = DataInfo(TALL, {"pose": 5}, channels={"source": 1, "target": 4})
    generator = build("generator", "siamese", info, width=0.125).eval()
    outputs = generator(frozenset({"output", "pose_logits"}), torch.zeros(2, 1, *TALL))
    assert outputs["pose_logits"].shape == (2, 5)
    assert outputs["output"].shape == (2, 4, *TALL)
    assert generator.heads["pose"].weight.shape[2:] == (6, 4)
    assert generator(frozenset({"output"}), torch.zeros(1, 1, 32, 112))["output"].shape == (1, 4, 32, 112)


def test_a_residual_adds_a_grey_source_to_every_plane():
    small = {"width": 4, "encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1], "residual": True}
    generator = build("generator", "nafnet", data(3, source=1), **small)
    nn.init.zeros_(generator.decoder.last.weight)
    nn.init.zeros_(generator.decoder.last.bias)
    source = torch.rand(1, 1, *TALL)
    assert torch.equal(generator(frozenset({"output"}), source)["output"], source.expand(-1, 3, -1, -1))
    with pytest.raises(RecipeError, match=r"source images have 3 planes and target images 1; use residual: false"):
        build("generator", "nafnet", data(1, source=3), **small)


def test_a_resnet_encodes_its_output_only_if_it_has_the_sources_planes():
    assert "output_features" in build("generator", "resnet", data(4), width=4, blocks=1).provides
    assert "output_features" not in build("generator", "resnet", data(3, source=1), width=4, blocks=1).provides


@pytest.mark.parametrize(
    ("size", "message"),
    [((100, 64), r"for size: \[100, 64\] use \[96, 64\] or \[112, 64\]"), ((4, 4), "for size: 4 use 16$")],
)
def test_the_nearest_sizes_are_suggested(size, message):
    with pytest.raises(RecipeError, match=message):
        build("generator", "siamese", data(3, size=size))


def test_nearest_sizes_round_each_side():
    assert nearest_sizes((30, 50), 8, 8) == "[24, 48] or [32, 56]"
    assert nearest_sizes((30, 30), 4, 4) == "28 or 32"


def test_a_side_that_is_too_small_is_named_with_both():
    with pytest.raises(RecipeError, match=r"x needs images of at least 65 px; these have 96 x 64"):
        require_side("x", data(3), 65)
    require_side("x", data(3), 64)


# ------------------------------------------------------------------ augmentation


def test_only_rgb_images_have_a_saturation():
    augmentation = build("augmentation", "diff_augment", data(4), policy=["color"])
    image = torch.rand(3, 4, *TALL, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.manual_seed(2)
    changed = augmentation(image)
    # Brightness and contrast alone: an affine function of the whole image.
    for before, after in zip(image, changed, strict=True):
        slope, offset = np.polyfit(before.flatten().double(), after.flatten().double(), 1)
        np.testing.assert_allclose(after, slope * before + offset, atol=1e-5)


def test_a_cutout_is_half_as_high_and_wide_as_the_image():
    augmentation = build("augmentation", "diff_augment", data(1), policy=["cutout"])
    torch.manual_seed(0)
    holes = [augmentation(torch.ones(1, 1, *TALL))[0, 0] == 0 for _ in range(40)]
    heights, widths = ([int(hole.any(axis).sum()) for hole in holes] for axis in (1, 0))
    assert (max(heights), max(widths)) in {(48, 32), (49, 32), (48, 33), (49, 33)}
