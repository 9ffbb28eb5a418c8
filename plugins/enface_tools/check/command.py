"""``enface check``: check a recipe before it is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import Offline, Overrides, RecipePath, Runs, Terminal, say
from enface.system.messages import report_unavailable

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe
    from enface.recipe.models import Recipe
    from enface_tools.check.console import StageInspection
    from enface_tools.check.cost import StageCost
    from enface_tools.check.data import DataFacts


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``check``."""
    app.command("check")(check)


def check(
    recipe: RecipePath,
    set_: Overrides = None,
    data: Annotated[
        bool, typer.Option("--data", help="Also pack the data, build every stage and measure its terms on a batch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: Runs = Path("runs"),
    _offline: Offline = False,
) -> None:
    """Check a recipe, or with --data all of it.

    Keys, components and files are checked, and the size of the data and the costs of the networks are shown, without
    reading an image. With --data, everything that training would refuse is refused; each term's part of the objective
    on one batch and the time of a step are shown.
    """
    from enface.recipe.load import load_recipe
    from enface_tools.check.cost import stage_costs
    from enface_tools.check.data import data_facts

    loaded = load_recipe(recipe, set_ or [])
    facts = data_facts(loaded)
    costs = stage_costs(loaded, facts.classes if facts is not None else {})
    # Messages of packing are not part of the JSON.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        inspections, unavailable = _inspect(loaded) if data else ({}, {})
    if as_json:
        typer.echo(json.dumps(_as_dict(loaded.recipe, facts, costs, inspections, unavailable), indent=2))
        return
    from enface_tools.check.lines import describe_data, describe_stage

    if facts is not None:
        say(describe_data(facts, loaded.recipe.data))
    for name, stage in loaded.recipe.stages.items():
        for line in describe_stage(name, stage, costs[name]):
            say(line)
        if name in inspections:
            inspections[name].show(Terminal(), stage.steps)
    report_unavailable(unavailable, Terminal())
    say(f"{loaded.recipe.name}: ok")


def _inspect(loaded: LoadedRecipe) -> tuple[Mapping[str, StageInspection], Mapping[str, str]]:
    """Build every stage and measure its terms; return them by stage, and the metrics that cannot be computed."""
    from enface.training.prepare import build_trainer, prepare_run
    from enface_tools.check.console import StageInspection
    from enface_tools.check.contributions import measure_contributions

    prepared = prepare_run(loaded, Terminal())
    trainer = build_trainer(prepared, check=False)
    inspections = {stage.name: StageInspection(stage) for stage in measure_contributions(trainer)}
    return inspections, prepared.validator.unavailable if prepared.validator is not None else {}


def _as_dict(
    recipe: Recipe,
    facts: DataFacts | None,
    costs: Mapping[str, StageCost],
    inspections: Mapping[str, StageInspection],
    unavailable: Mapping[str, str],
) -> dict[str, Any]:
    stages = {}
    for name, stage in recipe.stages.items():
        stages[name] = {
            **stage.model_dump(include={"steps", "batch", "freeze"}),
            "terms": [{"term": key, "loss": term.use} for key, term in stage.terms.items()],
            **asdict(costs[name]),
            **(inspections[name].as_dict() if name in inspections else {}),
        }
    return {
        "name": recipe.name,
        "data": None if facts is None else asdict(facts),
        "stages": stages,
        "unavailable_metrics": dict(unavailable),
    }
