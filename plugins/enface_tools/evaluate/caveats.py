"""Caveats of an evaluation: metrics whose network was also trained with, and people seen in training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enface.plugin.components import Component
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import EmaModel, Recipe, Spec
from enface.training.average import decay_at
from enface.training.checkpoint import read_state
from enface.training.run import Run
from enface.training.warm_start import UNKNOWN, People
from enface_tools.evaluate.checkpoints import averaged_updates

MAX_NAMES = 5
MAX_INITIAL_SHARE = 0.01
"""Largest share of the first weights in a running average without a caveat."""


def metric_networks(loaded: LoadedRecipe) -> dict[str, tuple[str, ...]]:
    """The pretrained networks that each metric of a recipe uses."""
    return {name: _networks(loaded, "metric", spec) for name, spec in loaded.recipe.metrics.items()}


def run_caveats(
    run: Run, networks: Mapping[str, tuple[str, ...]], split: str = "test", people: People | None = None
) -> list[str]:
    """Sentences to read before the numbers.

    Args:
        networks: Of each metric.
        split: The measured split.
        people: Identities that trained the network, by dataset, as its checkpoint names them: those of the runs that it
            started from, too.
    """
    return [*_shared_networks(run.loaded, networks), *_known_people(run, split), *_people_of_start(run, split, people)]


def average_caveats(recipe: Recipe, path: Path) -> list[str]:
    """A sentence if the first weights of a stage have a large part in the running average of a checkpoint."""
    stage = read_state(path)["stage"]
    ema = recipe.stages[stage].ema
    if ema is None:
        return []
    updates = averaged_updates(path)
    share = initial_share(ema, updates)
    if share <= MAX_INITIAL_SHARE:
        return []
    return [
        f"{share:.0%} of the running average of stage {stage} are still its first weights, after {updates} updates: "
        "measure the plain weights (--raw), train longer, or lower ema.decay."
    ]


def initial_share(ema: EmaModel, updates: int) -> float:
    """Weight of the first averaged weights in the running average: the product of the decays since then."""
    first = ema.start + 1
    return math.prod(decay_at(ema, number) for number in range(first, updates)) if updates > first else 0.0


def _shared_networks(loaded: LoadedRecipe, networks: Mapping[str, tuple[str, ...]]) -> list[str]:
    trained: dict[str, str] = {}
    for stage_name, stage in loaded.recipe.stages.items():
        for kind, specs in (("loss", stage.terms), ("discriminator", stage.discriminators)):
            for name, spec in specs.items():
                label = stage.label(name) if kind == "loss" else name
                trained |= dict.fromkeys(_networks(loaded, kind, spec), f"{kind} {label} of stage {stage_name}")
    return [
        f"{metric} uses {network}, and so does {trained[network]}: it is no independent measure of this run."
        for metric, names in networks.items()
        for network in names
        if network in trained
    ]


def _known_people(run: Run, split: str) -> list[str]:
    people = _people(run, "train")
    return [
        f"{_counted(known, part)} are also in the training split ({some_names(known)}).{_consequence(part, split)}"
        for part in _parts(split)
        if len(known := np.intersect1d(_people(run, part), people))
    ]


def _people_of_start(run: Run, split: str, people: People | None) -> list[str]:
    """Sentences on measured people whom another run trained with, whose weights this one started from."""
    if people is None:
        return []
    earlier = np.setdiff1d(np.array(people.get(run.pack.info.dataset, ()), str), _people(run, "train"))
    sentences = [
        f"{_counted(known, part)} trained the weights that this network started from ({some_names(known)})."
        f"{_consequence(part, split)}"
        for part in _parts(split)
        if len(known := np.intersect1d(_people(run, part), earlier))
    ]
    return sentences + [
        f"The people who trained {path}, from which this network started, are not known; {split} identities may be "
        "among them."
        for path in people.get(UNKNOWN, ())
    ]


def _parts(split: str) -> tuple[str, ...]:
    """The splits that training must not have seen: validation people choose what test people confirm."""
    return ("test", "val") if split == "test" else (split,)


def _people(run: Run, split: str) -> npt.NDArray[np.str_]:
    return np.unique(run.pack.table["identity"].to_numpy()[run.rows[split]].astype(str))


def _counted(known: npt.NDArray[np.str_], split: str) -> str:
    return f"{len(known)} of the {split} identities"


def some_names(known: Sequence[str] | npt.NDArray[np.str_]) -> str:
    """The first names, in a sentence."""
    return ", ".join(known[:MAX_NAMES]) + (", ..." if len(known) > MAX_NAMES else "")


def _consequence(part: str, split: str) -> str:
    return "" if part == split else " Choices made on them, such as the best checkpoint, may favour memory."


def _networks(loaded: LoadedRecipe, kind: str, spec: Spec) -> tuple[str, ...]:
    component = loaded.catalog.get(kind, spec.use).component
    assert issubclass(component, Component)
    return component.networks(spec.params)
