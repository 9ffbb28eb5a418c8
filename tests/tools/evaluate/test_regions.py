"""Regions of an evaluation: masks by name, measured where each target has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enface.errors import RecipeError
from enface.recipe.models import EvaluationModel
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network
from enface_tools.evaluate.results import Results


@pytest.fixture
def run(new_trainer):
    def make(content):
        split = {"train": 2, "val": 1, "test": 3}
        plain = {"data": {"split": split}, "metrics": ["mae"], "log": {"observers": []}}
        return new_trainer({**plain, **content}).run

    return make


FACE = {"use": "face_part", "part": "face"}


def test_a_region_is_measured_where_each_target_has_it(run, tmp_path):
    trained = run({"evaluation": {"regions": {"face": FACE, "rim": {"use": "ellipse", "inside": 0, "outside": 1}}}})
    evaluator = Evaluator(trained)
    table = evaluator.measure(lambda column: {"output": column("source")}).images
    assert list(table.columns) == ["mae", "mae@face", "mae@rim"]
    source, target = (trained.pack.images[evaluator.rows[role]] / 255 for role in ("source", "target"))
    inside = trained.pack.regions[evaluator.rows["target"]] == 1
    wanted = [np.abs(s - t).mean(0)[face].mean() for s, t, face in zip(source, target, inside, strict=True)]
    np.testing.assert_allclose(table["mae@face"], wanted, rtol=1e-4, atol=1e-6)
    # Validation in training asks for no regions.
    assert list(evaluator.measure(lambda column: {"output": column("source")}, regions=False).images.columns) == ["mae"]


def test_the_evaluation_writes_them(run):
    from enface.training.build import build_generator

    trained = run({"evaluation": {"regions": {"face": FACE}}})
    trained.directory.mkdir(exist_ok=True)
    summary = evaluate_network(Evaluator(trained), build_generator(trained.loaded, trained.info))
    results = Results.read(trained.directory)
    assert summary.regions["face"].metrics["mae"].mean == pytest.approx(results.numbers["mae@face"].mean())


def test_a_region_whose_needs_are_not_installed_is_unavailable(run, plugin):

    body = (
        "from enface import WeightsError\nclass Far(Mask):\n    '''Far.'''\n    def __init__(self):\n"
        "        raise WeightsError('pip install far')\n    def forward(self, step): return step\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    trained = run({"plugins": [plugin(body, brings="Far"), toy], "evaluation": {"regions": {"away": {"use": "far"}}}})
    evaluator = Evaluator(trained)
    assert evaluator.unavailable == {"region away": "pip install far"}
    assert list(evaluator.measure(lambda column: {"output": column("source")}).images.columns) == ["mae"]


SEARCHED = """
class Searched(Mask):
    '''The left half of targets of even number; the others are not found.'''
    def __init__(self, *, width: int = 16):
        super().__init__()
        self.width = width
    def undetected(self, target): return (target.flatten(1).mean(1) * 1000).long() % 2 == 1
    def forward(self, target):
        weights = torch.zeros(len(target), 1, *target.shape[2:])
        weights[..., : self.width] = 1
        weights[self.undetected(target)] = 0
        return weights
"""


def test_targets_in_which_a_region_was_not_found_are_a_caveat(run, plugin):
    """A region that is simply absent, as glasses are, has none."""
    from enface.training.build import build_generator

    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    regions = {"left": {"use": "searched"}, "wide": {"use": "searched", "width": 20}, "face": FACE}
    content = {"plugins": [plugin(SEARCHED, brings="Searched"), toy], "evaluation": {"regions": regions, "batch": 4}}
    trained = run(content)
    trained.directory.mkdir(exist_ok=True)
    evaluator = Evaluator(trained)
    summary = evaluate_network(evaluator, build_generator(trained.loaded, trained.info))
    targets = trained.pack.images[evaluator.rows["target"]].astype(np.float64) / 127.5 - 1
    missed = (targets.mean((1, 2, 3)) * 1000).astype(int) % 2 == 1
    people = sorted(set(evaluator.about()["identity"][missed]))
    assert 0 < len(people) < 3, "the toy faces are of both kinds"
    (caveat,) = [sentence for sentence in summary.caveats if sentence.startswith("Region")]
    assert caveat == (
        f"Regions left and wide: not detected in the targets of {missed.sum()} of 27 images, of {len(people)} people "
        f"({', '.join(people)}); these images have no number there."
    )
    assert summary.regions["left"].metrics["mae"].images == 27 - missed.sum()


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
