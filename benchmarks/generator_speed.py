"""Speed, cost and memory of the networks of benchmarks/generators.py."""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from enface.recipe.load import LoadedRecipe, load_recipe
from enface.training.average import new_average
from enface.training.prepare import prepare_run
from enface.training.run import Run
from enface.training.trainer import Trainer
from enface_tools.check.cost import stage_costs
from generator_plan import STAGES, Setup, recipe
from seed_run import training_steps
from table import time_interleaved

INFERENCE = "inference"
Call = Callable[[], object]


def measure_speed(
    chosen: Sequence[Setup], folder: Path, *, rounds: int, threads: int, quick: bool
) -> dict[str, dict[str, Any]]:
    """Return speed and cost of each network, and write its recipe.

    All networks and stages are timed in alternation in this process. On one thread the time is the processor's, which
    other programs disturb little; on several it is that of the wall clock.

    Args:
        folder: Receives the recipes.
        rounds: Timings of each.
        quick: Few people and few timings, to test that everything runs.
    """
    torch.set_num_threads(threads)
    files = {str(setup): write_recipe(setup, folder, quick) for setup in chosen}
    loaded = {name: load_recipe(file) for name, file in files.items()}
    result = {name: _cost(item, prepare_run(item)) for name, item in loaded.items()}
    calls = {(name, kind): call for name, item in loaded.items() for kind, call in _calls(item).items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    times = time_interleaved(calls, rounds, warm_up=1 if quick else 3, clock=clock)
    for (name, kind), durations in times.items():
        batch = loaded[name].recipe.stages[STAGES[0] if kind == INFERENCE else kind].batch
        rates = sorted(batch / duration for duration in durations)
        low, middle, high = (round(value, 2) for value in (rates[0], statistics.median(rates), rates[-1]))
        result[name][kind] = {"images_per_second": middle, "low": low, "high": high}
    return result


def measure_memory(setup: Setup, folder: Path) -> dict[str, float]:
    """Return the memory of training each stage, in MiB, measured in a process of its own.

    Args:
        folder: Of the recipes that :func:`measure_speed` wrote.
    """
    program = Path(__file__).with_name("generator_memory.py")
    memory = {}
    for stage in STAGES:
        command = [sys.executable, str(program), str(recipe_file(setup, folder)), stage]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        memory[stage] = round(int(output.split()[-1]) / 2**20, 1)
    return memory


def recipe_file(setup: Setup, folder: Path) -> Path:
    """Return the file of a network's recipe."""
    return folder / setup.size / f"{setup.name}.yaml"


def write_recipe(setup: Setup, folder: Path, quick: bool) -> Path:
    """Write a network's recipe; its steps are not taken."""
    path = recipe_file(setup, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = recipe(setup, dict.fromkeys(STAGES, 1000), 1e-3, 0, quick=quick)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _cost(loaded: LoadedRecipe, run: Run) -> dict[str, Any]:
    cost = stage_costs(loaded, run.info.classes)[STAGES[0]].generator
    assert cost is not None, f"the generator of {loaded.recipe.name} cannot be measured"
    return {"parameters": cost.parameters, "gflop": round(cost.flop / 1e9, 4)}


def _calls(loaded: LoadedRecipe) -> dict[str, Call]:
    """Return a training step of each stage, and computing the outputs of a batch of the first."""
    trainers = {stage: Trainer(prepare_run(loaded)) for stage in STAGES}
    for stage, trainer in trainers.items():
        trainer.average = new_average(trainer.generator, loaded.recipe.stages[stage].ema)
    return {
        **{stage: training_steps(trainer, stage).__next__ for stage, trainer in trainers.items()},
        INFERENCE: _inference(trainers[STAGES[0]]),
    }


def _inference(trainer: Trainer) -> Call:
    (_, step), *_ = trainer.build_stages()
    batch = trainer.batch_parts(STAGES[0], step)[0]()
    network = copy.deepcopy(trainer.generator).eval()
    columns = {name: batch[name] for name in network.provides["output"]}

    @torch.no_grad()
    def call() -> None:
        network(frozenset({"output"}), **columns)

    return call
