"""The mask from a file, and the seed system's masked losses by their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataInfo, RecipeError
from enface.plugin.components import Constant
from enface.training.terms import MaskUse, Term
from enface_plugins.losses.l1 import L1
from enface_plugins.losses.mse import MSE
from enface_plugins.masks.points import Points

SIZE = 16


@pytest.fixture
def drawn() -> np.ndarray:
    """As the seed system stored it: 1 everywhere, 5 at the boundary."""
    mask = np.ones((SIZE, SIZE), np.int8)
    mask[3, 4:12] = mask[12, 4:12] = 5
    return mask


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_an_array_of_weights_is_unchanged(tmp_path, drawn, channels):
    np.save(tmp_path / "m.npy", np.repeat(drawn[..., None], channels, 2) if channels else drawn)
    weights = Points(file=tmp_path / "m.npy", data=DataInfo.square(SIZE))(0)
    assert weights.shape == (1, 1, SIZE, SIZE)
    assert torch.equal(weights[0, 0], torch.from_numpy(drawn).float())


def test_an_image_marks_by_brightness_and_weights_are_the_recipes(tmp_path, drawn):
    Image.fromarray(((drawn == 5) * 255).astype(np.uint8)).save(tmp_path / "m.png")
    weights = Points(file=tmp_path / "m.png", inside=3.0, outside=0.5, data=DataInfo.square(SIZE))(0)
    assert set(weights.unique().tolist()) == {0.5, 3.0}
    assert torch.equal(weights[0, 0] == 3, torch.from_numpy(drawn == 5))


def test_another_size_is_resized_by_area(tmp_path, drawn):
    np.save(tmp_path / "m.npy", drawn)
    weights = Points(file=tmp_path / "m.npy", data=DataInfo.square(SIZE // 2))(0)
    assert weights.shape == (1, 1, SIZE // 2, SIZE // 2)
    assert weights.mean().item() == pytest.approx(drawn.mean())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((SIZE, SIZE)), "marks no pixel"),
        (np.eye(SIZE) - 0.5, "negative or not finite"),
        (np.where(np.eye(SIZE) > 0, np.nan, 1), "negative or not finite"),
        (np.eye(SIZE, SIZE + 2), "is 16 x 18, but the images are 16 x 16"),
        (np.arange(SIZE * SIZE * 3).reshape(SIZE, SIZE, 3), "equal channels"),
        (np.array(["a"]), "numbers, H x W"),
    ],
)
def test_arrays_that_are_not_masks_are_refused_naming_the_file(tmp_path, values, message):
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(RecipeError, match=message) as caught:
        Points(file=tmp_path / "m.npy", data=DataInfo.square(SIZE))
    assert "m.npy" in str(caught.value)


@pytest.mark.parametrize("name", ["none.npy", "none.png", "text.npy", "text.png"])
def test_a_missing_or_foreign_file_is_refused_naming_it(tmp_path, name):
    (tmp_path / "text.npy").write_text("no")
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(RecipeError, match=f"{name}.* cannot be read"):
        Points(file=tmp_path / name, data=DataInfo.square(SIZE))


@pytest.mark.parametrize("loss", [L1(), MSE()])
def test_mask_on_images_is_the_seeds_formula(tmp_path, drawn, loss):
    np.save(tmp_path / "m.npy", drawn)
    mask = Points(file=tmp_path / "m.npy", data=DataInfo.square(SIZE))
    output, target = torch.randn(2, 4, 3, SIZE, SIZE).unbind()
    images = {"output": "output", "target": "target"}
    term = Term("t", loss.forward, images, Constant(value=1), MaskUse("m", mask, {"step": "step"}, "images"))
    value = term({"output": output, "target": target, "step": 0}).item()
    weights = drawn.astype(np.float64)
    difference = weights * output.double().numpy() - weights * target.double().numpy()
    expected = np.abs(difference).mean() if isinstance(loss, L1) else np.square(difference).mean()
    assert value == pytest.approx(expected, rel=1e-6)
    if isinstance(loss, MSE):
        # The weight is applied before squaring, so the error has its square.
        squared = np.square(weights) * np.square((output - target).double().numpy())
        assert value == pytest.approx(squared.mean(), rel=1e-5)
