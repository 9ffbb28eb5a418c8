"""Names of runs mean the same in every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from enface.cli import application
from enface.errors import EnfaceError
from enface_tools.runs.names import find_run, find_runs

TAKE_A_RUN = ("apply", "evaluate", "export", "report")
TAKE_A_RECIPE_OR_RUN = ("audit", "check", "run")
TAKE_RUNS = ("compare", "power")


@pytest.fixture
def three(write):
    """Runs of two recipes: a/1, b/2 and a/3; the best LPIPS is that of a/1, the best SSIM that of b/2."""
    write("a/1", ["trained"], {"lpips": 0.1, "ssim": 0.5}, best="lpips")
    write("b/2", ["trained"], {"lpips": 0.3, "ssim": 0.9}, best="lpips")
    write("a/3", ["trained"], {"lpips": 0.2, "ssim": 0.7}, best="lpips")


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("latest", "runs/a/3"),
        ("a", "runs/a/3"),
        ("b", "runs/b/2"),
        ("a/1", "runs/a/1"),
        ("a/latest", "runs/a/3"),
        ("best", "runs/a/1"),
        ("best:ssim", "runs/b/2"),
        ("a/best:ssim", "runs/a/3"),
        ("runs/a/1", "runs/a/1"),
        ("runs/a", "runs/a/3"),
    ],
)
def test_names(three, name, directory):
    assert find_run(name) == Path(directory)


def test_a_run_or_results_at_a_path_come_before_names(three, write):
    Path("runs/a/1").rename("latest")
    Path("b").mkdir()
    Path("b/summary.json").touch()
    assert find_run("latest") == Path("latest")
    assert find_run("b") == Path("b")


def test_an_absolute_path_is_no_name(three, enface, tmp_path):
    (tmp_path / "images").mkdir()
    assert find_run(tmp_path / "images") == tmp_path / "images"
    with pytest.raises(EnfaceError, match="missing is no path, and no run below runs has this name"):
        find_run(tmp_path / "missing")
    outcome = enface("evaluate", tmp_path / "images")
    assert (outcome.code, outcome.err.startswith("error: ")) == (2, True)


def test_a_folder_of_images_gives_way_to_the_run_of_its_name(enface, three):
    Path("a").mkdir()
    Path("images").mkdir()
    assert find_run("a") == Path("runs/a/3")
    assert find_runs([Path("a"), Path("runs/b")], Path("runs")) == [Path("runs/a/3"), Path("runs/b")]
    assert find_run("images") == Path("images")
    assert "runs/a/3/recipe.yaml" in enface("check", "a").err


def test_a_run_whose_name_is_nearly_that_of_a_recipe(enface, write):
    write("tiny2/1", ["trained"])
    assert "runs/tiny2/1/recipe.yaml" in enface("check", "tiny2").err
    assert "did you mean 'tiny'?" in enface("check", "tiny3", "--runs", "none").err


def test_a_folder_named_like_a_recipe_does_not_hide_it(enface, write):
    Path("tiny").mkdir()
    assert "tiny: ok" in enface("check", "tiny").out


def test_names_are_looked_up_below_the_folder_of_runs(three):
    Path("runs").rename("elsewhere")
    assert find_run("a/1", "elsewhere") == Path("elsewhere/a/1")
    with pytest.raises(EnfaceError, match="a/1 is no path, and no run below runs has this name; runs holds no run"):
        find_run("a/1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lastest", "lastest is no path, and no run below runs has this name; did you mean latest?"),
        ("a/2", "did you mean b/2 or a/3 or a/1?"),
        ("frontal", "no run below runs has this name; known: a, b"),
        ("best:spim", "best:spim: no run of runs has measured spim on val people; measured: lpips, ssim"),
        ("none/best", "none/best is no path, and no run below runs has this name; did you mean best?"),
    ],
)
def test_unknown_names(three, name, message):
    with pytest.raises(EnfaceError) as caught:
        find_run(name)
    assert message in str(caught.value)


def test_best_refuses_runs_that_cannot_be_compared(three, write):
    write("c/4", ["trained"], {"lpips": 0.05}, best="ssim", images=4)
    with pytest.raises(EnfaceError, match=r"recipes name several metrics as log\.best \(lpips, ssim\); name a metric"):
        find_run("best")
    message = r"c/4 and a/1 cannot be compared: they are measured on 4 images of 4 people and 9 images of 9 people"
    with pytest.raises(EnfaceError, match=message):
        find_run("best:lpips")
    write("d/5", ["trained"], {"kid": 0.1}, card={"version": "1"})
    write("d/6", ["trained"], {"kid": 0.2}, card={"version": "2"})
    with pytest.raises(EnfaceError, match="d/6 and d/5 cannot be compared: the metric cards of kid differ"):
        find_run("best:kid")
    assert find_run("a/best") == Path("runs/a/1")


def test_best_needs_a_metric(write):
    with pytest.raises(EnfaceError, match="best is no path, and no run below runs has this name; runs holds no run"):
        find_run("best")
    write("a/1", ["trained"], {"ssim": 0.5})
    with pytest.raises(EnfaceError, match=r"best: of the runs of runs, no recipe sets log\.best; .* as best:ssim"):
        find_run("best")


def test_best_follows_the_direction_and_the_ideal_value_of_the_metric(write):
    ideal = {"sharpness": {"higher_is_better": True, "ideal": 1.0}}
    for number, value in enumerate((0.7, 1.2, 1.5)):
        write(f"a/{number}", ["trained"], {"sharpness": value}, directions=ideal)
    assert find_run("best:sharpness") == Path("runs/a/1")


def test_compared_paths_may_be_folders_of_runs(three):
    assert find_runs([Path("runs/a"), Path("a")], Path("runs")) == [Path("runs/a"), Path("runs/a/3")]


def _parameters(name):
    command = typer.main.get_command(application()).commands[name]
    return {item.name: item for item in command.params}, [option for item in command.params for option in item.opts]


@pytest.mark.parametrize("name", TAKE_A_RUN + TAKE_A_RECIPE_OR_RUN + TAKE_RUNS)
def test_every_command_that_takes_a_run_takes_the_folder_of_runs(name):
    assert "--runs" in _parameters(name)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export"], "runs/a/1"),
        (["apply", "--out", "out"], "runs/a/1"),
        (["evaluate"], "runs/a/1"),
        (["evaluate", "--processes", "2"], "runs/a/1"),
        (["check"], "runs/a/1/recipe.yaml"),
        (["audit"], "runs/a/1/recipe.yaml"),
        (["run", "--resume"], "runs/a/1/recipe.yaml"),
        (["report"], "runs/a/1"),
    ],
)
def test_commands_find_the_run_by_its_name(enface, three, arguments, message):
    # The runs have neither checkpoints nor complete recipes, so that each command refuses them by their directory.
    command, *options = arguments
    images = ["images"] if command == "apply" else []
    for name in ("best", "a/best:lpips", "a/1"):
        outcome = enface(command, name, *images, *options)
        assert message in outcome.err + outcome.out, outcome
        elsewhere = enface(command, "latest", *images, *options, "--runs", "none")
        assert elsewhere.code == 2
        assert "none" in elsewhere.err


@pytest.mark.parametrize("command", ["run", "check", "audit"])
def test_a_recipe_comes_before_a_run_and_a_name_like_a_run_is_suggested(enface, three, write, command):
    write("tiny/4", ["trained"])
    assert find_run("tiny") == Path("runs/tiny/4")
    outcome = enface(command, "lastest")
    assert "error: no recipe or run is called lastest; did you mean latest?" in outcome.err
    assert "runs/tiny" not in enface("check", "tiny").out
