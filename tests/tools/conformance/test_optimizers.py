"""Optimizers that violate one rule each, and some that violate none."""

from __future__ import annotations

import sys
from collections import deque

import pytest
import torch

from enface import Optimizer, PluginError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_tools.conformance.optimizers import OPTIMIZER_RULES
from enface_tools.conformance.suite import Fixture, run_rule


class Steps(torch.optim.Optimizer):
    """Momentum with decoupled weight decay, in parts that subclasses replace."""

    def __init__(self, groups, **defaults):
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group)

    def update(self, parameter, group):
        parameter.mul_(1 - group["lr"] * self.decay(group))
        parameter.sub_(self.momentum(parameter), alpha=self.rate(group))

    def momentum(self, parameter):
        momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        return momentum.mul_(0.9).add_(parameter.grad)

    def rate(self, group):
        return group["lr"]

    def decay(self, group):
        return group["weight_decay"]


class Momentum(Optimizer):
    """Builds an optimizer of the class ``steps``."""

    steps = Steps

    def build(self, groups, lr):
        return self.steps(groups, lr=lr, weight_decay=0.1)


class Sgd(Optimizer):
    """Has no weight decay."""

    def build(self, groups, lr):
        class Plain(Steps):
            def decay(self, group):
                return 0.0

        return Plain(groups, lr=lr)


class MatricesOnly(Momentum):
    class steps(Steps):
        def update(self, parameter, group):
            if parameter.dim() > 1:
                super().update(parameter, group)


class DecaysAll(Momentum):
    """Decays weights without a gradient."""

    class steps(Steps):
        @torch.no_grad()
        def step(self, closure=None):
            super().step()
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])


class Diverging(Momentum):
    class steps(Steps):
        def momentum(self, parameter):
            return super().momentum(parameter) / 0


class Counting(Momentum):
    """Keeps state in an attribute, which no checkpoint holds."""

    class steps(Steps):
        count = 0

        def rate(self, group):
            self.count += 1
            return group["lr"] / self.count


class DoubleState(Momentum):
    """Keeps float64 state, which torch loads as float32."""

    class steps(Steps):
        def momentum(self, parameter):
            double = torch.zeros_like(parameter, dtype=torch.float64)
            momentum = self.state[parameter].setdefault("momentum", double)
            return momentum.mul_(0.9).add_(parameter.grad / 3).float()


class History(Momentum):
    """Keeps state that is neither a tensor nor a number."""

    class steps(Steps):
        def momentum(self, parameter):
            gradients = self.state[parameter].setdefault("gradients", deque(maxlen=2))
            gradients.append(parameter.grad.clone())
            return sum(gradients)


class OneGroup(Momentum):
    """Merges all groups."""

    def build(self, groups, lr):
        return super().build([{"params": [item for group in groups for item in group["params"]]}], lr)


class NewGroups(Momentum):
    """Copies only the parameters and the weight decay of each group."""

    def build(self, groups, lr):
        known = ("params", "weight_decay")
        return super().build([{key: group[key] for key in known if key in group} for group in groups], lr)


class Incomplete(Momentum):
    """Leaves out biases."""

    def build(self, groups, lr):
        chosen = [{**group, "params": [item for item in group["params"] if item.dim() != 1]} for group in groups]
        return super().build(chosen, lr)


class DefaultDecay(Momentum):
    class steps(Steps):
        def decay(self, group):
            return self.defaults["weight_decay"]


class BuiltRate(Momentum):
    """Keeps the learning rate with which it was built."""

    class steps(Steps):
        def update(self, parameter, group):
            parameter.sub_(self.momentum(parameter), alpha=self.defaults["lr"])


class FirstRate(Momentum):
    """Uses the learning rate of the first group for all."""

    class steps(Steps):
        def rate(self, group):
            return self.param_groups[0]["lr"]


class NoRate(Momentum):
    """Determines its steps without a learning rate."""

    class steps(Steps):
        def update(self, parameter, group):
            super().update(parameter, {**group, "lr": 0.01})


class IndependentDecay(Momentum):
    """Decays weights at any learning rate."""

    class steps(Steps):
        def update(self, parameter, group):
            parameter.mul_(1 - group["weight_decay"]).sub_(self.momentum(parameter), alpha=group["lr"])


