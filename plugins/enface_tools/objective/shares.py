"""What each term is of the objective: looked at on one batch, before anything is trained.

A value tells how large a term is, not how much it steers: a mean over an image's pixels and a distance of deep
features may be equally large and pull at the output very differently. So the gradient's share stands beside the
value's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from enface.plugin.components import Unit
from enface.recipe.models import StageModel, StartModel
from enface.train.phases import Phase
from enface.train.step import Step, TermPreview
from enface.train.terms import Term
from enface.train.trainer import Trainer
from enface.train.warm_start import LoadedWeights

INITIAL = "initial weights"


@dataclass(frozen=True)
class Share:
    """A term in the objective of a player that minimises it.

    Attributes:
        player: ``generator``, or a discriminator's name.
        weight: At the stage's first step.
        weight_end: At its last.
        follows: The metric that the weight follows, which decides how it ends; None for most.
        every: It counts at every such update of its player, so many times as heavy; ``weighted`` is the mean over
            them.
        begins: The first step of the stage at which it counts; None when at none.
        unit: What one number of the loss's map belongs to, as "per pixel".
        reduction: What becomes of the map.
        value: Unweighted; None when it is not finite and does not count yet.
        weighted: Weight times value; None when it does not count at the first step, as are the shares.
        share: Of the player's objective, by absolute weighted value; in [0, 1].
        gradient: The norm of d weighted / d output; None where the output has no part in the term.
        gradient_share: Of the sum of these norms; in [0, 1].
    """

    term: str
    loss: str
    player: str
    weight: float
    weight_end: float
    follows: str | None
    every: int
    begins: int | None
    unit: Unit
    reduction: str
    value: float | None
    weighted: float | None = None
    share: float | None = None
    gradient: float | None = None
    gradient_share: float | None = None


@dataclass(frozen=True)
class StageShares:
    """A stage's terms on its first batch.

    Attributes:
        images: How many the batch has; with ``accumulate``, its first part.
        weights: The generator's: where they are from.
        note: Why a run's would be others; empty when they would not.
    """

    name: str
    images: int
    weights: str
    note: str
    terms: tuple[Share, ...]


def stage_shares(trainer: Trainer) -> list[StageShares]:
    """The terms of every stage, each at the weights it starts from as far as these are known without training.

    The generator is left as it was. The same recipe and data give the same numbers.

    Raises:
        EnfaceError: for whatever training would refuse, in building the stages or in their first step.
    """
    weights = _Weights(trainer)
    found = []
    for name, step in trainer.built():
        stage = trainer.run.recipe.stages[name]
        origin, note = weights.begin(name, stage)
        size = trainer.run.info.size
        glances = trainer.preview(name, step)
        found.append(StageShares(name, _images(trainer, stage), origin, note, _shares(stage, step, glances, size)))
    weights.restore()
    return found


class _Weights:
    """The generator's weights as stages follow each other untrained."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._first = self._copy()
        self._origin, self._before = INITIAL, ""
        self._seen: dict[str, tuple[str, dict[str, Tensor]]] = {}

    def begin(self, name: str, stage: StageModel) -> tuple[str, str]:
        """Go to where a stage starts: where these weights are from, and a note when a run's would be others."""
        note = ""
        start = stage.start
        if isinstance(start, StartModel) and start.run is None and start.checkpoint is None:
            assert start.stage is not None
            self._origin, state = self._seen[start.stage]
            self._trainer.generator.load_state_dict(state)
            note = f"a run starts from what stage {start.stage} ends with, which is not trained here"
        elif start == "previous":
            if self._before:
                note = f"a run goes on from what stage {self._before} ends with, which is not trained here"
        else:
            self._origin = _told(self._trainer.begin(stage))
        self._before = name
        self._seen[name] = self._origin, self._copy()
        return self._origin, note

    def restore(self) -> None:
        """Back to the weights at first."""
        self._trainer.generator.load_state_dict(self._first)

    def _copy(self) -> dict[str, Tensor]:
        return {name: item.clone() for name, item in self._trainer.generator.state_dict().items()}


def _told(filled: LoadedWeights | None) -> str:
    if filled is None:
        return INITIAL
    tensors = len(filled.loaded) + len(filled.kept)
    return f"weights of {filled.path}" + (f" ({len(filled.loaded)} of {tensors} tensors)" if filled.kept else "")


def _images(trainer: Trainer, stage: StageModel) -> int:
    return stage.batch // (stage.accumulate * trainer.run.engine.processes)


def _shares(stage: StageModel, step: Step, glances: Sequence[TermPreview], size: int) -> tuple[Share, ...]:
    """The generator's terms first, then each critic's."""
    players = [step.generator, *step.critics.values()]
    found: list[Share] = []
    for player in players:
        mine = [_share(stage, glance, size) for glance in glances if glance.phase.player is player]
        found += _divided(mine)
    return tuple(found)


def _share(stage: StageModel, glance: TermPreview, size: int) -> Share:
    phase, term = glance.phase, glance.term
    assert term.loss is not None
    weight, begins = term.weight(0), _begins(phase, term, stage.steps)
    counts = begins == 0
    gradient = abs(weight) * glance.gradient if counts and glance.gradient is not None else None
    return Share(
        term=term.name,
        loss=stage.terms[term.name].use,
        player=phase.player.name,
        weight=weight,
        weight_end=term.weight(stage.steps - 1),
        follows=term.weight.metric,
        every=term.every,
        begins=begins,
        unit=term.loss.unit or _unit(glance.shape, size),
        reduction="mean",
        value=glance.value if math.isfinite(glance.value) else None,
        weighted=weight * glance.value if counts else None,
        gradient=gradient,
    )


def _begins(phase: Phase, term: Term, steps: int) -> int | None:
    updates = enumerate(range(phase.start_at, steps, phase.every))
    return next((step for update, step in updates if term.active(step, update) and term.weight(step) != 0), None)


def _unit(shape: tuple[int, ...], size: int) -> Unit:
    if len(shape) == 1:
        return "per image"
    return "per pixel" if shape[-2:] == (size, size) else "per feature"


def _divided(shares: Sequence[Share]) -> list[Share]:
    """One player's terms with what each is of their sum."""
    whole = sum(abs(share.weighted) for share in shares if share.weighted is not None)
    pull = sum(share.gradient for share in shares if share.gradient is not None)
    return [
        replace(
            share,
            share=abs(share.weighted) / whole if share.weighted is not None and whole else None,
            gradient_share=share.gradient / pull if share.gradient is not None and pull else None,
        )
        for share in shares
    ]
