"""The components that a recipe names, and the files that they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from enface.recipe.load import LoadedRecipe
from enface.recipe.models import Recipe, Spec


class Named(NamedTuple):
    """A component in a recipe: its kind, the path of its key, and its map."""

    kind: str
    key: tuple[str, ...]
    spec: Spec


def named_components(recipe: Recipe) -> Iterator[Named]:
    """Yield the components of a recipe; the dataset only if its images are read; metrics come last."""
    if recipe.data.pack is None:
        yield Named("dataset", ("data",), recipe.data)
    yield Named("generator", ("generator",), recipe.generator)
    for name, stage in recipe.stages.items():
        for term, loss in stage.terms.items():
            yield Named("loss", ("stages", name, "terms", term), loss)
        for critic, model in stage.discriminators.items():
            yield Named("discriminator", ("stages", name, "discriminators", critic), model)
    for name, mask in recipe.masks.items():
        yield Named("mask", ("masks", name), mask)
    for name, region in recipe.evaluation.regions.items():
        yield Named("mask", ("evaluation", "regions", name), region)
    for name, metric in recipe.metrics.items():
        yield Named("metric", ("metrics", name), metric)


def missing_files(loaded: LoadedRecipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield key and message of each file or folder that a component names and that does not exist."""
    for kind, key, spec in named_components(loaded.recipe):
        if kind not in loaded.catalog.kinds:
            continue
        checked = loaded.catalog.get(kind, spec.use).params.model_validate(spec.params)
        for name in sorted(checked.model_fields_set):
            value = getattr(checked, name)
            if isinstance(value, Path) and not value.exists():
                yield (*key, name), f"{value} does not exist"
