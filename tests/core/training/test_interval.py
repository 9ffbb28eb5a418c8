"""Logged values are means over the steps since the last report."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from enface.training.interval import Interval

TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
# Losses whose value is the number of completed steps, whatever the images.
BODY = (
    "class Count(Loss):\n    '''C.'''\n"
    "    def forward(self, output, step): return 0 * output.mean((1, 2, 3)) + step\n"
    "class CriticCount(Loss):\n    '''C.'''\n"
    "    def forward(self, real_logits, step): return 0 * real_logits.mean((1, 2, 3)) + step\n"
)
CRITIC = {"use": "critic_count", "against": "patch", "side": "critic"}
PATCH = {"use": "patch_gan", "width": 4, "layers": 1, "every": 6}


def read(trainer, kind):
    lines = [json.loads(line) for line in (trainer.run.directory / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


@pytest.fixture
def counting(new_trainer, plugin):
    """Train on losses that count steps; return the trainer."""
    plugins = [plugin(BODY, brings="Count, CriticCount"), TOY]

    def make(steps, log, terms, folder="run", train=True, **stage):
        stage = {"steps": steps, "batch": 4, "terms": {"l1": {}, **terms}, **stage}
        log = {"samples": 0, "checkpoint": 0, "validate": 0, "keep": 99, **log}
        trainer = new_trainer({"plugins": plugins, "log": log, "stages": {"main": False, "one": stage}}, folder)
        if train:
            trainer.train()
        return trainer

    return make


def curve(trainer, name):
    return {line["step"]: line["values"][name] for line in read(trainer, "step") if name in line["values"]}


def test_a_lazy_term_is_logged_in_every_interval_as_the_mean_of_its_steps(counting):
    terms = {
        "plain": {"use": "count", "weight": 3},
        "lazy": {"use": "count", "weight": 3, "every": 2},
        "later": {"use": "count", "every": 2, "start_at": 3},
        "rare": {"use": "count", "weight": 3, "every": 4},
    }
    trainer = counting(7, {"every": 2}, terms)
    assert curve(trainer, "term/plain") == {2: 0.5, 4: 2.5, 6: 4.5, 7: 6}
    assert curve(trainer, "term/lazy") == {2: 0, 4: 2, 6: 4, 7: 6}
    assert curve(trainer, "term/later") == {6: 4, 7: 6}, "no point before it is active"
    assert curve(trainer, "term/rare") == {2: 0, 6: 4}, "no point in an interval without it"
    # Means over updates: the larger weight of a lazy term makes up for the updates without it.
    assert curve(trainer, "weighted/plain") == {2: 1.5, 4: 7.5, 6: 13.5, 7: 18}
    assert curve(trainer, "weighted/lazy") == {2: 0, 4: 6, 6: 12, 7: 18}
    assert curve(trainer, "weighted/rare") == {2: 0, 6: 12}


def test_the_terms_of_a_critic_that_is_updated_seldom_are_logged(counting):
    terms = {"plain": {"use": "count"}, "own": CRITIC, "lazy": {**CRITIC, "every": 2}}
    trainer = counting(40, {"every": 20}, terms, discriminators={"patch": PATCH})
    assert curve(trainer, "term/plain") == {20: 9.5, 40: 29.5}
    assert curve(trainer, "term/patch.own") == {20: 9, 40: 30}, "updates 0 6 12 18 and 24 30 36"
    assert curve(trainer, "term/patch.lazy") == {20: 6, 40: 30}, "updates 0 12 and 24 36"


def test_an_interval_ends_with_its_stage(new_trainer, plugin):
    terms = {"l1": {}, "count": {}}
    stages = {"main": False, **{name: {"steps": 3, "batch": 4, "terms": terms} for name in ("one", "two")}}
    plugins = [plugin(BODY, brings="Count, CriticCount"), TOY]
    trainer = new_trainer({"plugins": plugins, "log": {"every": 2}, "stages": stages})
    trainer.train()
    assert curve(trainer, "term/count") == {2: 0.5, 3: 2, 4: 0, 6: 1.5}


def test_the_log_names_the_terms_of_a_stage(counting):
    trainer = counting(1, {}, {"own": CRITIC}, discriminators={"patch": {**PATCH, "every": 1}})
    (started,) = read(trainer, "stage_started")
    assert started["terms"] == ["patch.own", "l1"]


@pytest.mark.parametrize("cut", [3, 6])
def test_a_resumed_run_logs_the_same_means(counting, cut):
    terms = {"plain": {"use": "count", "weight": 0.1}, "lazy": {"use": "count", "every": 3}}
    log = {"every": 5, "checkpoint": 3}
    whole, again = (counting(10, log, terms, folder) for folder in ("whole", "cut"))
    for path in again.run.checkpoints.glob("step-*"):
        if int(path.stem.removeprefix("step-")) > cut:
            path.unlink()
    resumed = type(again)(again.run)
    again.run.step = 0
    resumed.train(resume=True)
    for one, other in zip(read(whole, "step"), read(resumed, "step"), strict=True):
        one["values"].pop("images_per_second"), other["values"].pop("images_per_second")
        assert one["values"] == other["values"]
    assert curve(resumed, "term/plain") == {5: 2, 10: 7}


def test_every_observer_receives_the_logged_values(counting):
    from enface import hookimpl

    class Watch:
        def __init__(self):
            self.values = []

        @hookimpl
        def step_ended(self, values):
            self.values.append(values)

    trainer, watch = counting(4, {"every": 2}, {"lazy": {"use": "count", "every": 2}}, train=False), Watch()
    trainer.run.loaded.plugins.register(watch)
    trainer.train()
    assert watch.values == [line["values"] for line in read(trainer, "step")]
    assert [values["term/lazy"] for values in watch.values] == [0, 2]


class Rank:
    """An engine of two processes whose values differ by ``shift``."""

    device = torch.device("cpu")

    def __init__(self, shift=0.0):
        self.shift = shift

    def average(self, values):
        return {name: float(value) + self.shift / 2 for name, value in values.items()}


def scalars(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_means_of_many_steps_keep_their_digits():
    interval = Interval(Rank())
    for _ in range(3000):
        interval.add(scalars(large=16777216.0, small=0.1), 1, 0.0)
        interval.add(scalars(large=16777218.0), 1, 0.0)
    means = interval.report()
    # Float32 has steps of 2 there, and would lose digits of the small one.
    assert means["large"] == 16777217.0
    assert means["small"] == pytest.approx(torch.tensor(0.1).item(), rel=1e-12)


def test_sums_are_restored_for_all_processes():
    one, other = Interval(Rank()), Interval(Rank())
    one.add(scalars(a=1.0, b=2.0), 4, 1.0)
    one.add(scalars(a=4.0), 4, 1.0)
    other.restore(json.loads(json.dumps(one.state())))
    for interval in (one, other):
        interval.add(scalars(a=4.0), 4, 1.0)
    assert {**other.report(), "images_per_second": 0} == {"a": 3, "b": 2, "images_per_second": 0}
    assert {**one.report(), "images_per_second": 0} == {"a": 3, "b": 2, "images_per_second": 0}


def test_values_are_averaged_over_processes_and_steps():
    interval = Interval(Rank(shift=2.0))
    interval.add(scalars(a=1.0), 4, 1.0)
    interval.add(scalars(a=2.0), 4, 1.0)
    assert interval.report()["a"] == 2.5


def test_the_speed_counts_the_wait_for_the_device():
    class Slow(Rank):
        def average(self, values):
            time.sleep(0.2)
            return super().average(values)

    interval = Interval(Slow())
    interval.add(scalars(a=1.0), 6, 0.1)
    interval.add({}, 6, 0.1)
    assert interval.report()["images_per_second"] == pytest.approx(12 / 0.4, rel=0.2)
