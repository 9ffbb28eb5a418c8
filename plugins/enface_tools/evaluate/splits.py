"""The two splits that can be measured: validation people to choose by, test people for the final number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from enface.errors import DataError

if TYPE_CHECKING:
    from enface.training.run import Run

Split = Literal["val", "test"]
REMEDY = "set data.split.val in the recipe and train again, or open the test people with --split test"


def evaluation_folder(run: Path, split: str = "test") -> Path:
    """Folder of a run's evaluation: ``evaluation`` for the test split, ``evaluation/val`` for the validation split."""
    return run / "evaluation" if split == "test" else run / "evaluation" / split


def is_evaluated(run: Path) -> bool:
    """Return True if a run has the evaluation with which its recipe ends."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    split = recipe.get("evaluation", {}).get("split", "test")
    return (evaluation_folder(run, split) / "summary.json").is_file()


def no_people(run: Path | str) -> str:
    """Message that a run has no validation people."""
    return f"{run} has no validation people; {REMEDY}"


def without_validation(recipe: Any) -> bool:
    """Return True if a recipe, as plain data, sets no validation people aside."""
    split = (recipe.get("data") or {}).get("split") if isinstance(recipe, dict) else None
    return isinstance(split, dict) and split.get("val", 0) in (0, [])


def require_people(run: Run, split: Split) -> None:
    """Raise DataError if a run has no images of a split."""
    if not len(run.rows[split]):
        raise DataError(no_people(run.directory))
