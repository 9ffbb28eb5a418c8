"""Packing pictures against decoding them: part of data.py. Alone, it packs a folder once.

    python benchmarks/packing.py FOLDER

Nothing heavy is imported by the module itself, for the processes that decode import it, too.
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

from peak_memory import peak
from table import Ratio, Row, in_turn

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "ladder.yaml"
CAMERAS = ("051", "080", "090", "120", "130", "140", "050", "041", "190")
DRAWN, LOAD, DIFFERENT = 128, 100, 90
DECODING, MEMORY = 0.8, 1.1


def names() -> Iterator[str]:
    """Multi-PIE's names without end, every other one a JPEG; a person's first picture is frontal."""
    for number, (person, light, camera) in enumerate(itertools.product(range(999), range(20), CAMERAS)):
        yield f"{person:03}_01_01_{camera}_{light:02}.{('png', 'jpg')[number % 2]}"


def write_pictures(folder: Path, count: int) -> Path:
    """``count`` files of smoothed noise, 128 px; the pixels of some are alike, which no decoder profits from."""
    rng = np.random.default_rng(0)
    kept: dict[tuple[int, str], bytes] = {}
    for number, name in enumerate(itertools.islice(names(), count)):
        one = number % DIFFERENT, name[-3:]
        if one not in kept:
            noise = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
            noise.resize((DRAWN, DRAWN)).save(folder / name, quality=92)
            kept[one] = (folder / name).read_bytes()
        (folder / name).write_bytes(kept[one])
    return folder


def pack(folder: Path) -> int:
    """Pack a folder's pictures at 100 px, from an empty cache; how many there were."""
    from unittest.mock import patch

    from enface.data.pack import make_pack
    from enface.recipe.load import load_recipe

    data = f"{{use: multipie, root: {folder}, size: 96, load_size: {LOAD}, split: {{by: identity, train: 0.8}}}}"
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, ENFACE_CACHE=cache):
        loaded = load_recipe(RECIPE, [f"data={data}", "metrics=[]"])
        return len(make_pack(loaded.recipe, loaded.catalog).images)


def decode(path: Path) -> int:
    """Open a picture and resize it as a pack does."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((LOAD, LOAD), Image.Resampling.LANCZOS))
    return len(pixels)


def decode_all(folder: Path) -> int:
    """Every picture of a folder, in as many processes as there are cores; nothing is kept of them."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        return sum(found > 0 for found in pool.map(decode, sorted(folder.iterdir()), chunksize=60))


def rows(files: int, pairs: int) -> list[Row]:
    """Speed against decoding alone, and the memory of packing all against a quarter."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as quarter:
        folder = write_pictures(Path(whole), files)
        part = write_pictures(Path(quarter), files // 4)
        took = in_turn({"decode": lambda: decode_all(folder), "pack": lambda: pack(folder)}, pairs, 1)
        found = Ratio.of(took["decode"], took["pack"])
        most, less = (peak("packing.py", one) for one in (folder, part))
    return [
        found.row(f"packing {files:,} files of {DRAWN} px at the rate of decoding them alone", DECODING),
        Row(
            f"memory of packing {files:,} files, in times of {files // 4:,}",
            f"{most / less:.2f}x ({most / 2**20:.0f} MiB)",
            f"{MEMORY:g}x",
            most / less <= MEMORY,
        ),
    ]


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
