"""Rules that generators and discriminators share, and how to build and call a network for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from enface.errors import EnfaceError, WeightsError
from enface.plugin.schema import requested_arguments
from enface.training.checkpoint import load, save
from enface.training.terms import as_float
from enface_tools.conformance.fixture import CLASSES, SIZE, Fixture
from enface_tools.conformance.rules import Rule, RuleViolation, Skipped
from enface_tools.conformance.samples import (
    flat_tensors,
    is_image,
    require_rms_close,
    require_unchanged,
    sample_input,
    smooth_images,
    surrogate_loss,
)


@dataclass(frozen=True)
class Trial:
    """A network under test.

    Attributes:
        make: Builds a network, the same each time.
        call: Calls a network (or its compiled form) with inputs.
        inputs: Sample inputs by name.
    """

    make: Callable[[], nn.Module]
    call: Callable[[Any, Mapping[str, Tensor]], Any]
    inputs: Mapping[str, Tensor]

    def make_eval(self) -> nn.Module:
        """Build a network in eval mode."""
        return self.make().eval()

    def infer(self, network: Any, inputs: Mapping[str, Tensor] | None = None) -> Any:
        """Call a network without gradients (default: with the sample inputs)."""
        with torch.no_grad():
            return self.call(network, self.inputs if inputs is None else inputs)

    def changed_inputs(self, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """The sample inputs, each changed."""
        return {name: change(value) for name, value in self.inputs.items()}


def batch_column(name: str, size: int = SIZE) -> Tensor:
    """A batch's column for images of ``size`` pixels; classes are below the smallest class count of any column."""
    if is_image(name):
        return smooth_images(sum(map(ord, name)), size)
    column: Tensor = sample_input(name)
    if name.endswith("regions"):
        return interpolate(column[:, None].float(), size)[:, 0].to(column.dtype)
    return column if column.is_floating_point() else column % min(CLASSES.values())


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Names of a ``forward``'s arguments without a default."""
    return [name for name, item in requested_arguments(function).items() if item.default is item.empty]


def build_for_size(fixture: Fixture, size: int) -> nn.Module | None:
    """Build a component for images of a size; None if it refuses that size by name, as it may.

    Raises:
        RuleViolation: when it refuses without naming the size.
    """
    try:
        network: nn.Module = fixture.build(size)
    except WeightsError:
        raise
    except EnfaceError as error:
        if str(size) not in str(error):
            raise RuleViolation(f"it refuses {size} px, but the error does not name that size: {error}") from error
        return None
    return network


def network_rules(trial_of: Callable[[Fixture], Trial]) -> tuple[Rule, ...]:
    """Make the rules that generators and discriminators share."""

    def bind(check: Callable[[Trial, Fixture], None]) -> Callable[[Fixture], None]:
        return lambda fixture: check(trial_of(fixture), fixture)

    return tuple(Rule(name, check.__doc__ or "", bind(check)) for name, check in _CHECKS.items())


def _no_in_place_change(trial: Trial, fixture: Fixture) -> None:
    """The inputs stay unchanged."""
    inputs = trial.changed_inputs(torch.clone)
    trial.infer(trial.make(), inputs)
    require_unchanged(trial.inputs, inputs)


def _independent_of_the_batch(trial: Trial, fixture: Fixture) -> None:
    """In eval mode an image's result does not depend on the rest of the batch or its order."""
    network = trial.make_eval()
    together = trial.infer(network)
    order = torch.tensor([2, 0, 3, 1])
    reordered = trial.infer(network, trial.changed_inputs(lambda item: item[order]))
    message = "in eval mode an image's result depends on the rest of the batch; use no batch statistics there"
    expected = [item[order] for item in flat_tensors(together)]
    require_rms_close(flat_tensors(reordered), expected, f"{message}: another order gives other numbers")
    alone = trial.infer(network, trial.changed_inputs(lambda item: item[1:2]))
    expected = [item[1:2] for item in flat_tensors(together)]
    require_rms_close(flat_tensors(alone), expected, f"{message}: an image alone gives other numbers")


def _unchanged_by_forward(trial: Trial, fixture: Fixture) -> None:
    """A forward pass changes no weight, and in eval mode no buffer; repeated in eval mode it gives the same numbers."""
    network = trial.make_eval()
    before = {name: value.clone() for name, value in _parameters_and_buffers(network)}
    first = trial.infer(network)
    require_rms_close(trial.infer(network), first, "in eval mode the same images give other numbers the second time", 0)
    changed = [name for name, value in _parameters_and_buffers(network) if not torch.equal(value, before[name])]
    trial.infer(network.train())
    changed += [name for name, value in network.named_parameters() if not torch.equal(value, before[name])]
    if changed:
        raise RuleViolation(f"a forward pass changes {', '.join(changed[:5])}; only the optimizer may train weights")


