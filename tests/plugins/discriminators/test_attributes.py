"""The discriminator with heads for attributes: its heads, their shapes and their training."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.attributes import Attributes

CLASSES = {"identity": 7, "pose": 5, "light": 3, "key": 60}


@pytest.mark.parametrize("size", [32, 50, 96])
def test_shapes(size):
    critic = Attributes(width=0.125, data=DataInfo.square(size, CLASSES))
    output = critic(torch.randn(2, 3, size, size))
    assert critic.provides == ("logits", "features", "identity_logits", "pose_logits", "light_logits")
    assert set(output) == set(critic.provides)
    assert output["logits"].shape == (2,)
    assert [tuple(output[f"{name}_logits"].shape) for name in ("identity", "pose", "light")] == [(2, 7), (2, 5), (2, 3)]
    assert [item.shape[-1] for item in output["features"]] == [-(-size // 2**level) for level in range(5)]


def test_the_default_heads_are_those_of_the_datas_columns():
    assert Attributes(width=0.125, data=DataInfo.square(32, {"identity": 7, "age": 2})).provides == (
        "logits",
        "features",
        "identity_logits",
    )


def test_columns_selects_the_heads_by_any_name():
    critic = Attributes(
        width=0.125, columns=("light.left", "pose"), data=DataInfo.square(32, {**CLASSES, "light.left": 2})
    )
    output = critic(torch.randn(2, 3, 32, 32))
    assert output["light.left_logits"].shape == (2, 2)
    assert set(output) == {"logits", "features", "light.left_logits", "pose_logits"} == set(critic.provides)


def test_two_critics_do_not_share_what_they_provide():
    first = Attributes(width=0.125, columns=("pose",), data=DataInfo.square(32, CLASSES))
    second = Attributes(width=0.125, columns=("light",), data=DataInfo.square(32, CLASSES))
    assert first.provides[2:] == ("pose_logits",)
    assert second.provides[2:] == ("light_logits",)


def test_an_unknown_column_is_an_error_that_lists_the_known_ones():
    with pytest.raises(RecipeError, match=r"attributes: the data has no column 'age' .* known: identity, light, pose"):
        Attributes(columns=("pose", "age"), data=DataInfo.square(32, CLASSES))


def test_too_small_images_are_an_error():
    with pytest.raises(RecipeError, match="at least 32 px, these have 31"):
        Attributes(data=DataInfo.square(31, CLASSES))


def test_the_trunk_is_the_papers():
    critic = Attributes(data=DataInfo.square(96, CLASSES))
    convolutions = [item for item in critic.modules() if isinstance(item, torch.nn.Conv2d)]
    widths = [item.out_channels for item in convolutions]
    assert widths == [32, 64, 64, 64, 128, 128, 96, 192, 192, 128, 256, 256, 160, 320]
    assert [index for index, item in enumerate(convolutions) if item.stride == (2, 2)] == [2, 5, 8, 11]


def test_training_a_head_does_not_change_the_others():
    torch.manual_seed(0)
    critic = Attributes(width=0.25, data=DataInfo.square(32, CLASSES))
    before = [head.weight.clone() for head in critic.heads]
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    # The light is the side that is bright.
    light = torch.arange(12) % 3
    image = torch.full((12, 3, 32, 32), -0.5)
    for row, side in enumerate(light):
        image[row, :, :, 10 * side : 10 * side + 10] = 0.5
    for _ in range(30):
        output = critic(image + 0.1 * torch.randn_like(image))
        optimizer.zero_grad()
        functional.cross_entropy(output["light_logits"], light).backward()
        optimizer.step()
    assert torch.equal(output["light_logits"].argmax(1), light)
    moved = [not torch.equal(head.weight, old) for head, old in zip(critic.heads, before, strict=True)]
    assert moved == [False, False, True], "in the order of the columns: identity, pose, light"