class MinimumRate(Momentum):
    """Takes small steps at a learning rate of 0."""

    class steps(Steps):
        def rate(self, group):
            return max(group["lr"], 1e-3)


class NotInstalled(Momentum):
    def build(self, groups, lr):
        raise PluginError('optimizer not_installed needs steps: pip install "enface[steps]"')


class NotImported(Momentum):
    def build(self, groups, lr):
        import no_such_package_here  # noqa: F401


class NoCommand(Momentum):
    def build(self, groups, lr):
        raise PluginError("optimizer no_command needs a package")


@pytest.mark.parametrize(
    ("optimizer", "skipped"),
    [
        (Momentum, {"missing package"}),
        (Sgd, {"missing package", "options of a group"}),
        (NoRate, {"missing package", "learning rate"}),
        (IndependentDecay, {"missing package"}),
        (MinimumRate, {"missing package", "learning rate"}),
        (NotInstalled, {"changes weights", "resume", "parameter groups", "options of a group", "learning rate"}),
    ],
)
def test_a_valid_optimizer_passes_every_rule(verdicts, optimizer, skipped):
    results = verdicts(optimizer, OPTIMIZER_RULES)
    assert {name: item.why for name, item in results.items() if item.result == "failed"} == {}
    assert {name for name, item in results.items() if item.result == "skipped"} == skipped


@pytest.mark.parametrize(
    ("optimizer", "rule", "reason"),
    [
        (NotImported, "missing package", "ModuleNotFoundError: No module named 'no_such_package_here'"),
        (NoCommand, "missing package", "names no command 'pip install ...'"),
        (MatricesOnly, "changes weights", "does not change the vector (6,), the scalar ()"),
        (Incomplete, "changes weights", "does not change the vector (6,)"),
        (DecaysAll, "changes weights", "without a gradient"),
        (Diverging, "changes weights", "is not finite"),
        (Counting, "resume", "keep all state in self.state"),
        (DoubleState, "resume", "tensors of the parameter's type"),
        (History, "resume", "deque is not JSON serializable; use tensors and numbers"),
        (OneGroup, "parameter groups", "the matrix (6, 4) lost its key 'lr_scale'"),
        (NewGroups, "parameter groups", "keep all keys of a group"),
        (Incomplete, "parameter groups", "the vector (6,) is in 0 groups"),
        (DefaultDecay, "options of a group", "read options from the group"),
        (OneGroup, "options of a group", "has no effect"),
        (BuiltRate, "learning rate", "read group['lr'] at each step"),
        (FirstRate, "learning rate", "use each group's own lr"),
    ],
)
def test_a_violation_is_reported_with_its_reason(failure, optimizer, rule, reason):
    assert reason in failure(optimizer, OPTIMIZER_RULES, rule)


@pytest.mark.parametrize(
    ("optimizer", "reason"), [(NoRate, "do not depend on the learning rate"), (MinimumRate, "still changes")]
)
def test_an_optimizer_that_does_not_stop_at_a_rate_of_0_is_skipped(verdicts, optimizer, reason):
    (verdict,) = verdicts(optimizer, OPTIMIZER_RULES, "learning rate").values()
    assert verdict.result == "skipped"
    assert reason in verdict.why


def test_without_its_package_an_optimizer_is_skipped_with_the_command(verdicts):
    (verdict,) = verdicts(NotInstalled, OPTIMIZER_RULES, "resume").values()
    assert verdict.why.startswith("a package is missing: optimizer not_installed needs steps: pip install")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("prodigy", "prodigyopt"),
        ("pytorch_optimizer", "pytorch_optimizer"),
        ("schedule_free_adamw", "schedulefree"),
        ("schedule_free_sgd", "schedulefree"),
    ],
)
def test_installed_optimizers_without_their_package_name_the_extra(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    catalog = Catalog(load_plugins())
    with Fixture(catalog.get("optimizer", name), catalog) as fixture:
        verdicts = {rule.name: run_rule(rule, fixture) for rule in OPTIMIZER_RULES}
    assert verdicts.pop("missing package").result == "passed"
    for verdict in verdicts.values():
        assert verdict.result == "skipped"
        assert verdict.why.endswith(f'optimizer {name} needs {package}: pip install "enface[optimizers]"')
