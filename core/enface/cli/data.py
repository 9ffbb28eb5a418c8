"""Looking at data, and writing it where others find it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enface.cli.shared import Overrides, RecipePath, app, load, packed, progress_bar, say

data_app = typer.Typer(no_args_is_help=True, help="Look at data; write it where others find it.")
app.add_typer(data_app, name="data")


@data_app.command("preview")
def preview(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("preview.png"),
    people: Annotated[int, typer.Option("--people", min=1, help="Rows: one identity each.")] = 12,
) -> None:
    """Write a contact sheet of a recipe's data: a row an identity, with target and region map at the end."""
    from enface.preview import contact_sheet

    loaded = load(recipe, set_ or [])
    contact_sheet(packed(loaded), people, out)
    say(f"preview: {out}")


@data_app.command("pack")
def pack(
    recipe: RecipePath,
    out: Annotated[str, typer.Option("--out", metavar="ADDRESS", help="A folder, or a URL as s3://BUCKET/NAME.")],
    set_: Overrides = None,
) -> None:
    """Write a recipe's pack to a folder or a URL, from where others train with data.pack."""
    from enface.remote_pack import write_pack

    loaded = load(recipe, set_ or [])
    found, data = packed(loaded), loaded.recipe.data
    with progress_bar("writing the pack, files") as progress:
        about = write_pack(found, out, progress)
    size = sum(file["bytes"] for file in about["files"].values())
    say(f"pack: {out} ({about['images']} images of {about['size']} px, {size / 2**20:,.1f} MiB)")
    size_said = f"size: {data.size}" + (f", load_size: {data.load_size}" if data.load_size else "")
    say(f"to train from it: data: {{pack: {out}, use: {about['dataset']}, {size_said}, split: ...}}")
