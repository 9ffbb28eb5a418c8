"""The stage loop: averages, freezes, samples, checkpoints kept, and what a stage inherits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from enface.errors import NonFiniteLossError
from enface.training.checkpoint import digest, load, read_state
from enface.training.trainer import Trainer

UNET = {"use": "unet", "width": 4, "depth": 3}
PATCH = {"patch": {"use": "patch_gan", "width": 4, "layers": 1}}


@pytest.fixture
def trainer(load, tmp_path):
    """A trainer in a run directory of its own; the words are as for a recipe."""
    from enface.data.pack import make_pack
    from enface.data.pairs import split_rows
    from enface.training.engine import Engine
    from enface.training.run import Run, start_directory

    def build(content, **options):
        content = {"engine": {"device": "cpu", "precision": "fp32"}, **content}
        loaded = load(content)
        engine = Engine(loaded.recipe.engine)
        pack = make_pack(loaded.recipe, loaded.catalog)
        directory = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        run = Run(directory, loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))
        start_directory(run)
        return Trainer(run, **options)

    return build


class Watch:
    """An observer that keeps the network's weights after every step."""

    def __init__(self) -> None:
        self.trainer = None
        self.weights, self.averages, self.samples = [], [], []

    def attach(self, trainer):
        from enface import hookimpl

        self.trainer = trainer
        for name in ("step_ended", "samples_ready"):
            setattr(type(self), name, hookimpl(vars(type(self))[f"on_{name}"]))
        trainer.run.loaded.plugins.register(self, name="watch")
        return self

    def on_step_ended(self, run, stage, step, values):
        self.weights.append([value.detach().clone() for value in self.trainer.generator.parameters()])
        if self.trainer.average is not None:
            self.averages.append([value.detach().clone() for value in self.trainer.network.parameters()])

    def on_samples_ready(self, run, step, images):
        self.samples.append(images)


