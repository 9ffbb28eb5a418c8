"""What a frozen encoder saves: steps of the seed's third run with and without ``freeze``, in turn, in one process.

python benchmarks/freeze.py [--width 1.0] [--size 96] [--batch 16] [--pairs 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from enface.build import StageBuilder, build_generator
from enface.columns import Columns
from enface.engine import Engine
from enface.loading import load_recipe
from enface.pack import prepare
from enface.run import Run
from enface.sampling import Plan, split_rows

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "mask_l1_frozen_encoder.yaml"


def stage(freeze: str, arguments: argparse.Namespace) -> Callable[[int], None]:
    """A function that takes one step of the stage, data included."""
    overrides = {
        "data.use": "synthetic_heads",
        "data.identities": 6,
        "data.lights": 2,
        "data.split.train": 4,
        "data.size": arguments.size,
        "data.load_size": "null",
        "augment.crop": "false",
        "generator.width": arguments.width,
        "masks.boundary.use": "boundary_from_regions",
        "stages.mask_l1.start": "previous",
        "stages.mask_l1.freeze": freeze,
        "stages.mask_l1.batch": arguments.batch,
    }
    loaded = load_recipe(RECIPE, [f"{key}={value}" for key, value in overrides.items()])
    engine, pack = Engine(loaded.recipe.engine), prepare(loaded.recipe, loaded.catalog)
    run = Run(Path(), loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))
    pairs = run.pairs("train")
    columns = Columns(pack, pairs.roles, engine.device, run.info.size, channels_last=engine.channels_last)
    generator = engine.place(build_generator(loaded, run.info))
    step = StageBuilder(loaded, "mask_l1", generator, run.info, columns.names, engine).build()
    plan = Plan(pairs, arguments.batch, 0, 0)

    def take(number: int) -> None:
        rows = plan.rows(number)
        step(number, [lambda: {name: columns.gather(name, rows) for name in step.columns(step.phases)}])

    return take


def seconds(take: Callable[[], None]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    take()
    return time.perf_counter() - started


def main() -> None:
    """Time both in turn and print medians and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    frozen, whole = stage("[encoder,heads]", arguments), stage("[]", arguments)
    for number in range(2):
        frozen(number), whole(number)
    times = [
        (seconds(partial(frozen, number)), seconds(partial(whole, number))) for number in range(2, arguments.pairs + 2)
    ]
    ratios = [without / with_ for with_, without in times]
    print(f"frozen: {arguments.batch / statistics.median(item[0] for item in times):.1f} images/s")
    print(f"whole:  {arguments.batch / statistics.median(item[1] for item in times):.1f} images/s")
    print(
        f"whole / frozen, median of {len(ratios)} pairs: {statistics.median(ratios):.2f}x "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
