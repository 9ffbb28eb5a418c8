"""The ``calibrate`` command."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Runs, Terminal, say
from enface_tools.evaluate.splits import Split

if TYPE_CHECKING:
    from enface_tools.calibrate.false_verdicts import Calibration, Verdicts


def calibrate(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="A recipe to train: a file or a shipped name; or a folder of finished runs.", show_default=False
        ),
    ],
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Number of seeds to train, from 0.")] = 6,
    runs: Runs = Path("runs"),
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Maximum number of concurrent runs, as in enface sweep.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="The split that is compared.")] = "val",
    metrics: Annotated[str, typer.Option("--metrics", metavar="NAME,...", help="Metrics (default: all).")] = "",
    per_side: Annotated[
        int | None, typer.Option("--per-side", min=2, help="Runs on each side of a comparison (default: half of all).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare a recipe with itself over seeds, and count the false verdicts.

    Trains the seeds that are missing, as enface sweep does, then compares single runs, and several with as many others.
    """
    from enface_tools.calibrate.false_verdicts import calibrate as calibrate_runs
    from enface_tools.compare.command import split_names

    # Only JSON goes to the standard output with --json.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        folder = recipe if recipe.is_dir() else _train(recipe, seeds, runs, jobs, split)
    result = calibrate_runs(
        [folder],
        metrics=split_names(metrics) or None,
        per_side=per_side,
        split=split,
        progress=None if as_json else Terminal(),
    )
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=1))
        return
    _show(result)


def _train(recipe: Path, seeds: int, runs: Path, jobs: int | None, split: Split) -> Path:
    """Train the missing seeds; return the folder of the runs."""
    import yaml

    from enface.recipe.load import load_recipe
    from enface_tools.sweep.command import sweep

    loaded = load_recipe(recipe)
    name, (path, _) = loaded.recipe.name, loaded.source.files[0]
    file = runs / "logs" / f"{name}-seeds.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"recipe": str(path.resolve()), "seeds": list(range(seeds))}), encoding="utf-8")
    sweep(file, runs=runs, jobs=jobs, launcher=None, split=split)
    return runs / name


def _show(result: Calibration) -> None:
    from enface_tools.evaluate.terminal import table, wrapped

    say(f"{result.name}: {len(result.seeds)} seeds, {result.identities} people")
    rows = [
        (name, f"{result.seed_sd[name]:.2g}", f"{result.half_width[name]:.2g}", *_counts(result, name))
        for name in result.seed_sd
    ]
    say(table(("metric", "sd over seeds", "interval of people", "one by one", "several"), rows))
    say(wrapped(_sentence("one run against one", result.trainings, "true of these trainings, not of the recipe")))
    if result.recipes is not None:
        size = result.recipes.runs
        say(wrapped(_sentence(f"{size} runs against {size}", result.recipes, "false: the recipe is the same")))


def _counts(result: Calibration, name: str) -> tuple[str, str]:
    one, half = result.trainings, result.recipes
    halves = "-" if half is None else f"{half.by_metric[name]} of {half.comparisons}"
    return f"{one.by_metric[name]} of {one.comparisons}", halves


def _sentence(which: str, verdicts: Verdicts, meaning: str) -> str:
    return f"{which}: {verdicts.clear} of {verdicts.comparisons} differ on at least one metric ({meaning})"


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``calibrate``."""
    app.command("calibrate")(calibrate)
