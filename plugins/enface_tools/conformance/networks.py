"""What the rules of generators and discriminators share: a network, what it is shown, and the rules of both."""

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
from enface.train.build import requested_arguments
from enface.train.checkpoint import load, save
from enface.train.terms import as_float
from enface_tools.conformance.comparing import agree, refuse_changed, taught
from enface_tools.conformance.fixture import CLASSES, SIZE, Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked, Rule
from enface_tools.conformance.samples import is_image, sample, smooth, tensors


@dataclass(frozen=True)
class Trial:
    """A network under test.

    Attributes:
        make: Builds one, the same each time.
        call: Runs one (or its compiled form) on inputs.
        inputs: What it is shown, by name.
    """

    make: Callable[[], nn.Module]
    call: Callable[[Any, Mapping[str, Tensor]], Any]
    inputs: Mapping[str, Tensor]

    def at_rest(self) -> nn.Module:
        """A new one in eval mode."""
        return self.make().eval()

    def quietly(self, network: Any, inputs: Mapping[str, Tensor] | None = None) -> Any:
        """What it gives, without gradients."""
        with torch.no_grad():
            return self.call(network, self.inputs if inputs is None else inputs)

    def changed(self, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """The inputs, each changed."""
        return {name: change(value) for name, value in self.inputs.items()}


def column(name: str, size: int = SIZE) -> Tensor:
    """A column of the batch for images of ``size`` pixels; classes are below the fewest that any column has."""
    if is_image(name):
        return smooth(sum(map(ord, name)), size)
    found: Tensor = sample(name)
    if name.endswith("regions"):
        return interpolate(found[:, None].float(), size)[:, 0].to(found.dtype)
    return found if found.is_floating_point() else found % min(CLASSES.values())


def required(function: Callable[..., Any]) -> list[str]:
    """The arguments that a ``forward`` cannot do without."""
    return [name for name, item in requested_arguments(function).items() if item.default is item.empty]


def fits(subject: Subject, size: int) -> nn.Module | None:
    """A component for images of a size; None when it refuses that size by name, as it may.

    Raises:
        BrokenRule: when it refuses without naming the size.
    """
    try:
        made: nn.Module = subject.build(size)
    except WeightsError:
        raise
    except EnfaceError as error:
        if str(size) not in str(error):
            raise BrokenRule(f"refusing {size} px, its error does not name that size: {error}") from error
        return None
    return made


def network_rules(trial_of: Callable[[Subject], Trial]) -> tuple[Rule, ...]:
    """The rules that generators and discriminators share."""

    def bind(check: Callable[[Trial, Subject], None]) -> Callable[[Subject], None]:
        return lambda subject: check(trial_of(subject), subject)

    return tuple(Rule(name, check.__doc__ or "", bind(check)) for name, check in _CHECKS.items())


def _no_in_place_change(trial: Trial, subject: Subject) -> None:
    """Its inputs are the same after it ran."""
    inputs = trial.changed(torch.clone)
    trial.quietly(trial.make(), inputs)
    refuse_changed(trial.inputs, inputs)


def _by_itself(trial: Trial, subject: Subject) -> None:
    """In eval mode each image is treated by itself: the rest of the batch and its order do not matter."""
    network = trial.at_rest()
    together = trial.quietly(network)
    order = torch.tensor([2, 0, 3, 1])
    turned = trial.quietly(network, trial.changed(lambda item: item[order]))
    why = "in eval mode an image's numbers depend on the rest of the batch; use no statistics of the batch there"
    agree(tensors(turned), [item[order] for item in tensors(together)], f"{why}: another order, other numbers")
    alone = trial.quietly(network, trial.changed(lambda item: item[1:2]))
    agree(tensors(alone), [item[1:2] for item in tensors(together)], f"{why}: alone it gives other numbers")


def _at_rest(trial: Trial, subject: Subject) -> None:
    """In eval mode a pass changes no weight or buffer and gives the same numbers again; in training, no weight."""
    network = trial.at_rest()
    before = {name: value.clone() for name, value in _all_of(network)}
    first = trial.quietly(network)
    agree(trial.quietly(network), first, "in eval mode the same images give other numbers the second time", 0)
    moved = [name for name, value in _all_of(network) if not torch.equal(value, before[name])]
    trial.quietly(network.train())
    moved += [name for name, value in network.named_parameters() if not torch.equal(value, before[name])]
    if moved:
        raise BrokenRule(f"a pass changes {', '.join(moved[:5])}; only the optimizer trains weights")


def _all_of(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, those too that its state leaves out."""
    yield from network.named_parameters()
    yield from network.named_buffers()


def _restored(trial: Trial, subject: Subject) -> None:
    """Its state, written to a checkpoint and read into a new one, gives the same numbers there."""
    used, new = trial.make(), trial.make()
    for _ in range(2):
        trial.quietly(used)
    with torch.no_grad():
        for parameter in (item for item in used.parameters() if item.requires_grad):
            parameter.add_(0.02 * torch.randn_like(parameter))
    file = subject.folder / "state.safetensors"
    save(file, {f"network/{name}": value for name, value in used.state_dict().items()}, {})
    load(file).load("network", new)
    why = "what it has learnt is not all in its state_dict (a plain attribute?); keep it in parameters and buffers"
    agree(trial.quietly(new.eval()), trial.quietly(used.eval()), why, 0)


def _channels_last(trial: Trial, subject: Subject) -> None:
    """It gives the same numbers with its weights and images in channels_last memory."""
    network = trial.at_rest()
    wanted = trial.quietly(network)
    network.to(memory_format=torch.channels_last)
    turned = trial.changed(lambda item: item.contiguous(memory_format=torch.channels_last) if item.dim() == 4 else item)
    agree(trial.quietly(network, turned), wanted, "in channels_last memory it gives other numbers", 1e-3)


def _half_precision(trial: Trial, subject: Subject) -> None:
    """Under bf16 autocast it gives finite numbers, to within a tenth of those in float32."""
    network = trial.at_rest()
    wanted = trial.quietly(network)
    with torch.autocast("cpu", torch.bfloat16):
        found = trial.quietly(network)
    why = "under bf16 autocast it gives other numbers; compute in float32 what needs it"
    agree(as_float(tuple(tensors(found))), tensors(wanted), why, 0.1)


def _compiled(trial: Trial, subject: Subject) -> None:
    """Compiled by torch.compile it gives the same numbers and gradients, or its class says why it cannot be."""
    reason = getattr(subject.entry.component, "uncompilable_reason", "")
    if reason:
        raise NotAsked(f"it cannot be compiled: {reason}")
    wanted = _pass(trial, trial.make())
    with _compiler():
        try:
            found = _pass(trial, trial.make(), subject.backend)
        except Exception as error:
            text = str(error).strip().partition("\n")[0]
            raise BrokenRule(f"torch.compile fails: {type(error).__name__}: {text}") from error
    agree(found, wanted, "compiled it gives other numbers or gradients", 1e-3)


@contextmanager
def _compiler() -> Iterator[None]:
    """torch.compile that remembers nothing, before or after, and does not warn of a graph in several pieces."""
    log = logging.getLogger("torch._dynamo")
    level = log.level
    log.setLevel(logging.ERROR)
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()
        log.setLevel(level)


def _pass(trial: Trial, network: nn.Module, backend: str = "") -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What a network in training gives, and the gradients into its inputs; dropout rests, for its draws may differ."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    called = torch.compile(network, backend=backend, dynamic=False) if backend else network
    inputs = trial.changed(lambda item: item.clone().requires_grad_(item.is_floating_point()))
    found = trial.call(called, inputs)
    taught(found).backward()  # type: ignore[no-untyped-call]
    return tuple(tensors(found)), tuple(item.grad for item in inputs.values() if item.grad is not None)


def _cuda(trial: Trial, subject: Subject) -> None:
    """On a CUDA device it gives the numbers that it gives on the CPU."""
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device here")
    network = trial.at_rest()
    wanted = trial.quietly(network)
    found = trial.quietly(network.to("cuda"), trial.changed(lambda item: item.to("cuda")))
    agree(found, wanted, "on CUDA it gives other numbers than on the CPU", 0.02)


_CHECKS: Mapping[str, Callable[[Trial, Subject], None]] = {
    "no in-place change": _no_in_place_change,
    "each image by itself": _by_itself,
    "nothing moves at rest": _at_rest,
    "state restored": _restored,
    "channels_last": _channels_last,
    "half precision": _half_precision,
    "torch.compile": _compiled,
    "CUDA": _cuda,
}
