"""``enface masks build``: write a recipe's mask to a file that loads back unchanged."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from enface import DataInfo

TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
ODD = """
class Odd(Mask):
    '''Odd.

    Args:
        what: The odd property.
    '''
    def __init__(self, *, what: str, data: DataInfo):
        super().__init__()
        self.what, self.size = what, data.shorter_side
    def forward(self):
        ones = torch.ones(1, 1, self.size, self.size)
        return {"shape": ones[..., :5], "negative": ones.tril() - 2, "flat": ones}[self.what]


class Own(Mask):
    '''Differs from image to image.'''
    def forward(self, target_regions, step): return target_regions[:, None].float()
"""


@pytest.fixture
def masked(recipe: Any) -> Any:
    """Write a toy recipe with masks."""

    def write(masks: dict[str, Any], *plugins: str) -> Path:
        return recipe({"plugins": [TOY, *plugins], "masks": masks})

    return write


@pytest.mark.parametrize(
    "mask",
    [
        {"use": "boundary_from_regions"},
        {"use": "boundary_from_regions", "width": 3, "falloff": 2.5, "inside": 3.7, "outside": 0.2},
        {"use": "ellipse", "inside": 0.5, "outside": 2},
    ],
    ids=["hard", "soft", "ellipse"],
)
def test_a_built_mask_loads_back_unchanged(enface, masked, tmp_path, mask):
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins

    out = tmp_path / "new" / "mask.npy"
    outcome = enface("masks", "build", masked({"edge": mask}), "edge", "--out", out)
    assert outcome.code == 0, outcome.err
    written = np.load(out)
    assert written.shape == (32, 32)
    weights = {"inside": float(written.max()), "outside": float(written.min())}
    loaded = Catalog(load_plugins()).build("mask", "points", {"file": out, **weights}, DataInfo.square(32))(0)
    torch.testing.assert_close(loaded[0, 0], torch.from_numpy(written).float(), rtol=1e-5, atol=1e-6)


def test_it_reports_the_files_it_wrote(enface, masked, tmp_path):
    out = tmp_path / "edge.npy"
    outcome = enface("masks", "build", masked({"edge": {"use": "boundary_from_regions"}}), "edge", "--out", out)
    assert outcome.code == 0, outcome.err
    written = np.load(out)
    assert written.dtype == np.int8
    assert set(np.unique(written)) == {1, 5}
    marked = int((written == 5).sum())
    assert 40 < marked < 250, "the ovals' outlines, and no more"
    lines = outcome.out.splitlines()[-4:]
    assert lines[0] == f"mask: {out}"
    assert lines[1] == f"above the lowest weight: {marked} of 1024 pixels ({100 * marked / 1024:.1f} %)"
    assert lines[2] == f"picture: {out.with_suffix('.png')}"
    assert lines[3] == f"in a recipe: {{use: points, file: {out}, inside: 5, outside: 1}}"
    assert Image.open(out.with_suffix(".png")).size == (480, 480)


def test_the_picture_is_of_the_mean_training_target(enface, masked, tmp_path):
    from enface.recipe.load import load_recipe
    from enface.training.prepare import prepare_run

    # Mark the middle only, so that most of the picture shows the backdrop.
    path = masked({"dot": {"use": "ellipse", "axes": [0.2, 0.2], "inside": 2, "outside": 1}})
    assert enface("masks", "build", path, "dot", "--out", tmp_path / "m.npy").code == 0
    targets = prepare_run(load_recipe(path)).info.targets(20)
    assert len(targets.keys) == 4, "one per training identity"
    shown = np.asarray(Image.open(tmp_path / "m.png"))[7::15, 7::15]
    plain = np.load(tmp_path / "m.npy") == 1
    expected = targets.images.mean(0).transpose(1, 2, 0)
    assert np.abs(shown[plain] - expected[plain]).max() <= 0.5


def test_overrides_reach_the_mask_and_schedules_are_taken_at_step_0(enface, masked, tmp_path):
    rising = {"use": "linear", "start": 2, "end": 9, "over": 10}
    path = masked({"edge": {"use": "boundary_from_regions", "inside": rising}})
    fractions = []
    for width in (1, 3):
        out = tmp_path / f"{width}.npy"
        assert enface("masks", "build", path, "edge", "--out", out, "--set", f"masks.edge.width={width}").code == 0
        assert set(np.unique(np.load(out))) == {1, 2}
        fractions.append((np.load(out) == 2).mean())
    assert fractions[0] < fractions[1]


@pytest.mark.parametrize(
    ("masks", "name", "out", "says"),
    [
        (
            {"edge": {"use": "ellipse"}, "face": {"use": "ellipse"}},
            "egde",
            "m.npy",
            "no mask 'egde'; defined: edge, face",
        ),
        ({}, "edge", "m.npy", "no mask 'edge'; it defines none"),
        ({"edge": {"use": "ellipse"}}, "edge", "m.png", "must end in .npy"),
        ({"edge": {"use": "own"}}, "edge", "m.npy", "it requests target_regions"),
        ({"edge": {"use": "odd", "what": "shape"}}, "edge", "m.npy", "shape (1, 1, 32, 5)"),
        ({"edge": {"use": "odd", "what": "negative"}}, "edge", "m.npy", "negative or not finite"),
        ({"edge": {"use": "odd", "what": "flat"}}, "edge", "m.npy", "weighs every pixel 1"),
        (
            {"edge": {"use": "boundary_from_regions", "regions": ["nose"]}},
            "edge",
            "m.npy",
            "masks.edge: boundary_from_regions: no region is called 'nose'; known: background, face",
        ),
        ({"edge": {"use": "boundary_from_regions", "width": 0}}, "edge", "m.npy", "masks.edge.width"),
    ],
    ids=["unknown", "none", "suffix", "columns", "shape", "negative", "flat", "region", "width"],
)
def test_a_mask_that_cannot_be_built_is_refused(enface, masked, plugin, tmp_path, masks, name, out, says):
    mine = plugin(ODD, brings="Odd, Own")
    outcome = enface("masks", "build", masked(masks, mine), name, "--out", tmp_path / out)
    assert outcome.code == 2
    assert says in outcome.err
    assert not (tmp_path / out).exists()


def test_a_stage_trains_with_it(enface, masked, log, tmp_path):
    path = masked({"edge": {"use": "boundary_from_regions", "inside": 9.0}})
    errors = {}
    for mask in ("null", "edge"):
        outcome = enface(
            *("run", path, "--runs", tmp_path / mask),
            *("--set", f"stages.main.terms.l1.mask={mask}", "--set", "stages.main.steps=2"),
        )
        assert outcome.code == 0, outcome.err
        (directory,) = (tmp_path / mask).glob("*/*")
        errors[mask] = log(directory, "step")[0]["values"]["term/l1"]
    assert errors["edge"] > 1.3 * errors["null"], "marked pixels weigh nine times as much"


def test_no_face_in_any_target_ends_with_code_2(enface, masked, tmp_path):
    pytest.importorskip("dlib")
    if find_spec("face_recognition_models") is None:
        pytest.skip("the landmarks' model is not installed")
    path = masked({"edge": {"use": "boundary_from_landmarks"}})
    outcome = enface("masks", "build", path, "edge", "--out", tmp_path / "m.npy")
    assert outcome.code == 2
    assert "masks.edge: boundary_from_landmarks: no face detected in any of 4 images" in outcome.err
