"""Packing images against decoding them; part of data.py. Alone, it packs a folder once.

    python benchmarks/packing.py FOLDER

The module itself imports nothing heavy, because the processes that decode images import it, too.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from peak_memory import peak_bytes
from table import Ratio, Row, time_interleaved

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "ladder.yaml"
CAMERAS = ("051", "080", "090", "120", "130", "140", "050", "041", "190")
FILE_SIZE, LOAD, DISTINCT = 128, 100, 90
SPEED_GOAL, MEMORY_GOAL = 0.8, 1.1


def names() -> Iterator[str]:
    """Yield Multi-PIE's file names, every other one a JPEG; a person's first image is frontal."""
    for number, (person, light, camera) in enumerate(itertools.product(range(999), range(20), CAMERAS)):
        yield f"{person:03}_01_01_{camera}_{light:02}.{('png', 'jpg')[number % 2]}"


def write_images(folder: Path, count: int) -> Path:
    """Write files of smoothed noise, 128 px; contents repeat, which makes decoding no faster."""
    rng = np.random.default_rng(0)
    contents: dict[tuple[int, str], bytes] = {}
    for number, name in enumerate(itertools.islice(names(), count)):
        key = number % DISTINCT, name[-3:]
        if key not in contents:
            noise = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
            noise.resize((FILE_SIZE, FILE_SIZE)).save(folder / name, quality=92)
            contents[key] = (folder / name).read_bytes()
        (folder / name).write_bytes(contents[key])
    return folder


def pack(folder: Path) -> int:
    """Pack a folder's images at 100 px, with an empty cache; return their number."""
    from unittest.mock import patch

    from enface.recipe.load import load_recipe
    from enface_tools.packs.building import make_pack

    data = f"{{use: multipie, root: {folder}, size: 96, load_size: {LOAD}, split: {{by: identity, train: 0.8}}}}"
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, ENFACE_CACHE=cache):
        loaded = load_recipe(RECIPE, [f"data={data}", "metrics=[]"])
        return len(make_pack(loaded.recipe, loaded.catalog).images)


def decode(path: Path) -> int:
    """Open an image and resize it as a pack does; return its height."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((LOAD, LOAD), Image.Resampling.LANCZOS))
    return len(pixels)


def decode_all(folder: Path) -> int:
    """Decode every image of a folder, in one process per core, and keep none; return their number."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        return sum(height > 0 for height in pool.map(decode, sorted(folder.iterdir()), chunksize=60))


def rows(files: int, pairs: int) -> list[Row]:
    """Return the speed relative to decoding alone, and the memory of packing all files relative to a quarter."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as quarter:
        folder = write_images(Path(whole), files)
        part = write_images(Path(quarter), files // 4)
        times = time_interleaved({"decode": lambda: decode_all(folder), "pack": lambda: pack(folder)}, pairs, 1)
        ratio = Ratio.of(times["decode"], times["pack"])
        most, less = (peak_bytes("packing.py", path) for path in (folder, part))
    return [
        ratio.row(f"packing {files:,} files of {FILE_SIZE} px at the rate of decoding them alone", SPEED_GOAL),
        Row(
            f"memory of packing {files:,} files, in times of {files // 4:,}",
            f"{most / less:.2f}x ({most / 2**20:.0f} MiB)",
            f"{MEMORY_GOAL:g}x",
            most / less <= MEMORY_GOAL,
        ),
    ]


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
