"""Looking at data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enface.cli.shared import Overrides, RecipePath, app, load, packed, say

data_app = typer.Typer(no_args_is_help=True, help="Look at data.")
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
