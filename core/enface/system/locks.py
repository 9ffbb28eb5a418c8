"""What one process does at a time: locks, which go with the process that has them, however it ends."""

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

LOCK = ".lock"
"""The file that is locked, of a directory that one process works on."""
PATIENCE, POLL = 2.0, 0.05
# Some file systems of clusters have no locks; without them all is as it would be for one who takes care.
NONE_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def lock(path: Path) -> int | None:
    """Lock a file, which is made if it is not there.

    Unlike most libraries' locks it can be handed to a child process, which then has it as long as it lives.

    Returns:
        A descriptor, open for as long as the lock is held; None where there are no locks.

    Raises:
        BlockingIOError: when another process has it.
        OSError: when the file cannot be written to.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in NONE_HERE:
            return None
        raise
    return descriptor


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Within, no other process holds a file's lock.

    Args:
        refusal: Said when another process holds it.

    Raises:
        EnfaceError: with the refusal, or when the file cannot be written to.
    """
    descriptor = _locked(path, refusal)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path, refusal: str) -> int | None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return lock(path)
        except BlockingIOError:
            # Whoever only asks has it for a moment.
            if time.monotonic() > until:
                # A server of files may know of a machine's locks for a while after that machine broke down.
                raise EnfaceError(f"{refusal} (if there is none any more, remove {path})") from None
        except OSError as error:
            raise EnfaceError(f"{path} cannot be written to: {error.strerror}") from error
        time.sleep(POLL)


def is_held(path: Path) -> bool:
    """Whether a process holds a file's lock; False where that cannot be known."""
    if sys.platform == "win32":
        return False
    try:
        # Read only, for it may be another user's; and shared, so that two who ask do not see each other.
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
