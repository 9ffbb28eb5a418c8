"""The report: a folder with one page, made of what lies in a run's directory or in an evaluation's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from enface.errors import EnfaceError
from enface_tools.report import curves as report_curves
from enface_tools.report import numbers as report_numbers
from enface_tools.report import pictures as report_pictures
from enface_tools.report import provenance as report_recipe
from enface_tools.report import stages as report_stages
from enface_tools.report import tables as report_tables
from enface_tools.report.files import Beside, Found, mapping, writable
from enface_tools.report.gallery import gallery
from enface_tools.report.render import rendered

BASELINES = tuple(report_numbers.BASELINES)
DOWNLOADS = {
    "summary.json": "all means, intervals and cards",
    "images.csv": "a line an image: labels and metrics",
    "source.csv": "the same for copying the source",
    "mean_target.csv": "the same for the mean target",
    "stages.json": "what each stage ended with",
    "checkpoints.json": "the other checkpoints",
}


def write_report(run_dir: Path, *, refresh: int | None = None) -> Path:
    """Write ``report/index.html`` and what it shows; it needs no network and no server.

    What is not there yet (an evaluation, samples, a log) is said to be missing, and so is what is damaged.

    Args:
        run_dir: A run's directory, or a folder that ``enface evaluate --pairs`` wrote.
        refresh: Seconds after which the page loads itself again; None for a page that stays as it is.

    Returns:
        The page's path.

    Raises:
        EnfaceError: when ``run_dir`` does not exist, or the report cannot be written.
    """
    if not run_dir.is_dir():
        raise EnfaceError(f"run directory {run_dir} does not exist")
    beside = Beside(writable(run_dir / "report"))
    try:
        contents, data = _contents(Found(run_dir.resolve()), beside, run_dir)
        path = beside.page(rendered("run.html", contents, data, refresh=refresh))
        beside.tidy("assets", "data")
    except OSError as error:
        raise EnfaceError(f"cannot write {beside.folder} ({error.strerror or error})") from error
    return path


def _contents(found: Found, beside: Beside, run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the template names, and what the scripts read."""
    # A folder of --pairs is the evaluation itself; a run has one below it.
    folder = "" if _is_pairs(found) else "evaluation/"
    recipe = found.text("recipe.yaml")
    environment = found.mapping("environment.json")
    summary = found.mapping(f"{folder}summary.json")
    log = report_curves.read_log(found.events())
    numbers = report_numbers.key_numbers(summary)
    directions = {item.name: item.direction for item in numbers}
    baselines = report_numbers.baseline_names(summary)
    images = found.table(f"{folder}images.csv")
    labels = report_tables.label_tables(summary)
    sheet = report_pictures.sheet(found, beside, folder)
    shown = gallery(images, {name: found.table(f"{folder}{name}.csv") for name in BASELINES}, directions, sheet)
    training = report_curves.training_plots(log)
    by_label = _label_plots(labels)
    samples = report_pictures.sample_grids(found, beside)
    grid = found.directory / folder / "grid.png"
    contents: dict[str, Any] = {
        "kind": "run" if folder else "pairs",
        "name": report_recipe.recipe_name(recipe) or _name(summary) or found.directory.name,
        "run": found.directory.name,
        "summary": summary,
        "checkpoint": mapping(summary, "checkpoint"),
        "numbers": numbers,
        "verdicts": report_numbers.verdicts(numbers),
        "caveats": _sentences(summary.get("caveats")),
        "baselines": baselines,
        "labels": {name: report_numbers.labelled(name) for name in baselines},
        "sets": report_tables.set_numbers(summary, baselines),
        "unavailable": mapping(summary, "unavailable"),
        "grid": beside.picture(found, grid, "grid", "Test faces: source images, the outputs, the targets."),
        "gallery": shown,
        "sheet": sheet,
        "regions": report_tables.region_tables(summary),
        "by": labels,
        "by_plots": {(plot.x, plot.title): plot.id for plot in by_label},
        "heat": report_tables.heat_maps(summary),
        "recognition": report_tables.recognition(summary),
        "spread": report_tables.spread(images, directions),
        "ladder": _ladder(found, beside, folder, directions),
        "checkpoints": report_stages.checkpoint_table(found.mapping(f"{folder}checkpoints.json"), list(directions)),
        "cards": {str(name): mapping(item, "card") for name, item in _metrics(summary)},
        "stages": log.stages,
        "last_step": log.last_step,
        "plots": training,
        "samples": samples,
        "skipped": report_recipe.skipped(environment),
        "recipe": recipe,
        "lineage": report_recipe.lineage(found),
        "environment": dict(report_recipe.flat(environment)),
        "commands": report_recipe.commands(run, environment, summary, recipe),
        "downloads": _downloads(found, beside, folder),
        "plotly": beside.plotly() if training or by_label else "",
    }
    drawn = {plot.id: plot for plots in [*training.values(), by_label] for plot in plots}
    contents |= {"problems": found.problems, "all_plots": drawn, "parts": _parts(contents)}
    contents["title"] = f"{contents['name']} · enface report"
    data = {
        "plots": {name: asdict(plot) for name, plot in drawn.items()},
        "gallery": shown,
        "samples": [{"step": step, **asdict(picture)} for step, picture in samples.outputs],
    }
    return contents, data


def _parts(contents: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the bar at the top leads to."""
    training = contents["kind"] == "run"
    return [
        ("numbers", "Key numbers"),
        ("images", "Images"),
        *([("where", "Where it is good")] if contents["summary"] else []),
        *([("stages", "Stages")] if contents["ladder"] else []),
        *([("training", "Training"), ("samples", "Samples")] if training else []),
        ("made", "How it was made"),
    ]


def _is_pairs(found: Found) -> bool:
    return (found.directory / "summary.json").is_file() and not (found.directory / "recipe.yaml").is_file()


def _name(summary: Mapping[str, Any]) -> str:
    return str(summary.get("name") or "")


def _sentences(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _metrics(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [*mapping(summary, "metrics").items(), *mapping(summary, "sets").items()]


def _label_plots(labels: Mapping[str, Sequence[report_tables.Table]]) -> list[report_curves.Plot]:
    tables = [(column, table) for column, found in labels.items() for table in found if table.curves]
    return [
        report_curves.label_plot(f"label-{number}", table.metric, column, table.curves)
        for number, (column, table) in enumerate(tables)
    ]


def _ladder(found: Found, beside: Beside, folder: str, directions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What every stage bought, when a run had several and they were measured."""
    pictures = found.directory / folder / "stages"
    lines = []
    for number, (name, step, after, cells) in enumerate(
        report_stages.stage_table(found.mapping(f"{folder}stages.json"), directions)
    ):
        alt = f"Sources, outputs and targets of test faces after stage {name}."
        picture = beside.picture(found, pictures / f"{name}.png", f"stages/{number}", alt)
        lines.append({"name": name, "step": step, "after": after, "cells": cells, "picture": picture})
    return lines


def _downloads(found: Found, beside: Beside, folder: str) -> list[tuple[str, str, str]]:
    copies = [(beside.copy(found.directory / folder / name, f"data/{name}"), name) for name in DOWNLOADS]
    recipe = (beside.copy(found.directory / "recipe.yaml", "data/recipe.yaml"), "recipe.yaml")
    return [(file, name, DOWNLOADS.get(name, "the resolved recipe")) for file, name in [*copies, recipe] if file]
