"""Measures the terms of a step on one batch, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from enface.plugin.components import Generator
from enface.training.phases import FiniteCheck, Phase
from enface.training.step import Step, buffers_restored, detached
from enface.training.terms import Named, Term, averaged

OUTPUT, LAST_LAYER, ALL = "output", "last layer", "all parameters"
Places = Mapping[str, Sequence[Tensor]]
"""Tensors that gradients are taken with respect to, by the name that a reader sees."""


@dataclass(frozen=True)
class TermPreview:
    """A term measured on one batch.

    Attributes:
        value: Mean of its map, unweighted.
        shape: Shape of its map; of the first scale if there are several.
        gradients: Norm of d value / d place over the whole batch; None if the value does not depend on it, or if it is
            not finite. Places of a generator's term are ``output``, each of its parts that is trained, ``last layer``
            (the trained layer nearest to the output) and ``all parameters``; of a critic's term, ``all parameters``.
    """

    phase: Phase
    term: Term
    value: float
    shape: tuple[int, ...]
    gradients: Mapping[str, float | None]


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
    places: Places = {ALL: phase.player.parameters} if is_critic else _places(step, values.get("output"))
    for term in phase.terms:
        mean = means[term.name]
        gradients = _gradients(mean, places, phase.player.scaler)
        yield TermPreview(phase, term, float(mean.detach()), tuple(maps[term.name][0].shape), gradients)


def _places(step: Step, output: Tensor | None) -> Places:
    generator = step.generator.module
    assert isinstance(generator, Generator)
    places: dict[str, Sequence[Tensor]] = {}
    if output is not None and output.requires_grad:
        places[OUTPUT] = [output]
    for name, part in generator.parts.items():
        places[name] = [parameter for parameter in part.parameters() if parameter.requires_grad]
    if output is not None:
        places[LAST_LAYER] = _last_layer(generator, output)
    return {name: tensors for name, tensors in places.items() if tensors} | {ALL: step.generator.parameters}


def _last_layer(generator: nn.Module, output: Tensor) -> list[Tensor]:
    """Return the parameters of the layer with the fewest operations between it and the output."""
    layers = {parameter: name.rpartition(".")[0] for name, parameter in generator.named_parameters()}
    nodes = [output.grad_fn]
    seen = set(nodes)
    for node in nodes:
        if node is None:
            continue
        nearest = getattr(node, "variable", None)
        if nearest in layers:
            return [item for item, layer in layers.items() if layer == layers[nearest] and item.requires_grad]
        further = [item for item, _ in node.next_functions if item not in seen]
        seen.update(further)
        nodes += further
    return []


def _gradients(value: Tensor, places: Places, scaler: torch.amp.GradScaler) -> dict[str, float | None]:
    if not value.requires_grad:
        return dict.fromkeys(places)
    tensors = list({id(tensor): tensor for place in places.values() for tensor in place}.values())
    # Scaled as in training; in half precision the gradient of a mean would round to 0.
    results = torch.autograd.grad(scaler.scale(value), tensors, retain_graph=True, allow_unused=True)
    squares = {
        id(tensor): None if gradient is None else float(gradient.double().square().sum())
        for tensor, gradient in zip(tensors, results, strict=True)
    }
    norms: dict[str, float | None] = {}
    for name, place in places.items():
        known = [square for square in (squares[id(tensor)] for tensor in place) if square is not None]
        norm = math.sqrt(sum(known)) / scaler.get_scale()
        norms[name] = norm if known and math.isfinite(norm) else None
    return norms
