"""What differs between two resolved recipes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from enface.recipe.models import NOT_TRAINING, Recipe

# Neither changes what is trained for; a group of runs differs in the seed by its nature.
UNTOLD = ("seed", "name")


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys that differ, ``seed`` and ``name`` excepted: ``key``, ``from``, ``to``, ``training``.

    Where only one side has a map it is one change; the side that lacks it has None.
    """
    first, second = with_defaults(before), with_defaults(after)
    # Defaults filled into one only would be as many changes.
    plain = (before, after) if first is None or second is None else (first, second)
    first, second = (_told(without_ids(recipe)) for recipe in plain)
    return [
        {"key": key, "from": old, "to": new, "training": key.partition(".")[0] not in NOT_TRAINING}
        for key, old, new in _differences(first, second, "")
    ]


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Text that is the same for recipes of one name that train alike but for the seed."""
    unlike = {"seed", *NOT_TRAINING} - {"name"}
    plain = {key: item for key, item in without_ids(with_defaults(recipe) or recipe).items() if key not in unlike}
    return json.dumps(plain, sort_keys=True, default=str)


def with_defaults(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """A recipe with what has become a key since it was resolved; None when it is none of this version."""
    try:
        return Recipe.model_validate(recipe).dump()
    except ValidationError:
        return None


def without_ids(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe whose stages start from runs of a recipe, not from one of these runs: each seed has its own."""
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


def _told(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in recipe.items() if key not in UNTOLD}


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield path, before, after
