"""The stage loop: running averages, frozen parts, samples, checkpoints kept, and the start of each stage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from scripted import Scripted

from enface.errors import NonFiniteLossError
from enface.plugin.hooks import Validation
from enface.training.checkpoint import digest, load, read_state
from enface.training.trainer import Trainer

UNET = {"use": "unet", "width": 4, "depth": 3}
PATCH = {"patch": {"use": "patch_gan", "width": 4, "layers": 1}}


class Watch:
    """Observer that stores the weights after every step."""

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


def test_the_running_average_matches_one_computed_by_hand(new_trainer):
    trainer = new_trainer(
        {
            "generator": {**UNET, "norm": "batch"},
            "stages": {"main": {"steps": 5, "ema": {"decay": 0.75, "warmup": False}, "optimizer": {"lr": 0.05}}},
            "log": {"every": 1},
        }
    )
    watch = Watch().attach(trainer)
    trainer.train()
    expected = watch.weights[0]
    for weights, average in zip(watch.weights[1:], watch.averages[1:], strict=True):
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, weights, strict=True)]
        for wanted, value in zip(expected, average, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    assert trainer.network is trainer.average.module
    assert digest(trainer.network) != digest(trainer.generator)
    means = [name for name, _ in trainer.network.named_buffers() if name.endswith("running_mean")]
    assert means
    assert not torch.equal(trainer.network.get_buffer(means[0]), trainer.generator.get_buffer(means[0])), (
        "statistics are averaged, too"
    )


def test_a_stage_without_ema_evaluates_the_trained_network(new_trainer):
    trainer = new_trainer(
        {"stages": {"main": {"steps": 2, "ema": 0.5}, "last": {"steps": 1, "batch": 4, "terms": {"l1": {}}}}}
    )
    trainer.train()
    assert trainer.average is None
    assert trainer.network is trainer.generator


def test_a_part_frozen_in_one_stage_keeps_its_bits_and_is_trained_in_the_next(new_trainer):
    stage = {"batch": 4, "terms": {"l1": {}}, "optimizer": {"lr": 0.01}, "ema": 0.5}
    trainer = new_trainer(
        {
            "stages": {
                "main": {"steps": 2},
                "frozen": {**stage, "steps": 3, "freeze": ["encoder"]},
                "free": {**stage, "steps": 1},
            },
            # After samples and validation, which use eval mode, the frozen part must stay in it.
            "log": {"every": 1, "samples": 1, "validate": 1, "checkpoint": 1, "keep": 10},
        }
    )
    trainer.validate = lambda network: {"mae": 0.5}
    trainer.train()
    saved = [load(path).part("generator") for path in sorted(trainer.run.checkpoints.glob("step-*"))]
    encoder = [{name: value for name, value in item.items() if name.startswith("encoder")} for item in saved]
    assert len(saved) == 6
    for step in (2, 3, 4):
        assert all(torch.equal(encoder[step][name], encoder[1][name]) for name in encoder[1]), "statistics included"
        assert not torch.equal(saved[step]["decoder.0.0.weight"], saved[1]["decoder.0.0.weight"])
    assert not torch.equal(encoder[5]["encoder.stem.shortcut.weight"], encoder[4]["encoder.stem.shortcut.weight"])
    tracked = next(name for name in encoder[0] if name.endswith("num_batches_tracked"))
    assert [int(item[tracked]) for item in encoder] == [1, 2, 2, 2, 2, 3]


def test_a_stage_inherits_weights_and_no_optimizer_state(new_trainer):
    stage = {"batch": 4, "discriminators": PATCH, "terms": {"l1": {}, "gan": {"use": "hinge", "against": "patch"}}}
    trainer = new_trainer(
        {
            "stages": {"main": False, "a": {**stage, "steps": 3}, "b": {**stage, "steps": 1}},
            "log": {"checkpoint": 1, "keep": 9},
        }
    )
    trainer.train()
    saved = [load(path) for path in sorted(trainer.run.checkpoints.glob("step-*"))]
    assert [float(item.part("optimizer/generator")["0/step"]) for item in saved] == [1, 2, 3, 1]
    assert [float(item.part("optimizer/patch")["0/step"]) for item in saved] == [1, 2, 3, 1]
    change = (
        saved[3].part("generator")["encoder.stem.shortcut.weight"]
        - saved[2].part("generator")["encoder.stem.shortcut.weight"]
    ).abs()
    assert 0 < float(change.max()) < 1e-3, "one step from the end of the first stage"


def test_the_latest_checkpoints_and_the_last_of_each_stage_are_kept(new_trainer):
    trainer = new_trainer(
        {
            "stages": {"main": {"steps": 5}, "b": {"steps": 6, "batch": 4, "terms": {"l1": {}}}},
            "log": {"checkpoint": 1, "keep": 2},
        }
    )
    trainer.train()
    assert [read_state(path)["step"] for path in sorted(trainer.run.checkpoints.glob("step-*"))] == [5, 10, 11]
    assert [event["step"] for event in events(trainer, "checkpoint")] == list(range(1, 12))


def test_samples_show_the_same_test_identities_at_every_step(new_trainer):
    trainer = new_trainer({"log": {"samples": 2}, "data": {"split": {"train": 2, "val": 0, "test": 4}}})
    watch = Watch().attach(trainer)
    trainer.train()
    assert len(watch.samples) == 4
    for images in watch.samples:
        assert torch.equal(images["source"], watch.samples[0]["source"])
        assert torch.equal(images["target"], watch.samples[0]["target"])
        assert images["output"].shape == images["source"].shape
        assert images["output"].device.type == "cpu"
    assert not torch.equal(watch.samples[0]["output"], watch.samples[-1]["output"])
    people = trainer.run.pack.table["identity"].to_numpy()[trainer._samples["source"]]
    assert len(set(people)) == len(people) == 4
    assert set(people) <= set(trainer.run.pack.table["identity"].to_numpy()[trainer.run.rows["test"]])


def test_random_numbers_drawn_by_an_observer_change_nothing(new_trainer):
    from enface import hookimpl

    class RandomObserver:
        @hookimpl
        def step_ended(self, run):
            torch.randn(1000)
            torch.manual_seed(5)

    digests = []
    for observed in (False, True):
        trainer = new_trainer({"generator": {**UNET, "dropout": 0.5}, "log": {"every": 1}}, f"observed-{observed}")
        if observed:
            trainer.run.loaded.plugins.register(RandomObserver(), name="random")
        trainer.train()
        digests.append(digest(trainer.network))
    assert digests[0] == digests[1]


def test_dropout_differs_between_steps(new_trainer):
    trainer = new_trainer({"generator": {**UNET, "dropout": 0.5}})
    builder = trainer._builder("main")
    step = builder.build()
    batch = {name: torch.rand(4, 3, 32, 32) for name in step.columns(step.phases)}
    first, again, other = (
        step.named_values(number, step.wants(step.phases), 0, lambda: batch)["output"] for number in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_that_are_not_finite_are_never_saved(new_trainer, plugin):
    body = (
        "class Steep(Loss):\n    '''A finite value with a NaN gradient from step 3 on.'''\n"
        "    def forward(self, output, step):\n"
        "        return ((output * 0) ** (0.5 if step >= 3 else 1)) + output.abs()\n"
    )
    toy = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
    trainer = new_trainer(
        {
            "plugins": [plugin(body, brings="Steep"), toy],
            "stages": {"main": {"terms": {"l1": False, "steep": {}}}},
            "log": {"checkpoint": 1, "keep": 9},
        }
    )
    with pytest.raises(NonFiniteLossError, match=r"last good checkpoint.*step-00000003"):
        trainer.train()
    for path in trainer.run.checkpoints.glob("*"):
        assert all(value.isfinite().all() for value in load(path).tensors.values())


def test_check_builds_every_stage_and_changes_nothing(new_trainer):
    trainer = new_trainer({"stages": {"main": {"freeze": ["encoder"]}, "b": {"steps": 1, "terms": {"l1": {}}}}})
    before = digest(trainer.generator)
    trainer.check()
    assert digest(trainer.generator) == before
    assert all(parameter.requires_grad for parameter in trainer.generator.parameters())
    assert trainer.generator.encoder.training


def test_parts_and_processes_divide_the_same_batches(new_trainer):
    trainer = new_trainer({"stages": {"main": {"batch": 8, "accumulate": 4}}})
    from enface.data.pairs import BatchPlan

    stage = trainer.run.recipe.stages["main"]
    plan = BatchPlan(trainer._pairs, 8, 0, 0)
    whole = trainer._columns.gather("source", plan.rows(3))

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
            trainer.run.engine.rank, trainer.run.engine.processes = rank, processes
            trainer._one_step(spy, plan, stage, 3)
        trainer.run.engine.rank, trainer.run.engine.processes = 0, 1
        assert len(spy.seen) == 4 * processes
        # Part k of all processes, in the order of ranks, is part k of a single process.
        in_order = [spy.seen[rank * 4 + number] for number in range(4) for rank in range(processes)]
        assert torch.equal(torch.cat(in_order), whole)


def test_processes_share_running_statistics_at_the_start_of_a_stage(new_trainer, monkeypatch):
    """With ``sync_batchnorm: false`` each process has its own; a frozen encoder would differ between processes."""
    from enface.training.engine import Engine

    stage = {"steps": 2, "batch": 4}
    trainer = new_trainer({"stages": {"main": stage, "more": {**stage, "freeze": ["encoder"], "terms": {"l1": {}}}}})
    shared = []
    monkeypatch.setattr(
        Engine, "share_buffers", lambda self, module: shared.append((trainer.run.step, module is trainer.generator))
    )
    trainer.train()
    assert (0, True) in shared
    assert (2, True) in shared


@pytest.mark.parametrize(
    ("metric", "score", "values", "rate"),
    [
        ("lpips", lambda value: -value, [0.4, 0.3, 0.2], 1.0),
        ("ssim", lambda value: value, [0.2, 0.3, 0.4], 1.0),
        ("ssim", lambda value: value, [0.4, 0.3, 0.2], 0.25),
        ("sharpness", lambda value: -abs(value - 1), [0.2, 1.5, 1.1], 1.0),
    ],
)
def test_plateau_follows_the_direction_that_the_validator_knows(new_trainer, metric, score, values, rate):
    waiting = iter(values)

    class Stub:
        measured = (metric,)

        def validate(self, network):
            value = next(waiting)
            return {metric: Validation(value, score(value))}

    lr = {"use": "plateau", "start": 1.0, "metric": metric, "patience": 0}
    content = {
        "metrics": ["mae"],
        "stages": {"main": {"steps": 3, "optimizer": {"use": "sgd", "lr": lr}, "terms": {"l1": {"weight": 1e-4}}}},
        "log": {"validate": 1, "checkpoint": 3},
    }
    trainer = new_trainer(content)
    trainer.run.validator = Stub()
    trainer.train()
    (state,) = load(sorted(trainer.run.checkpoints.glob("step-*"))[-1]).state["schedules"].values()
    assert state["value"] == rate


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.4, 0.2, 0.3], 2),
        ([float("nan"), 0.4, 0.5], 2),
        ([float("-inf"), 0.5, 0.4], 3),
        ([0.4, float("nan"), 0.3], 3),
    ],
)
def test_the_best_checkpoint_is_that_of_the_best_finite_validation(new_trainer, values, best):
    content = {"stages": {"main": {"steps": 3}}, "log": {"validate": 1, "checkpoint": 0, "best": "mae"}}
    trainer = new_trainer(content)
    trainer.run.validator = Scripted(values)
    trainer.train()
    assert load(trainer.run.checkpoints / "best.safetensors").state["step"] == best


def test_without_a_finite_validation_there_is_no_best_checkpoint(new_trainer):
    trainer = new_trainer({"stages": {"main": {"steps": 2}}, "log": {"validate": 1, "best": "mae"}})
    trainer.run.validator = Scripted([float("nan")] * 2)
    trainer.train()
    assert not (trainer.run.checkpoints / "best.safetensors").exists()


def test_a_resumed_run_compares_with_the_best_validation_before(new_trainer):
    content = {"stages": {"main": {"steps": 2}}, "log": {"validate": 1, "checkpoint": 1, "best": "mae"}}
    trainer = new_trainer(content)
    trainer.run.validator = Scripted([0.4, 0.5])
    trainer.train()
    (trainer.run.checkpoints / "step-00000002.safetensors").unlink()
    again = Trainer(dataclasses.replace(trainer.run, step=0))
    again.run.validator = Scripted([0.45])
    again.train(resume=True)
    assert load(trainer.run.checkpoints / "best.safetensors").state["step"] == 1
