"""Atomic writes: a file or folder is complete or absent, because it is written beside its place and then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` at the end.

    Args:
        sync: Flush the file and its folder to disk, so that the file survives a power failure.

    Raises OSError if the file cannot be written. The temporary file is removed, and ``path`` is unchanged.
    """
    # Not mkstemp: its files are readable by their owner only, and run folders are shared.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        yield temporary
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
        if sync:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside ``folder``, for :func:`publish_folder`; remove it at the end if it is still there."""
    # Not mkdtemp: its folders are accessible to their owner only.
    work = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def publish_folder(work: Path, folder: Path, last: str) -> None:
    """Rename ``work`` to ``folder``, unless ``folder`` is already complete, that is, has the file ``last``.

    Raises OSError if it cannot be renamed and ``folder`` is not complete.
    """
    try:
        os.rename(work, folder)
    except OSError:
        # Another process made the same folder from the same data in the meantime.
        if not (folder / last).is_file():
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
