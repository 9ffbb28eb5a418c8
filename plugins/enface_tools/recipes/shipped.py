"""The recipes that come with enface, by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "enface_recipes"
SUFFIX = ".yaml"


def shipped_folder() -> Path:
    """Return the folder of shipped recipes: of the installed wheel, else of the source tree."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).parents[3] / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Return the shipped recipes, such as ``quickstart`` or ``seed/ladder``, sorted by name."""
    folder = shipped_folder()
    paths = sorted(folder.rglob(f"*{SUFFIX}"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
