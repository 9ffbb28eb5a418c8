"""Contribution of each loss term to the objective and its gradient, measured on one batch before training.

The value of a term does not tell how strongly it steers: a mean over pixels and a distance of deep features may be
equally large and have very different gradients. So each term's share of the gradient is reported beside its share of
the value: that at the output, and those on the parameters, which a term may reach without the output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from enface.plugin.components import Unit
from enface.recipe.models import StageModel, StartModel
from enface.training.phases import Phase
from enface.training.step import Step
from enface.training.terms import Term
from enface.training.trainer import Trainer
from enface.training.warm_start import LoadedWeights
from enface_tools.check.preview import TermPreview, preview_terms
from enface_tools.check.timing import StepTime, time_step

INITIAL = "initial weights"


@dataclass(frozen=True)
class GradientShare:
    """A term's gradient with respect to one place.

    Attributes:
        norm: Norm of d weighted / d place.
        share: Fraction of the sum of the norms of the player's terms; in [0, 1], None if all are 0.
    """

    norm: float
    share: float | None = None


@dataclass(frozen=True)
class TermContribution:
    """A term's part in the objective that a player minimises.

    Attributes:
        player: ``generator``, or a discriminator's name.
        weight: Weight at the first step of the stage.
        weight_end: Weight at the last step.
        follows: Metric that controls the weight, so that ``weight_end`` may differ; None for most terms.
        every: The term is applied once in this many updates, with a weight larger by the same factor; ``weighted`` is
            the mean over updates.
        begins: First step of the stage at which the term is applied; None if it never is.
        unit: Unit of one value of the loss's map, as "per pixel".
        value: Mean of the map, unweighted; None if it is not finite and not applied yet.
        weighted: Weight times value. This and the following are None if the term is not applied at the first step.
        share: Fraction of the player's objective, by absolute weighted value; in [0, 1].
        gradients: Gradients by place: ``output``, each trained part of the generator, ``last layer`` and ``all
            parameters``; for a critic's term ``all parameters``. None if the term does not depend on the place, or is
            not applied at the first step.
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
    value: float | None
    weighted: float | None = None
    share: float | None = None
    gradients: Mapping[str, GradientShare | None] = field(default_factory=dict)


@dataclass(frozen=True)
class StageContributions:
    """The terms of a stage on its first batch.

    Attributes:
        images: Number of images in the batch; with ``accumulate``, in its first part.
        weights: Origin of the generator's weights.
        note: Reason for which a run would have other weights; empty if it would not.
        timing: Cost of a training step; None if a loss is not finite after a step.
    """

    name: str
    images: int
    weights: str
    note: str
    terms: tuple[TermContribution, ...]
    timing: StepTime | None = field(default=None, compare=False)


def measure_contributions(trainer: Trainer) -> list[StageContributions]:
    """Measure the terms of every stage, each with the initial weights of the stage as far as known without training.

    The generator is left unchanged. The same recipe and data give the same numbers.

    Raises:
        EnfaceError: for anything that training would refuse when building a stage or taking its first step.
    """
    weights = _UntrainedWeights(trainer)
    stages = []
    for name, step in trainer.build_stages():
        stage = trainer.run.recipe.stages[name]
        origin, note = weights.start_stage(name, stage)
        part = trainer.batch_parts(name, step)[0]
        previews = preview_terms(step, part)
        terms = _contributions(stage, step, previews, trainer.run.info.size)
        timing = time_step(step, part, stage.accumulate)
        stages.append(StageContributions(name, _images(trainer, stage), origin, note, terms, timing))
    weights.restore()
    return stages


class _UntrainedWeights:
    """The generator's weights from stage to stage, without training."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._first = self._copy()
        self._origin, self._before = INITIAL, ""
        self._seen: dict[str, tuple[str, dict[str, Tensor]]] = {}

    def start_stage(self, name: str, stage: StageModel) -> tuple[str, str]:
        """Load the initial weights of a stage; return their origin, and a note if a run would have others."""
        note = ""
        start = stage.start
        if isinstance(start, StartModel) and start.run is None and start.checkpoint is None:
            assert start.stage is not None
            self._origin, state = self._seen[start.stage]
            self._trainer.generator.load_state_dict(state)
            note = f"a run starts from the final weights of stage {start.stage}, which is not trained here"
        elif start == "previous":
            if self._before:
                note = f"a run continues from the final weights of stage {self._before}, which is not trained here"
        else:
            self._origin = _describe(self._trainer.load_start(stage))
        self._before = name
        self._seen[name] = self._origin, self._copy()
        return self._origin, note

    def restore(self) -> None:
        """Restore the generator's original weights."""
        self._trainer.generator.load_state_dict(self._first)

    def _copy(self) -> dict[str, Tensor]:
        return {name: item.clone() for name, item in self._trainer.generator.state_dict().items()}


def _describe(weights: LoadedWeights | None) -> str:
    if weights is None:
        return INITIAL
    tensors = len(weights.loaded) + len(weights.kept)
    return f"weights of {weights.path}" + (f" ({len(weights.loaded)} of {tensors} tensors)" if weights.kept else "")


def _images(trainer: Trainer, stage: StageModel) -> int:
    return stage.batch // (stage.accumulate * trainer.run.engine.processes)


def _contributions(
    stage: StageModel, step: Step, previews: Sequence[TermPreview], size: tuple[int, int]
) -> tuple[TermContribution, ...]:
    """The generator's terms first, then each critic's."""
    terms: list[TermContribution] = []
    for player in [step.generator, *step.critics.values()]:
        of_player = [_contribution(stage, preview, size) for preview in previews if preview.phase.player is player]
        terms += _with_shares(of_player)
    return tuple(terms)


def _contribution(stage: StageModel, preview: TermPreview, size: tuple[int, int]) -> TermContribution:
    phase, term = preview.phase, preview.term
    assert term.loss is not None
    weight, begins = term.weight(0), _begins(phase, term, stage.steps)
    applied = begins == 0
    gradients = {
        place: GradientShare(abs(weight) * norm) if applied and norm is not None else None
        for place, norm in preview.gradients.items()
    }
    return TermContribution(
        term=term.name,
        loss=stage.terms[term.name].use,
        player=phase.player.name,
        weight=weight,
        weight_end=term.weight(stage.steps - 1),
        follows=term.weight.metric,
        every=term.every,
        begins=begins,
        unit=term.loss.unit or _unit(preview.shape, size),
        value=preview.value if math.isfinite(preview.value) else None,
        weighted=weight * preview.value if applied else None,
        gradients=gradients,
    )


def _begins(phase: Phase, term: Term, steps: int) -> int | None:
    updates = enumerate(range(phase.start_at, steps, phase.every))
    return next((step for update, step in updates if term.active(step, update) and term.weight(step) != 0), None)


def _unit(shape: tuple[int, ...], size: tuple[int, int]) -> Unit:
    if len(shape) == 1:
        return "per image"
    return "per pixel" if shape[-2:] == size else "per feature"


def _with_shares(terms: Sequence[TermContribution]) -> list[TermContribution]:
    """One player's terms with their shares of the objective and of the gradient at each place."""
    objective = sum(abs(term.weighted) for term in terms if term.weighted is not None)
    sums = {
        place: sum(item.norm for item in (term.gradients[place] for term in terms) if item is not None)
        for place in (terms[0].gradients if terms else ())
    }
    return [
        replace(
            term,
            share=abs(term.weighted) / objective if term.weighted is not None and objective else None,
            gradients={
                place: item and replace(item, share=item.norm / sums[place] if sums[place] else None)
                for place, item in term.gradients.items()
            },
        )
        for term in terms
    ]
