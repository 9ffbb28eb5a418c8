"""Errors that a user can fix. The command line prints their text without a traceback and exits with code 2."""

from __future__ import annotations

import errno
from typing import TypeGuard


class EnfaceError(ValueError):
    """A mistake that the user can fix: the text names the file, key or image and the remedy."""


class PluginError(EnfaceError):
    """A plugin cannot be loaded, or its components do not fit together."""


class RecipeError(EnfaceError):
    """A recipe is invalid: wrong syntax, key, type, range or name."""


class DataError(EnfaceError):
    """The data does not match the recipe: missing, unreadable or badly split."""


class CheckpointError(EnfaceError):
    """A checkpoint is damaged, belongs to another recipe or has a newer format."""


class WeightsError(EnfaceError):
    """Pretrained weights are missing or have the wrong digest."""


class NonFiniteLossError(EnfaceError):
    """A loss became NaN or infinite; the run stopped before the weights were updated."""


def is_disk_full(error: BaseException) -> TypeGuard[OSError]:
    """Return True if the disk is full, or this user's quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
