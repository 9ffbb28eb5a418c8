"""The start of a stage: selection of a checkpoint, all or part of it, and errors if it does not fit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from enface.errors import CheckpointError, RecipeError
from enface.recipe.models import StartModel
from enface.training import checkpoint
from enface.training.build import build_generator
from enface.training.checkpoint import digest, read_state
from enface.training.warm_start import find_start, load_weights

UNET = {"use": "unet", "width": 4, "depth": 3}
STAGE = {"steps": 2, "batch": 4, "optimizer": {"lr": 0.01}, "terms": {"l1": {}}}


def stages(**named):
    """Stages of a recipe in place of the toy's own, each like ``STAGE``."""
    return {"stages": {"main": False, **{name: {**STAGE, **keys} for name, keys in named.items()}}}


@pytest.fixture(scope="module")
def other(tmp_path_factory, make_trainer):
    """A finished run of the stages ``first``, 3 steps, and ``second``, 4 steps with a running average."""
    import yaml

    from enface.recipe.load import load_recipe

    folder = tmp_path_factory.mktemp("other")
    toy = str(Path(__file__).parents[2] / "support" / "toy.yaml")
    content = {
        "extends": toy,
        "generator": UNET,
        "engine": {"device": "cpu", "precision": "fp32"},
        "log": {"checkpoint": 1, "keep": 1, "keep_every": 2, "every": 1},
        **stages(first={"steps": 3}, second={"steps": 4, "ema": 0.5}),
    }
    (folder / "other.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    trainer = make_trainer(load_recipe(folder / "other.yaml"), folder / "run")
    trainer.train()
    return trainer


@pytest.fixture
def directory(other):
    return other.run.directory


def saved(directory, step):
    return directory / "checkpoints" / f"step-{step:08d}.safetensors"


# ------------------------------------------------------------------ selection of a checkpoint


def test_keep_every_keeps_checkpoints_for_good(directory):
    kept = sorted((directory / "checkpoints").iterdir())
    assert [read_state(path)["step"] for path in kept] == [2, 3, 4, 6, 7], "3 and 7 are ends of stages"


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ({}, 7),
        ({"stage": "first"}, 3),
        ({"stage": "second"}, 7),
        ({"stage": "first", "step": 2}, 2),
        ({"stage": "second", "step": 1}, 4),
        ({"step": 6}, 6),
        ({"step": 3}, 3),
    ],
)
def test_a_checkpoint_is_selected_by_stage_and_step(directory, tmp_path, where, step):
    assert find_start(StartModel(run=str(directory), **where), tmp_path) == saved(directory, step)


def test_the_default_is_a_checkpoint_of_the_same_run(directory):
    assert find_start(StartModel(stage="first"), directory) == saved(directory, 3)


def test_a_checkpoint_may_be_a_file(directory, tmp_path):
    path = saved(directory, 4)
    assert find_start(StartModel(checkpoint=str(path)), tmp_path) == path


@pytest.mark.parametrize(
    ("where", "requested"),
    [
        ({"stage": "second", "step": 2}, "second 2"),
        ({"step": 5}, "5"),
        ({"stage": "third"}, "third"),
    ],
)
def test_a_missing_checkpoint_is_reported_with_those_that_exist(directory, tmp_path, where, requested):
    message = rf"no checkpoint of {requested}; .*first 2, first 3, second 1, second 3, second 4.*keep_every"
    with pytest.raises(CheckpointError, match=message):
        find_start(StartModel(run=str(directory), **where), tmp_path)


def test_a_missing_run_is_reported(tmp_path):
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/gone has no checkpoint; .*start\.run"):
        find_start(StartModel(run=str(tmp_path / "gone")), tmp_path)


