"""Recognise a folder of pairs, and write a recipe and a picture for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enface.errors import DataError, EnfaceError
from enface.recipe.load import load_recipe
from enface_plugins.datasets.layouts import Layout, recognise
from enface_tools.init.names import recipe_name
from enface_tools.init.picture import Counts, draw_pairs
from enface_tools.init.survey import FEW_PEOPLE, Survey, describe_unknown, people, survey
from enface_tools.init.tasks import Task
from enface_tools.init.template import guess_task, recipe_text


@dataclass(frozen=True)
class Started:
    """Files that were written for a folder.

    Attributes:
        reason: Reason for the choice of the task; empty if the user chose it.
        counts: Pairs and people of each part of the split; None if the pairs cannot be drawn.
        warnings: Sentences about what may spoil a training.
    """

    facts: Survey
    task: Task
    reason: str
    recipe: Path
    picture: Path
    counts: Counts | None
    warnings: Sequence[str]


def start(folder: Path, *, task: Task | None = None, out: Path | None = None, force: bool = False) -> Started:
    """Write a recipe for a folder, and a picture of six of its pairs beside it.

    Args:
        task: The task; default: the one that the layout suggests.
        out: The recipe; default: FOLDERNAME.yaml in the working directory.
        force: Overwrite an existing recipe and picture.

    Raises:
        DataError: if the folder is not recognised, or its dataset refuses it.
        EnfaceError: if a file exists or cannot be written.
    """
    layout = _recognised(folder)
    recipe = out or _beside(layout.root.resolve())
    picture = recipe.with_suffix(".pairs.png")
    if layout.root.resolve() in picture.resolve().parents:
        raise EnfaceError(f"{picture} would lie among the images of {layout.root}; name another folder with --out")
    for path in (recipe, picture):
        if path.exists() and not force:
            raise EnfaceError(f"{path} exists; --force overwrites it, --out names another file")
    facts = survey(layout)
    guess, reason = guess_task(facts)
    try:
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(recipe_text(facts, task or guess, recipe), encoding="utf-8")
    except OSError as error:
        raise EnfaceError(f"cannot write {recipe}: {error}") from error
    warnings = list(facts.warnings)
    counts = None
    try:
        counts = draw_pairs(load_recipe(recipe), facts.table, picture)
        warnings.extend(_few(counts))
    except DataError as error:
        warnings.append(str(error))
    return Started(facts, task or guess, "" if task else reason, recipe, picture, counts, warnings)


def _beside(root: Path) -> Path:
    """The default recipe: in the working directory, or above the images if they are there."""
    name = f"{recipe_name(root.name)}.yaml"
    here = Path.cwd().resolve()
    return root.parent / name if here == root or root in here.parents else Path(name)


def _few(counts: Counts) -> Iterator[str]:
    if counts.people["test"] < FEW_PEOPLE:
        yield f"the test split has {people(counts.people['test'])}; figures have intervals from {FEW_PEOPLE} people on"
    if "val" not in counts.people:
        yield "there are too few people for validation, so no checkpoint is chosen by it"


def _recognised(folder: Path) -> Layout:
    try:
        return recognise(folder)
    except DataError as error:
        described = describe_unknown(folder.expanduser())
        raise DataError(f"{error}\n{described}" if described else str(error)) from error
