"""What a reader of the numbers should know: judges that were teachers, and people who were seen in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from enface.plugin.components import Component
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import Spec
from enface.train.run import Run

NAMED = 5


def metric_networks(loaded: LoadedRecipe) -> dict[str, tuple[str, ...]]:
    """For each metric of a recipe, the pretrained networks it looks through."""
    return {name: _networks(loaded, "metric", spec) for name, spec in loaded.recipe.metrics.items()}


def cautions(run: Run, networks: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Sentences to be read before the numbers.

    Args:
        networks: The networks of each metric.
    """
    return [*_teachers(run.loaded, networks), *_known_people(run)]


def _teachers(loaded: LoadedRecipe, networks: Mapping[str, tuple[str, ...]]) -> list[str]:
    trained: dict[str, str] = {}
    for stage_name, stage in loaded.recipe.stages.items():
        for kind, specs in (("loss", stage.terms), ("discriminator", stage.discriminators)):
            for name, spec in specs.items():
                trained |= dict.fromkeys(_networks(loaded, kind, spec), f"{kind} {name} of stage {stage_name}")
    return [
        f"{metric} looks through {network}, which {trained[network]} trained with: "
        "it is no independent judge of this network."
        for metric, seen in networks.items()
        for network in seen
        if network in trained
    ]


def _known_people(run: Run) -> list[str]:
    people = run.pack.table["identity"].to_numpy().astype(str)
    both = np.intersect1d(people[run.rows["test"]], people[run.rows["train"]])
    if not len(both):
        return []
    named = ", ".join(both[:NAMED]) + (", ..." if len(both) > NAMED else "")
    return [f"{len(both)} of the people tested on were trained on, too ({named}): the numbers are not of strangers."]


def _networks(loaded: LoadedRecipe, kind: str, spec: Spec) -> tuple[str, ...]:
    component = loaded.catalog.get(kind, spec.use).component
    assert issubclass(component, Component)
    return component.networks(spec.params)
