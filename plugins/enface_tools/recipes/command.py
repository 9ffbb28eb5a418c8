"""The ``recipes`` command."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import say
from enface.errors import RecipeError


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to copy.", show_default=False)] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to copy to.")] = Path(),
) -> None:
    """List the recipes that come with enface, or copy one with its parents.

    A recipe of the list runs by its name: enface run quickstart.
    """
    from enface_tools.recipes.shipped import shipped_recipes

    known = shipped_recipes()
    if name is None:
        width = max(map(len, known))
        for key, path in known.items():
            say(f"{key:{width}}  {_summary(path)}".rstrip())
        return
    if name not in known:
        from enface.plugin.schema import closest

        raise RecipeError(f"no recipe is called {name!r}{closest(name, known)}")
    _copy(known[name], out)


def _summary(path: Path) -> str:
    """Return the first sentence of the comment at the top of a recipe."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.strip("# "))
    text = " ".join(comment)
    return text.partition(". ")[0].rstrip(".")


def _copy(path: Path, out: Path) -> None:
    """Copy a recipe and the files that it extends, keeping their folders."""
    import yaml

    from enface_tools.recipes.shipped import shipped_folder

    while True:
        target = out / path.relative_to(shipped_folder())
        if target.exists():
            raise RecipeError(f"{target} exists; remove it, or name another folder with --out")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        say(f"copied: {target}")
        parent = yaml.safe_load(path.read_text(encoding="utf-8")).get("extends")
        if parent is None:
            return
        path = (path.parent / parent).resolve()


@hookimpl
def commands(app: typer.Typer) -> None:
    """Add ``recipes``."""
    app.command("recipes")(recipes)


@hookimpl
def complete_name(text: str, recipe: bool) -> list[str]:
    """Complete folders, and if a recipe is meant the names of shipped recipes and files."""
    from enface_tools.recipes.shipped import shipped_recipes

    folder = Path(text).parent if not text.endswith("/") else Path(text)
    paths = [path for path in folder.glob("*") if path.as_posix().startswith(text.removeprefix("./"))]
    folders = [f"{path.as_posix()}/" for path in paths if path.is_dir()]
    if not recipe:
        return folders
    files = [path.as_posix() for path in paths if path.suffix in (".yaml", ".yml")]
    return [*folders, *files, *(name for name in shipped_recipes() if name.startswith(text))]


@hookimpl
def find_recipe(name: str) -> Path | None:
    """Find the recipes that come with enface. Raise RecipeError if the name is nearly one of theirs."""
    from difflib import get_close_matches

    from enface_tools.recipes.shipped import shipped_recipes

    known = shipped_recipes()
    if name not in known and (near := get_close_matches(name.lower(), known, n=1)):
        raise RecipeError(
            f"no recipe or run is called {name!r}; did you mean {near[0]!r}? 'enface recipes' lists those that come "
            "with enface"
        )
    return known.get(name)
