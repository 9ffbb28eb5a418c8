"""What training holds in memory, whatever the size of its pack: part of data.py. Alone, it trains on a pack.

    python benchmarks/memory.py FOLDER [--steps 4] [--batch 8] [--limit MIB]

The pack is made of ``images.npy`` in the folder. ``--limit`` is the memory that the process may take for itself
(RLIMIT_DATA: all that is written to, but not a mapped file).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from peak_memory import peak
from table import Row

LOAD, FEW, TIMES = 100, 2000, 10
# What threads happen to hold at once differs by 6 % from run to run; all of the larger pack would be a half more.
EVEN = 1.1
LIMIT = 2048  # MiB
BATCH = 8


def write_images(folder: Path, count: int) -> Path:
    """``images.npy`` of noise, a part at a time."""
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, LOAD, LOAD, 3))
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        images[start : start + 1000] = rng.integers(0, 256, (min(1000, count - start), LOAD, LOAD, 3), np.uint8)
    images.flush()
    return folder


def train(folder: Path, steps: int, batch: int) -> None:
    """Steps of the second run on the pack's map."""
    import seed_run

    images = np.load(folder / "images.npy", mmap_mode="r")
    pack = seed_run.noise_pack(len(images), LOAD, images)
    with tempfile.TemporaryDirectory() as work:
        made = seed_run.trainer(pack, Path(work), {"stages.only_l1.batch": batch})
        take = seed_run.steps(made, "only_l1")
        for _ in range(steps):
            next(take)


def rows(few: int = FEW, large: int | None = None, steps: int = 4, repeats: int = 3) -> list[Row]:
    """Memory at ten times the data, and a pack that is larger than the memory there may be.

    Args:
        few: Images in the smaller pack.
        large: Images in the one under a limit; half as much again as the limit unless given.
        repeats: Runs of each that are compared.
    """
    large = large or int(1.5 * LIMIT * 2**20) // (3 * LOAD * LOAD) // 360 * 360
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("few", "many", "large")]
        for folder, count in zip(folders, (few, TIMES * few, large), strict=True):
            folder.mkdir()
            write_images(folder, count)
        found = [[peak("memory.py", folder, "--steps", steps) for folder in folders[:2]] for _ in range(repeats)]
        less, more = (statistics.median(held) for held in zip(*found, strict=True))
        larger = peak("memory.py", folders[0], "--steps", steps, "--batch", TIMES * BATCH)
        size = (folders[2] / "images.npy").stat().st_size
        held = peak("memory.py", folders[2], "--steps", steps, "--limit", LIMIT)
    return [
        Row(
            f"memory of training on {TIMES * few:,} images, in times of {few:,}",
            f"{more / less:.3f}x ({more / 2**20:.0f} MiB)",
            f"{EVEN:g}x",
            more / less <= EVEN,
        ),
        Row(
            f"the same at batch {TIMES * BATCH}, in times of batch {BATCH}: what it does grow with",
            f"{larger / less:.3f}x ({larger / 2**20:.0f} MiB)",
            "",
            None,
        ),
        Row(
            f"training with {LIMIT} MiB of memory at most on a pack of {size / 2**20:.0f} MiB",
            f"trains, {held / 2**20:.0f} MiB held",
            "to train",
            True,
        ),
    ]


def main() -> None:
    """Train on a folder's images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--limit", type=int, help="MiB that may be taken.")
    arguments = parser.parse_args()
    if arguments.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.limit * 2**20,) * 2)
    train(arguments.folder, arguments.steps, arguments.batch)


if __name__ == "__main__":
    sys.exit(main())
