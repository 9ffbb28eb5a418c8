"""Real photographs: alignment, and the share of each part of the recipe (docs/photographs.md).

    python benchmarks/photos.py align FRMDB --out ALIGNED
    python benchmarks/photos.py parts FRMDB --aligned ALIGNED
    python benchmarks/photos.py table

`parts` trains the whole recipe, and the recipe without one of its parts each: alignment, network, number of synthetic
people, supervision of the flow. Only validation people are measured. Finished runs are skipped, and interrupted ones
resumed. With --quick it takes a few steps on few people, to test that it runs.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

OUT, QUICK_OUT = Path("runs/photos"), Path("runs/photos-quick")
Arguments = argparse.Namespace


def align(arguments: Arguments) -> None:
    """Align the photographs of FRMDB; print the share of detected faces by yaw."""
    import alignment

    try:
        boxes = alignment.detect_all(alignment.photographs(arguments.folder), arguments.workers)
        counts = alignment.align(arguments.folder, arguments.out, boxes)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print("| yaw | faces detected | photographs |\n|---|---|---|")
    for yaw, (detected, number) in counts.items():
        print(f"| {yaw:+} | {detected} | {number} |")


def parts(arguments: Arguments) -> None:
    """Train the whole recipe, and the recipe without one part each."""
    from photo_parts import Settings, jobs, train

    quick = arguments.quick
    settings = Settings(
        out=arguments.out or (QUICK_OUT if quick else OUT),
        aligned=arguments.aligned,
        crops=arguments.folder,
        steps=2 if quick else arguments.steps,
        pretraining_steps=2 if quick else arguments.pretraining_steps,
        seed=arguments.seed,
        threads=arguments.threads,
        quick=quick,
    )
    for job in jobs(settings, arguments.only):
        started = time.monotonic()
        trained = train(job, settings.threads)
        print(f"{job.name}: {f'{time.monotonic() - started:.0f} s' if trained else 'finished before'}", flush=True)


def table(arguments: Arguments) -> None:
    """Print the results on validation people, and each part's share, as Markdown."""
    from enface.recipe.files import runs_in
    from photo_parts import PARTS, WHOLE
    from photo_tables import result_table, share_table

    runs = {part: found[-1] for part in PARTS if (found := runs_in(arguments.out / part.name))}
    if not runs:
        raise SystemExit(f"{arguments.out} has no runs; run first: python benchmarks/photos.py parts")
    print(result_table(runs))
    if WHOLE in runs:
        print(f"\n{share_table(runs)}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from photo_parts import NAMES

    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    made = {
        call: commands.add_parser(call.__name__, help=str(call.__doc__), description=call.__doc__)
        for call in (align, parts, table)
    }
    for call, command in made.items():
        command.set_defaults(call=call)
    for call in (align, parts):
        made[call].add_argument("folder", type=Path, help="the photographs of FRMDB")
    made[align].add_argument("--out", type=Path, required=True, help="folder of the aligned photographs")
    made[align].add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    made[parts].add_argument("--aligned", type=Path, required=True, help="the photographs that align wrote")
    made[parts].add_argument("--out", type=Path, help=f"folder of runs (default: {OUT})")
    made[parts].add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="some of the runs")
    made[parts].add_argument("--steps", type=int, default=300, help="on photographs")
    made[parts].add_argument("--pretraining-steps", type=int, default=1500, help="on synthetic people")
    made[parts].add_argument("--seed", type=int, default=0)
    made[parts].add_argument("--threads", type=int, default=2, help="threads of a run, on which the last bits depend")
    made[parts].add_argument("--quick", action="store_true", help="only test that everything runs")
    made[table].add_argument("--out", type=Path, default=OUT, help="folder of runs")
    return top


def main() -> None:
    """Run a subcommand."""
    arguments = parser().parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()
