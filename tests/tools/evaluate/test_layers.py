"""The layers of an output: pictures that show what was moved and painted, and shares of each."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from enface.errors import DataError
from enface.plugin.components import Generator
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network
from enface_tools.evaluate.layers import (
    flow_colours,
    has_layers,
    layer_colours,
    layer_names,
    layer_rows,
    layer_shares,
    longest_flow,
    masks_map,
    moved,
    summarized,
)
from enface_tools.evaluate.models import LayerSummary, parse


class Layered(Generator):
    """Keeps the source as far as it is bright, and paints the rest black; the mirror image is never used."""

    provides = dict.fromkeys(("output", "masks", "flow", "painted"), ("source",))
    images = ("source", "mirror")

    def forward(self, wants, source):
        light = (source.mean(1, keepdim=True) + 1) / 2
        masks = torch.cat([light, torch.zeros_like(light), 1 - light], 1)
        painted = torch.full_like(source, -1)
        flow = source.new_zeros(len(source), 2, 2, *source.shape[2:])
        output = light * source + (1 - light) * painted
        return {"output": output, "masks": masks, "flow": flow, "painted": painted}


def test_a_pixel_has_the_colours_of_its_layers_in_the_proportions_of_the_masks():
    masks = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5]]).view(1, 3, 1, 4)
    colours = masks_map(masks, ["source", "mirror", "painted"])[0, :, 0].T * 255
    wanted = [[0, 114, 178], [86, 180, 233], [213, 94, 0], [106.5, 104, 89]]
    torch.testing.assert_close(colours, torch.tensor(wanted), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [2, 4, 7])
def test_unnamed_images_have_colours_of_their_own(count):
    names = layer_names(torch.nn.Identity(), count)
    assert names == (*(f"image {number}" for number in range(1, count)), "painted")
    assert len(set(layer_colours(names).values())) == count


def test_names_are_those_of_the_generator_if_it_has_one_for_each_mask():
    assert layer_names(Layered(), 3) == ("source", "mirror", "painted")
    assert layer_names(Layered(), 4) == ("image 1", "image 2", "image 3", "painted")
    assert has_layers(Layered())
    assert not has_layers(Generator())


def test_a_flow_has_the_colours_of_the_middlebury_wheel():
    """To the right is red, none is white, half the longest is half as strong, and longer flows are cut."""
    flow = torch.tensor([[4.0, 0.0], [0.0, 0.0], [2.0, 0.0], [400.0, 0.0]]).T.reshape(1, 2, 1, 4)
    colours = flow_colours(flow, 4.0)[0, :, 0].T * 255
    wanted = [[255, 0, 0], [255, 255, 255], [255, 127, 127], [255, 0, 0]]
    torch.testing.assert_close(colours, torch.tensor(wanted, dtype=torch.float32), atol=1.01, rtol=0)
    assert flow_colours(torch.zeros(1, 2, 3, 5), 0.0).min() == 1


def test_a_few_long_flows_do_not_fade_the_others():
    flow = torch.full((1, 2, 10, 100), 3.0)
    flow[..., 0, 0] = 1e4
    assert longest_flow(flow) == pytest.approx(3 * 2**0.5)


def test_an_image_is_sampled_at_each_pixel_plus_its_flow():
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(2, -1, 5, 7)
    result = moved(image, flow)
    torch.testing.assert_close(result[..., 1:, :5], image[..., :4, 2:])
    torch.testing.assert_close(result[..., 0, :5], image[..., 0, 2:], msg="the edge is repeated")


def test_rows_are_those_that_the_generator_makes_possible():
    source, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    masks, flow = torch.full((1, 3, 4, 4), 1 / 3), torch.ones(1, 2, 2, 4, 4)
    values = {"source": source, "output": source, "masks": masks}
    rows, longest = layer_rows(values, ["source", "mirror", "painted"])
    assert (list(rows), longest) == (["source", "masks", "output"], None)
    everything = values | {"partner": target, "flow": flow, "painted": source, "target": target}
    rows, longest = layer_rows(everything, ["source", "partner", "painted"])
    order = ["source", "partner", "moved", "from partner", "painted", "masks", "flow", "output", "target"]
    assert list(rows) == order
    assert longest == pytest.approx(2**0.5)
    assert {picture.shape for picture in rows.values()} == {(1, 3, 4, 4)}
    rows, _ = layer_rows(everything, ["image 1", "image 2", "painted"])
    assert "moved" not in rows, "nothing is known of these images"


def test_the_mirror_image_is_moved_along_its_own_flow():
    source = torch.arange(4.0).div(3).expand(1, 3, 1, 4)
    flow = torch.zeros(1, 2, 2, 1, 4)
    flow[:, 1, 0] = 1
    values = {"source": source * 2 - 1, "output": source, "masks": torch.ones(1, 3, 1, 4) / 3, "flow": flow}
    rows, _ = layer_rows(values, ["source", "mirror", "painted"])
    torch.testing.assert_close(rows["moved"], source)
    torch.testing.assert_close(rows["mirrored"][0, 0, 0] * 3, torch.tensor([2.0, 1.0, 0.0, 0.0]))


def test_shares_are_means_of_the_masks_in_each_region():
    masks = torch.zeros(2, 2, 2, 2)
    masks[0, 0], masks[0, 1] = torch.tensor([[1.0, 0.5], [0.0, 0.0]]), torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    masks[1, 1] = 1
    top = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    rare = torch.zeros(2, 1, 2, 2)
    rare[0, 0, 0] = torch.tensor([1.0, 3.0])
    shares = layer_shares(masks, {"top": top, "rare": rare})
    np.testing.assert_allclose(shares[""], [[0.375, 0.625], [0, 1]])
    np.testing.assert_allclose(shares["top"], [[0.75, 0.25], [0, 1]])
    np.testing.assert_allclose(shares["rare"], [[0.625, 0.375], [np.nan, np.nan]])


def test_means_have_intervals_over_people_and_stay_between_0_and_1():
    people = [f"{number // 2}" for number in range(12)]
    about = pd.DataFrame({"key": people, "identity": people, "pose": [0, 60] * 6})
    painted = np.array([0, 0.2, 0, 0.4, 0, 0.3, 0, 0.3, 0, 0.3, 0.01, 0.3], np.float32)
    shares = {"": np.stack([1 - painted, painted], 1), "eyes": np.full((12, 2), np.nan, np.float32)}
    summary = summarized(shares, ["source", "painted"], about, rows=["masks"], longest=None)
    assert summary.pixels.all.images == 12
    assert summary.pixels.all.shares["painted"].mean == pytest.approx(1.81 / 12)
    front, side = (summary.pixels.by["pose"][pose].shares["painted"] for pose in ("0", "60"))
    assert (front.mean, side.mean) == (pytest.approx(0.01 / 6), pytest.approx(0.3))
    # Six people: 0.3 -+ t(5) sd / sqrt(6), with sd of (0.2, 0.4, 0.3, 0.3, 0.3, 0.3) = 0.0632.
    assert (side.low, side.high) == (pytest.approx(0.3 - 2.571 * 0.0258, abs=1e-3), pytest.approx(0.3664, abs=1e-3))
    assert front.low == 0
    assert summary.regions["eyes"].all.dump() == {
        "images": 0,
        "shares": {name: {"mean": None, "low": None, "high": None} for name in ("source", "painted")},
    }


def test_shares_of_other_layers_are_refused():
    shares = {"images": 1, "shares": {"source": {"mean": 1.0, "low": None, "high": None}}}
    content = {"layers": ["source", "painted"], "rows": [], "longest_flow": None, "pixels": {"all": shares}}
    with pytest.raises(DataError, match=r"layers.json is damaged \(shares of source are not those of source, painted"):
        parse(json.dumps(content), LayerSummary, "layers.json")


# ------------------------------------------------------------------ evaluation


@pytest.fixture
def run(load, make_trainer, tmp_path):
    def build(**content):
        content |= {"data": {"split": {"train": 2, "val": 1, "test": 3}}, "log": {"observers": []}}
        content |= {"engine": {"device": "cpu", "precision": "fp32"}}
        return make_trainer(load(content), tmp_path / "run").run

    return build


def test_an_evaluation_writes_the_layers_of_every_image(run):
    prepared = run(evaluation={"batch": 7})
    evaluator = Evaluator(prepared)
    evaluate_network(evaluator, Layered())
    folder = prepared.directory / "evaluation"
    summary = parse((folder / "layers.json").read_text(), LayerSummary, "layers.json")
    light = prepared.pack.images[evaluator.rows["source"]].astype(np.float64).mean((1, 2, 3)) / 255
    poses = prepared.pack.table["pose"].to_numpy()[evaluator.rows["source"]]
    assert summary.layers == ["source", "mirror", "painted"]
    assert summary.pixels.all.images == len(light) == 27
    assert summary.pixels.all.shares["source"].mean == pytest.approx(light.mean(), rel=1e-4)
    assert summary.pixels.all.shares["mirror"].mean == 0
    assert list(summary.pixels.by) == ["pose", "light"]
    for pose, part in summary.pixels.by["pose"].items():
        assert part.shares["painted"].mean == pytest.approx(1 - light[poses == int(pose)].mean(), rel=1e-4)
    grid = np.asarray(Image.open(folder / "layers.png"))
    images = grid[2:, 2:].reshape(len(summary.rows), 34, 3, 34, 3)[:, :32, :, :32].transpose(0, 2, 1, 3, 4)
    rows = dict(zip(summary.rows, images, strict=True))
    assert list(rows) == ["source", "moved", "mirrored", "painted", "masks", "flow", "output", "target"]
    np.testing.assert_array_equal(rows["moved"], rows["source"])
    np.testing.assert_array_equal(rows["mirrored"], rows["source"][:, :, ::-1])
    assert rows["painted"].max() == 0
    assert rows["flow"].min() == 255, "nothing is moved"
    others = np.asarray(Image.open(folder / "grid.png"))[2:, 2:].reshape(3, 34, 3, 34, 3)
    for place, name in enumerate(["source", "output", "target"]):
        np.testing.assert_array_equal(rows[name], others[place, :32, :, :32].transpose(1, 0, 2, 3))


def test_parts_of_the_face_have_shares_of_their_own(run):
    """Shares in a region of the target are means over its pixels, image by image."""
    prepared = run(evaluation={"regions": {"face": {"use": "regions", "weights": {"face": 1}, "others": 0}}})
    evaluator = Evaluator(prepared)
    evaluate_network(evaluator, Layered())
    summary = parse((prepared.directory / "evaluation/layers.json").read_text(), LayerSummary, "layers.json")
    face = prepared.pack.regions[evaluator.rows["target"]] == 1
    light = prepared.pack.images[evaluator.rows["source"]].astype(np.float64).mean(1) / 255
    wanted = np.mean([image[mask].mean() for image, mask in zip(light, face, strict=True)])
    assert summary.regions["face"].all.shares["source"].mean == pytest.approx(wanted, rel=1e-4)


def test_a_generator_without_masks_has_no_layers(run):
    class Copy(Generator):
        def forward(self, wants, source):
            return {"output": source}

    prepared = run()
    evaluate_network(Evaluator(prepared), Layered())
    evaluate_network(Evaluator(prepared), Copy())
    assert not list((prepared.directory / "evaluation").glob("layers.*"))