def test_a_missing_file_is_reported(load, fresh, tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        load_weights(fresh(), StartModel(checkpoint="gone"), tmp_path / "gone.safetensors")


# ------------------------------------------------------------------ tensors loaded


@pytest.fixture
def fresh(load, other):
    """Build a generator with initial weights; keywords change the parameters of the other run's generator."""

    def build(seed=1, **changes):
        loaded = load({"seed": seed, "generator": {**UNET, **changes}})
        return build_generator(loaded, other.run.info)

    return build


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_whole_generator_is_loaded(fresh, directory):
    generator, path = fresh(), saved(directory, 3)
    report = load_weights(generator, StartModel(checkpoint=str(path)), path)
    assert equal(generator.state_dict(), checkpoint.load(path).part("generator"))
    assert report.loaded == tuple(generator.state_dict())
    assert (report.path, report.kept, report.unused) == (path, (), ())


def test_only_the_named_parts_are_loaded(fresh, directory):
    generator, path = fresh(), saved(directory, 3)
    before, there = weights(generator), checkpoint.load(path).part("generator")
    report = load_weights(generator, StartModel(checkpoint=str(path), parts=["encoder"]), path)
    assert report.loaded
    assert set(report.loaded) | set(report.kept) == set(before)
    assert report.unused == tuple(sorted(report.kept)), "the rest of the checkpoint"
    encoder = {id(item) for item in generator.parts["encoder"].state_dict(keep_vars=True).values()}
    for name, value in generator.state_dict(keep_vars=True).items():
        assert (name in report.loaded) == (id(value) in encoder)
        assert torch.equal(value, there[name] if name in report.loaded else before[name])


def test_the_running_average_is_loaded_on_request(fresh, directory, other):
    path = saved(directory, 7)
    plain, average = fresh(), fresh()
    load_weights(plain, StartModel(checkpoint=str(path)), path)
    load_weights(average, StartModel(checkpoint=str(path), average=True), path)
    assert digest(average) == digest(other.network) != digest(plain) == digest(other.generator)


def test_a_checkpoint_without_an_average_is_reported(fresh, directory):
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"start\.average: .*step-00000003.* no running average"):
        load_weights(fresh(), StartModel(checkpoint=str(path), average=True), path)


def test_a_generator_that_differs_is_rejected_by_name_and_shape(fresh, directory):
    wider, path = fresh(width=8), saved(directory, 3)
    before = weights(wider)
    there = checkpoint.load(path).part("generator")
    name = sorted(name for name in there if there[name].shape != before[name].shape)[0]
    with pytest.raises(CheckpointError) as caught:
        load_weights(wider, StartModel(checkpoint=str(path)), path)
    for part in (
        str(path),
        f"{name} (here {tuple(before[name].shape)}, there {tuple(there[name].shape)})",
        "start.parts",
        "start.partial: true",
    ):
        assert part in str(caught.value)
    assert equal(wider.state_dict(), before), "nothing was loaded"


def test_a_tensor_missing_on_either_side_is_rejected(fresh, directory, tmp_path):
    there = checkpoint.load(saved(directory, 3))
    name = "generator/encoder.extra"
    more, less = dict(there.tensors) | {name: torch.ones(2)}, dict(there.tensors)
    gone = next(item for item in less if item.startswith("generator/"))
    shape = tuple(less.pop(gone).shape)
    for tensors, message in (
        (more, r"in 1 tensors: encoder\.extra \(here missing, there \(2,\)\)"),
        (less, "in 1 tensors: " + re.escape(f"{gone.removeprefix('generator/')} (here {shape}, there missing)")),
    ):
        checkpoint.save(tmp_path / "one.safetensors", tensors, there.state)
        with pytest.raises(CheckpointError, match=message):
            load_weights(fresh(), StartModel(checkpoint="one"), tmp_path / "one.safetensors")


