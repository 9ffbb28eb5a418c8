"""The ``masks`` commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface import hookimpl
from enface.cli.options import Overrides, RecipePath, Terminal, say
from enface.errors import EnfaceError
from enface_tools.masks.draw_command import draw

if TYPE_CHECKING:
    from enface.recipe.load import LoadedRecipe
    from enface.training.run import Run

FACES = 20


def build(
    recipe: RecipePath,
    name: Annotated[str, typer.Argument(help="Name of a mask in the recipe's 'masks'.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The .npy file to write.", show_default=False)],
    set_: Overrides = None,
) -> None:
    """Write a mask of a recipe to a file.

    A picture beside it shows the marked pixels on the mean training target. Weights that follow a schedule are taken
    at step 0. A recipe reads the file with 'use: points'.
    """
    from enface.recipe.load import load_recipe
    from enface.training.prepare import prepare_run
    from enface_tools.masks.files import check_mask_path, mean_image, save_mask

    check_mask_path(out)
    loaded = load_recipe(recipe, set_ or [])
    _require_mask(loaded, name)
    run = prepare_run(loaded, Terminal(), ("mask",))
    weights = _weights(run, name)
    picture = save_mask(weights, mean_image(run.info.targets(FACES).images), out)
    above = int((weights > weights.min()).sum())
    say(f"mask: {out}")
    say(f"above the lowest weight: {above} of {weights.size} pixels ({100 * above / weights.size:.1f} %)")
    say(f"picture: {picture}")
    say(f"in a recipe: {{use: points, file: {out}, inside: {weights.max():g}, outside: {weights.min():g}}}")


def _require_mask(loaded: LoadedRecipe, name: str) -> None:
    masks = loaded.recipe.masks
    if name not in masks:
        defined = f"defined: {', '.join(masks)}" if masks else "it defines none"
        raise EnfaceError(f"recipe {loaded.recipe.name!r} has no mask {name!r}; {defined}")


def _weights(run: Run, name: str) -> Any:
    """The mask at step 0, float32 (H, W)."""
    from enface.training.masks import build_mask
    from enface_tools.evaluate.build import static_weights

    weights = static_weights(run.loaded, name, build_mask(run.loaded, name, run.info), run.info)
    if float(weights.min()) == float(weights.max()):
        where = run.loaded.place(("masks", name))
        raise EnfaceError(f"{where}: weighs every pixel {float(weights.min()):g} at step 0, so it marks nothing")
    return weights[0, 0].detach().float().numpy()


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``masks build`` and ``masks draw``."""
    group = typer.Typer(no_args_is_help=True, help="Build a mask from data, or draw one by hand.")
    group.command("build")(build)
    group.command("draw")(draw)
    app.add_typer(group, name="masks")
