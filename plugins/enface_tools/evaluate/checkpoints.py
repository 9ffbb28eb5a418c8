"""A run's trained network: selecting a checkpoint and loading its network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from torch.optim.swa_utils import AveragedModel

from enface.errors import CheckpointError, EnfaceError
from enface.plugin.components import DataInfo, Generator
from enface.recipe.load import LoadedRecipe
from enface.training.build import build_generator
from enface.training.checkpoint import SUFFIX, Checkpoint, load, read_state, saved_steps
from enface.training.run import Run, latest_checkpoint
from enface_tools.evaluate.models import Weights


def find_checkpoints(directory: Path, which: str) -> dict[str, Path]:
    """Select checkpoints of a run; return them by label.

    Args:
        which: ``best``, ``last``, ``all``, a number of steps, or the name of a stage for its last checkpoint.

    Raises:
        CheckpointError: if it does not exist, listing the available ones.
    """
    saved = saved_steps(directory)
    best = directory / "checkpoints" / f"best{SUFFIX}"
    if not saved:
        raise CheckpointError(_no_checkpoint(directory))
    if which in ("all", "last"):
        return {path.stem: path for path in (saved if which == "all" else saved[-1:])}
    if which == "best":
        if not best.is_file():
            raise CheckpointError(f"{directory} has no best checkpoint; set log.best in its recipe to keep one")
        return {best.stem: best}
    steps = {str(int(path.stem.rpartition("-")[2])): path for path in saved}
    ends = stage_ends(directory)
    if which in steps:
        return {steps[which].stem: steps[which]}
    if which in ends:
        return {which: ends[which]}
    listed = f"best, last, all, steps ({', '.join(steps)})" + (f", stages ({', '.join(ends)})" if ends else "")
    raise CheckpointError(f"{directory} has no checkpoint {which!r}; available: {listed}")


def stage_ends(directory: Path) -> dict[str, Path]:
    """The last checkpoint of each finished stage of a run."""
    states = {path: read_state(path) for path in saved_steps(directory)}
    return {state["stage"]: path for path, state in states.items() if state.get("stage_ended")}


def load_network(run: Run, path: Path | None = None, *, raw: bool = False) -> nn.Module:
    """Load a run's network from a checkpoint, with the running average of the weights if there is one.

    Args:
        path: The checkpoint; default: the latest.
        raw: Use the plain weights even if there is a running average.

    Raises:
        CheckpointError: if it does not exist or does not fit the recipe.
    """
    saved = _saved(run.directory, path)
    run.step = int(saved.state["step"])
    return _network(run.loaded, run.info, saved, run.engine.device, raw=raw)


def open_network(
    loaded: LoadedRecipe, directory: Path, path: Path | None, device: torch.device, *, raw: bool = False
) -> tuple[Generator, Checkpoint]:
    """Load a run's network without its data; return it in eval mode, with its checkpoint.

    Args:
        path: The checkpoint; default: the latest.
        raw: Use the plain weights even if there is a running average.

    Raises:
        CheckpointError: if it does not exist or does not fit the recipe.
        EnfaceError: if the output is computed from more than the source.
    """
    saved = _saved(directory, path)
    data, of_recipe = saved.state["data"], loaded.recipe.data
    info = of_recipe.info(classes=data["classes"])
    wanted = {"size": [*info.size], "channels": info.channels, "depth": info.depth}
    for name, value in wanted.items():
        if data.get(name) != value:
            raise CheckpointError(
                f"{saved.path} was trained with data.{name}: {data.get(name)}, {directory}/recipe.yaml says {value}"
            )
    network = _network(loaded, info, saved, device, raw=raw)
    others = [column for column in network.provides["output"] if column != "source"]
    if others:
        raise EnfaceError(
            f"generator {loaded.recipe.generator.use} computes its output from source and {', '.join(others)}, and "
            "this command has only source images; 'enface evaluate' measures such a network on the run's data"
        )
    return network.eval().requires_grad_(False), saved


def averaged(path: Path) -> bool:
    """Return True if a checkpoint has a running average. Raises as :func:`enface.training.checkpoint.load` does."""
    read_state(path)
    with safe_open(path, framework="pt") as file:
        return any(name.startswith("ema/") for name in file.keys())  # noqa: SIM118


def averaged_updates(path: Path) -> int:
    """Return the updates of a checkpoint's running average. Raises as :func:`averaged` does."""
    read_state(path)
    with safe_open(path, framework="pt") as file:
        return int(file.get_tensor("ema/n_averaged"))


def measured_weights(path: Path, *, average: bool = True) -> Weights:
    """The weights of a checkpoint that are measured: the running average, if it has one and ``average`` is true."""
    return "average" if average and averaged(path) else "plain"


def _saved(directory: Path, path: Path | None) -> Checkpoint:
    path = path or latest_checkpoint(directory)
    if path is None:
        raise CheckpointError(_no_checkpoint(directory))
    return load(path)


def _no_checkpoint(directory: Path) -> str:
    return f"{directory} has no checkpoint yet; train it, or resume it with --resume"


def _network(
    loaded: LoadedRecipe, info: DataInfo, saved: Checkpoint, device: torch.device, *, raw: bool = False
) -> Generator:
    generator: Generator = build_generator(loaded, info)
    generator.to(device)
    if raw or not saved.part("ema"):
        saved.load("generator", generator)
        return generator
    average = AveragedModel(generator, use_buffers=True)
    saved.load("ema", average)
    assert isinstance(average.module, Generator)
    return average.module
