"""Evaluation: the right rows, the right numbers, and honest intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from enface.errors import CheckpointError, DataError
from enface.plugin.components import Generator
from enface_tools.evaluate.checkpoints import load_network
from enface_tools.evaluate.evaluator import Evaluator, evaluate_network, mean_target
from enface_tools.evaluate.statistics import interval


@pytest.fixture
def run(load, tmp_path):
    """A run of the toy recipe that nothing has trained yet."""
    from enface.data.pairs import split_rows
    from enface.training.engine import Engine
    from enface.training.run import Run, start_directory
    from enface_tools.packs.building import make_pack

    def build(content=None):
        content = {
            "engine": {"device": "cpu", "precision": "fp32"},
            "data": {"split": {"train": 2, "val": 1, "test": 3}},
            "log": {"observers": []},
            **(content or {}),
        }
        loaded = load(content)
        engine = Engine(loaded.recipe.engine)
        pack = make_pack(loaded.recipe, loaded.catalog)
        directory = tmp_path / "run"
        directory.mkdir(exist_ok=True)
        prepared = Run(directory, loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))
        start_directory(prepared)
        return prepared

    return build


class Copy(Generator):
    """A network whose output is its source, brightened."""

    def __init__(self, more=0.0):
        super().__init__()
        self.more = more

    def forward(self, wants, source):
        assert wants == {"output"}
        assert not self.training
        return {"output": source + self.more}


def unit(run, rows):
    return run.pack.images[rows].astype(np.float64) / 255


def saved(images):
    """Images in [0, 1] as a file of 8 bits holds them."""
    return np.floor(images * 255 + 0.5) / 255


def test_numbers_are_those_computed_by_hand(run):
    prepared = run()
    evaluator = Evaluator(prepared)
    frame = evaluator.measure(lambda column: {"output": column("source") + 0.1}).images
    output = saved((unit(prepared, evaluator.rows["source"]) + 0.05).clip(0, 1))
    wanted = np.abs(output - unit(prepared, evaluator.rows["target"])).mean((1, 2, 3))
    np.testing.assert_allclose(frame["mae"], wanted, rtol=1e-4, atol=1e-6)


def test_every_test_image_but_the_targets_themselves_is_measured_once_and_no_other(run):
    prepared = run()
    evaluator = Evaluator(prepared)
    table = prepared.pack.table
    # Each of the three people has one image that is the target of all ten.
    frontal = (table["pose"] == 0) & (table["light"] == 0)
    assert sorted(evaluator.rows["source"]) == [row for row in sorted(prepared.rows["test"]) if not frontal[row]]
    assert (evaluator.self_pairs.count, evaluator.self_pairs.measured) == (3, False)
    about = evaluator.about()
    assert not (about["key"] == about["target_key"]).any()
    assert set(about["identity"]) == {"003", "004", "005"}
    targets = prepared.pack.table.set_index("key").loc[about["target_key"]]
    assert (targets["identity"].to_numpy() == about["identity"].to_numpy()).all()
    assert set(targets["pose"]) == {0}


def test_the_batch_changes_no_number(run):
    first = (
        Evaluator(run({"evaluation": {"batch": 64}})).measure(lambda column: {"output": column("source") * 0.5}).images
    )
    second = (
        Evaluator(run({"evaluation": {"batch": 7}})).measure(lambda column: {"output": column("source") * 0.5}).images
    )
    np.testing.assert_allclose(first["mae"], second["mae"], rtol=1e-6)


def test_fewer_images_are_evenly_spread(run):
    evaluator = Evaluator(run({"evaluation": {"images": 6}}))
    assert len(evaluator.rows["source"]) == 6
    assert set(evaluator.about()["identity"]) == {"003", "004", "005"}


def test_self_pairs_are_measured_if_the_recipe_says_so(run):
    prepared = run({"evaluation": {"self_pairs": True}})
    evaluator = Evaluator(prepared)
    assert sorted(evaluator.rows["source"]) == sorted(prepared.rows["test"])
    assert (evaluator.self_pairs.count, evaluator.self_pairs.measured) == (3, True)
    copied = evaluator.measure(lambda column: {"output": column("source")}).images["mae"]
    assert (copied == 0).sum() == 3


def test_copying_the_source_gains_nothing_from_self_pairs(run):
    """The baseline is the mean over 27 pairs; with the three zeros of the self-pairs it would be a tenth lower."""
    prepared = run()
    evaluator = Evaluator(prepared)
    table, rows = prepared.pack.table, prepared.rows["test"]
    frontal = {table["identity"][row]: row for row in rows if (table["pose"][row], table["light"][row]) == (0, 0)}
    others = [row for row in rows if row not in frontal.values()]
    targets = [frontal[table["identity"][row]] for row in others]
    wanted = np.abs(unit(prepared, others) - unit(prepared, targets)).mean()
    assert evaluator.baselines()["source"].mean("mae") == pytest.approx(wanted, rel=1e-4)
    assert Evaluator(prepared, "val").self_pairs.count == 1, "validation leaves them out, too"


def test_leaving_self_pairs_out_changes_no_other_pair(run):
    """All targets are drawn before any pair is left out."""
    split = {"pairs": {"target": {"same": ["identity"]}}}
    one, two = (Evaluator(run({**split, "evaluation": {"self_pairs": switch}})).about() for switch in (False, True))
    other = two[two["key"] != two["target_key"]].reset_index(drop=True)
    assert 0 < len(one) < len(two)
    pd.testing.assert_frame_equal(one, other)


def test_only_self_pairs_leave_nothing_to_measure(run):
    with pytest.raises(DataError, match=r"the target of every test image is the image itself.*self_pairs: true"):
        Evaluator(run({"pairs": {"source": {"where": {"pose": 0, "light": 0}}}}))


def test_baselines_are_the_source_and_the_mean_training_target(run):
    prepared = run()
    evaluator = Evaluator(prepared)
    baselines = evaluator.baselines()
    source, target = (unit(prepared, evaluator.rows[name]) for name in ("source", "target"))
    copied = np.abs(source - target).mean((1, 2, 3))
    np.testing.assert_allclose(baselines["source"].images["mae"], copied, rtol=1e-4, atol=1e-6)
    table = prepared.pack.table.iloc[prepared.rows["train"]]
    frontal = table[(table["pose"] == 0) & (table["light"] == 0)].index.to_numpy()
    # Each identity has as many sources, so each frontal view counts the same.
    mean = unit(prepared, frontal).mean(0)
    given = (mean_target(prepared).numpy() + 1) / 2
    np.testing.assert_allclose(given, mean, atol=1e-5)
    np.testing.assert_allclose(
        baselines["mean_target"].images["mae"], np.abs(saved(given) - target).mean((1, 2, 3)), rtol=1e-4, atol=1e-5
    )


def test_validation_scores_the_mean_distance_to_an_ideal_not_the_distance_of_the_mean(run, plugin):
    """Half of the numbers are 0, half are 2: their mean is ideal, and every image is at a distance of 1."""
    body = (
        "class Swinging(Metric):\n    '''Swinging.'''\n    higher_is_better = True\n    ideal = 1.0\n"
        "    card = {'implementation': 'test'}\n"
        "    def forward(self, output, target): return (torch.arange(len(output)) % 2 * 2).float()\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    content = {"plugins": [plugin(body, brings="Swinging"), toy], "metrics": {"swinging": {}, "mae": {}}}
    content |= {"evaluation": {"images": 8}}
    evaluator = Evaluator(run(content), "val")
    validations = evaluator.validate(Copy(0.1).eval())
    assert validations["swinging"] == (1.0, -1.0)
    value, score = validations["mae"]
    assert score == -value < 0


def test_what_is_written(run):
    prepared = run({"metrics": ["mae", "psnr"]})
    network = Copy(0.1).train()
    summary = evaluate_network(Evaluator(prepared), network)
    folder = prepared.directory / "evaluation"
    assert json.loads((folder / "summary.json").read_text()) == summary.dump()
    frame = pd.read_csv(folder / "images.csv", dtype={"identity": str})
    assert len(frame) == summary.images == 27
    assert summary.self_pairs.dump() == {"count": 3, "measured": False}
    assert {"key", "target_key", "identity", "pose", "light", "mae", "psnr"} <= set(frame.columns)
    item = summary.metrics["mae"]
    assert item.mean == pytest.approx(frame["mae"].mean(), rel=1e-5)
    assert (item.low, item.high) == (None, None), "three people have no interval"
    assert item.higher_is_better is False
    assert summary.metrics["psnr"].higher_is_better is True
    assert item.card["implementation"]
    assert summary.identities == 3
    assert list(summary.by["pose"]) == ["-30", "-15", "0", "15", "30"]
    for pose, part in summary.by["pose"].items():
        here = frame[frame["pose"] == int(pose)]
        # Three of the frontal images are their own targets.
        assert part.images == len(here) == (3 if pose == "0" else 6)
        assert part.metrics["mae"].mean == pytest.approx(here["mae"].mean(), rel=1e-5)
    assert (folder / "grid.png").stat().st_size > 0


def test_a_metric_without_its_weights_is_unavailable_and_the_others_go_on(run, plugin):

    body = (
        "from enface import WeightsError\nclass Absent(Metric):\n    '''Absent.'''\n    higher_is_better = True\n"
        "    def __init__(self):\n        raise WeightsError('fetch them with: enface weights fetch absent')\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    prepared = run({"plugins": [plugin(body, brings="Absent"), toy], "metrics": ["mae", "absent"]})
    summary = evaluate_network(Evaluator(prepared), Copy())
    assert list(summary.metrics) == ["mae"]
    assert summary.unavailable == {"absent": "fetch them with: enface weights fetch absent"}


def test_an_interval_is_over_people_not_images():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 50)
    person = rng.normal(0, 1, 20)
    values = person[people] + rng.normal(0, 0.01, 1000)
    low, high = interval(values, people)
    by_person = 2 * 1.96 * person.std() / np.sqrt(20)
    by_image = 2 * 1.96 * values.std() / np.sqrt(1000)
    assert high - low == pytest.approx(by_person, rel=0.15)
    assert high - low > 5 * by_image


# ------------------------------------------------------------------ networks


def test_the_average_is_what_is_judged(run):
    from enface.training.checkpoint import digest
    from enface.training.trainer import Trainer

    prepared = run({"stages": {"main": {"steps": 3, "ema": 0.5, "optimizer": {"lr": 0.01}}}})
    trainer = Trainer(prepared)
    trainer.train()
    network = load_network(prepared)
    assert digest(network) == digest(trainer.network) != digest(trainer.generator)


def test_a_run_without_a_checkpoint(run):
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_network(run())


def test_a_checkpoint_of_another_network(run):
    from enface.training.trainer import Trainer

    prepared = run({"stages": {"main": {"steps": 1}}})
    Trainer(prepared).train()
    other = run({"generator": {"width": 0.25}})
    with pytest.raises(CheckpointError, match="does not fit this recipe's network"):
        load_network(other)


def test_a_metric_may_be_called_as_a_label_is(run, plugin):

    from enface_tools.evaluate.results import Results

    body = (
        "class Same(Metric):\n    '''Same.'''\n    higher_is_better = False\n    card = {'implementation': 'enface'}\n"
        "    def forward(self, output, target): return (output - target).abs().flatten(1).mean(1)\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    content = {"plugins": [plugin(body, brings="Same"), toy], "metrics": {"identity": {"use": "same"}, "mae": {}}}
    evaluate_network(Evaluator(prepared := run(content)), Copy())
    results = Results.read(prepared.directory)
    assert list(results.numbers.columns) == ["identity", "mae"]
    np.testing.assert_allclose(results.numbers["identity"], results.numbers["mae"], rtol=1e-6)
    assert set(results.about["identity"]) == {"003", "004", "005"}
    assert "mae" not in results.about
