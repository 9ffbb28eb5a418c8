"""The ``apply`` and ``export`` commands, which use a trained network without its training data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import Device, RunPath, Runs, Terminal, say


class Fit(StrEnum):
    """Ways to fit an image to the network's size."""

    crop = "crop"
    pad = "pad"
    stretch = "stretch"


class Size(StrEnum):
    """Sizes at which a network is applied."""

    trained = "trained"
    native = "native"


class Format(StrEnum):
    """File formats of an export."""

    onnx = "onnx"
    torch = "torch"


CheckpointPath = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint; default: the latest.")
]
Raw = Annotated[bool, typer.Option("--raw", help="Use the plain weights instead of their running average.")]


def apply(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders to search.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the outputs.", show_default=False)],
    checkpoint: CheckpointPath = None,
    size: Annotated[
        Size, typer.Option("--size", help="The size of training, or the image's own if the network allows it.")
    ] = Size.trained,
    fit: Annotated[
        Fit | None,
        typer.Option(
            "--fit",
            help="Way to fit images to the size of training; default: as in training.",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option("--tile", min=1, metavar="PX", help="Cut larger images into tiles (--size native).")
    ] = None,
    overlap: Annotated[int, typer.Option("--overlap", min=0, metavar="PX", help="Overlap of the tiles.")] = 64,
    grid: Annotated[bool, typer.Option("--grid", help="Also write DIR/grid.png with inputs above outputs.")] = False,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Also write DIR/NAME.layers.png: what was moved, mirrored and painted."),
    ] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images per batch.")] = 32,
    raw: Raw = False,
    device: Annotated[Device, typer.Option("--device", help="Device of the network.")] = Device.auto,
    runs: Runs = Path("runs"),
) -> None:
    """Write a trained network's outputs for photographs.

    Writes DIR/NAME.png for each image; images of a folder keep their paths within it. The run's data is not needed.
    """
    from enface_tools.inference.apply import apply as apply_run

    apply_run(
        run,
        images,
        out,
        checkpoint=checkpoint,
        average=not raw,
        fit=fit.value if fit else None,
        size=size.value,
        tile=tile,
        overlap=overlap,
        grid=grid,
        layers=layers,
        batch=batch,
        device=device.value,
        progress=Terminal(),
    )


def export(
    run: RunPath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the files; default: RUN/export.")
    ] = None,
    checkpoint: CheckpointPath = None,
    raw: Raw = False,
    format_: Annotated[
        list[Format] | None, typer.Option("--format", help="A format to write; repeatable; default: both.")
    ] = None,
    opset: Annotated[
        int | None, typer.Option("--opset", min=1, metavar="N", help="Version of ONNX's operators; default: torch's.")
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Write a trained network as ONNX and torch.export files.

    Each file is read back and compared with the network; export.json describes inputs and outputs.
    """
    import torch

    from enface.recipe.load import load_recipe
    from enface_tools.evaluate.checkpoints import open_network
    from enface_tools.evaluate.run import require_run
    from enface_tools.inference.export import Exporter, require_packages

    require_run(run)
    formats, folder = [item.value for item in format_ or Format], out or run / "export"
    require_packages(formats)
    loaded = load_recipe(run)
    network, saved = open_network(loaded, run, checkpoint, torch.device("cpu"), raw=raw)
    metadata = Exporter(loaded.recipe, network, saved, raw, opset)(folder, formats)
    for format_name, difference in metadata["largest_difference"].items():
        say(f"{format_name}: differs from the network by {difference:.1e} at most")
    say(f"{', '.join(metadata['files'])} and export.json written to {folder}")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``apply`` and ``export``."""
    app.command("apply")(apply)
    app.command("export")(export)
