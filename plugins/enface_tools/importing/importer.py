"""Read an option file, translate it, and write the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enface.errors import EnfaceError, RecipeError
from enface.recipe.load import load_recipe
from enface.recipe.models import DataModel
from enface_plugins.datasets.paired_folders import PairedFolders
from enface_tools.importing import basicsr, joligen, pix2pix
from enface_tools.importing.common import count_images, located
from enface_tools.importing.translation import Entry, Rule, Translation
from enface_tools.importing.writing import recipe_text
from enface_tools.init.names import portable


@dataclass(frozen=True)
class Program:
    """A program whose options can be imported.

    Attributes:
        title: Its name.
        read: Reads an option file.
        rules: Translate the options.
        unknown: Reason for options that no rule names.
        training: Folders of the training images below ``data.root``, the first that exists counts; ``{source}`` is
            the recipe's key.
    """

    title: str
    read: Callable[[Path], dict[str, Any]]
    rules: Sequence[Rule]
    unknown: str
    training: tuple[str, ...]


PROGRAMS = {
    "pix2pix": Program("pix2pix", pix2pix.read_options, pix2pix.RULES, pix2pix.UNKNOWN, ("train",)),
    "basicsr": Program("BasicSR", basicsr.read_options, basicsr.RULES, basicsr.UNKNOWN, ("{source}",)),
    "joligen": Program("joliGEN", joligen.read_options, joligen.RULES, joligen.UNKNOWN, ("trainA",)),
}


@dataclass(frozen=True)
class Imported:
    """A recipe that was written, and the result of each option.

    Attributes:
        warnings: Tasks before it can be run.
    """

    recipe: Path
    entries: Sequence[Entry]
    warnings: Sequence[str]


def import_options(
    program: str,
    file: Path,
    *,
    out: Path | None = None,
    data: Path | None = None,
    images: int | None = None,
    force: bool = False,
) -> Imported:
    """Translate an option file into a recipe and write it.

    Args:
        program: ``pix2pix``, ``basicsr`` or ``joligen``.
        out: The recipe; default: NAME.yaml in the working directory.
        data: The data, if it is not where the file says.
        images: Number of training pairs; default: those in the folder.
        force: Overwrite an existing recipe.

    Raises:
        EnfaceError: if the file cannot be read or imported, or the recipe exists.
    """
    source = PROGRAMS[program]
    translation = Translation(_read(source, file), file.parent)
    root = data or located(str(translation.options.get("dataroot", "")), translation)
    translation.images = images or _count(source, root)
    translation.apply(source.rules, unknown=source.unknown)
    path = out or Path(f"{translation.recipe.get('name', program)}.yaml")
    if path.exists() and not force:
        raise EnfaceError(f"{path} exists; --force overwrites it, --out names another file")
    missing = _place_data(translation, data, path)
    head = [f"Imported from {file.name} of {source.title} by enface import, which lists what has no equivalent."]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe_text(translation.recipe, translation.comments, head), encoding="utf-8")
    return Imported(path, translation.entries, [missing] if missing else _problems(path))


def _read(program: Program, file: Path) -> dict[str, Any]:
    try:
        return program.read(file)
    except OSError as error:
        raise EnfaceError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise EnfaceError(f"{file} is no text in UTF-8") from error


def _count(program: Program, root: Path | None) -> int | None:
    if root is None:
        return None
    return next((count for name in program.training if (count := count_images(root / name))), None)


def _place_data(translation: Translation, data: Path | None, recipe: Path) -> str:
    """Write the folder of the data relative to the recipe if it lies below it; return a warning if it is missing."""
    named = str(translation.recipe["data"]["root"])
    folder = data or located(named, translation)
    if folder is None:
        return f"the folder {named} does not exist; set data.root in {recipe}"
    data_keys = translation.recipe["data"]
    data_keys["root"] = portable(folder, recipe)
    if "split" not in data_keys and (split := _split({**data_keys, "root": folder.resolve()})):
        data_keys["split"] = split
    return ""


def _split(data: dict[str, Any]) -> dict[str, Any]:
    """Return the split of a folder: none if its folders name train, val and test; a part of train as val if not."""
    own = {key: value for key, value in data.items() if key not in DataModel.model_fields}
    names = set(PairedFolders.named_splits(own))
    if {"val", "test"} <= names:
        return {}
    return {"val": 0.1} if names else {"by": "identity", "train": 0.8, "val": 0.1}


def _problems(path: Path) -> list[str]:
    """Return the mistakes in a recipe, which the importer cannot see because they depend on what is installed."""
    try:
        load_recipe(path)
    except RecipeError as error:
        return str(error).splitlines()
    return []
