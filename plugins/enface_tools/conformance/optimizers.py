"""Rules for optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from enface.errors import EnfaceError
from enface.recipe.optimizers import training_mode
from enface.training.checkpoint import load, load_optimizer, optimizer_tensors, save
from enface_tools.conformance.fixture import Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule

# The kernel is in channels_last; the matrix named unused never has a gradient.
SHAPES = {"matrix": (6, 4), "vector": (6,), "scalar": (), "unused": (2, 2), "kernel": (4, 3, 3, 3)}
GROUPS = (("matrix", "vector", "scalar", "unused"), ("kernel",))
TRAINED = tuple(name for name in SHAPES if name != "unused")
# Optimizers that estimate their step size expect 1.
LR = 1.0
STEPS = 2
Options = Mapping[str, Any]
Rates = tuple[float, float]


class _Training:
    """Parameters in two groups, and the optimizer that trains them with fixed random gradients.

    Args:
        lr: Learning rate with which the optimizer is built.
        options: Options of each group.
    """

    def __init__(self, fixture: Fixture, lr: float = LR, options: tuple[Options, Options] = ({}, {})) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameters = {
            name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()
        }
        self.parameters["kernel"].data = self.parameters["kernel"].data.to(memory_format=torch.channels_last)
        groups = [
            {"params": [self.parameters[name] for name in names], **keys}
            for names, keys in zip(GROUPS, options, strict=True)
        ]
        self.optimizer = _built(fixture, groups, lr)
        training_mode(self.optimizer)

    def take(self, steps: Iterable[int], rates: Rates | None = (LR, LR)) -> None:
        """Take steps, before each of which the learning rates of both groups are set, as by the trainer."""
        for step in steps:
            generator = torch.Generator().manual_seed(step + 1)
            for name in TRAINED:
                parameter = self.parameters[name]
                gradient = torch.randn(parameter.shape, generator=generator)
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            if rates is not None:
                for group in self.optimizer.param_groups:
                    group["lr"] = rates[self._has_kernel(group)]
            torch.manual_seed(step)
            self.optimizer.step()

    def _has_kernel(self, group: Mapping[str, Any]) -> bool:
        return any(item is self.parameters["kernel"] for item in group["params"])

    def weights(self) -> dict[str, Tensor]:
        """Return copies of the parameters by name."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights into the parameters."""
        for name, parameter in self.parameters.items():
            parameter.data.copy_(weights[name])


