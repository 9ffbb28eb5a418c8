"""Ends of stages: early ones, and last stages that get more steps when their run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enface.errors import CheckpointError
from enface.recipe.models import Recipe, save_recipe
from enface.training.checkpoint import read_state
from enface.training.run import Run, latest_checkpoint
from enface.training.step import Step


def is_done(state: Mapping[str, Any], number: int, steps: int) -> bool:
    """Return True if a checkpoint is from the end of a stage, be it early, or from a later stage."""
    reached = int(state["stage_number"])
    return reached > number or (reached == number and (state["stage_step"] >= steps or state["early"]))


def why_final(recipe: Recipe, name: str, step: Step, number: int, restored: bool) -> str:
    """Return the reason why a longer stage would not be in the state of this one's end; empty without one.

    Args:
        number: Step of the run.
        restored: The stage has the weights of its best validation.
    """
    if restored:
        return "it has the weights of its best validation"
    if hasattr(step.generator.optimizer, "eval"):
        return f"{recipe.stages[name].optimizer.use} has averaged the weights"
    validated = recipe.log.validate_ and number % recipe.log.validate_ == 0
    return f"{', '.join(step.schedules)} followed the validation at its end" if step.schedules and not validated else ""


def extend(run: Run) -> None:
    """Write the recipe of a run whose last stage has more steps than before; every process calls it.

    Raises CheckpointError if that stage has ended and would not be continued exactly.
    """
    path, name = latest_checkpoint(run.directory), list(run.recipe.stages)[-1]
    state = read_state(path) if path is not None else {}
    reason = "it stopped early" if state.get("early") else state.get("final")
    if state.get("stage") == name and reason:
        raise CheckpointError(
            f"{run.directory}: stage {name} has ended and cannot be continued exactly, because {reason}. Train "
            f"a new run that starts from its weights: --set stages.{name}.start='{{run: {run.directory}}}'"
        )
    if run.engine.is_main:
        save_recipe(run.recipe, run.directory / "recipe.yaml")
