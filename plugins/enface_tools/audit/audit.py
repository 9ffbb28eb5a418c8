"""The audit of a recipe: the entry point for the command and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from enface.data.pairs import split_rows
from enface.errors import DataError
from enface.recipe.load import LoadedRecipe, load_recipe
from enface.system.messages import Reporter, Silent
from enface.training.prepare import prepare_pack
from enface_tools.audit.checks import Audit, run_checks
from enface_tools.audit.duplicates import DEFAULT_BITS
from enface_tools.audit.faces import DEFAULT_FACES
from enface_tools.audit.findings import AuditedData
from enface_tools.evaluate.grid import displayed


def audit(
    recipe: LoadedRecipe | Path | str,
    *,
    overrides: Sequence[str] = (),
    bits: int = DEFAULT_BITS,
    faces: int = DEFAULT_FACES,
    progress: Reporter | None = None,
) -> Audit:
    """Check the image pairs of a recipe: duplicates, leaks, misaligned images, missing targets. Nothing is trained.

    Args:
        recipe: A loaded recipe, or the path of a recipe file or run directory.
        overrides: Recipe keys to change, as ``data.size=64``; only if ``recipe`` is a path.
        bits: Of a perceptual hash's 64 bits, how many may differ between near duplicates, 0 to 16.
        faces: Number of images whose faces are compared, if a recogniser is installed; 0 to skip.
        progress: Receives messages and progress; default: silent.

    Raises:
        RecipeError: if the recipe is wrong.
        DataError: if its data cannot be read, or its pairs or splits do not fit the data.
    """
    loaded = recipe if isinstance(recipe, LoadedRecipe) else load_recipe(recipe, overrides)
    reporter = progress or Silent()
    data = read_data(loaded, reporter)
    with reporter.progress("comparing images") as report:
        return run_checks(data, bits=bits, faces=faces, progress=report)


def read_data(loaded: LoadedRecipe, progress: Reporter | None = None) -> AuditedData:
    """Return the data of a recipe. Unreadable images are skipped and listed, even if the recipe stops at them.

    Raises:
        DataError: if the data cannot be packed or split.
    """
    stops = False
    try:
        pack = prepare_pack(loaded, progress)
    except DataError:
        if loaded.recipe.data.on_error == "skip":
            raise
        # Anything else that is wrong with the data raises again.
        pack = prepare_pack(_skipping(loaded), progress)
        stops = True
    parts = split_rows(pack.table, loaded.recipe.data.split, loaded.recipe.seed, refuse_shared=False)
    return AuditedData(loaded.recipe, pack.table, displayed(pack.images), parts, pack.info.skipped, stops)


def _skipping(loaded: LoadedRecipe) -> LoadedRecipe:
    """The same recipe with ``data.on_error: skip``."""
    data = loaded.recipe.data.model_copy(update={"on_error": "skip"})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"data": data}))
