"""Batches from a pack against the seed's loader of image files; part of data.py.

Both return the same: 64 pairs of source, partner and target with their labels, cropped at random and normalised.
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
from enface.system.malloc import freed_memory_kept
from reference import LIGHTS, LOAD, POSES, batches, write_faces
from seed_run import batch_plan, noise_pack, seed_trainer
from table import Ratio, Row
from worker import Worker

BATCH, STAGE = 64, "disentangle"
GOAL = 20
# The loader's two workers prefetch two batches each, and each may have another in progress.
PREFETCHED = 8


def mapped(pack: Pack, folder: Path) -> Pack:
    """Return the pack with its images memory-mapped from a file in a folder."""
    np.save(folder / "images.npy", pack.images.transpose(0, 2, 3, 1))
    return replace(pack, images=np.load(folder / "images.npy", mmap_mode="r").transpose(0, 3, 1, 2))


def seconds_per_call(call: Callable[[], object], count: int, warm_up: int) -> float:
    """Return the mean seconds of ``count`` calls, after ``warm_up`` that are not timed."""
    for _ in range(warm_up):
        call()
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count


def file_loader(folder: Path) -> Callable[[], float]:
    """Return a function that takes batches from the seed's loader and returns the seconds of each."""
    loader = batches(folder, BATCH)
    return lambda: seconds_per_call(loader.__next__, 2 * PREFETCHED, PREFETCHED)


def pack_loader(work: Path, people: int) -> Callable[[], float]:
    """Return a function that takes batches from a pack in a folder and returns the seconds of each."""
    pack = mapped(noise_pack(people * POSES * LIGHTS, LOAD), work)
    trainer = seed_trainer(pack, work, {f"stages.{STAGE}.batch": BATCH})
    (_, step), plan, number = trainer._build(STAGE), batch_plan(trainer, STAGE), itertools.count()
    names, stage = step.columns(step.phases), trainer.run.recipe.stages[STAGE]

    def take() -> float:
        with freed_memory_kept():
            return seconds_per_call(lambda: trainer._parts(names, plan, stage, next(number))[0](), 100, PREFETCHED)

    return take


def rows(people: int, pairs: int) -> list[Row]:
    """Return the ratio of the times per batch.

    Each loader has its own process, because what one keeps in memory slows the other down.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        faces, work = Path(name, "faces"), Path(name, "pack")
        faces.mkdir()
        work.mkdir()
        slow = stack.enter_context(Worker(file_loader, write_faces(faces, people)))
        fast = stack.enter_context(Worker(pack_loader, work, people))
        times: list[tuple[float, float]] = []
        for _ in range(pairs + 1):
            file_seconds = slow()
            # Let the workers finish prefetching.
            time.sleep(2)
            times.append((file_seconds, fast()))
    ratio = Ratio.of(*zip(*times[1:], strict=True))
    return [ratio.row(f"batches of {BATCH} from a pack against the seed's loader of files with 2 workers", GOAL)]
