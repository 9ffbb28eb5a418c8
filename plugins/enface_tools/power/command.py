"""The ``power`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Runs, say
from enface_tools.evaluate.splits import Split

if TYPE_CHECKING:
    from enface_tools.power.plan import Plan


def power(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Runs of one recipe, or of two, with at least two seeds each.", show_default=False
        ),
    ],
    detect: Annotated[
        list[str] | None,
        typer.Option("--detect", metavar="METRIC=X", help="A difference to detect, as lpips=0.01; repeatable."),
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="The split whose evaluations are read.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Estimate the seeds and people that a comparison needs, from the variation of runs at hand.

    Prints the smallest difference of each metric that is detected at 5 % with 80 % power, for several numbers of seeds
    and people.
    """
    from enface_tools.compare.command import metric_numbers
    from enface_tools.evaluate.terminal import wrapped
    from enface_tools.power.plan import plan_power
    from enface_tools.runs.names import find_runs

    result = plan_power(find_runs(paths, runs), detect=metric_numbers(detect or [], "--detect"), split=split)
    if as_json:
        content = {"groups": result.groups, "paired": result.paired, "caveats": result.caveats}
        typer.echo(json.dumps({**content, "metrics": [plan.as_dict() for plan in result.plans]}, indent=1))
        return
    unit = "pairs of runs" if result.paired else "seeds of each recipe"
    say(f"{' against '.join(result.groups)}: smallest detectable difference, by {unit}")
    for plan in result.plans:
        _show(plan)
    for text in result.caveats:
        say(wrapped(f"note: {text}", "  "))


def _show(plan: Plan) -> None:
    from enface_tools.evaluate.terminal import table

    spread = ", ".join(f"{sd:.2g}" for sd in plan.seed_sd)
    say(f"\n{plan.metric} (sd between trainings: {spread})")
    rows = [
        (f"{people} people", *(f"{value:.2g}" for value in row))
        for people, row in zip(plan.people, plan.table, strict=True)
    ]
    say(table(("", *(f"{count} seeds" for count in plan.seeds)), rows))
    for people, seeds in zip(plan.people, plan.needed, strict=False):
        answer = "no number of seeds up to 200 suffices" if seeds is None else f"{seeds} seeds"
        say(f"to detect {plan.detect:g} with {people} people: {answer}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``power``."""
    app.command("power")(power)
