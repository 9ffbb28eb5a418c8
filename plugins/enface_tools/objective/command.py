"""Hook that measures the terms of each stage before training, for ``enface check --data``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from enface import hookimpl

if TYPE_CHECKING:
    from enface.training.trainer import Trainer
    from enface_tools.objective.console import StageInspection


@hookimpl
def inspect_stages(trainer: Trainer) -> Mapping[str, StageInspection]:
    """Measure the terms of every stage on its first batch."""
    from enface_tools.objective.console import StageInspection
    from enface_tools.objective.contributions import measure_contributions

    return {stage.name: StageInspection(stage) for stage in measure_contributions(trainer)}
