"""Files and folders that are whole or not there: written beside and renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A path to write to, in the folder of another; renamed to it at the end, so that what stands there is whole.

    Args:
        sync: Also have it on the disk before anything else is done, should the power fail.

    Raises:
        OSError: when it cannot be written; what was written is removed, and what stood at ``path`` is still there.
    """
    # Opened plainly by whoever writes, not by mkstemp, which would keep others out of folders that people share.
    beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        yield beside
        if sync:
            _sync(beside)
        os.replace(beside, path)
        if sync:
            _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """A new folder on the same disk as another, for :func:`put`; removed if it is still there at the end."""
    # By mkdir, for mkdtemp would keep others out, as mkstemp does.
    work = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def put(work: Path, folder: Path, last: str) -> None:
    """Rename a folder, unless the other one is there already with the file that is written last.

    Raises:
        OSError: when it cannot be renamed and the other one is not there.
    """
    try:
        os.rename(work, folder)
    except OSError:
        # Another process made the same of the same data in the meantime; what it made is as good.
        if not (folder / last).is_file():
            raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
