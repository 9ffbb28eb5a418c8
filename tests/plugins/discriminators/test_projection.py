"""The projection discriminator: its formula, the label, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

from enface import DataInfo, RecipeError
from enface_plugins.discriminators.projection import Projection

DATA = DataInfo.square(32, {"pose": 5, "light": 3, "key": 60})


def critic_of(**params) -> Projection:
    torch.manual_seed(0)
    return Projection(**{"column": "pose", "width": 4, **params}, data=params.pop("data", DATA))


@pytest.mark.parametrize(("size", "levels"), [(32, 4), (33, 3), (96, 4), (4, 2)])
def test_shapes(size, levels):
    critic = Projection(column="pose", width=4, levels=levels, data=DataInfo.square(size, DATA.classes))
    output = critic(torch.randn(3, 3, size, size), torch.tensor([0, 4, 2]))
    assert output["logits"].shape == (3,)
    sides = [size // 2**level for level in range(1, levels + 1)]
    assert [item.shape[-1] for item in output["features"]] == [*sides, sides[-1]]


def test_the_logits_are_the_papers_formula():
    critic = critic_of().eval()
    image, label = torch.randn(4, 3, 32, 32), torch.tensor([0, 4, 2, 2])
    with torch.no_grad():
        output = critic(image, label)
        last = output["features"][-1].numpy()
        phi = np.maximum(last, 0).sum((2, 3))
        psi, bias = critic.psi.weight.numpy()[0], critic.psi.bias.item()
        embedded = critic.embed.weight.numpy()[label.numpy()]
    expected = [psi @ phi[n] + bias + embedded[n] @ phi[n] for n in range(4)]
    np.testing.assert_allclose(output["logits"].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_logits_depend_on_the_label():
    critic = critic_of().eval()
    image = torch.randn(1, 3, 32, 32).expand(5, -1, -1, -1)
    logits = critic(image, torch.arange(5))["logits"]
    assert len({round(item, 5) for item in logits.tolist()}) == 5


def test_every_layer_and_the_embedding_have_spectral_norm():
    critic = critic_of()
    layers = [
        item for item in critic.modules() if isinstance(item, torch.nn.Conv2d | torch.nn.Linear | torch.nn.Embedding)
    ]
    assert all(parametrize.is_parametrized(layer) for layer in layers)
    assert len(layers) == 5 * 2 + 4 + 2, "two convolutions a block, a shortcut where the size changes, psi and embed"
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.15)


def test_the_number_of_classes_is_the_columns():
    assert critic_of(column="light").embed.weight.shape[0] == 3


@pytest.mark.parametrize("column", ["age", "key"])
def test_an_unknown_column_is_an_error_that_lists_the_known_ones(column):
    with pytest.raises(RecipeError, match=f"no column '{column}' with classes; known: light, pose"):
        critic_of(column=column)


@pytest.mark.parametrize("label", [[0, 5], [-1, 0], [0.0, 1.0]])
def test_a_label_that_is_not_a_class_is_an_error_that_names_the_column(label):
    with pytest.raises(RecipeError, match=r"use inputs: \{label: target_pose_class\}"):
        critic_of()(torch.randn(2, 3, 32, 32), torch.tensor(label))


def test_too_small_images_are_an_error_that_names_what_fits():
    with pytest.raises(RecipeError, match="levels: 6 needs images of at least 64 px, these have 32; use levels: 5"):
        critic_of(levels=6)
