"""The weights that a stage starts from: finding the checkpoint and loading all or part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from enface.errors import CheckpointError
from enface.plugin.components import Generator
from enface.plugin.schema import closest
from enface.recipe.models import Recipe, StartModel
from enface.training.checkpoint import Checkpoint, load, read_state, saved_steps

People = Mapping[str, Sequence[str]]
UNKNOWN = ""


@dataclass(frozen=True)
class LoadedWeights:
    """Names of the tensors of a warm start.

    Attributes:
        loaded: Loaded from the checkpoint.
        kept: Tensors of the generator that keep their values.
        unused: Tensors of the checkpoint that were not loaded.
        people: Identities that trained them, by dataset; the path by :data:`UNKNOWN` if the checkpoint names none.
    """

    path: Path
    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    people: People


def find_start(start: StartModel, own: Path) -> Path:
    """Return the checkpoint that a stage starts from.

    Args:
        own: Directory of the stage's own run.

    Raises CheckpointError if there is no such checkpoint; lists the existing ones.
    """
    if start.checkpoint is not None:
        return Path(start.checkpoint)
    folder = Path(start.run) if start.run is not None else own
    states = {path: read_state(path) for path in saved_steps(folder)}
    if not states:
        raise CheckpointError(f"start: {folder} has no checkpoint; train that run first, or name another in start.run")
    matching = [path for path, state in states.items() if start.stage in (None, state["stage"])]
    if start.step is not None:
        counted = "step" if start.stage is None else "stage_step"
        matching = [path for path in matching if states[path][counted] == start.step]
    if not matching:
        listed = ", ".join(f"{state['stage']} {state['stage_step']}" for state in states.values())
        wanted = " ".join(str(item) for item in (start.stage, start.step) if item is not None)
        raise CheckpointError(
            f"start: {folder} has no checkpoint of {wanted}; it has (stage, step in it): {listed}. "
            "log.keep_every of that run keeps more"
        )
    return matching[-1]


def check_start(start: StartModel, recipe: Recipe, generator: Generator, own: Path) -> None:
    """Refuse a start that is not possible, before anything is trained.

    Args:
        generator: A spare generator; weights may be loaded into it.

    Raises CheckpointError as :func:`find_start` and :func:`load_weights`; also if the earlier stage will not have the
    requested weights.
    """
    if start.run is not None or start.checkpoint is not None:
        load_weights(generator, start, find_start(start, own))
        return
    assert start.stage is not None
    stage = recipe.stages[start.stage]
    _wanted(generator, start)
    if start.average and stage.ema is None:
        raise CheckpointError(f"start.average: stage {start.stage!r} has no 'ema', so no running average")
    if start.step is not None and start.step > stage.steps:
        raise CheckpointError(f"start.step: stage {start.stage!r} has {stage.steps} steps, not {start.step}")


def load_weights(generator: Generator, start: StartModel, path: Path) -> LoadedWeights:
    """Load weights into a generator from a checkpoint, as ``start`` says.

    Raises CheckpointError if a part or the running average is missing, or if tensors differ in name or shape and
    ``partial`` is not set; names the tensors.
    """
    checkpoint = load(path)
    saved = _tensors(checkpoint, start)
    wanted = _wanted(generator, start)
    fitting = {name for name, item in wanted.items() if name in saved and saved[name].shape == item.shape}
    # If `parts` is given, ignore checkpoint tensors outside those parts.
    different = (set(wanted) if start.parts else set(wanted) | set(saved)) - fitting
    if different and not start.partial:
        raise CheckpointError(
            f"start: the generator in {path} differs from this recipe's in {len(different)} tensors: "
            f"{', '.join(_describe(name, wanted, saved) for name in sorted(different)[:10])}; "
            "name the parts to load (start.parts), or load what fits with start.partial: true"
        )
    if not fitting:
        raise CheckpointError(f"start: nothing in {path} fits this recipe's generator")
    whole = generator.state_dict()
    generator.load_state_dict({**whole, **{name: saved[name] for name in fitting}})
    return LoadedWeights(
        path,
        tuple(name for name in whole if name in fitting),
        tuple(name for name in whole if name not in fitting),
        tuple(sorted(set(saved) - fitting)),
        checkpoint.state.get("people", {UNKNOWN: [str(path)]}),
    )


def merged_people(*people: People) -> People:
    """Join identities by dataset."""
    return {name: sorted({one for item in people for one in item.get(name, ())}) for name in set().union(*people)}


def _tensors(saved: Checkpoint, start: StartModel) -> dict[str, Tensor]:
    if not start.average:
        return saved.part("generator")
    # torch's AveragedModel holds the network as 'module', beside a counter.
    tensors = saved.part("ema")
    average = {name.removeprefix("module."): item for name, item in tensors.items() if name.startswith("module.")}
    if not average:
        raise CheckpointError(f"start.average: {saved.path} holds no running average; its stage had no 'ema'")
    return average


def _wanted(generator: Generator, start: StartModel) -> dict[str, Tensor]:
    whole = generator.state_dict(keep_vars=True)
    if not start.parts:
        return whole
    mine: set[int] = set()
    for name in start.parts:
        if name not in generator.parts:
            raise CheckpointError(f"start.parts: the generator has no part {name!r}{closest(name, generator.parts)}")
        part = generator.parts[name]
        mine |= {id(item) for item in (*part.parameters(), *part.buffers())}
    return {name: item for name, item in whole.items() if id(item) in mine}


def _describe(name: str, wanted: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> str:
    here, there = (str(tuple(items[name].shape)) if name in items else "missing" for items in (wanted, saved))
    return f"{name} (here {here}, there {there})"