def _built(fixture: Fixture, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    try:
        optimizer: torch.optim.Optimizer = fixture.build().build(groups, lr)
    except (ImportError, EnfaceError) as error:
        if isinstance(error, ImportError) or "pip install" in str(error):
            raise Skipped(f"a package is missing: {error}") from error
        raise
    return optimizer


def _trained(fixture: Fixture, rates: Rates | None = (LR, LR), **keys: Any) -> dict[str, Tensor]:
    training = _Training(fixture, **keys)
    training.take(range(STEPS), rates)
    return training.weights()


def _different(names: Iterable[str], first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    return [name for name in names if not torch.equal(first[name], second[name])]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"the {name} {SHAPES[name]}" for name in names)


@rule("missing package")
def _missing_package(fixture: Fixture) -> None:
    """Without an optional package that it needs, the error names the command that installs it."""
    try:
        fixture.build().build([{"params": [nn.Parameter(torch.zeros(2, 2))]}], LR)
    except ImportError as error:
        raise RuleViolation(
            f"it raises {type(error).__name__}: {error}; raise a PluginError with the command 'pip install ...'"
        ) from error
    except EnfaceError as error:
        if "pip install" not in str(error):
            raise RuleViolation(f"its error names no command 'pip install ...': {error}") from error
        return
    raise Skipped("no package is missing here")


@rule("changes weights")
def _changes(fixture: Fixture) -> None:
    """A step changes every parameter that has a gradient, to finite values, and no other."""
    training = _Training(fixture)
    before = training.weights()
    training.take([0])
    after = training.weights()
    changed = _different(SHAPES, before, after)
    unchanged = [name for name in TRAINED if name not in changed]
    if unchanged:
        raise RuleViolation(f"a step does not change {_listed(unchanged)}")
    if "unused" in changed:
        raise RuleViolation("it changes a parameter without a gradient; skip those whose .grad is None")
    infinite = [name for name in SHAPES if not after[name].isfinite().all()]
    if infinite:
        raise RuleViolation(f"after a step, {_listed(infinite)} is not finite")


@rule("resume")
def _resume(fixture: Fixture) -> None:
    """With its state saved after two steps and loaded, it continues with the same bits."""
    whole, resumed = _Training(fixture), _Training(fixture)
    whole.take(range(STEPS))
    tensors, plain = optimizer_tensors(whole.optimizer)
    path = fixture.folder / "optimizer.safetensors"
    try:
        save(path, tensors, {"optimizer": plain})
    except TypeError as error:
        raise RuleViolation(f"its state cannot be saved: {error}; use tensors and numbers only") from error
    resumed.load_weights(whole.weights())
    saved = load(path)
    load_optimizer(resumed.optimizer, saved.tensors, saved.state["optimizer"])
    for training in (whole, resumed):
        training.take(range(STEPS, 2 * STEPS))
    different = _different(SHAPES, whole.weights(), resumed.weights())
    if different:
        raise RuleViolation(
            f"with its state loaded, it changes {_listed(different)} differently; keep all state in self.state "
            "(tensors of the parameter's type, and numbers) and in param_groups"
        )


@rule("parameter groups")
def _groups(fixture: Fixture) -> None:
    """Each parameter is in one group, which keeps the key ``lr_scale``."""
    scales = (0.5, 0.25)
    training = _Training(fixture, options=({"lr_scale": scales[0]}, {"lr_scale": scales[1]}))
    training.take([0])
    for names, scale in zip(GROUPS, scales, strict=True):
        for name in names:
            parameter = training.parameters[name]
            holders = [
                group for group in training.optimizer.param_groups if any(item is parameter for item in group["params"])
            ]
            if len(holders) != 1:
                raise RuleViolation(f"{_listed([name])} is in {len(holders)} groups of the optimizer, not in one")
            if holders[0].get("lr_scale") != scale:
                raise RuleViolation(
                    f"the group of {_listed([name])} lost its key 'lr_scale' ({scale}); keep all keys of a group"
                )


@rule("options of a group")
def _options(fixture: Fixture) -> None:
    """A group's own ``weight_decay`` replaces the optimizer's."""
    defaults = _Training(fixture).optimizer.defaults
    if "weight_decay" not in defaults:
        raise Skipped("it has no option 'weight_decay'")
    own = {"weight_decay": defaults["weight_decay"] + 0.5}
    if not _different(["kernel"], _trained(fixture), _trained(fixture, options=({}, own))):
        raise RuleViolation("a group's own 'weight_decay' has no effect; read options from the group")


@rule("learning rate")
def _learning_rate(fixture: Fixture) -> None:
    """The learning rate set in a group before a step is that group's; at 0 its weights stay the same."""
    training = _Training(fixture)
    before = training.weights()
    # Some optimizers decay weights at any learning rate.
    keys = {"weight_decay": 0.0} if "weight_decay" in training.optimizer.defaults else {}
    for still in (0, 1):
        after = _trained(fixture, (0.0, LR) if still == 0 else (LR, 0.0), options=(keys, keys))
        changed = _different(SHAPES, before, after)
        unchanged = [name for name in GROUPS[1 - still] if name in TRAINED and name not in changed]
        if unchanged:
            raise RuleViolation(
                f"{_listed(unchanged)} does not change if another group's lr is 0; use each group's own lr"
            )
        moved = [name for name in GROUPS[still] if name in changed]
        if moved:
            _report_changes_at_zero(fixture, moved, after, keys)


def _report_changes_at_zero(fixture: Fixture, changed: list[str], after: Mapping[str, Tensor], keys: Options) -> None:
    affected = _different(changed, after, _trained(fixture, options=(keys, keys)))
    ignored = [name for name in changed if name not in affected]
    if not ignored:
        raise Skipped("at a learning rate of 0 it still changes weights, in another way than at 1")
    if not _different(SHAPES, _trained(fixture, None), _trained(fixture, None, lr=LR / 2)):
        raise Skipped("its steps do not depend on the learning rate")
    raise RuleViolation(f"{_listed(ignored)} changes although its group's lr is 0; read group['lr'] at each step")


OPTIMIZER_RULES = (_missing_package, _changes, _resume, _groups, _options, _learning_rate)
