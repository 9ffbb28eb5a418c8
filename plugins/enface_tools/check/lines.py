"""Facts about a recipe as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from enface.data.images import px
from enface.recipe.models import DataModel, StageModel
from enface.system.messages import duration
from enface_tools.check.cost import NetworkCost, StageCost
from enface_tools.check.data import DataFacts

if TYPE_CHECKING:
    from enface_tools.check.timing import StepTime


def describe_data(facts: DataFacts, data: DataModel) -> str:
    """Return a line about the images of a recipe."""
    images = f"{facts.images:,} images of {px(data.packed_size)} px"
    return f"data: {data.use or data.pack}, {images}, a pack of {_bytes(facts.pack_bytes)}"


def describe_stage(name: str, stage: StageModel, cost: StageCost) -> Iterator[str]:
    """Yield lines about a stage: its losses, and the costs of its networks."""
    frozen = f", frozen: {', '.join(stage.freeze)}" if stage.freeze else ""
    yield f"{name}: {stage.steps} steps of {stage.batch}, losses: {', '.join(map(stage.label, stage.terms))}{frozen}"
    yield f"  generator: {_network(cost.generator)}"
    for critic, network in cost.critics.items():
        yield f"  critic {critic}: {_network(network)}"
    if cost.memory is not None:
        images = stage.batch // stage.accumulate
        yield f"  memory: about {_bytes(cost.memory)} in float32 for {images} images, without networks of losses"


def _network(cost: NetworkCost | None) -> str:
    if cost is None:
        return "its cost is known with --data only"
    trained = "" if cost.trained == cost.parameters else f", {_count(cost.trained)} of them trained"
    flop = f"{cost.flop / 1e9:.3g} GFLOP" if cost.flop >= 1e7 else f"{cost.flop / 1e6:.3g} MFLOP"
    return f"{cost.use}, {_count(cost.parameters)} parameters{trained}, {flop} per image"


def _count(number: int) -> str:
    return f"{number / 1e6:,.2f} M" if number >= 1e6 else f"{number:,}"


def describe_time(timing: StepTime, steps: int) -> str:
    """Return a line about the time of a stage's steps."""
    peak = f", at most {_bytes(timing.peak_memory)}" if timing.peak_memory is not None else ""
    total = duration(timing.seconds * steps)
    return f"time: {timing.seconds:.3g} s per step on {timing.device}{peak}; {total} for {steps} steps"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
