"""Tasks of a first recipe."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """A task, which chooses the template of the recipe."""

    FRONTALIZE = "frontalize"
    TRANSLATE = "translate"
    RESTORE = "restore"
