"""Rewriting the report while a run trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from enface_tools.report.curves import read_log
from enface_tools.report.files import FolderReader
from enface_tools.report.run_page import write_report

EVALUATED = ("summary.json", "stages.json", "pictures.json")
WATCHED = ("log.jsonl", *(f"evaluation/{part}{name}" for part in ("", "val/") for name in EVALUATED))


def watch(
    run: Path, *, every: float = 3.0, refresh: int = 5, written: Callable[[Path], None] = lambda path: None
) -> Path:
    """Write a run's report whenever its files change, until its log ends.

    The log of a killed run has no end: then this continues until it is interrupted.

    Args:
        every: Seconds between two checks of the files.
        refresh: Seconds after which the page reloads while the run trains.
        written: Called with the page's path after it was first written.

    Returns:
        Path of the last page, which does not reload.
    """
    seen: object = None
    try:
        while not _has_ended(run):
            now = [_stamp(run / name) for name in WATCHED]
            if now != seen:
                path = write_report(run, refresh=refresh)
                if seen is None:
                    written(path)
                seen = now
            time.sleep(every)
    finally:
        # The last page must not reload, even after an interruption.
        path = write_report(run)
    return path


def _has_ended(run: Path) -> bool:
    return read_log(FolderReader(run).text("log.jsonl")).ended


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_size
