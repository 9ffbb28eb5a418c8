"""Recipes that differ only in the seed, and in the runs of other seeds that they start from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enface.recipe.models import Recipe


def variant(recipe: Recipe) -> str:
    """Digest of everything that training depends on but the seed."""
    plain = without_ids(recipe.model_copy(update={"seed": 0}).dump())
    return Recipe.model_validate(plain).training_digest()


def without_ids(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Replace run directories in stages' ``start`` by their parents, because each seed starts from its own run."""
    plain = copy.deepcopy(dict(recipe))
    stages = plain.get("stages")
    for stage in stages.values() if isinstance(stages, dict) else ():
        start = stage.get("start") if isinstance(stage, dict) else None
        if not isinstance(start, dict):
            continue
        if start.get("run"):
            start["run"] = str(Path(str(start["run"])).parent)
        if start.get("checkpoint"):
            path = Path(str(start["checkpoint"]))
            # runs/NAME/ID/checkpoints/FILE
            start["checkpoint"] = str(path.parents[min(2, len(path.parents) - 1)] / path.name)
    return plain
