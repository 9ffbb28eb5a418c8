"""The errors a user can mend. The CLI prints their text and exits with code 2; they carry no traceback."""

from __future__ import annotations

import errno
from typing import TypeGuard


class EnfaceError(ValueError):
    """A mistake the user can mend: the text names the file, key or image and says what to do."""


class PluginError(EnfaceError):
    """A plugin cannot be loaded, or its components do not fit together."""


class RecipeError(EnfaceError):
    """A recipe is not valid: wrong syntax, key, type, range or name."""


class DataError(EnfaceError):
    """The data is not what the recipe says: missing, unreadable or badly split."""


class CheckpointError(EnfaceError):
    """A checkpoint is damaged, belongs to another recipe or is of a newer version."""


class WeightsError(EnfaceError):
    """Pretrained weights are missing or are not the ones expected."""


class NonFiniteLossError(EnfaceError):
    """A term became NaN or infinite; the run stopped before the weights were touched."""


def is_disk_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system had no room, or no more for this user."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
