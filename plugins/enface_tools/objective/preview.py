"""Measures the terms of a step on one batch, without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from enface.training.phases import FiniteCheck, Phase
from enface.training.step import Step, buffers_restored, detached
from enface.training.terms import Named, Term, averaged


@dataclass(frozen=True)
class TermPreview:
    """A term measured on one batch.

    Attributes:
        value: Mean of its map, unweighted.
        shape: Shape of its map; of the first scale if there are several.
        gradient: Norm of d value / d output over the whole batch; None if the value does not depend on the output,
            and for a critic's term.
    """

    phase: Phase
    term: Term
    value: float
    shape: tuple[int, ...]
    gradient: float | None


def preview_terms(step: Step, part: Callable[[], dict[str, Tensor]]) -> list[TermPreview]:
    """Measure every term at the first step, inactive ones included, without changing weights or statistics.

    Args:
        part: Returns the batch's columns.

    Raises:
        NonFiniteLossError: if a term that is active at the first step is NaN or infinite.
    """
    critics = step.critics.values()
    augments = [critic.augment for critic in critics if critic.augment is not None]
    modules = (step.generator.module, *(critic.module for critic in critics), *augments, *step.losses.values())
    with ExitStack() as stack:
        if step.generator.call is not step.generator.module:
            # Compiling would take minutes for one batch.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in modules:
            stack.enter_context(buffers_restored(module))
        values = step.named_values(0, step.wants(step.phases), 0, part)
        return [preview for phase in step.phases for preview in _previews(step, phase, values)]


def _previews(step: Step, phase: Phase, values: Named) -> Iterator[TermPreview]:
    is_critic = phase.player is not step.generator
    step.train_only(phase.player)
    inputs = step.with_critics(phase, detached(values) if is_critic else values)
    with torch.autocast(step.engine.device.type, enabled=False):
        maps = {term.name: term.maps(inputs[term.against]) for term in phase.terms}
    means = {name: averaged(scales) for name, scales in maps.items()}
    active = {term.name: means[term.name] for term in phase.at(0).terms}
    if active:
        step.refuse_non_finite(phase, [FiniteCheck(active)])
    for term in phase.terms:
        mean = means[term.name]
        gradient = None if is_critic else _gradient(step, mean, values.get("output"))
        yield TermPreview(phase, term, float(mean.detach()), tuple(maps[term.name][0].shape), gradient)


def _gradient(step: Step, value: Tensor, output: Tensor | None) -> float | None:
    if output is None or not (output.requires_grad and value.requires_grad):
        return None
    # Scaled as in training; in half precision the gradient of a mean would round to 0.
    scaler = step.generator.scaler
    (gradient,) = torch.autograd.grad(scaler.scale(value), output, retain_graph=True, allow_unused=True)
    return None if gradient is None else float(gradient.float().norm()) / scaler.get_scale()
