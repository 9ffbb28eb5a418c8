"""Evaluation of stages: the end of each stage on the same images, and the change since the stage it started from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enface.training.build import build_generator
from enface.training.checkpoint import load as load_checkpoint, read_state, save as save_checkpoint
from enface_tools.evaluate.checkpoints import load_network, stage_ends
from enface_tools.evaluate.console import report_stages
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network
from enface_tools.evaluate.results import column_of
from enface_tools.evaluate.stages import evaluate_stages, parent_stage
from enface_tools.evaluate.statistics import interval

STAGE = {"steps": 2, "batch": 4, "optimizer": {"lr": 0.01}, "terms": {"l1": {}}}


def recipe_of(**named):
    return {
        "generator": {"use": "unet", "width": 4, "depth": 3},
        "stages": {"main": False, **{name: {**STAGE, **keys} for name, keys in named.items()}},
        "data": {"identities": 7, "split": {"train": 2, "val": 0, "test": 5}},
        "metrics": ["mae", "psnr"],
        "log": {"checkpoint": 1, "keep": 1, "observers": []},
    }


LADDER = {"a": {}, "b": {"ema": 0.5}, "c": {"start": {"stage": "a"}}, "d": {"start": "scratch"}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, make_trainer):
    """The evaluator of a run with four stages, its evaluated stages, and the calls of the progress function."""
    import yaml

    from enface.recipe.load import load_recipe

    folder = tmp_path_factory.mktemp("ladder")
    toy = str(Path(__file__).parents[2] / "support" / "toy.yaml")
    content = {"extends": toy, "engine": {"device": "cpu", "precision": "fp32"}, **recipe_of(**LADDER)}
    (folder / "ladder.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    trainer = make_trainer(load_recipe(folder / "ladder.yaml"), folder / "run")
    trainer.train()
    evaluator = Evaluator(trainer.run)
    evaluate_network(evaluator, trainer.network)
    calls = []
    return evaluator, evaluate_stages(evaluator, lambda done, whole: calls.append((done, whole))), calls


def table(evaluator, stage):
    path = evaluator.run.directory / "evaluation" / "stages" / f"{stage}.csv"
    return pd.read_csv(path, dtype={"identity": str})


def test_the_stage_a_stage_starts_from(load):
    recipe = load(
        recipe_of(**LADDER, e={"start": {"run": "gone", "stage": "a"}}, f={"start": {"checkpoint": "x"}}, g={})
    ).recipe
    parents = {name: parent_stage(recipe, name) for name in recipe.stages}
    assert parents == {"a": None, "b": "a", "c": "a", "d": None, "e": None, "f": None, "g": "f"}


def test_each_stages_end_is_found(measured):
    ends = stage_ends(measured[0].run.directory)
    assert [(name, read_state(path)["step"]) for name, path in ends.items()] == [("a", 2), ("b", 4), ("c", 6), ("d", 8)]


def test_a_run_on_its_way_has_the_ends_it_has_reached(new_trainer):
    trainer = new_trainer(recipe_of(a={}, b={"steps": 3}))
    trainer.train()
    path = trainer.run.checkpoints / "step-00000005.safetensors"
    saved = load_checkpoint(path)
    path.unlink()
    state = {**saved.state, "stage_ended": False, "stage_step": 2, "step": 4}
    save_checkpoint(path.with_name("step-00000004.safetensors"), saved.tensors, state)
    assert list(stage_ends(trainer.run.directory)) == ["a"]
    assert list(evaluate_stages(Evaluator(trainer.run))) == ["a"]
    assert trainer.run.step == 5, "measuring does not move the run"


def test_every_stage_is_measured_on_the_same_images_by_the_network_it_ended_with(measured):
    evaluator, stages, _ = measured
    assert list(stages) == ["a", "b", "c", "d"]
    assert [(stage.step, stage.after) for stage in stages.values()] == [(2, None), (4, "a"), (6, "a"), (8, None)]
    about = evaluator.about()
    for name, path in stage_ends(evaluator.run.directory).items():
        frame = table(evaluator, name)
        assert frame["key"].tolist() == about["key"].tolist()
        network = load_network(evaluator.run, path).eval()
        wanted = evaluator.measure(evaluator.values(network)).images
        for metric in ("mae", "psnr"):
            np.testing.assert_allclose(frame[metric], wanted[metric], rtol=1e-6)
            assert stages[name].metrics[metric].mean == pytest.approx(frame[metric].mean(), rel=1e-5)
    images = pd.read_csv(evaluator.run.directory / "evaluation" / "images.csv")
    np.testing.assert_allclose(table(evaluator, "d")["mae"], images["mae"], rtol=1e-6)


def test_the_running_average_is_what_a_stage_is_measured_by(measured):
    evaluator, stages, _ = measured
    plain = build_generator(evaluator.run.loaded, evaluator.run.info).eval()
    load_checkpoint(stage_ends(evaluator.run.directory)["b"]).load("generator", plain)
    raw = evaluator.measure(evaluator.values(plain)).images["mae"].mean()
    assert stages["b"].metrics["mae"].mean != pytest.approx(raw, rel=1e-4)


@pytest.mark.parametrize(("stage", "before"), [("b", "a"), ("c", "a")])
@pytest.mark.parametrize("metric", ["mae", "psnr"])
def test_a_change_is_of_the_same_image_and_its_interval_is_over_people(measured, stage, before, metric):
    evaluator, stages, _ = measured
    after = table(evaluator, stage)
    differences = (after[metric] - table(evaluator, before)[metric]).to_numpy()
    change = stages[stage].metrics[metric].change
    assert change.mean == pytest.approx(differences.mean(), rel=1e-4)
    wanted = interval(differences.astype(np.float32), after["identity"].to_numpy())
    assert (change.low, change.high) == pytest.approx(wanted, rel=1e-3)
    assert change.low < change.mean < change.high
    item, earlier = stages[stage].metrics[metric], stages[before].metrics[metric]
    unpaired = (item.high - item.low) + (earlier.high - earlier.low)
    assert change.high - change.low < unpaired


def test_a_stage_from_elsewhere_has_no_change(measured):
    for name in ("a", "d"):
        assert all(item.change is None for item in measured[1][name].metrics.values())


def test_what_is_written(measured):
    evaluator, stages, calls = measured
    folder = evaluator.run.directory / "evaluation"
    assert json.loads((folder / "stages.json").read_text()) == {name: stage.dump() for name, stage in stages.items()}
    assert sorted(path.name for path in (folder / "stages").iterdir()) == sorted(
        f"{name}.{kind}" for name in "abcd" for kind in ("csv", "png")
    )
    grids = [Image.open(folder / "stages" / f"{name}.png") for name in "abcd"]
    assert {grid.size for grid in grids} == {(2 + 5 * 34, 2 + 3 * 34)}
    assert grids[0].tobytes() != grids[3].tobytes(), "each shows its own network's outputs"
    # 5 people of 10 images each, of which one is its own target.
    assert calls.count((45, 45)) == 4, "the progress of each stage"


def test_the_weights_of_each_stage_are_named_and_a_start_from_others_is_a_caveat(new_trainer):
    stages = {"a": {"ema": 0.5}, "b": {}, "c": {"start": {"stage": "a", "average": True}}, "d": {}}
    trainer = new_trainer(recipe_of(**stages))
    trainer.train()
    stages = evaluate_stages(Evaluator(trainer.run))
    assert [stage.weights for stage in stages.values()] == ["average", "plain", "plain", "plain"]
    assert [name for name, stage in stages.items() if "started from" in stage.caveat] == ["b"]
    assert stages["b"].caveat == (
        "b started from the plain weights of a, but its change is relative to the running average, so that it contains "
        "the difference between the two."
    )
    lines = []
    report_stages(stages, SimpleNamespace(say=lines.append))
    assert [line for line in lines if line.startswith("stage")] == [
        "stage a (running average):",
        "stage b after a:",
        "stage c after a:",
        "stage d after c:",
    ]
    assert f"  caveat: {stages['b'].caveat}" in lines


def test_a_metric_may_be_called_as_a_label_is(new_trainer, plugin):
    body = (
        "class Same(Metric):\n    '''Same.'''\n    higher_is_better = False\n    card = {'implementation': 'enface'}\n"
        "    def forward(self, output, target): return (output - target).abs().flatten(1).mean(1)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    content = {"plugins": [plugin(body, brings="Same"), toy], "metrics": {"identity": {"use": "same"}, "mae": {}}}
    trainer = new_trainer(recipe_of(a={}, b={}) | content)
    trainer.train()
    evaluate_stages(Evaluator(trainer.run))
    frame = table(Evaluator(trainer.run), "b")
    assert sorted(frame.columns) == ["identity", "identity.1", "key", "light", "mae", "pose", "target_key"]
    assert set(frame["identity"]) == {"002", "003", "004", "005", "006"}
    np.testing.assert_allclose(frame[column_of(frame, "identity")], frame["mae"], rtol=1e-6)
