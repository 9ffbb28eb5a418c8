"""What a stage starts from: the right checkpoint, all or part of it, and a clear word when it does not fit."""

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
    """A finished run, made once: ``first``, 3 steps, and ``second``, 4 with a running average; every other kept."""
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
    made = make_trainer(load_recipe(folder / "other.yaml"), folder / "run")
    made.train()
    return made


@pytest.fixture
def directory(other):
    return other.run.directory


def saved(directory, step):
    return directory / "checkpoints" / f"step-{step:08d}.safetensors"


# ------------------------------------------------------------------ which checkpoint


def test_a_long_run_keeps_every_so_many_steps(directory):
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
def test_a_checkpoint_is_found_by_stage_and_step(directory, tmp_path, where, step):
    assert find_start(StartModel(run=str(directory), **where), tmp_path) == saved(directory, step)


def test_without_a_run_it_is_ones_own(directory):
    assert find_start(StartModel(stage="first"), directory) == saved(directory, 3)


def test_a_checkpoint_may_be_a_file(directory, tmp_path):
    path = saved(directory, 4)
    assert find_start(StartModel(checkpoint=str(path)), tmp_path) == path


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"stage": "second", "step": 2}, "second 2"),
        ({"step": 5}, "5"),
        ({"stage": "third"}, "third"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(directory, tmp_path, where, wanted):
    says = rf"no checkpoint of {wanted}; .*first 2, first 3, second 1, second 3, second 4.*keep_every"
    with pytest.raises(CheckpointError, match=says):
        find_start(StartModel(run=str(directory), **where), tmp_path)


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/gone has no checkpoint; .*start\.run"):
        find_start(StartModel(run=str(tmp_path / "gone")), tmp_path)


def test_a_file_that_is_not_there(load, fresh, tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        load_weights(fresh(), StartModel(checkpoint="gone"), tmp_path / "gone.safetensors")


# ------------------------------------------------------------------ what is filled


@pytest.fixture
def fresh(load, other):
    """A generator nothing was loaded into; the words change the one of the other run."""

    def build(seed=1, **changes):
        loaded = load({"seed": seed, "generator": {**UNET, **changes}})
        return build_generator(loaded, other.run.info)

    return build


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_all_of_a_generator_is_loaded(fresh, directory):
    generator, path = fresh(), saved(directory, 3)
    found = load_weights(generator, StartModel(checkpoint=str(path)), path)
    assert equal(generator.state_dict(), checkpoint.load(path).part("generator"))
    assert found.loaded == tuple(generator.state_dict())
    assert (found.path, found.kept, found.unused) == (path, (), ())


def test_parts_are_loaded_and_the_rest_stays(fresh, directory):
    generator, path = fresh(), saved(directory, 3)
    before, there = weights(generator), checkpoint.load(path).part("generator")
    found = load_weights(generator, StartModel(checkpoint=str(path), parts=["encoder"]), path)
    assert found.loaded
    assert set(found.loaded) | set(found.kept) == set(before)
    assert found.unused == tuple(sorted(found.kept)), "the rest of the checkpoint"
    mine = {id(item) for item in generator.parts["encoder"].state_dict(keep_vars=True).values()}
    for name, value in generator.state_dict(keep_vars=True).items():
        assert (name in found.loaded) == (id(value) in mine)
        assert torch.equal(value, there[name] if name in found.loaded else before[name])


def test_an_average_is_loaded_where_it_is_asked_for(fresh, directory, other):
    path = saved(directory, 7)
    plain, average = fresh(), fresh()
    load_weights(plain, StartModel(checkpoint=str(path)), path)
    load_weights(average, StartModel(checkpoint=str(path), average=True), path)
    assert digest(average) == digest(other.network) != digest(plain) == digest(other.generator)


def test_a_stage_without_an_average_has_none_to_give(fresh, directory):
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"start\.average: .*step-00000003.* no running average"):
        load_weights(fresh(), StartModel(checkpoint=str(path), average=True), path)


def test_a_generator_that_differs_is_refused_by_name_and_shape(fresh, directory):
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


def test_a_tensor_of_one_side_only_is_refused_too(fresh, directory, tmp_path):
    there = checkpoint.load(saved(directory, 3))
    name = "generator/encoder.extra"
    more, less = dict(there.tensors) | {name: torch.ones(2)}, dict(there.tensors)
    gone = next(item for item in less if item.startswith("generator/"))
    shape = tuple(less.pop(gone).shape)
    for tensors, says in (
        (more, r"in 1 tensors: encoder\.extra \(here missing, there \(2,\)\)"),
        (less, "in 1 tensors: " + re.escape(f"{gone.removeprefix('generator/')} (here {shape}, there missing)")),
    ):
        checkpoint.save(tmp_path / "one.safetensors", tensors, there.state)
        with pytest.raises(CheckpointError, match=says):
            load_weights(fresh(), StartModel(checkpoint="one"), tmp_path / "one.safetensors")


def test_what_fits_is_loaded_and_the_rest_is_named(fresh, directory):
    deeper, path = fresh(depth=4), saved(directory, 3)
    before, there = weights(deeper), checkpoint.load(path).part("generator")
    found = load_weights(deeper, StartModel(checkpoint=str(path), partial=True), path)
    fitting = {name for name in before if name in there and there[name].shape == before[name].shape}
    assert fitting
    assert set(found.loaded) == fitting
    assert set(found.kept) == set(before) - fitting != set()
    assert set(found.unused) == set(there) - fitting != set()
    for name, value in deeper.state_dict().items():
        assert torch.equal(value, there[name] if name in fitting else before[name])


def test_when_nothing_fits_even_a_part_is_refused(load, directory, other):
    siamese = build_generator(load({}), other.run.info)
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"nothing in .*step-00000003.* fits"):
        load_weights(siamese, StartModel(checkpoint=str(path), partial=True), path)


