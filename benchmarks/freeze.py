"""What a frozen encoder saves: steps of the seed's third run with and without ``freeze``, in turn, in one process.

python benchmarks/freeze.py [--width 1.0] [--size 96] [--batch 16] [--pairs 7]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable
from pathlib import Path

from enface.build import StageBuilder, build_generator
from enface.columns import Columns
from enface.engine import Engine
from enface.loading import load_recipe
from enface.pack import prepare
from enface.run import Run
from enface.sampling import Plan, split_rows
from rows import Ratio, in_turn

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "seed" / "mask_l1_frozen_encoder.yaml"


def stage(freeze: str, arguments: argparse.Namespace) -> Callable[[], None]:
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

    numbers = itertools.count()

    def take() -> None:
        number = next(numbers)
        rows = plan.rows(number)
        step(number, [lambda: {name: columns.gather(name, rows) for name in step.columns(step.phases)}])

    return take


def main() -> None:
    """Time both in turn and print medians and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=7)
    arguments = parser.parse_args()
    takes = {"frozen": stage("[encoder,heads]", arguments), "whole": stage("[]", arguments)}
    found = in_turn(takes, arguments.pairs)
    for name, times in found.items():
        print(f"{name}: {arguments.batch / statistics.median(times):.1f} images/s")
    print(f"whole / frozen, median of {arguments.pairs} pairs: {Ratio.of(found['whole'], found['frozen'])}")


if __name__ == "__main__":
    main()
