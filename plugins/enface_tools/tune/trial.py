"""Training steps of one stage of a recipe on a copy of its network; no run directory is needed or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from enface.errors import RecipeError
from enface.plugin.schema import closest
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import Recipe, StartModel
from enface.system.messages import Reporter
from enface.training.prepare import build_trainer, prepare_run
from enface.training.step import Step
from enface.training.trainer import Trainer

Parts = list[Callable[[], dict[str, Tensor]]]


@dataclass
class Trial:
    """A stage that is ready to train.

    Attributes:
        note: Reason why a run would begin with other weights; empty if it would not.
    """

    trainer: Trainer
    stage: str
    step: Step
    note: str

    def batches(self) -> Iterator[Parts]:
        """Yield the parts of each batch of the stage, as a run has them."""
        steps = self.trainer.run.recipe.stages[self.stage].steps
        yield from (self.trainer.batch_parts(self.stage, self.step, number) for number in range(steps))


def stage_name(recipe: Recipe, name: str | None) -> str:
    """Return the name of a stage of a recipe; None is the first one.

    Raises RecipeError if there is no such stage; suggests the nearest name.
    """
    if name is not None and name not in recipe.stages:
        raise RecipeError(f"--stage: no stage {name!r}{closest(name, recipe.stages)}")
    return name or next(iter(recipe.stages))


def start_trial(loaded: LoadedRecipe, stage: str, reporter: Reporter, **changes: Any) -> Trial:
    """Build a stage at its initial weights.

    Args:
        changes: Keys of the stage to change.
    """
    plain = loaded.recipe.dump()
    model: dict[str, Any] = plain["stages"][stage]
    # Early stopping, averages and caches are of no use in a few steps.
    model |= {"ema": None, "stop": None, "cache_codes": False, **changes}
    trainer = build_trainer(prepare_run(replace(loaded, recipe=Recipe.model_validate(plain)), reporter), check=False)
    step = next(step for name, step in trainer.build_stages() if name == stage)
    return Trial(trainer, stage, step, _load_start(trainer, stage))


def objective(values: Mapping[str, Tensor]) -> float:
    """Return the generator's objective of a step: the sum of its weighted losses. Waits for the device."""
    own = [value for name, value in values.items() if name.startswith("weighted/") and "." not in name]
    return float(sum(own, start=own[0] * 0))


def _load_start(trainer: Trainer, stage: str) -> str:
    start, names = trainer.run.recipe.stages[stage].start, list(trainer.run.recipe.stages)
    within = isinstance(start, StartModel) and start.run is None and start.checkpoint is None
    if within or (start == "previous" and stage != names[0]):
        return f"stage {stage} starts from an earlier one, which is not trained here; initial weights are used"
    trainer.run.directory = Path()
    trainer.load_start(trainer.run.recipe.stages[stage])
    return ""
