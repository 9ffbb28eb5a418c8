"""Caveats of an evaluation: metrics whose network was also trained with, and persons seen in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from enface.plugin.components import Component
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import Spec
from enface.training.run import Run

MAX_NAMES = 5


def metric_networks(loaded: LoadedRecipe) -> dict[str, tuple[str, ...]]:
    """The pretrained networks that each metric of a recipe uses."""
    return {name: _networks(loaded, "metric", spec) for name, spec in loaded.recipe.metrics.items()}


def run_caveats(run: Run, networks: Mapping[str, tuple[str, ...]], split: str = "test") -> list[str]:
    """Sentences to read before the numbers.

    Args:
        networks: Of each metric.
        split: The measured split.
    """
    return [*_shared_networks(run.loaded, networks), *_known_people(run, split)]


def _shared_networks(loaded: LoadedRecipe, networks: Mapping[str, tuple[str, ...]]) -> list[str]:
    trained: dict[str, str] = {}
    for stage_name, stage in loaded.recipe.stages.items():
        for kind, specs in (("loss", stage.terms), ("discriminator", stage.discriminators)):
            for name, spec in specs.items():
                trained |= dict.fromkeys(_networks(loaded, kind, spec), f"{kind} {name} of stage {stage_name}")
    return [
        f"{metric} uses {network}, and so does {trained[network]}: it is no independent measure of this run."
        for metric, names in networks.items()
        for network in names
        if network in trained
    ]


def _known_people(run: Run, split: str) -> list[str]:
    people = run.pack.table["identity"].to_numpy().astype(str)
    both = np.intersect1d(people[run.rows[split]], people[run.rows["train"]])
    if not len(both):
        return []
    named = ", ".join(both[:MAX_NAMES]) + (", ..." if len(both) > MAX_NAMES else "")
    return [f"{len(both)} of the {split} identities are also in the training split ({named})."]


def _networks(loaded: LoadedRecipe, kind: str, spec: Spec) -> tuple[str, ...]:
    component = loaded.catalog.get(kind, spec.use).component
    assert issubclass(component, Component)
    return component.networks(spec.params)