def events(trainer, kind):
    lines = [json.loads(line) for line in (trainer.run.directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def test_the_running_average_is_the_one_computed_by_hand(trainer):
    made = trainer(
        {
            "generator": {**UNET, "norm": "batch"},
            "stages": {"main": {"steps": 5, "ema": 0.75, "optimizer": {"lr": 0.05}}},
            "log": {"every": 1},
        }
    )
    watch = Watch().attach(made)
    made.train()
    expected = watch.weights[0]
    for weights, average in zip(watch.weights[1:], watch.averages[1:], strict=True):
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, weights, strict=True)]
        for wanted, found in zip(expected, average, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert made.network is made.average.module
    assert digest(made.network) != digest(made.generator)
    means = [name for name, _ in made.network.named_buffers() if name.endswith("running_mean")]
    assert means
    assert not torch.equal(made.network.get_buffer(means[0]), made.generator.get_buffer(means[0])), "statistics too"


def test_a_stage_without_an_average_judges_the_network_itself(trainer):
    made = trainer(
        {"stages": {"main": {"steps": 2, "ema": 0.5}, "last": {"steps": 1, "batch": 4, "terms": {"l1": {}}}}}
    )
    made.train()
    assert made.average is None
    assert made.network is made.generator


def test_a_part_frozen_for_a_stage_is_bit_identical_and_free_in_the_next(trainer):
    stage = {"batch": 4, "terms": {"l1": {}}, "optimizer": {"lr": 0.01}, "ema": 0.5}
    made = trainer(
        {
            "stages": {
                "main": {"steps": 2},
                "still": {**stage, "steps": 3, "freeze": ["encoder"]},
                "free": {**stage, "steps": 1},
            },
            # Samples and validation put the network in eval mode and back: the frozen part must stay at rest.
            "log": {"every": 1, "samples": 1, "validate": 1, "checkpoint": 1, "keep": 10},
        }
    )
    made.validate = lambda network: {"l1": 0.5}
    made.train()
    saved = [load(path).part("generator") for path in sorted(made.run.checkpoints.glob("step-*"))]
    encoder = [{name: value for name, value in item.items() if name.startswith("encoder")} for item in saved]
    assert len(saved) == 6
    for step in (2, 3, 4):
        assert all(torch.equal(encoder[step][name], encoder[1][name]) for name in encoder[1]), "statistics included"
        assert not torch.equal(saved[step]["decoder.0.0.weight"], saved[1]["decoder.0.0.weight"])
    assert not torch.equal(encoder[5]["encoder.stem.shortcut.weight"], encoder[4]["encoder.stem.shortcut.weight"])
    tracked = next(name for name in encoder[0] if name.endswith("num_batches_tracked"))
    assert [int(item[tracked]) for item in encoder] == [1, 2, 2, 2, 2, 3]


def test_a_stage_inherits_the_weights_and_nothing_else(trainer):
    stage = {"batch": 4, "discriminators": PATCH, "terms": {"l1": {}, "gan": {"use": "hinge", "against": "patch"}}}
    made = trainer(
        {
            "stages": {"main": False, "a": {**stage, "steps": 3}, "b": {**stage, "steps": 1}},
            "log": {"checkpoint": 1, "keep": 9},
        }
    )
    made.train()
    saved = [load(path) for path in sorted(made.run.checkpoints.glob("step-*"))]
    assert [float(item.part("optimizer/generator")["0/step"]) for item in saved] == [1, 2, 3, 1]
    assert [float(item.part("optimizer/patch")["0/step"]) for item in saved] == [1, 2, 3, 1]
    change = (
        saved[3].part("generator")["encoder.stem.shortcut.weight"]
        - saved[2].part("generator")["encoder.stem.shortcut.weight"]
    ).abs()
    assert 0 < float(change.max()) < 1e-3, "one step away from where the first stage ended"


def test_the_latest_few_and_each_stages_last_checkpoint_are_kept(trainer):
    made = trainer(
        {
            "stages": {"main": {"steps": 5}, "b": {"steps": 6, "batch": 4, "terms": {"l1": {}}}},
            "log": {"checkpoint": 1, "keep": 2},
        }
    )
    made.train()
    assert [read_state(path)["step"] for path in sorted(made.run.checkpoints.glob("step-*"))] == [5, 10, 11]
    assert [event["step"] for event in events(made, "checkpoint")] == list(range(1, 12))


def test_samples_are_the_same_faces_of_test_people_at_every_step(trainer):
    made = trainer({"log": {"samples": 2}, "data": {"split": {"train": 2, "val": 0, "test": 4}}})
    watch = Watch().attach(made)
    made.train()
    assert len(watch.samples) == 4
    for images in watch.samples:
        assert torch.equal(images["source"], watch.samples[0]["source"])
        assert torch.equal(images["target"], watch.samples[0]["target"])
        assert images["output"].shape == images["source"].shape
        assert images["output"].device.type == "cpu"
    assert not torch.equal(watch.samples[0]["output"], watch.samples[-1]["output"])
    people = made.run.pack.table["identity"].to_numpy()[made._samples["source"]]
    assert len(set(people)) == len(people) == 4
    assert set(people) <= set(made.run.pack.table["identity"].to_numpy()[made.run.rows["test"]])


def test_what_an_observer_draws_changes_nothing(trainer):
    from enface import hookimpl

    class Dice:
        @hookimpl
        def step_ended(self, run):
            torch.randn(1000)
            torch.manual_seed(5)

    digests = []
    for dice in (False, True):
        made = trainer({"generator": {**UNET, "dropout": 0.5}, "log": {"every": 1}})
        if dice:
            made.run.loaded.plugins.register(Dice(), name="dice")
        made.train()
        digests.append(digest(made.network))
    assert digests[0] == digests[1]


def test_dropout_differs_from_step_to_step(trainer):
    made = trainer({"generator": {**UNET, "dropout": 0.5}})
    builder = made._builder("main")
    step = builder.build()
    batch = {name: torch.rand(4, 3, 32, 32) for name in step.columns(step.phases)}
    first, again, other = (
        step.named_values(number, step.wants(step.phases), 0, lambda: batch)["output"] for number in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_spoilt_by_a_gradient_are_never_saved(trainer, plugin):
    body = (
        "class Steep(Loss):\n    '''A finite value with a NaN gradient from step 3 on.'''\n"
        "    def forward(self, output, step):\n"
        "        return ((output * 0) ** (0.5 if step >= 3 else 1)) + output.abs()\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    made = trainer(
        {
            "plugins": [plugin(body, brings="Steep"), toy],
            "stages": {"main": {"terms": {"l1": False, "steep": {}}}},
            "log": {"checkpoint": 1, "keep": 9},
        }
    )
    with pytest.raises(NonFiniteLossError, match=r"last good checkpoint.*step-00000003"):
        made.train()
    for path in made.run.checkpoints.glob("*"):
        assert all(value.isfinite().all() for value in load(path).tensors.values())


def test_check_builds_every_stage_and_changes_nothing(trainer):
    made = trainer({"stages": {"main": {"freeze": ["encoder"]}, "b": {"steps": 1, "terms": {"l1": {}}}}})
    before = digest(made.generator)
    made.check()
    assert digest(made.generator) == before
    assert all(parameter.requires_grad for parameter in made.generator.parameters())
    assert made.generator.encoder.training


def test_accumulation_and_processes_cut_one_stream(trainer):
    made = trainer({"stages": {"main": {"batch": 8, "accumulate": 4}}})
    from enface.data.pairs import BatchPlan

    stage = made.run.recipe.stages["main"]
    plan = BatchPlan(made._pairs, 8, 0, 0)
    whole = made._columns.gather("source", plan.rows(3))

    class Spy:
        def active(self, step):
            return []

        def columns(self, phases):
            return ["source"]

        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def __call__(self, step, parts):
            self.seen += [part()["source"] for part in parts]
            return {}

    for processes in (1, 2):
        spy = Spy()
        spy.seen = []
        for rank in range(processes):
            made.run.engine.rank, made.run.engine.processes = rank, processes
            made._one_step(spy, plan, stage, 3)
        made.run.engine.rank, made.run.engine.processes = 0, 1
        assert len(spy.seen) == 4 * processes
        # The processes' parts of one number lie beside each other: together they are one process's part.
        in_order = [spy.seen[rank * 4 + number] for number in range(4) for rank in range(processes)]
        assert torch.equal(torch.cat(in_order), whole)


def test_every_stage_starts_with_one_set_of_running_statistics(trainer, monkeypatch):
    """Where each process keeps its own (``sync_batchnorm: false``), a frozen encoder would differ between them."""
    from enface.training.engine import Engine

    stage = {"steps": 2, "batch": 4}
    made = trainer({"stages": {"main": stage, "more": {**stage, "freeze": ["encoder"], "terms": {"l1": {}}}}})
    shared = []
    monkeypatch.setattr(
        Engine, "share_buffers", lambda self, module: shared.append((made.run.step, module is made.generator))
    )
    made.train()
    assert (0, True) in shared
    assert (2, True) in shared
