"""Batches from a pack against the seed's loader of files: part of data.py.

Both give the same: 64 pairs of source, partner and target with their labels, cropped at random and normalised.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from enface.data.pack import Pack
from reference import LIGHTS, LOAD, POSES, batches, write_faces
from seed_run import noise_pack, plan, trainer
from table import Ratio, Row
from worker import Apart

BATCH, STAGE = 64, "disentangle"
GOAL = 20
# What the loader's workers have ready before they are asked, two batches each, and one more each under way.
READY = 8


def mapped(pack: Pack, folder: Path) -> Pack:
    """A pack whose images lie in a file."""
    np.save(folder / "images.npy", pack.images.transpose(0, 2, 3, 1))
    return replace(pack, images=np.load(folder / "images.npy", mmap_mode="r").transpose(0, 3, 1, 2))


def slice_of(take: Callable[[], object], count: int, before: int = 0) -> float:
    """Seconds a batch, after some that do not count."""
    for _ in range(before):
        take()
    started = time.perf_counter()
    for _ in range(count):
        take()
    return (time.perf_counter() - started) / count


def loader(folder: Path) -> Callable[[], float]:
    """A function that takes batches from the seed's loader of a folder's files; seconds of each."""
    found = batches(folder, BATCH)
    return lambda: slice_of(found.__next__, 2 * READY, READY)


def ours(work: Path, people: int) -> Callable[[], float]:
    """A function that takes batches from a pack in a folder; seconds of each."""
    made = trainer(mapped(noise_pack(people * POSES * LIGHTS, LOAD), work), work, {f"stages.{STAGE}.batch": BATCH})
    (_, step), drawn, number = made._build(STAGE), plan(made, STAGE), itertools.count()
    names, stage = step.columns(step.phases), made.run.recipe.stages[STAGE]

    def take() -> float:
        with made.run.engine.freed_memory_kept():
            return slice_of(lambda: made._parts(names, drawn, stage, next(number))[0](), 100, READY)

    return take


def rows(people: int, pairs: int) -> list[Row]:
    """Batches a second; each in a process of its own, for what one has in memory slows the other."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        faces, work = Path(name, "faces"), Path(name, "pack")
        faces.mkdir()
        work.mkdir()
        slow = stack.enter_context(Apart(loader, write_faces(faces, people)))
        fast = stack.enter_context(Apart(ours, work, people))
        took: list[tuple[float, float]] = []
        for _ in range(pairs + 1):
            of_loader = slow()
            # Until the workers have nothing left to do.
            time.sleep(2)
            took.append((of_loader, fast()))
    found = Ratio.of(*zip(*took[1:], strict=True))
    return [found.row(f"batches of {BATCH} from a pack against the seed's loader of files with 2 workers", GOAL)]
