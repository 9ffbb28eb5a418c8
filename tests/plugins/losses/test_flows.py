"""Losses of flows and masks by hand: known fields, known shifts, and requests that cannot be met."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from enface import RecipeError
from enface_plugins.flows import splat
from enface_plugins.losses.cycle import Cycle
from enface_plugins.losses.flow_epe import FlowEpe
from enface_plugins.losses.flow_smoothness import FlowSmoothness
from enface_plugins.losses.mask_entropy import MaskEntropy

TINY = 1e-9


def constant(right: float, down: float, fields: int = 1, size: tuple[int, int] = (4, 6)) -> torch.Tensor:
    """(1, fields, 2, H, W), the same flow everywhere."""
    return torch.tensor([right, down]).reshape(1, 1, 2, 1, 1).expand(1, fields, 2, *size).clone()


def test_the_end_point_error_is_the_distance_in_pixels():
    truth, visible = constant(1.0, 2.0)[:, 0], torch.ones(1, 1, 4, 6)
    error = FlowEpe(images=("source",), eps=TINY)(constant(4.0, 6.0), truth, visible)
    torch.testing.assert_close(error, torch.full((1, 1, 4, 6), 5.0))


def test_its_mean_is_over_visible_pixels_and_an_image_without_any_has_none():
    visible = torch.zeros(2, 1, 4, 6)
    visible[0, 0, 1, 2:4] = 1
    flow = constant(0.0, 0.0).repeat(2, 1, 1, 1, 1)
    flow[0, 0, 0, 1, 2], flow[0, 0, 0, 1, 3], flow[0, 0, 0, 0, 0] = 1.0, 3.0, 100.0
    flow.requires_grad_()
    error = FlowEpe(images=("source",), eps=TINY)(flow, torch.zeros(2, 2, 4, 6), visible)
    torch.testing.assert_close(error.mean((1, 2, 3)), torch.tensor([2.0, 0.0]))
    error.mean().backward()
    # Half of the batch's mean, half of the two visible pixels.
    assert flow.grad[0, 0, 0, 1, 2] == pytest.approx(0.25)
    assert flow.grad.count_nonzero() == 2


def test_the_flow_into_the_mirror_image_is_the_flipped_field_with_its_x_negated():
    """A place at column x of the source is at column 5 - x of its mirror image."""
    truth = torch.zeros(1, 2, 4, 6)
    # The pixel in column 1 shows what the source has 2 to the right and 1 below. In a symmetric head, the pixel in
    # column 4 shows the same in the mirror image, 2 to the left and 1 below.
    truth[0, :, 2, 1] = torch.tensor([2.0, 1.0])
    visible = torch.zeros(1, 1, 4, 6)
    visible[0, 0, 2, 1] = 1
    flow = constant(9.0, 9.0, fields=2)
    flow[0, 0, :, 2, 1], flow[0, 1, :, 2, 4] = torch.tensor([2.0, 1.0]), torch.tensor([-2.0, 1.0])
    loss = FlowEpe(eps=TINY)
    assert float(loss(flow, truth, visible).sum()) < 1e-6
    flow[0, 1, 0, 2, 4] = 2.0
    torch.testing.assert_close(loss(flow, truth, visible).mean((2, 3)), torch.tensor([[0.0, 4.0]]))


def test_images_are_in_the_order_of_the_flow_and_further_fields_are_ignored():
    flow = torch.cat([constant(3.0, 0.0), constant(0.0, 7.0), constant(50.0, 50.0)], dim=1)
    visible = torch.ones(1, 1, 4, 6)
    loss = FlowEpe(images=("partner", "source"), eps=TINY)
    error = loss(flow, constant(0.0, 5.0)[:, 0], visible, constant(3.0, 4.0)[:, 0], visible)
    torch.testing.assert_close(error.mean((2, 3)), torch.tensor([[4.0, 2.0]]))


def test_only_a_flow_into_the_partner_requests_the_partners_columns():
    requested = ["flow", "source_flow", "source_visible"]
    assert list(inspect.signature(FlowEpe().forward).parameters) == requested
    with_partner = FlowEpe(images=("source", "partner"))
    assert list(inspect.signature(with_partner.forward).parameters) == [*requested, "partner_flow", "partner_visible"]
    assert set(requested) < set(FlowEpe.hints)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FlowEpe(images=()), "images must name different images"),
        (lambda: FlowEpe(images=("source", "source")), "images must name different images"),
        (lambda: Cycle(images=()), "images must name different images"),
        (
            lambda: FlowEpe()(constant(0, 0), torch.zeros(1, 2, 4, 6), torch.ones(1, 1, 4, 6)),
            "flow_epe: images names source, mirror, but the generator's flow is into 1 image only",
        ),
        (
            lambda: Cycle(images=("source", "mirror"))(*[torch.zeros(1, 3, 4, 6)] * 2, constant(0, 0)),
            "cycle: images names source, mirror",
        ),
    ],
)
def test_images_that_the_flow_does_not_have_are_refused(build, message):
    with pytest.raises(RecipeError, match=message):
        build()


def test_smoothness_is_the_slope_of_the_flow_where_the_target_is_flat():
    flow = constant(0.0, 0.0)
    # 0.5 more to the right at each column, and 2 less downwards at each row.
    flow[0, 0, 0] += 0.5 * torch.arange(6)
    flow[0, 0, 1] -= 2 * torch.arange(4)[:, None]
    error = FlowSmoothness()(flow, torch.full((1, 3, 4, 6), 0.3))
    expected = torch.zeros(1, 2, 4, 6)
    expected[0, 0, :, :5], expected[0, 1, :3] = 0.5, 2.0
    torch.testing.assert_close(error, expected)


def test_an_edge_of_the_target_lets_the_flow_jump():
    flow = constant(0.0, 0.0)
    flow[0, 0, 0, :, 3:] = 8.0
    target = torch.zeros(1, 3, 4, 6)
    # A step of 0.3 in one of three planes: 0.1 on average.
    target[:, 1, :, 3:] = 0.3
    error = FlowSmoothness(alpha=20.0)(flow, target)
    torch.testing.assert_close(error[0, 0, :, 2], torch.full((4,), 8 * math.exp(-2)))
    assert error.count_nonzero() == 4


def test_entropy_is_0_for_one_image_and_log_3_for_three_alike():
    masks = torch.tensor([[1.0, 0.0, 0.0], [1 / 3] * 3, [0.5, 0.5, 0.0]]).T.reshape(1, 3, 1, 3).requires_grad_()
    error = MaskEntropy()(masks)
    torch.testing.assert_close(error.flatten(), torch.tensor([0.0, math.log(3), math.log(2)]))
    error.sum().backward()
    assert masks.grad.isfinite().all()


def test_splatting_spreads_a_pixel_over_the_four_around_its_place():
    image = torch.zeros(1, 1, 3, 4)
    image[0, 0, 0, 0] = 10.0
    flow = torch.full((1, 2, 3, 4), 99.0)
    flow[0, :, 0, 0] = torch.tensor([1.25, 0.5])
    sums, weights = splat(image, flow)
    shares = torch.zeros(3, 4)
    shares[0, 1], shares[0, 2], shares[1, 1], shares[1, 2] = 0.375, 0.125, 0.375, 0.125
    torch.testing.assert_close(weights[0, 0], shares)
    torch.testing.assert_close(sums[0, 0], 10 * shares)


def test_splatting_is_the_transpose_of_bilinear_sampling():
    torch.manual_seed(0)
    image, other = torch.rand(2, 3, 5, 7, dtype=torch.float64), torch.rand(2, 3, 5, 7, dtype=torch.float64)
    flow = 4 * torch.rand(2, 2, 5, 7, dtype=torch.float64) - 2
    grid = torch.stack(
        [
            (torch.arange(7) + flow[:, 0] + 0.5) / 7 * 2 - 1,
            (torch.arange(5)[:, None] + flow[:, 1] + 0.5) / 5 * 2 - 1,
        ],
        dim=-1,
    )
    sampled = torch.nn.functional.grid_sample(other, grid, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close((splat(image, flow)[0] * other).sum(), (image * sampled).sum())


def test_an_output_that_is_only_moved_has_no_cycle_error():
    source = torch.rand(1, 3, 4, 6)
    # Each pixel shows the source 2 to the right; the last two columns show its edge, which is outside.
    output = source[..., [2, 3, 4, 5, 5, 5]]
    loss = Cycle()
    assert float(loss(output, source, constant(2.0, 0.0)).max()) < 1e-6
    mirror = Cycle(images=("source", "mirror"))(output, source, constant(2.0, 0.0, fields=2))
    assert mirror.shape == (1, 6, 4, 6)
    assert mirror[:, 3:].mean() > 0.1


def test_the_cycle_error_is_the_mean_over_source_pixels_that_are_reached():
    source = torch.zeros(1, 1, 4, 6)
    output = torch.full((1, 1, 4, 6), 0.25, requires_grad=True)
    error = Cycle()(output, source, constant(2.0, 0.0))
    # Columns 0 and 1 of the source are not reached; the mean over the other four counts.
    assert not error[..., :2].any()
    torch.testing.assert_close(error.mean(), torch.tensor(0.25))
    error.mean().backward()
    # Columns 4 and 5 of the output leave the image.
    assert not output.grad[..., 4:].any()
    torch.testing.assert_close(output.grad[..., :4], torch.full((1, 1, 4, 4), 1 / 16))


def test_a_flow_out_of_the_image_has_no_cycle_error_and_no_nan():
    flow = constant(100.0, 0.0).requires_grad_()
    error = Cycle()(torch.ones(1, 3, 4, 6), torch.zeros(1, 3, 4, 6), flow)
    error.mean().backward()
    assert not error.any()
    assert flow.grad.isfinite().all()


def test_finite_differences_of_the_cycle_error():
    torch.manual_seed(0)
    output, source = torch.rand(1, 2, 4, 5, dtype=torch.float64), torch.rand(1, 2, 4, 5, dtype=torch.float64)
    # Every place is within the image, and away from whole pixels, so that the weights alone are held constant.
    flow = (torch.rand(1, 1, 2, 4, 5, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda moved: splat(output, moved[:, 0])[0], flow)
    assert Cycle()(output, source, flow).dtype == torch.float64
