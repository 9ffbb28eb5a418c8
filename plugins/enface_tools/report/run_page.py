"""The report page of a run, or of an evaluation without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from enface.errors import DataError, EnfaceError
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import CheckpointSummary, StageSummary, Summary
from enface_tools.evaluate.openings import OPENINGS, caveats_of_openings, read_openings
from enface_tools.evaluate.results import BASELINES, SUMMARY
from enface_tools.report import tables
from enface_tools.report.claims import read_claim
from enface_tools.report.curves import read_log, training_plots
from enface_tools.report.files import FolderReader, PageWriter, make_folder
from enface_tools.report.gallery import gallery
from enface_tools.report.layers import layer_section
from enface_tools.report.numbers import KeyNumber, baseline_names, digits_by_metric, key_numbers, labelled, verdicts
from enface_tools.report.pictures import error_scale, sample_grids, sprite_sheet
from enface_tools.report.progress import progress_of
from enface_tools.report.provenance import Provenance
from enface_tools.report.render import rendered
from enface_tools.report.rows import ROLES, Size, grid_rows, image_size, stage_rows
from enface_tools.report.stages import CheckpointTable, checkpoint_table, opening_rows, stage_metrics, stage_table

DOWNLOADS = {
    "summary.json": "all means, intervals and metric cards",
    "images.csv": "labels and metrics of each image",
    "source.csv": "the same for the source images",
    "mean_target.csv": "the same for the mean target",
    "stages.json": "metrics of each stage",
    "layers.json": "shares of what was moved and painted",
    "checkpoints.json": "metrics of the other checkpoints",
    OPENINGS: "every look at the test people",
}
VALIDATION = "evaluation/val/"

Contents = dict[str, Any]


def write_report(run_dir: Path, *, refresh: int | None = None) -> Path:
    """Write ``report/index.html`` and its assets; the page needs no network and no server.

    Missing and damaged files are listed on the page.

    Args:
        run_dir: A run directory, or a folder written by ``enface pairs``.
        refresh: Seconds after which the page reloads; None for a page that does not.

    Returns:
        Path of the page.

    Raises:
        EnfaceError: if ``run_dir`` does not exist, or the report cannot be written.
    """
    if not run_dir.is_dir():
        raise EnfaceError(f"run directory {run_dir} does not exist")
    page = PageWriter(make_folder(run_dir / "report"))
    try:
        contents, data = _contents(FolderReader(run_dir.resolve()), page, run_dir)
        path = page.page(rendered("run.html", contents, data, refresh=refresh))
        page.remove_stale("assets", "data")
    except OSError as error:
        raise EnfaceError(f"cannot write {page.folder} ({error.strerror or error})") from error
    return path


def _contents(reader: FolderReader, page: PageWriter, run: Path) -> tuple[Contents, Contents]:
    """Variables of the template, and data for the scripts."""
    # The folder of enface pairs is the evaluation itself; a run has it in a subfolder.
    folder = "" if _is_pairs(reader) else _folder(reader)
    summary = reader.model(f"{folder}summary.json", Summary)
    size = image_size(reader.text("recipe.yaml"))
    training = _training(reader, page, size)
    evaluation = _evaluation(reader, page, folder, summary, size)
    plots = {plot.id: plot for group in training["plots"].values() for plot in group}
    contents: Contents = {
        **{"kind": "run" if folder else "pairs", "run": reader.directory.name, "summary": summary},
        **evaluation,
        **training,
        **_provenance(reader, run, summary),
        **_openings(reader, run),
        "claim": read_claim(run),
        "downloads": _downloads(reader, page, folder),
        "plotly": page.plotly() if plots else "",
        "problems": reader.problems,
    }
    contents |= {"parts": _parts(contents), "title": f"{contents['name']} · enface report"}
    data = {
        "plots": {name: asdict(plot) for name, plot in plots.items()},
        "gallery": contents["gallery"],
        "samples": [{"step": step, **asdict(picture)} for step, picture in training["samples"].outputs],
    }
    return contents, data


def _evaluation(
    reader: FolderReader, page: PageWriter, folder: str, summary: Summary | None, size: Size | None
) -> Contents:
    numbers = key_numbers(summary.metrics) if summary else []
    directions = {item.name: item.direction for item in numbers}
    decimals = digits_by_metric(summary) if summary else {}
    baselines = baseline_names(summary) if summary else []
    images = reader.table(f"{folder}images.csv")
    baseline_tables = {name: reader.table(f"{folder}{name}.csv") for name in BASELINES}
    sheet = sprite_sheet(reader, page, folder)
    split = (summary.split if summary else None) or "test"
    roles = ROLES if folder or "source" in baselines else ROLES[1:]
    grid = page.picture(
        reader, reader.directory / folder / "grid.png", "grid", f"{split.capitalize()} images: {', '.join(roles)}."
    )
    return {
        "numbers": numbers,
        "verdicts": verdicts(numbers),
        "baselines": baselines,
        "labels": {name: labelled(name) for name in baselines},
        "grid": grid,
        "grid_rows": grid_rows(grid, roles, size),
        "roles": roles,
        "scale": error_scale() if sheet and "error" in sheet.tiles else None,
        "gallery": gallery(images, baseline_tables, directions, decimals, sheet),
        "sheet": sheet,
        "spread": tables.spread(images, directions, decimals),
        "sets": tables.set_numbers(summary) if summary else [],
        "regions": tables.region_tables(summary) if summary else [],
        "by": tables.label_tables(summary) if summary else {},
        "heat": tables.heat_maps(summary) if summary else {},
        "recognition": tables.recognition(summary) if summary else [],
        **_stages(reader, page, folder, numbers, size),
        "layers": layer_section(reader, page, folder, split, size),
        "checkpoints": _checkpoints(reader, folder, directions),
    }


def _folder(reader: FolderReader) -> str:
    """The evaluation that the page shows: of the test people, or of validation people if those were never opened."""
    closed = not (reader.directory / "evaluation" / SUMMARY).is_file()
    return VALIDATION if closed and (reader.directory / VALIDATION / SUMMARY).is_file() else "evaluation/"


def _checkpoints(reader: FolderReader, folder: str, directions: Mapping[str, Direction]) -> list[CheckpointTable]:
    """A table of other networks for each split; validation people come first, and show this network, too."""
    tables_by_split = []
    for split, place in (("val", VALIDATION), ("test", "evaluation/")) if folder else ():
        networks: dict[str, CheckpointSummary] = {}
        if split == "val" and folder != VALIDATION:
            summary = reader.model(f"{place}{SUMMARY}", Summary)
            networks |= {"this network": CheckpointSummary.of(summary)} if summary else {}
        networks |= reader.model(f"{place}checkpoints.json", dict[str, CheckpointSummary]) or {}
        if networks:
            tables_by_split.append(CheckpointTable(split, checkpoint_table(networks, directions)))
    return tables_by_split


def _openings(reader: FolderReader, run: Path) -> Contents:
    """Looks at the test people, and a caveat if several recipes were seen on them."""
    try:
        return {"openings": opening_rows(read_openings(run)), "opened": caveats_of_openings(run)}
    except DataError as error:
        reader.problems.append(f"{error}.")
        return {"openings": [], "opened": []}


def _stages(
    reader: FolderReader, page: PageWriter, folder: str, numbers: list[KeyNumber], size: Size | None
) -> Contents:
    # Comparing stages is choosing, so validation people come first.
    if folder and (reader.directory / VALIDATION / "stages.json").is_file():
        folder = VALIDATION
    split = "validation" if folder == VALIDATION else "test"
    stages = reader.model(f"{folder}stages.json", dict[str, StageSummary]) or {}
    pictures = {
        name: page.picture(
            reader,
            reader.directory / folder / "stages" / f"{name}.png",
            f"stages/{index}",
            f"Sources, outputs and targets of {split} images after stage {name}.",
        )
        for index, name in enumerate(stages)
    }
    directions = {item.name: item.direction for item in numbers}
    return {
        "stage_rows": stage_table(stages, directions, pictures),
        "stage_pictures": stage_rows(pictures, size),
        "stage_metrics": [list(directions).index(name) for name in stage_metrics(directions)],
        "stage_split": split,
    }


def _training(reader: FolderReader, page: PageWriter, size: Size | None) -> Contents:
    log = read_log(reader.text("log.jsonl"))
    return {
        "stages": [(name, start, ", ".join(log.terms.get(name, {}).values())) for name, start in log.stages],
        "last_step": log.last_step,
        "progress": progress_of(log, reader.text("recipe.yaml")),
        "plots": training_plots(log),
        "inactive": log.inactive,
        "early": log.early,
        "samples": sample_grids(reader, page, size),
    }


def _provenance(reader: FolderReader, run: Path, summary: Summary | None) -> Contents:
    provenance = Provenance.read(reader)
    return {
        "name": provenance.name or (summary.name if summary else "") or reader.directory.name,
        "recipe": provenance.recipe,
        "lineage": provenance.lineage,
        "environment": provenance.environment.lines if provenance.environment else {},
        "skipped": provenance.skipped,
        "commands": provenance.commands(run, summary.split if summary else None),
    }


def _parts(contents: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(id, text) of the links in the navigation bar."""
    training = contents["kind"] == "run"
    return [
        ("numbers", "Key numbers"),
        *([("stages", "Stages")] if contents["stage_rows"] else []),
        *([("layers", "Layers")] if contents["layers"] else []),
        ("images", "Images"),
        *([("where", "Breakdown")] if contents["summary"] else []),
        *([("training", "Training"), ("samples", "Samples")] if training else []),
        ("made", "Provenance"),
    ]


def _is_pairs(reader: FolderReader) -> bool:
    return (reader.directory / "summary.json").is_file() and not (reader.directory / "recipe.yaml").is_file()


def _downloads(reader: FolderReader, page: PageWriter, folder: str) -> list[tuple[str, str, str]]:
    copies = [(page.copy(reader.directory / folder / name, f"data/{name}"), name) for name in DOWNLOADS]
    recipe = (page.copy(reader.directory / "recipe.yaml", "data/recipe.yaml"), "recipe.yaml")
    return [(file, name, DOWNLOADS.get(name, "the resolved recipe")) for file, name in [*copies, recipe] if file]
