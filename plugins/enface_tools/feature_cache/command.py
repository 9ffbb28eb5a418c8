"""Hook that caches the codes of a frozen encoder, for stages with ``cache_codes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enface import hookimpl

if TYPE_CHECKING:
    from torch import nn

    from enface.data.augment import Augment
    from enface.data.batches import Batches
    from enface.data.pairs import Indices
    from enface.training.run import Run
    from enface_tools.feature_cache.cache import FeatureCache


@hookimpl
def cache_codes(
    run: Run, stage: str, columns: Batches, encoder: nn.Module, rows: Indices, augment: Augment
) -> FeatureCache:
    """Return batches with codes in place of images.

    Raises RecipeError if the stage draws fewer images than there are codes, so that nothing would be saved.
    """
    from enface.errors import RecipeError
    from enface_tools.feature_cache.cache import FeatureCache

    codes = FeatureCache(columns, encoder, rows, augment, run.engine, run.directory)
    model = run.recipe.stages[stage]
    drawn = model.steps * model.batch
    if len(codes) > drawn:
        raise RecipeError(
            f"{run.loaded.place(('stages', stage, 'cache_codes'))}: the images have {len(codes):,} codes over all "
            f"augmentations, and the stage draws only {drawn:,} images, so that nothing would be saved. "
            "Remove the key, or augment less"
        )
    return codes
