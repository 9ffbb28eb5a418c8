"""A folder that one process writes to at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from enface.errors import EnfaceError

LOCK = ".lock"
# Whoever only asks whether a folder is held has it for a moment.
PATIENCE = 2


@contextmanager
def held(folder: Path, refusal: str) -> Iterator[None]:
    """Within, no other process holds a folder; a process that is killed holds nothing any more.

    Args:
        folder: One that is there.
        refusal: Said when another process holds it.

    Raises:
        EnfaceError: with the refusal, or when the folder cannot be written to.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        # A server of files may know of a machine's locks for a while after that machine broke down.
        raise EnfaceError(f"{refusal} (if there is none any more, remove {folder / LOCK})") from None
    except OSError as error:
        raise EnfaceError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder."""
    # Not made by asking: the folder may be of others, or older than these locks.
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        # It may not be written here, so not by whoever asks; and nobody can be known to hold it.
        return False
    lock.release()
    return False
