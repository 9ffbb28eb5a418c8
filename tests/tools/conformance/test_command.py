"""``enface test-plugin``: its targets, output and exit codes."""

from __future__ import annotations

import json

import pytest

GOOD = '''
class Cubic(Loss):
    """Cubed absolute error.

    Args:
        power: Of the error.
    """

    def __init__(self, *, power: Annotated[float, Ge(1)] = 3.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, output, target):
        return (output - target).abs() ** self.power
'''
BAD = '''
class Reward(Loss):
    """Minus the error."""

    def forward(self, output, target):
        return -(output - target).square()
'''
BARE = '''
class Straight(Schedule):
    """A straight line.

    Args:
        end: Its last value.
    """

    def __init__(self, *, end: float) -> None:
        self.end = end

    def __call__(self, step: int) -> float:
        return min(step / 100, 1.0) * self.end
'''


def test_a_plugin_file_that_passes_every_rule(enface, plugin):
    outcome = enface("test-plugin", plugin(GOOD, brings="Cubic"))
    assert outcome.code == 0, outcome.out
    assert "loss cubic  (" in outcome.out
    assert "mine.py" in outcome.out
    assert "  passed   gradient at equality\n" in outcome.out
    assert "  skipped  critic only: it has no critic's side\n" in outcome.out
    assert "0 failed" in outcome.out.splitlines()[-1]
    assert outcome.out.splitlines()[-1].endswith("1 component")


def test_a_failed_rule_is_printed_with_its_reason_and_the_code_is_1(enface, plugin):
    outcome = enface("test-plugin", plugin(BAD, brings="Reward"), "--quiet")
    assert outcome.code == 1
    headline, verdict, last = outcome.out.splitlines()
    assert headline.startswith("loss reward")
    assert verdict.startswith("  failed   minimum at the target: its mean is 0,")
    assert "1 failed" in last


def test_json(enface, plugin):
    outcome = enface("test-plugin", plugin(BAD, brings="Reward"), "--json")
    assert outcome.code == 1
    data = json.loads(outcome.out)
    (component,) = data["components"]
    assert (component["kind"], component["name"]) == ("loss", "reward")
    failed = [verdict for verdict in component["verdicts"] if verdict["result"] == "failed"]
    assert [verdict["rule"] for verdict in failed] == ["minimum at the target"]
    assert set(failed[0]) == {"rule", "promise", "result", "why"}
    assert data["count"]["failed"] == 1
    assert sum(data["count"].values()) == len(component["verdicts"])


def test_parameters_are_given_if_the_class_has_no_example(enface, plugin):
    path = plugin(BARE, brings="Straight")
    outcome = enface("test-plugin", path)
    assert outcome.code == 2
    assert "schedule straight: end is required and missing; give --with end=VALUE" in outcome.err
    assert "'example'" in outcome.err
    given = enface("test-plugin", path, "--with", "end=2")
    assert given.code == 0, given.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--all"),
        (["hinge", "--all"], "--all"),
        (["hinje"], "no component or module is called 'hinje'; did you mean 'hinge'?"),
        (["loss/hinje"], "no loss is called 'hinje'; did you mean 'hinge'?"),
        (["lost/hinge"], "no kind is called 'lost'; did you mean 'loss'?"),
        (["hinge", "--kind", "mask"], "no component of kind 'mask'; it has loss"),
        (["hinge", "--kind", "los"], "did you mean 'loss'?"),
        (["hinge", "--compile", "indctor"], "did you mean 'inductor'?"),
        (["vanilla", "--with", "smooting=0.1"], "did you mean 'smoothing'?"),
        (["vanilla", "--with", "smoothing"], "write KEY=VALUE"),
        (["vanilla", "--with", "smoothing=[1"], "not valid YAML"),
        (["vanilla", "--with", "smoothing=0.7"], "loss vanilla: smoothing"),
        (["gone.py"], "gone.py does not exist"),
        (["."], "is a folder"),
        (["json"], "implements no hook"),
    ],
)
def test_a_mistake_is_one_message_and_the_code_2(arguments, message, enface):
    outcome = enface("test-plugin", *arguments)
    assert outcome.code == 2, outcome.out
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_file_that_is_not_a_plugin(enface, tmp_path):
    cases = [("def (:\n", "line 1"), ("x = 1\n", "implements no hook"), (OBSERVER, "brings no components")]
    for text, message in cases:
        path = tmp_path / f"mine{len(text)}.py"
        path.write_text(text)
        outcome = enface("test-plugin", path)
        assert outcome.code == 2
        assert message in outcome.err


OBSERVER = """
from enface import hookimpl

@hookimpl
def run_started(run):
    pass
"""


def test_a_name_of_two_kinds_means_both_unless_a_kind_is_given(enface):
    targets = {"ssim": {"loss", "metric"}, "loss/ssim": {"loss"}}
    for target, kinds in targets.items():
        data = json.loads(enface("test-plugin", target, "--json").out)
        assert {component["kind"] for component in data["components"]} == kinds
    (component,) = json.loads(enface("test-plugin", "ssim", "--kind", "metric", "--json").out)["components"]
    assert component["kind"] == "metric"


def test_all_prints_a_line_per_component(enface):
    outcome = enface("test-plugin", "--all", "--kind", "schedule")
    assert outcome.code == 0, outcome.out
    lines = outcome.out.splitlines()
    assert len(lines) >= 10
    assert all(line.startswith("schedule ") and "0 failed" in line for line in lines[:-1])


def test_an_installed_module(enface):
    outcome = enface("test-plugin", "enface_plugins", "--kind", "augmentation", "--json")
    assert [component["kind"] for component in json.loads(outcome.out)["components"]] == ["augmentation"]
