"""Looking at locks without taking them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def is_locked(path: Path) -> bool:
    """Return True if a process holds a file's lock; False if that cannot be known."""
    if sys.platform == "win32":
        return False
    try:
        # Read only, because the file may be another user's; shared, so that two callers do not see each other.
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False
