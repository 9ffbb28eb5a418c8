"""``enface test-plugin``: what it tests, what it says, and how it ends."""

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


def test_a_plugin_file_that_keeps_every_rule(enface, plugin):
    found = enface("test-plugin", plugin(GOOD, brings="Cubic"))
    assert found.code == 0, found.out
    assert "loss cubic  (" in found.out
    assert "mine.py" in found.out
    assert "  holds      gradient at equality\n" in found.out
    assert "  not asked  critic only: it has no critic's side\n" in found.out
    assert "0 broken" in found.out.splitlines()[-1]
    assert found.out.splitlines()[-1].endswith("1 component")


def test_a_broken_rule_is_named_with_its_reason_and_the_code_is_1(enface, plugin):
    found = enface("test-plugin", plugin(BAD, brings="Reward"), "--quiet")
    assert found.code == 1
    headline, verdict, last = found.out.splitlines()
    assert headline.startswith("loss reward")
    assert verdict.startswith("  broken     least at the target: its mean is 0,")
    assert "1 broken" in last


def test_as_json_it_is_for_programs(enface, plugin):
    found = enface("test-plugin", plugin(BAD, brings="Reward"), "--json")
    assert found.code == 1
    told = json.loads(found.out)
    (component,) = told["components"]
    assert (component["kind"], component["name"]) == ("loss", "reward")
    broken = [verdict for verdict in component["verdicts"] if verdict["result"] == "broken"]
    assert [verdict["rule"] for verdict in broken] == ["least at the target"]
    assert set(broken[0]) == {"rule", "promise", "result", "why"}
    assert told["count"]["broken"] == 1
    assert sum(told["count"].values()) == len(component["verdicts"])


def test_parameters_are_given_where_there_is_no_example(enface, plugin):
    path = plugin(BARE, brings="Straight")
    found = enface("test-plugin", path)
    assert found.code == 2
    assert "schedule straight: end is required and missing; give --with end=VALUE" in found.err
    assert "'example'" in found.err
    given = enface("test-plugin", path, "--with", "end=2")
    assert given.code == 0, given.out


@pytest.mark.parametrize(
    ("words", "told"),
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
def test_a_mistake_is_one_message_and_the_code_2(words, told, enface):
    found = enface("test-plugin", *words)
    assert found.code == 2, found.out
    assert told in found.err
    assert "Traceback" not in found.err


def test_a_file_that_is_no_plugin(enface, tmp_path):
    path = tmp_path / "mine.py"
    for text, told in [("def (:\n", "line 1"), ("x = 1\n", "implements no hook"), (OBSERVER, "brings no components")]:
        path = tmp_path / f"mine{len(text)}.py"
        path.write_text(text)
        found = enface("test-plugin", path)
        assert found.code == 2
        assert told in found.err


OBSERVER = """
from enface import hookimpl

@hookimpl
def run_started(run):
    pass
"""


def test_a_name_that_two_kinds_have_means_both_unless_a_kind_is_said(enface):
    kinds = {"l1": {"loss", "metric"}, "loss/l1": {"loss"}}
    for target, wanted in kinds.items():
        told = json.loads(enface("test-plugin", target, "--json").out)
        assert {component["kind"] for component in told["components"]} == wanted
    (component,) = json.loads(enface("test-plugin", "l1", "--kind", "metric", "--json").out)["components"]
    assert component["kind"] == "metric"


def test_all_of_a_kind_is_a_line_each(enface):
    found = enface("test-plugin", "--all", "--kind", "schedule")
    assert found.code == 0, found.out
    lines = found.out.splitlines()
    assert len(lines) >= 10
    assert all(line.startswith("schedule ") and "0 broken" in line for line in lines[:-1])


def test_an_installed_module_is_tested_whole(enface):
    found = enface("test-plugin", "enface_plugins", "--kind", "augmentation", "--json")
    assert [component["kind"] for component in json.loads(found.out)["components"]] == ["augmentation"]
