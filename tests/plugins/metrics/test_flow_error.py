"""The end-point error of a flow, by hand."""

from __future__ import annotations

import pytest
import torch

from enface import RecipeError
from enface_plugins.metrics.flow_error import FlowError

IMAGE = torch.zeros(2, 3, 4, 6)


def flows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two fields, the truth, and its visibility: two pixels of the first image, none of the second."""
    flow, truth, visible = torch.zeros(2, 2, 2, 4, 6), torch.zeros(2, 2, 4, 6), torch.zeros(2, 1, 4, 6)
    visible[0, 0, 1, 2:4] = 1
    truth[0, :, 1, 2] = torch.tensor([3.0, -4.0])
    flow[0, 1, :, 1, 2] = torch.tensor([3.0, -4.0])
    # Hidden, so it does not count.
    truth[0, :, 0, 0] = 50.0
    return flow, truth, visible


def test_it_is_the_mean_distance_over_the_visible_pixels_in_pixels():
    values = FlowError()(IMAGE, IMAGE, *flows())
    assert values.tolist()[0] == pytest.approx(2.5)
    assert values.isnan().tolist() == [False, True]


def test_the_index_chooses_the_generators_image():
    assert float(FlowError(index=1)(IMAGE, IMAGE, *flows())[0]) == 0
    with pytest.raises(RecipeError, match="index 2, but the generator moves 2 images"):
        FlowError(index=2)(IMAGE, IMAGE, *flows())


def test_the_metric_and_the_loss_agree():
    from enface_plugins.losses.flow_epe import FlowEpe

    torch.manual_seed(0)
    flow, truth = torch.randn(2, 1, 2, 4, 6), torch.randn(2, 2, 4, 6)
    visible = (torch.rand(2, 1, 4, 6) > 0.5).float()
    loss = FlowEpe(images=("source",), eps=1e-6)(flow, truth, visible).mean((1, 2, 3))
    torch.testing.assert_close(FlowError()(IMAGE, IMAGE, flow, truth, visible), loss)
