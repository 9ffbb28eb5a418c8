"""The ``data`` commands, and the fetching of packs at addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Overrides, RecipePath, Terminal, progress_bar, say
from enface.errors import EnfaceError
from enface.system.messages import Progress, Reporter
from enface.system.signals import raise_on_signals

if TYPE_CHECKING:
    from enface.data.batches import BatchColumn
    from enface.data.pack import Pack
    from enface.recipe.load import LoadedRecipe

LISTED = 20
"""Missing parts that are listed one by one."""


def preview(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("preview.png"),
    people: Annotated[int, typer.Option("--people", min=1, help="Rows: one identity each.")] = 12,
) -> None:
    """Write a contact sheet of a recipe's pairs, source beside target: one row per identity, region maps at the end."""
    from enface.recipe.load import load_recipe
    from enface.training.prepare import prepare_pack
    from enface_tools.packs.preview import contact_sheet

    loaded = load_recipe(recipe, set_ or [])
    contact_sheet(prepare_pack(loaded, Terminal()), loaded.recipe.pairs, people, out)
    say(f"preview: {out}")


def pack(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="ADDRESS", help="A folder, or a URL as s3://BUCKET/NAME.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="K/N", help="Read part K of N into the cache, which machines share."),
    ] = None,
) -> None:
    """Write a recipe's pack to a folder or a URL, for training with data.pack; or make a part of it."""
    from enface.data.images import px
    from enface.recipe.load import load_recipe
    from enface.training.prepare import prepare_pack
    from enface_tools.packs.remote import write_pack

    if (out is None) == (part is None):
        raise EnfaceError("data pack: give --out ADDRESS, or --part K/N")
    loaded = load_recipe(recipe, set_ or [])
    if part is not None:
        _pack_part(loaded, part)
        return
    assert out is not None
    source, data = prepare_pack(loaded, Terminal()), loaded.recipe.data
    with progress_bar("writing the pack, files") as progress:
        info = write_pack(source, out, progress)
    size = sum(file.bytes for file in info.files.values())
    say(f"pack: {out} ({info.images} images of {px(info.size)} px, {size / 2**20:,.1f} MiB)")
    keys = ("size", "load_size", "fit", "fill", "channels", "depth")
    chosen = {"size": data.size, **data.model_dump(mode="json", include={*keys}, exclude_defaults=True)}
    sizes = ", ".join(f"{key}: {value}".replace("'", "") for key, value in chosen.items())
    say(f"to train from it: data: {{pack: {out}, use: {info.dataset}, {sizes}, split: ...}}")


def _pack_part(loaded: LoadedRecipe, text: str) -> None:
    from enface.data.images import px
    from enface.training.prepare import report_skipped
    from enface_tools.packs.shards import Part, pack_part

    part = Part.of(text)
    if loaded.recipe.data.pack:
        raise EnfaceError("data pack: --part makes a pack from a dataset, but the recipe names a pack (data.pack)")
    with progress_bar(f"packing part {part} of {loaded.recipe.data.use}") as progress, raise_on_signals():
        result = pack_part(loaded.recipe, loaded.catalog, part, progress)
    made, missing = result.pack, result.missing
    if made is None:
        more = ", ..." if len(missing) > LISTED else ""
        say(f"part {part} is packed; {len(missing)} to come: {', '.join(map(str, missing[:LISTED]))}{more}")
        return
    report_skipped(made, Terminal())
    say(f"pack: {made.folder} ({len(made.table)} images of {px(made.size)} px)")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add the command group ``data``."""
    group = typer.Typer(no_args_is_help=True, help="Preview data; write packs that other machines train from.")
    group.command("preview")(preview)
    group.command("pack")(pack)
    app.add_typer(group, name="data")


@hookimpl
def make_pack(loaded: LoadedRecipe, progress: Progress | None) -> Pack:
    """Make the pack of a recipe's dataset in the cache."""
    from enface_tools.packs import building

    return building.make_pack(loaded.recipe, loaded.catalog, progress)


@hookimpl
def batch_columns(
    loaded: LoadedRecipe, pack: Pack, roles: Sequence[str], reporter: Reporter
) -> Mapping[str, BatchColumn]:
    """Return the true flow between the images of a pair, if the dataset knows it."""
    from enface_tools.packs.flow_columns import flow_columns

    return flow_columns(loaded, pack, roles, reporter)


@hookimpl
def open_pack(address: str, progress: Progress | None, say: Callable[[str], None] | None) -> Path:
    """Fetch the pack at an address of fsspec."""
    from enface_tools.packs.remote import fetch_pack

    return fetch_pack(address, progress or (lambda done, total: None), say or (lambda text: None))
