"""Options of an evaluation of image pairs, and the recipe they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enface.errors import RecipeError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface.recipe.load import LoadedRecipe, load_mapping
from enface_tools.evaluate.metrics import Metric

SECTIONS = {"metrics": "metrics", "masks": "masks", "regions": "evaluation.regions"}
"""Sections that ``--set`` can change, and their keys in a recipe."""
# Required in a recipe, but never built: the outputs exist already.
UNUSED = {
    "data": {"pack": "."},
    "pairs": {},
    "generator": {"use": "unet"},
    "stages": {"unused": {"steps": 1, "terms": {"l1": {}}}},
}


@dataclass(frozen=True)
class PairsOptions:
    """Options of matching and measuring image pairs.

    Attributes:
        metrics: Names of metrics; default: :func:`default_metrics`.
        plugins: Python files, or module names, with further components.
        overrides: ``metrics.NAME.KEY=VALUE``, and likewise for ``masks`` and ``regions``. A metric that is not in
            ``metrics`` is added, so that ``metrics.lpips_vgg.use=lpips`` makes a second LPIPS.
        key: A regular expression; names of outputs and targets with equal group 1 belong together.
        identity: A regular expression; group 1 in the name of an output is its identity.
        labels: A CSV file with a column ``key``.
        subset: Allow targets and sources without an output.
        resize: Resize outputs and sources to the size of the targets.
        batch: Images measured together; default: by their size.
        device: ``auto``, ``cpu`` or ``cuda``.
        pictures: Number of images whose pictures are written.
        self_pairs: Also measure outputs whose source is their target, which copying solves.
    """

    metrics: Sequence[str] | None = None
    plugins: Sequence[str] = ()
    overrides: Sequence[str] = ()
    key: str | None = None
    identity: str | None = None
    labels: Path | None = None
    subset: bool = False
    resize: bool = False
    batch: int | None = None
    device: str = "auto"
    pictures: int = 1000
    self_pairs: bool = False


def load_pairs_recipe(options: PairsOptions) -> LoadedRecipe:
    """Make the recipe of these options and check it as a recipe file is checked.

    Raises:
        RecipeError: naming every metric, mask, key or value that is wrong.
        PluginError: if a plugin cannot be loaded.
    """
    metrics = options.metrics
    if metrics is None:
        metrics = default_metrics(Catalog(load_plugins(options.plugins)))
    content = {
        **UNUSED,
        "name": "pairs",
        "plugins": list(options.plugins),
        "metrics": {name: {} for name in metrics},
        "engine": {"device": options.device},
        "evaluation": {"batch": options.batch},
    }
    loaded = load_mapping(content, [_recipe_override(item) for item in options.overrides])
    if not loaded.recipe.metrics:
        raise RecipeError(f"no metric to measure; known: {', '.join(loaded.catalog.names('metric'))}")
    return loaded


def default_metrics(catalog: Catalog) -> list[str]:
    """Return the metrics that are measured if no names are given."""
    return sorted(item.name for item in catalog if issubclass(item.component, Metric) and item.component.default)


def _recipe_override(override: str) -> str:
    section, dot, rest = override.partition(".")
    if section not in SECTIONS or not dot:
        allowed = ", ".join(f"{name}.NAME.KEY=VALUE" for name in SECTIONS)
        raise RecipeError(f"--set {override}: there is no recipe here; only these can be set: {allowed}")
    return f"{SECTIONS[section]}.{rest}"