def test_an_unknown_part_is_refused_with_the_closest(fresh, directory):
    path = saved(directory, 3)
    with pytest.raises(CheckpointError, match=r"start\.parts: .* no part 'encodr'; did you mean 'encoder'\?"):
        load_weights(fresh(), StartModel(checkpoint=str(path), parts=["encodr"]), path)


# ------------------------------------------------------------------ stages of a run


class Watch:
    """An observer that notes the generator's digest as each stage begins, and what was loaded."""

    def __init__(self, trainer):
        from enface import hookimpl

        self.trainer, self.begun, self.loaded = trainer, {}, []
        for name in ("stage_started", "weights_loaded"):
            setattr(type(self), name, hookimpl(vars(type(self))[f"on_{name}"]))
        trainer.run.loaded.plugins.register(self, name="watch")

    def on_stage_started(self, stage, step):
        self.begun[stage] = digest(self.trainer.generator)

    def on_weights_loaded(self, run, stage, path, loaded, kept, unused):
        self.loaded.append((stage, path, len(loaded), len(kept), len(unused)))


def events(trainer, kind):
    lines = [json.loads(line) for line in (trainer.run.directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def generator_at(directory, step, generator):
    generator.load_state_dict(checkpoint.load(saved(directory, step)).part("generator"))
    return digest(generator)


def test_a_stage_goes_on_from_the_one_before_from_scratch_or_from_an_earlier_one(new_trainer, fresh):
    made = new_trainer(
        {
            "generator": UNET,
            **stages(a={}, b={}, c={"start": "scratch"}, d={"start": {"stage": "a"}}, e={"start": "previous"}),
        }
    )
    watch = Watch(made)
    first = digest(made.generator)
    made.train()
    ends = {name: generator_at(made.run.directory, 2 * number, fresh()) for number, name in enumerate("abcde", 1)}
    assert len(set(ends.values())) == 5, "each stage learnt"
    assert watch.begun == {"a": first, "b": ends["a"], "c": first, "d": ends["a"], "e": ends["d"]}
    assert first == digest(fresh(seed=0))
    count = len(made.generator.state_dict())
    assert watch.loaded == [("d", saved(made.run.directory, 2), count, 0, 0)]
    (event,) = events(made, "weights_loaded")
    assert event["digest"] == ends["a"]
    assert (event["stage"], event["loaded"], event["kept"], event["unused"]) == ("d", count, [], [])


def test_an_earlier_stage_may_be_taken_at_a_step(new_trainer, fresh):
    made = new_trainer(
        {
            "generator": UNET,
            **stages(a={"steps": 4}, b={"start": {"stage": "a", "step": 2}}),
            "log": {"checkpoint": 1, "keep": 1, "keep_every": 2},
        }
    )
    watch = Watch(made)
    made.train()
    assert watch.begun["b"] == generator_at(made.run.directory, 2, fresh())


def test_a_stage_starts_from_another_run(new_trainer, directory, other):
    start = {"run": str(directory), "average": True}
    made = new_trainer({"generator": UNET, **stages(a={"start": start})})
    watch = Watch(made)
    made.check()
    made.train()
    assert watch.begun["a"] == digest(other.network)
    assert made.run.recipe.stages["a"].start.run == str(directory)


def test_of_a_folder_of_runs_the_newest_is_meant(load, directory, tmp_path, monkeypatch):
    for name in ("20250101-000000", "20260101-000000", "20260101-000000-1"):
        shutil.copytree(directory, tmp_path / "runs" / name)
    (tmp_path / "runs" / "zz-no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    start = load(stages(a={"start": {"run": "runs"}})).recipe.stages["a"].start
    assert start.run == str(tmp_path / "runs" / "20260101-000000-1"), "whole, so that it is found from anywhere"
    start = load(stages(a={"start": {"checkpoint": "x.safetensors"}})).recipe.stages["a"].start
    assert start.checkpoint == str(tmp_path / "x.safetensors")


@pytest.mark.parametrize("step", [2, 3])
def test_a_run_cut_off_around_a_start_goes_on_to_the_same_bits(new_trainer, directory, step):
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
    assert len(events(cut, "weights_loaded")) == (1 if step == 2 else 0), "what was trained is not loaded over"


def test_checking_refuses_what_does_not_fit_and_changes_nothing(new_trainer, directory):
    start = {"run": str(directory)}
    made = new_trainer({"generator": {**UNET, "width": 8}, **stages(a={}, b={"start": start})})
    before = digest(made.generator)
    with pytest.raises(CheckpointError, match="differs from this recipe's"):
        made.check()
    assert digest(made.generator) == before
    made = new_trainer({"generator": UNET, **stages(a={}, b={"start": start})}, "fits")
    before = digest(made.generator)
    made.check()
    assert digest(made.generator) == before


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"stage": "a", "parts": ["encodr"]}, r"start\.parts: .*no part 'encodr'; did you mean 'encoder'\?"),
        ({"stage": "a", "average": True}, r"start\.average: stage 'a' has no 'ema'"),
        ({"stage": "a", "step": 3}, r"start\.step: stage 'a' has 2 steps, not 3"),
    ],
)
def test_checking_refuses_what_an_earlier_stage_will_not_have(new_trainer, start, says):
    made = new_trainer({"generator": UNET, **stages(a={}, b={"start": start})})
    with pytest.raises(CheckpointError, match=says):
        made.check()


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"a": {"start": {"stage": "b"}}, "b": {}}, r"stages\.a\.start\.stage: no stage 'b' is trained before"),
        ({"a": {}, "b": {"start": {"stage": "b"}}}, r"stages\.b\.start\.stage: no stage 'b' is trained before"),
        ({"first": {}, "b": {"start": {"stage": "frist"}}}, r"no stage 'frist' .*did you mean 'first'\?"),
    ],
)
def test_a_stage_that_is_not_trained_before_is_refused(load, named, says):
    with pytest.raises(RecipeError, match=says):
        load(stages(**named))


def test_a_weight_moves_from_the_old_to_the_new_after_a_load(new_trainer, directory):
    weight = {"use": "linear", "start": 1.0, "end": 5.0, "over": 4}
    start = {"run": str(directory)}
    made = new_trainer(
        {
            "generator": UNET,
            **stages(a={}, b={"steps": 6, "start": start, "terms": {"l1": {"weight": weight}}}),
            "log": {"every": 1},
        }
    )
    made.train()
    values = [event["values"] for event in events(made, "step") if event["stage"] == "b"]
    ratios = [item["weighted/l1"] / item["term/l1"] for item in values]
    assert ratios == pytest.approx([1, 2, 3, 4, 5, 5], rel=1e-5)
