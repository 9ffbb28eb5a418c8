"""Masks as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.cli.options import Overrides, RecipePath, app, load, prepared, say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe
    from enface.train.run import Run

FACES = 20

masks_app = typer.Typer(no_args_is_help=True, help="Masks: build one from data, or draw one by hand.")
app.add_typer(masks_app, name="masks")


@masks_app.command("build")
def build(
    recipe: RecipePath,
    name: Annotated[str, typer.Argument(help="A mask of the recipe: a key of 'masks'.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The .npy file to write.", show_default=False)],
    set_: Overrides = None,
) -> None:
    """Write one of a recipe's masks to a file.

    A picture beside it shows the marked pixels on the mean training target. Weights that follow a schedule are those
    of step 0. A recipe reads the file with 'use: points'.
    """
    from enface_tools.masks.files import check_mask_path, mean_image, save_mask

    check_mask_path(out)
    loaded = load(recipe, set_ or [])
    _require_mask(loaded, name)
    run = prepared(loaded)
    weights = _weights(run, name)
    picture = save_mask(weights, mean_image(run.info.targets(FACES).images), out)
    above = int((weights > weights.min()).sum())
    say(f"mask: {out}")
    say(f"above the lowest weight: {above} of {weights.size} pixels ({100 * above / weights.size:.1f} %)")
    say(f"picture: {picture}")
    say(f"in a recipe: {{use: points, file: {out}, inside: {weights.max():g}, outside: {weights.min():g}}}")


def _require_mask(loaded: LoadedRecipe, name: str) -> None:
    known = loaded.recipe.masks
    if name not in known:
        listed = f"defined: {', '.join(known)}" if known else "it defines none"
        raise EnfaceError(f"recipe {loaded.recipe.name!r} has no mask {name!r}; {listed}")


def _weights(run: Run, name: str) -> Any:
    """The mask at step 0, float32 (H, W)."""
    from enface.train.build import build_mask, static_weights

    weights = static_weights(run.loaded, name, build_mask(run.loaded, name, run.info), run.info)
    if float(weights.min()) == float(weights.max()):
        where = run.loaded.place(("masks", name))
        raise EnfaceError(f"{where}: weighs every pixel {float(weights.min()):g} at step 0, so it would mark nothing")
    return weights[0, 0].detach().float().numpy()
