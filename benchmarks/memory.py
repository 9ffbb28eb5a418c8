"""Memory of training, independent of the pack's size; part of data.py. Alone, it trains on a pack.

    python benchmarks/memory.py FOLDER [--steps 4] [--batch 8] [--limit MIB]

The pack consists of ``images.npy`` in the folder. ``--limit`` bounds the memory that the process may allocate
(RLIMIT_DATA: all writable private memory, but no mapped file).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from peak_memory import peak_bytes
from table import Row

LOAD, FEW, TIMES = 100, 2000, 10
# The peak of several threads varies by 6 % between runs; the larger pack in memory would add one half.
MAX_RATIO = 1.1
LIMIT = 2048  # MiB
BATCH = 8


def write_images(folder: Path, count: int) -> Path:
    """Write ``images.npy`` of noise into a folder, a part at a time."""
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, LOAD, LOAD, 3))
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        images[start : start + 1000] = rng.integers(0, 256, (min(1000, count - start), LOAD, LOAD, 3), np.uint8)
    images.flush()
    return folder


def train(folder: Path, steps: int, batch: int) -> None:
    """Take steps of the second run on memory-mapped images."""
    from seed_run import noise_pack, seed_trainer, training_steps

    images = np.load(folder / "images.npy", mmap_mode="r")
    pack = noise_pack(len(images), LOAD, images)
    with tempfile.TemporaryDirectory() as work:
        take = training_steps(seed_trainer(pack, Path(work), {"stages.only_l1.batch": batch}), "only_l1")
        for _ in range(steps):
            next(take)


def rows(few: int = FEW, large: int | None = None, steps: int = 4, repeats: int = 3) -> list[Row]:
    """Return the memory with ten times the data, and with a pack that exceeds the limit on memory.

    Args:
        few: Images in the smaller pack.
        large: Images in the pack that is trained under the limit; default: 1.5 times the limit.
        steps: Training steps of each run.
        repeats: Runs with each pack; their median is reported.
    """
    large = large or int(1.5 * LIMIT * 2**20) // (3 * LOAD * LOAD) // 360 * 360
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("few", "many", "large")]
        for folder, count in zip(folders, (few, TIMES * few, large), strict=True):
            folder.mkdir()
            write_images(folder, count)
        peaks = [[peak_bytes("memory.py", folder, "--steps", steps) for folder in folders[:2]] for _ in range(repeats)]
        less, more = (statistics.median(values) for values in zip(*peaks, strict=True))
        larger = peak_bytes("memory.py", folders[0], "--steps", steps, "--batch", TIMES * BATCH)
        size = (folders[2] / "images.npy").stat().st_size
        limited = peak_bytes("memory.py", folders[2], "--steps", steps, "--limit", LIMIT)
    return [
        Row(
            f"memory of training on {TIMES * few:,} images, in times of {few:,}",
            f"{more / less:.3f}x ({more / 2**20:.0f} MiB)",
            f"{MAX_RATIO:g}x",
            more / less <= MAX_RATIO,
        ),
        Row(
            f"memory at batch {TIMES * BATCH}, in times of batch {BATCH}",
            f"{larger / less:.3f}x ({larger / 2**20:.0f} MiB)",
            "",
            None,
        ),
        Row(
            f"training on a pack of {size / 2**20:.0f} MiB with at most {LIMIT} MiB of memory",
            f"trains, with {limited / 2**20:.0f} MiB",
            "to train",
            True,
        ),
    ]


def main() -> None:
    """Train on the images in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--limit", type=int, help="Memory that may be allocated, in MiB.")
    arguments = parser.parse_args()
    if arguments.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.limit * 2**20,) * 2)
    train(arguments.folder, arguments.steps, arguments.batch)


if __name__ == "__main__":
    sys.exit(main())