def _parameters_and_buffers(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, including non-persistent ones."""
    yield from network.named_parameters()
    yield from network.named_buffers()


def _restored(trial: Trial, fixture: Fixture) -> None:
    """Restored from a checkpoint, it gives the same numbers."""
    used, new = trial.make(), trial.make()
    for _ in range(2):
        trial.infer(used)
    with torch.no_grad():
        for parameter in (item for item in used.parameters() if item.requires_grad):
            parameter.add_(0.02 * torch.randn_like(parameter))
    file = fixture.folder / "state.safetensors"
    save(file, {f"network/{name}": value for name, value in used.state_dict().items()}, {})
    load(file).load("network", new)
    message = "its state_dict does not hold all of its state (a plain attribute?); keep it in parameters and buffers"
    require_rms_close(trial.infer(new.eval()), trial.infer(used.eval()), message, 0)


def _channels_last(trial: Trial, fixture: Fixture) -> None:
    """It gives the same numbers if weights and images are in channels_last memory."""
    network = trial.make_eval()
    expected = trial.infer(network)
    network.to(memory_format=torch.channels_last)
    inputs = trial.changed_inputs(
        lambda item: item.contiguous(memory_format=torch.channels_last) if item.dim() == 4 else item
    )
    require_rms_close(trial.infer(network, inputs), expected, "in channels_last memory it gives other numbers", 1e-3)


def _half_precision(trial: Trial, fixture: Fixture) -> None:
    """Under bf16 autocast its numbers are finite and within a tenth of those in float32."""
    network = trial.make_eval()
    expected = trial.infer(network)
    with torch.autocast("cpu", torch.bfloat16):
        result = trial.infer(network)
    message = "under bf16 autocast it gives other numbers; compute sensitive parts in float32"
    require_rms_close(as_float(tuple(flat_tensors(result))), flat_tensors(expected), message, 0.1)


def _compiled(trial: Trial, fixture: Fixture) -> None:
    """Compiled by torch.compile, it gives the same numbers and gradients, or gives an ``uncompilable_reason``."""
    reason = getattr(fixture.entry.component, "uncompilable_reason", "")
    if reason:
        raise Skipped(f"it cannot be compiled: {reason}")
    expected = _results_and_gradients(trial, trial.make())
    with _fresh_compiler():
        try:
            result = _results_and_gradients(trial, trial.make(), fixture.backend)
        except Exception as error:
            text = str(error).strip().partition("\n")[0]
            raise RuleViolation(f"torch.compile fails: {type(error).__name__}: {text}") from error
    require_rms_close(result, expected, "compiled it gives other numbers or gradients", 1e-3)


@contextmanager
def _fresh_compiler() -> Iterator[None]:
    """torch.compile with an empty cache before and after, and without its warnings of graph breaks."""
    log = logging.getLogger("torch._dynamo")
    level = log.level
    log.setLevel(logging.ERROR)
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()
        log.setLevel(level)


def _results_and_gradients(
    trial: Trial, network: nn.Module, backend: str = ""
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Results in training mode and the gradients of the inputs, without dropout, whose random numbers may differ."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    called = torch.compile(network, backend=backend, dynamic=False) if backend else network
    inputs = trial.changed_inputs(lambda item: item.clone().requires_grad_(item.is_floating_point()))
    result = trial.call(called, inputs)
    surrogate_loss(result).backward()  # type: ignore[no-untyped-call]
    return tuple(flat_tensors(result)), tuple(item.grad for item in inputs.values() if item.grad is not None)


def _cuda(trial: Trial, fixture: Fixture) -> None:
    """It gives the same numbers on a CUDA device as on the CPU."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    network = trial.make_eval()
    expected = trial.infer(network)
    result = trial.infer(network.to("cuda"), trial.changed_inputs(lambda item: item.to("cuda")))
    require_rms_close(result, expected, "on CUDA it gives other numbers than on the CPU", 0.02)


_CHECKS: Mapping[str, Callable[[Trial, Fixture], None]] = {
    "no in-place change": _no_in_place_change,
    "independent of the batch": _independent_of_the_batch,
    "unchanged by a forward pass": _unchanged_by_forward,
    "state restored": _restored,
    "channels_last": _channels_last,
    "half precision": _half_precision,
    "torch.compile": _compiled,
    "CUDA": _cuda,
}
