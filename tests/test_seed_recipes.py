"""The seed system's recipes hold its documented figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface.loading import load_recipe

SEED = Path(__file__).resolve().parents[1] / "recipes" / "seed"
TERMS = ("recon", "con_light", "con_pose", "con_identity", "class_pose", "class_light")


@pytest.mark.parametrize(
    ("name", "weights"),
    [("same_weights", (1, 1, 1, 1, 1, 1)), ("large_pose_light", (1, 20, 50, 10, 70, 50))],
)
def test_the_first_runs(name, weights):
    recipe = load_recipe(SEED / f"{name}.yaml").recipe
    (stage,) = recipe.stages.values()
    assert (stage.steps, stage.batch) == (100_000, 48)
    assert (stage.optimizer.use, stage.optimizer.lr, stage.optimizer.params["betas"]) == ("adam", 1e-4, [0.7, 0.999])
    assert tuple(stage.terms) == TERMS
    assert tuple(term.weight for term in stage.terms.values()) == weights
    assert [term.use for term in stage.terms.values()] == ["l1", *["contrastive"] * 3, *["cross_entropy"] * 2]
    assert (recipe.data.size, recipe.generator.params["width"]) == (96, 1.0)


def test_a_first_run_trains_on_a_made_up_multipie(enface, tmp_path):
    import numpy as np
    from PIL import Image

    for person in ("001", "002", "003", "004"):
        for camera in ("130", "140", "051", "050"):
            for light in ("00", "07"):
                tone = np.random.default_rng(int(person + camera)).integers(0, 255, (8, 8, 3), np.uint8)
                Image.fromarray(tone).resize((36, 36)).save(tmp_path / f"{person}_01_01_{camera}_{light}.png")
    small = ("data.size=32", "data.split.train=3", "stages.disentangle.steps=2", "stages.disentangle.batch=4")
    quick = ("generator.width=0.125", "metrics=[l1]", f"data.root={tmp_path}", "evaluation.bootstrap=100")
    words = [word for item in (*small, *quick) for word in ("--set", item)]
    outcome = enface("run", SEED / "large_pose_light.yaml", *words, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert all(f"{name} " in outcome.out for name in TERMS)
