"""Savings of a frozen encoder, and of caching its codes: alternating steps of the seed's third run in one process.

    python benchmarks/freeze.py [--quick] [--batch 64] [--pairs 7]

Width 1, 96 px, float32, without augmentation, so that each image has one code.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from enface_tools.feature_cache.cache import FeatureCache
from seed_run import noise_pack, seed_trainer, training_steps
from table import Ratio, Row, run_program, time_interleaved

VARIANTS = {
    "whole": {"stages.mask_l1.freeze": "[]"},
    "frozen": {},
    "cached": {"stages.mask_l1.cache_codes": "true"},
}
CACHED_GOAL = 1.2


def steps_of(variant: str, folder: Path, batch: int) -> Callable[[], None]:
    """Return a function that takes one training step, its data included.

    All codes are cached beforehand, as they are from the second epoch on.
    """
    settings = {"data.load_size": "null", "augment.crop": "false", "stages.mask_l1.batch": batch, **VARIANTS[variant]}
    trainer = seed_trainer(noise_pack(1440, 96), folder, settings)
    take = training_steps(trainer, "mask_l1").__next__
    take()
    if isinstance(trainer._batches, FeatureCache):
        trainer._batches.batch(["encoded_source"], {"source": trainer._pairs.rows}, {})
    return take


def rows(quick: bool = False, batch: int | None = None, pairs: int = 7) -> list[Row]:
    """Return all rows.

    Args:
        quick: Small batches and few timings, to test the benchmark.
        batch: Images per step; default: 64, as documented.
        pairs: Timings of each variant.
    """
    batch, pairs = (4, 2) if quick else (batch or 64, pairs)
    with tempfile.TemporaryDirectory() as folder:
        times = time_interleaved({name: steps_of(name, Path(folder), batch) for name in VARIANTS}, pairs)
    for name, durations in times.items():
        print(f"{name}: {batch / statistics.median(durations):.1f} images/s", file=sys.stderr, flush=True)
    frozen = str(Ratio.of(times["whole"], times["frozen"]))
    return [
        Row("3rd run, encoder frozen, against the whole network trained", frozen, "", None),
        Ratio.of(times["frozen"], times["cached"]).row("3rd run, the frozen encoder's codes cached", CACHED_GOAL),
    ]


if __name__ == "__main__":
    run_program(rows, __doc__)
