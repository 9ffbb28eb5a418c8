"""What a frozen encoder saves, and its codes kept: steps of the seed's third run in turn, in one process.

python benchmarks/freeze.py [--batch 16] [--pairs 7]

Width 1, 96 px, float32, without augmentation, so that each image has one code.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from enface.train.feature_cache import FeatureCache
from seed_run import noise_pack, steps, trainer
from table import Ratio, Row, in_turn, program

STAGES = {
    "whole": {"stages.mask_l1.freeze": "[]"},
    "frozen": {},
    "cached": {"stages.mask_l1.cache_codes": "true"},
}
CACHED = 1.2


def stage(name: str, folder: Path, batch: int) -> Callable[[], None]:
    """A function that takes one step, data included; codes lie ready, as they do from the second epoch on."""
    settings = {"data.load_size": "null", "augment.crop": "false", "stages.mask_l1.batch": batch, **STAGES[name]}
    made = trainer(noise_pack(1440, 96), folder, settings)
    take = steps(made, "mask_l1").__next__
    take()
    if isinstance(made._batches, FeatureCache):
        made._batches.batch(["encoded_source"], {"source": made._pairs.rows}, {})
    return take


def rows(quick: bool = False, batch: int | None = None, pairs: int = 7) -> list[Row]:
    """Every row.

    Args:
        quick: Small batches and few pairs, to see that it runs.
        batch: Images a step; what is documented of the run unless given.
    """
    batch, pairs = (4, 2) if quick else (batch or 64, pairs)
    with tempfile.TemporaryDirectory() as folder:
        took = in_turn({name: stage(name, Path(folder), batch) for name in STAGES}, pairs)
    for name, times in took.items():
        print(f"{name}: {batch / statistics.median(times):.1f} images/s", file=sys.stderr, flush=True)
    return [
        Row(
            "3rd run, encoder frozen, against all of it learning",
            str(Ratio.of(took["whole"], took["frozen"])),
            "",
            None,
        ),
        Ratio.of(took["frozen"], took["cached"]).row("3rd run, the frozen encoder's codes cached", CACHED),
    ]


if __name__ == "__main__":
    program(rows, __doc__)