def test_partial_loads_the_tensors_that_fit_and_reports_the_others(fresh, directory):
    deeper, path = fresh(depth=4), saved(directory, 3)
    before, there = weights(deeper), checkpoint.load(path).part("generator")
    report = load_weights(deeper, StartModel(checkpoint=str(path), partial=True), path)
    fitting = {name for name in before if name in there and there[name].shape == before[name].shape}
    assert fitting
    assert set(report.loaded) == fitting
    assert set(report.kept) == set(before) - fitting != set()
    assert set(report.unused) == set(there) - fitting != set()
    for name, value in deeper.state_dict().items():
        assert torch.equal(value, there[name] if name in fitting else before[name])


def test_partial_is_rejected_if_no_tensor_fits(load, directory, other):
    siamese = build_generator(load({}), other.run.info)
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"nothing in .*step-00000003.* fits"):
        load_weights(siamese, StartModel(checkpoint=str(path), partial=True), path)


def test_an_unknown_part_is_rejected_with_a_suggestion(fresh, directory):
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"start\.parts: .* no part 'encodr'; did you mean 'encoder'\?"):
        load_weights(fresh(), StartModel(checkpoint=str(path), parts=["encodr"]), path)


# ------------------------------------------------------------------ stages of a run


class Watch:
    """Observer that records the generator's digest at the start of each stage, and the tensors loaded."""

    def __init__(self, trainer):
        from enface import hookimpl

        self.trainer, self.at_start, self.loaded = trainer, {}, []
        for name in ("stage_started", "weights_loaded"):
            setattr(type(self), name, hookimpl(vars(type(self))[f"on_{name}"]))
        trainer.run.loaded.plugins.register(self, name="watch")

    def on_stage_started(self, stage, step):
        self.at_start[stage] = digest(self.trainer.generator)

    def on_weights_loaded(self, run, stage, path, loaded, kept, unused):
        self.loaded.append((stage, path, len(loaded), len(kept), len(unused)))


