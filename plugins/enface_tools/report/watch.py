"""The page of a run that goes on: written anew whenever the run has something new to tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from enface_tools.report.curves import read_log
from enface_tools.report.files import Found
from enface_tools.report.run_page import write_report

WATCHED = ("log.jsonl", "evaluation/summary.json", "evaluation/stages.json", "evaluation/pictures.json")


def watch(
    run: Path, *, every: float = 3.0, refresh: int = 5, written: Callable[[Path], None] = lambda path: None
) -> Path:
    """Write a run's report whenever its files change, until its log says that it has ended.

    A run that is killed leaves no such line: then this goes on until it is interrupted.

    Args:
        every: Seconds between two looks at the files.
        refresh: Seconds after which the page loads itself again while the run goes on.
        written: Told the page's path when it was written for the first time.

    Returns:
        The last page's path; that page does not load itself again.
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
        # Nobody waits for a page that will not change, also after an interruption.
        path = write_report(run)
    return path


def _has_ended(run: Path) -> bool:
    return read_log(Found(run).events()).ended


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_mtime_ns, about.st_size
