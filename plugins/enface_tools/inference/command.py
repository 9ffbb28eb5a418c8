"""Using a trained network, without the data it was trained on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import Device, RunPath, progress_bar, require_run, say
from enface.errors import DataError


class Fit(StrEnum):
    """How an image becomes square."""

    stretch = "stretch"
    crop = "crop"
    pad = "pad"


class Format(StrEnum):
    """What an export is written as."""

    onnx = "onnx"
    torch = "torch"


CheckpointPath = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="The checkpoint; the latest unless given.")
]
Raw = Annotated[bool, typer.Option("--raw", help="The plain weights, where there is a running average too.")]


def apply(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders to walk.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where outputs go.", show_default=False)],
    checkpoint: CheckpointPath = None,
    fit: Annotated[
        Fit, typer.Option("--fit", help="How an image becomes square: stretched, its middle, or its edge repeated.")
    ] = Fit.stretch,
    grid: Annotated[bool, typer.Option("--grid", help="Write DIR/grid.png too: inputs over outputs.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at a time.")] = 32,
    raw: Raw = False,
    device: Annotated[Device, typer.Option("--device", help="Where the network runs.")] = Device.auto,
) -> None:
    """Turn photographs into a trained network's outputs.

    Writes DIR/NAME.png for each image; those of a folder keep their paths in it. The run's data is not needed.
    """
    from enface.recipe.load import load_recipe
    from enface_tools.evaluate.checkpoints import open_network
    from enface_tools.inference.apply import Applier, Sheet, device_of, plan

    require_run(run)
    sheet_path = out / "grid.png" if grid else None
    jobs, place = plan(images, out, sheet_path), device_of(device.value)
    loaded = load_recipe(run)
    network, _ = open_network(loaded, run, checkpoint, place, raw=raw)
    applier = Applier(network, loaded.recipe.data, place, fit.value, batch)
    sheet = Sheet(len(jobs), loaded.recipe.data.size) if grid else None
    with progress_bar("applying") as progress:
        failed = applier(jobs, sheet, progress)
    if sheet is not None and sheet_path is not None and sheet.save(sheet_path):
        say(f"grid: {sheet_path}")
    say(f"{len(jobs) - len(failed)} images written to {out}")
    if failed:
        reasons = "\n  ".join(failed)
        raise DataError(f"{len(failed)} of {len(jobs)} images could not be read:\n  {reasons}")


def export(
    run: RunPath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where files go; RUN/export unless given.")
    ] = None,
    checkpoint: CheckpointPath = None,
    raw: Raw = False,
    format_: Annotated[
        list[Format] | None, typer.Option("--format", help="What to write; both unless given; repeatable.")
    ] = None,
) -> None:
    """Write a trained network as ONNX and torch.export files.

    Each is read again and checked against the network; export.json says what goes in and what comes out.
    """
    require_run(run)
    formats, folder = [item.value for item in format_ or Format], out or run / "export"
    import torch

    from enface.recipe.load import load_recipe
    from enface_tools.evaluate.checkpoints import open_network
    from enface_tools.inference.export import Exporter, require_packages

    require_packages(formats)
    loaded = load_recipe(run)
    network, saved = open_network(loaded, run, checkpoint, torch.device("cpu"), raw=raw)
    about = Exporter(loaded.recipe, network, saved, raw)(folder, formats)
    for kind, difference in about["largest_difference"].items():
        say(f"{kind}: differs from the network by {difference:.1e} at most")
    say(f"{', '.join(about['files'])} and export.json written to {folder}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``apply`` and ``export``."""
    app.command("apply")(apply)
    app.command("export")(export)
