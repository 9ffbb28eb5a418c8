"""Regions of an evaluation: masks by name, measured where each target has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enface.errors import RecipeError
from enface.recipe.models import EvaluationModel
from enface_tools.evaluate.evaluator import Evaluator
from enface_tools.evaluate.results import Results


@pytest.fixture
def run(new_trainer):
    def make(content):
        split = {"train": 2, "val": 1, "test": 3}
        plain = {"data": {"split": split}, "metrics": ["l1"], "log": {"observers": []}}
        return new_trainer({**plain, **content}).run

    return make


FACE = {"use": "face_part", "part": "face"}


def test_a_region_is_measured_where_each_target_has_it(run, tmp_path):
    trained = run({"evaluation": {"regions": {"face": FACE, "rim": {"use": "ellipse", "inside": 0, "outside": 1}}}})
    evaluator = Evaluator(trained)
    table = evaluator.measure(lambda source: source).images
    assert list(table.columns) == ["l1", "l1@face", "l1@rim"]
    source, target = (trained.pack.images[evaluator.rows[role]] / 255 for role in ("source", "target"))
    inside = trained.pack.regions[evaluator.rows["target"]] == 1
    wanted = [np.abs(s - t).mean(0)[face].mean() for s, t, face in zip(source, target, inside, strict=True)]
    np.testing.assert_allclose(table["l1@face"], wanted, rtol=1e-4, atol=1e-6)
    # Validation in training asks for no regions.
    assert list(evaluator.measure(lambda source: source, regions=False).images.columns) == ["l1"]


def test_the_evaluation_writes_them(run):
    from enface.training.build import build_generator
    from enface_tools.evaluate.evaluator import evaluate_network

    trained = run({"evaluation": {"regions": {"face": FACE}}})
    trained.directory.mkdir(exist_ok=True)
    summary = evaluate_network(Evaluator(trained), build_generator(trained.loaded, trained.info))
    results = Results.read(trained.directory)
    assert summary.regions["face"].metrics["l1"].mean == pytest.approx(results.numbers["l1@face"].mean())


def test_a_region_whose_needs_are_not_installed_is_unavailable(run, plugin):

    body = (
        "from enface import WeightsError\nclass Far(Mask):\n    '''Far.'''\n    def __init__(self):\n"
        "        raise WeightsError('pip install far')\n    def forward(self, step): return step\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    trained = run({"plugins": [plugin(body, brings="Far"), toy], "evaluation": {"regions": {"away": {"use": "far"}}}})
    evaluator = Evaluator(trained)
    assert evaluator.unavailable == {"region away": "pip install far"}
    assert list(evaluator.measure(lambda source: source).images.columns) == ["l1"]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"eyes": {"use": "face_prat"}}, r"evaluation\.regions\.eyes\.use: no mask is called 'face_prat'"),
        ({"eyes": {"use": "face_part", "prat": "eyes"}}, r"evaluation\.regions\.eyes\.prat"),
        ({"eyes": {"use": "face_part", "part": "knees"}}, r"evaluation\.regions\.eyes: face_part: no part .*'knees'"),
    ],
)
def test_a_region_that_is_wrong_is_named(run, regions, message):
    with pytest.raises(RecipeError, match=message):
        Evaluator(run({"evaluation": {"regions": regions}}))


def test_a_mask_that_asks_for_what_there_is_not(run, plugin):

    body = "class Odd(Mask):\n    '''Odd.'''\n    def forward(self, glasses): return glasses\n"
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    trained = run({"plugins": [plugin(body, brings="Odd"), toy], "evaluation": {"regions": {"odd": {}}}})
    with pytest.raises(RecipeError, match=r"evaluation\.regions\.odd: asks for 'glasses'"):
        Evaluator(trained)


def test_a_child_may_drop_a_region():
    model = EvaluationModel.model_validate({"regions": {"eyes": False, "face": {"use": "face_part"}}})
    assert list(model.regions) == ["face"]
