"""Names and paths in a new recipe."""

from __future__ import annotations

import os
import re
from pathlib import Path


def recipe_name(text: str) -> str:
    """Return a name that a recipe may have, made from that of a folder or file."""
    name = re.sub(r"[^A-Za-z0-9_\-]+", "-", text).strip("-")
    return name if name[:1].isalpha() or name[:1] == "_" else f"data-{name}".strip("-")


def portable(path: Path, recipe: Path) -> str:
    """Return a path relative to the folder of a recipe if it lies below it, else the absolute path."""
    absolute, folder = path.expanduser().resolve(), recipe.resolve().parent
    return (
        Path(os.path.relpath(absolute, folder)).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()
    )
