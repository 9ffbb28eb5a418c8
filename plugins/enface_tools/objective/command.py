"""The terms of each stage, measured before training, for ``enface check --data``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from enface import hookimpl

if TYPE_CHECKING:
    from enface.train.trainer import Trainer
    from enface_tools.objective.shares import StageShares


@hookimpl
def inspect_stages(trainer: Trainer) -> Mapping[str, StageShares]:
    """Measure every stage's terms on its first batch."""
    from enface_tools.objective.shares import stage_shares

    return {stage.name: stage for stage in stage_shares(trainer)}
