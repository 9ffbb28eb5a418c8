"""Differences between resolved recipes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from enface.recipe.diff import differences
from enface.recipe.models import NOT_TRAINING, Recipe
from enface_tools.evaluate.variants import without_ids

# Names do not affect training, and runs of one group differ in their seeds.
IGNORED = ("seed", "name")


@dataclass(frozen=True)
class KeyChange:
    """A recipe key with another value than in the control's recipe; None if a recipe lacks the key."""

    key: str
    before: Any
    after: Any

    @property
    def training(self) -> bool:
        """False if training does not depend on the key."""
        return self.key.partition(".")[0] not in NOT_TRAINING


def recipe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[KeyChange]:
    """Return the keys that differ, except ``seed`` and ``name``. A map in only one recipe is a single change."""
    first, second = with_defaults(before), with_defaults(after)
    # Defaults added to only one of them would appear as changes.
    recipes = (before, after) if first is None or second is None else (first, second)
    first, second = (_compared(without_ids(recipe)) for recipe in recipes)
    return [KeyChange(*difference) for difference in differences(first, second)]


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return text that is equal for recipes of one name whose training differs only by the seed."""
    ignored = {"seed", *NOT_TRAINING} - {"name"}
    plain = {key: item for key, item in without_ids(with_defaults(recipe) or recipe).items() if key not in ignored}
    return json.dumps(plain, sort_keys=True, default=str)


def with_defaults(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Add the defaults of keys that are newer than a recipe; None if it does not fit this version."""
    try:
        return Recipe.model_validate(recipe).dump()
    except ValidationError:
        return None


def _compared(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in recipe.items() if key not in IGNORED}