def events(trainer, kind):
    lines = [json.loads(line) for line in (trainer.run.directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def generator_at(directory, step, generator):
    generator.load_state_dict(checkpoint.load(saved(directory, step)).part("generator"))
    return digest(generator)


def test_a_stage_starts_from_the_previous_one_from_scratch_or_from_an_earlier_one(new_trainer, fresh):
    trainer = new_trainer(
        {
            "generator": UNET,
            **stages(a={}, b={}, c={"start": "scratch"}, d={"start": {"stage": "a"}}, e={"start": "previous"}),
        }
    )
    watch = Watch(trainer)
    first = digest(trainer.generator)
    trainer.train()
    ends = {name: generator_at(trainer.run.directory, 2 * number, fresh()) for number, name in enumerate("abcde", 1)}
    assert len(set(ends.values())) == 5, "each stage changes the weights"
    assert watch.at_start == {"a": first, "b": ends["a"], "c": first, "d": ends["a"], "e": ends["d"]}
    assert first == digest(fresh(seed=0))
    count = len(trainer.generator.state_dict())
    assert watch.loaded == [("d", saved(trainer.run.directory, 2), count, 0, 0)]
    (event,) = events(trainer, "weights_loaded")
    assert event["digest"] == ends["a"]
    assert (event["stage"], event["loaded"], event["kept"], event["unused"]) == ("d", count, [], [])


def test_a_stage_starts_from_a_step_of_an_earlier_stage(new_trainer, fresh):
    trainer = new_trainer(
        {
            "generator": UNET,
            **stages(a={"steps": 4}, b={"start": {"stage": "a", "step": 2}}),
            "log": {"checkpoint": 1, "keep": 1, "keep_every": 2},
        }
    )
    watch = Watch(trainer)
    trainer.train()
    assert watch.at_start["b"] == generator_at(trainer.run.directory, 2, fresh())


def test_a_stage_starts_from_another_run(new_trainer, directory, other):
    start = {"run": str(directory), "average": True}
    trainer = new_trainer({"generator": UNET, **stages(a={"start": start})})
    watch = Watch(trainer)
    trainer.check()
    trainer.train()
    assert watch.at_start["a"] == digest(other.network)
    assert trainer.run.recipe.stages["a"].start.run == str(directory)


def test_a_folder_of_runs_means_its_newest_run(load, directory, tmp_path, monkeypatch):
    for name in ("20250101-000000", "20260101-000000", "20260101-000000-1"):
        shutil.copytree(directory, tmp_path / "runs" / name)
    (tmp_path / "runs" / "zz-no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    start = load(stages(a={"start": {"run": "runs"}})).recipe.stages["a"].start
    assert start.run == str(tmp_path / "runs" / "20260101-000000-1"), (
        "absolute, so that it is valid in every working directory"
    )
    start = load(stages(a={"start": {"checkpoint": "x.safetensors"}})).recipe.stages["a"].start
    assert start.checkpoint == str(tmp_path / "x.safetensors")


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_resumed_near_a_start_ends_with_the_same_bits(new_trainer, directory, step):
    content = {
        "generator": UNET,
        **stages(a={}, b={"steps": 3, "start": {"run": str(directory), "parts": ["encoder"]}}),
        "log": {"checkpoint": 1, "keep": 9},
    }
    whole, cut = new_trainer(content, "whole"), new_trainer(content, "cut")
    whole.train()
    shutil.copy(saved(whole.run.directory, step), cut.run.checkpoints)
    cut.train(resume=True)
    assert digest(cut.network) == digest(whole.network)
    assert len(events(cut, "weights_loaded")) == (1 if step == 2 else 0), "trained weights are not overwritten"


def test_check_rejects_a_start_that_does_not_fit_and_changes_nothing(new_trainer, directory):
    start = {"run": str(directory)}
    trainer = new_trainer({"generator": {**UNET, "width": 8}, **stages(a={}, b={"start": start})})
    before = digest(trainer.generator)
    with pytest.raises(CheckpointError, match="differs from this recipe's"):
        trainer.check()
    assert digest(trainer.generator) == before
    trainer = new_trainer({"generator": UNET, **stages(a={}, b={"start": start})}, "fits")
    before = digest(trainer.generator)
    trainer.check()
    assert digest(trainer.generator) == before


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"stage": "a", "parts": ["encodr"]}, r"start\.parts: .*no part 'encodr'; did you mean 'encoder'\?"),
        ({"stage": "a", "average": True}, r"start\.average: stage 'a' has no 'ema'"),
        ({"stage": "a", "step": 3}, r"start\.step: stage 'a' has 2 steps, not 3"),
    ],
)
def test_check_rejects_a_start_that_an_earlier_stage_will_not_provide(new_trainer, start, message):
    trainer = new_trainer({"generator": UNET, **stages(a={}, b={"start": start})})
    with pytest.raises(CheckpointError, match=message):
        trainer.check()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"a": {"start": {"stage": "b"}}, "b": {}}, r"stages\.a\.start\.stage: no stage 'b' is trained before"),
        ({"a": {}, "b": {"start": {"stage": "b"}}}, r"stages\.b\.start\.stage: no stage 'b' is trained before"),
        ({"first": {}, "b": {"start": {"stage": "frist"}}}, r"no stage 'frist' .*did you mean 'first'\?"),
    ],
)
def test_a_start_from_a_later_stage_is_rejected(load, named, message):
    with pytest.raises(RecipeError, match=message):
        load(stages(**named))


def test_a_weight_schedule_starts_with_the_stage_that_loads(new_trainer, directory):
    weight = {"use": "linear", "start": 1.0, "end": 5.0, "over": 4}
    start = {"run": str(directory)}
    trainer = new_trainer(
        {
            "generator": UNET,
            **stages(a={}, b={"steps": 6, "start": start, "terms": {"l1": {"weight": weight}}}),
            "log": {"every": 1},
        }
    )
    trainer.train()
    values = [event["values"] for event in events(trainer, "step") if event["stage"] == "b"]
    ratios = [item["weighted/l1"] / item["term/l1"] for item in values]
    assert ratios == pytest.approx([1, 2, 3, 4, 5, 5], rel=1e-5)
