"""Advisory file locks, released when the owning process exits.

Not ``filelock``: its locks cannot be handed to a child process, and on file systems without locks (some clusters')
its versions time out or leave marker files, where these locks allow everything.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enface.errors import EnfaceError

if sys.platform != "win32":
    import fcntl

LOCK_FILE = ".lock"
"""Name of the lock file in a directory that one process at a time works on."""
PATIENCE, POLL = 2.0, 0.05
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def try_lock(path: Path) -> int | None:
    """Lock a file, which is created if needed.

    Returns:
        A descriptor that holds the lock while it is open, here or in a child process that inherits it; None if the
        file system has no locks.

    Raises BlockingIOError if another process holds the lock, OSError if the file cannot be written.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in UNSUPPORTED:
            return None
        raise
    return descriptor


@contextmanager
def hold_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold a file's lock.

    Args:
        refusal: The error message if another process holds it.

    Raises EnfaceError with the refusal, or if the file cannot be written.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            descriptor = try_lock(path)
            break
        except BlockingIOError:
            # A sweep holds it for a moment. A file server may keep the locks of a crashed machine for long.
            if time.monotonic() > deadline:
                raise EnfaceError(f"{refusal} (if no process does, remove {path})") from None
        except OSError as error:
            raise EnfaceError(f"{path} cannot be written to: {error.strerror}") from error
        time.sleep(POLL)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
