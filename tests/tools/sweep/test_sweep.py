"""Sweep files, states of their runs, and the ``sweep`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from enface.errors import EnfaceError, RecipeError
from enface.recipe.models import save_recipe
from enface.system.locks import LOCK_FILE, hold_lock
from enface_tools.sweep import jobs, launcher, progress
from enface_tools.sweep.base import LauncherSession, RunningJob
from enface_tools.sweep.jobs import Job, read_sweep
from enface_tools.sweep.launcher import Stopped
from enface_tools.sweep.local import Local
from enface_tools.sweep.ray import Ray
from enface_tools.sweep.slurm import Slurm

BASE = {
    "name": "base",
    "data": {"use": "synthetic_heads", "identities": 4, "split": {"train": 2, "val": 1}},
    "generator": {"use": "unet", "width": 4},
    "stages": {"main": {"steps": 10, "terms": {"l1": {"weight": 1}}}},
}


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))

    def write(**content):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({"recipe": "base.yaml", **content}))
        return path

    return write


def test_a_recipe_may_be_complete_only_with_its_variants(sweep, tmp_path):
    stages = {"main": {key: value for key, value in BASE["stages"]["main"].items() if key != "steps"}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**BASE, "stages": stages}))
    variants = {"short": {"stages.main.steps": 1}, "long": {"stages.main.steps": 2}}
    jobs, launcher = read_sweep(sweep(name="mine", variants=variants))
    assert [job.name for job in jobs] == ["mine-long", "mine-short"]
    assert isinstance(launcher, Local)


def test_every_variant_is_run_with_every_seed(sweep):
    variants = {"control": {}, "huber": {"stages.main.terms.l1.use": "huber"}}
    jobs, _ = read_sweep(sweep(seeds=[0, 3], variants=variants))
    assert [(job.name, job.seed) for job in jobs] == [
        ("base-control", 0),
        ("base-control", 3),
        ("base-huber", 0),
        ("base-huber", 3),
    ]
    assert 'stages.main.terms.l1.use="huber"' in jobs[2].overrides
    assert len({job.digest for job in jobs}) == 4


def test_every_combination_of_a_grid_is_run(sweep):
    grid = {"stages.main.steps": [5, 6], "stages.main.terms.l1.weight": [0.5, 1e-05]}
    jobs, _ = read_sweep(sweep(name="mine", grid=grid))
    assert [job.name for job in jobs] == [
        "mine-steps5-weight0_5",
        "mine-steps5-weight1e_05",
        "mine-steps6-weight0_5",
        "mine-steps6-weight1e_05",
    ]


def test_without_variants_the_recipe_is_run_with_each_seed(sweep):
    assert [job.label for job in read_sweep(sweep(seeds=[1, 2]))[0]] == ["base seed 1", "base seed 2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seeds": [1, 1]}, r"sweep\.yaml: seeds: .*a seed is listed twice"),
        ({"seeds": []}, r"sweep\.yaml: seeds"),
        ({"sedes": [1]}, "did you mean 'seeds'"),
        ({"grid": {"seed": []}}, "seed has no value"),
        ({"variants": {"a b": {}}}, r"sweep\.yaml: variants"),
        ({"recipe": "gone.yaml"}, r"gone\.yaml does not exist"),
        ({"variants": {"odd": {"stages.main.stesp": 3}}}, r"sweep\.yaml: base-odd: .*did you mean 'steps'"),
        ({"launcher": "slrum"}, r"sweep\.yaml: launcher: .*'slrum'; did you mean 'slurm'"),
        ({"launcher": {"use": "slurm", "partitoin": "x"}}, "partitoin.*did you mean 'partition'"),
        ({"launcher": {"use": "ray", "gpus": -1}}, r"launcher\.gpus: .*greater than or equal to 0"),
        (
            {"launcher": {"use": "slurm", "cluster": "local", "detach": True}},
            "detach: not possible with 'cluster: local'",
        ),
        ({"variants": {"a": {}, "b": {}}}, "base-a seed 0 and base-b seed 0 are the same training"),
    ],
)
def test_mistakes_are_reported_before_anything_runs(sweep, content, message):
    with pytest.raises(RecipeError, match=message):
        read_sweep(sweep(**content))


@pytest.mark.parametrize(("text", "message"), [("- a", "a sweep is a map"), ("a: [", "not YAML"), ("\x00", "not YAML")])
def test_a_file_that_is_no_sweep(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_sweep(tmp_path / "s.yaml")
    with pytest.raises(RecipeError, match="cannot read sweep"):
        read_sweep(tmp_path / "none.yaml")


# ------------------------------------------------------------------ states


def write_run(job, runs, stamp, *, evaluated, overrides=None):
    from enface.recipe.load import load_recipe

    folder = runs / job.name / stamp
    (folder / "evaluation" / "val").mkdir(parents=True)
    save_recipe(load_recipe(job.recipe, overrides or job.overrides).recipe, folder / "recipe.yaml")
    if evaluated:
        (folder / "evaluation" / "val" / "summary.json").write_text("{}")
    return folder


def test_runs_are_new_interrupted_running_or_done(sweep, tmp_path):
    (job,), _ = read_sweep(sweep(seeds=[2]))
    runs = tmp_path / "runs"
    assert job.find(runs) == ("new", None)
    write_run(job, runs, "1", evaluated=True, overrides=["seed=7"])
    damaged = runs / "base" / "2"
    damaged.mkdir()
    (damaged / "recipe.yaml").write_text("{")
    assert job.find(runs) == ("new", None)
    cut = write_run(job, runs, "3", evaluated=False)
    assert job.find(runs) == ("cut off", cut)
    assert job.command(runs)[-2:] == [str(cut), "--resume"]
    with hold_lock(cut / LOCK_FILE, ""):
        assert job.find(runs) == ("running", cut)
        assert job.command(runs)[-2:] == [str(cut), "--resume"]
        # It may be evaluated by another process while it is trained.
        (cut / "evaluation" / "val" / "summary.json").write_text("{}")
        assert job.find(runs) == ("running", cut)
    (cut / "evaluation" / "val" / "summary.json").unlink()
    assert job.find(runs) == ("cut off", cut)
    done = write_run(job, runs, "4", evaluated=True)
    write_run(job, runs, "5", evaluated=False)
    assert job.find(runs) == ("done", done)


def test_a_sweep_measures_validation_people_by_default(sweep):
    assert 'evaluation.split="val"' in read_sweep(sweep())[0][0].overrides
    assert 'evaluation.split="test"' in read_sweep(sweep(), split="test")[0][0].overrides
    path = sweep(variants={"closed": {"data.split.val": 0}})
    with pytest.raises(RecipeError, match=r"base-closed has no validation people; set data\.split\.val .*--split test"):
        read_sweep(path)
    assert len(read_sweep(path, split="test")[0]) == 1


def test_the_launcher_of_a_sweep(sweep):
    assert isinstance(read_sweep(sweep())[1], Local)
    assert isinstance(read_sweep(sweep(launcher="ray"))[1], Ray)
    options = {"use": "slurm", "gpus": 1, "hours": 0.5, "parameters": {"account": "faces"}}
    path = sweep(launcher=options)
    _, launcher = read_sweep(path)
    assert (launcher.gpus, launcher.hours, launcher.parameters) == (1, 0.5, {"account": "faces"})
    assert read_sweep(path, "slurm")[1].hours == 0.5
    assert isinstance(read_sweep(path, "ray")[1], Ray)
    with pytest.raises(RecipeError, match="no launcher is called 'rya'; did you mean 'ray'"):
        read_sweep(path, "rya")


@pytest.fixture
def toy(tmp_path):
    """A sweep of two variants of the toy recipe."""
    sweep = {
        "recipe": str(Path(__file__).parents[2] / "support" / "toy.yaml"),
        "variants": {"a": {}, "b": {"stages.main.steps": 3}},
    }
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path


def test_finished_runs_are_not_repeated(toy, tmp_path):
    """Real training of two variants; the second time nothing is left to do."""
    command = [sys.executable, "-m", "enface", "sweep", toy.name]

    def call(*more):
        return subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    first = call("--jobs", "2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 of 2 runs are done" in first.stdout
    assert "enface compare runs/toy-a runs/toy-b" in first.stdout
    second = call("--dry-run")
    assert second.stdout.split("\n")[:2] == ["done     toy-a seed 0", "done     toy-b seed 0"]
    (run,) = (tmp_path / "runs" / "toy-b").iterdir()
    assert not (run / "evaluation" / "openings.jsonl").exists(), "a sweep chooses on validation people"
    (run / "evaluation" / "val" / "summary.json").unlink()
    assert "cut off  toy-b seed 0" in call("--dry-run").stdout
    assert f"resumes runs/toy-b/{run.name}" in call().stdout
    assert [path.name for path in (tmp_path / "runs" / "toy-b").iterdir()] == [run.name]


@pytest.mark.parametrize("is_starting", [True, False], ids=["starting", "with a directory"])
def test_a_run_of_another_process_is_skipped(toy, enface, tmp_path, is_starting):
    runs = tmp_path / "runs"
    running, other = read_sweep(toy)[0]
    write_run(other, runs, "1", evaluated=True)
    lock = running.lock(runs) if is_starting else write_run(running, runs, "1", evaluated=False) / LOCK_FILE
    lock.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(lock, ""):
        outcome = enface("sweep", toy, "--runs", runs)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.split("\n")
    assert lines[:3] == [
        "running  toy-a seed 0",
        "done     toy-b seed 0",
        f"toy-a seed 0: another process is training it (if no process does, remove {lock})",
    ]
    assert [line.split()[:4] for line in lines[3:6]] == [
        ["run", "state", "step", "set"],
        ["toy-a", "seed", "0", "running" if is_starting else "training"],
        ["toy-b", "seed", "0", "died"],
    ]
    assert lines[6:8] == ["1 of 2 runs are done", f"check again with: enface sweep {toy} --runs {runs}"]


def test_a_second_sweep_of_the_same_name_is_refused(toy, enface, tmp_path):
    logs = tmp_path / "runs" / "logs" / "s"
    logs.mkdir(parents=True)
    with hold_lock(logs / LOCK_FILE, ""):
        outcome = enface("sweep", toy, "--runs", tmp_path / "runs")
    assert outcome.code == 2
    assert "another sweep of this name is running" in outcome.err
    assert not (tmp_path / "runs" / "toy-a").exists()


def test_the_command_that_resumes_repeats_every_option(toy, enface, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise Stopped

    monkeypatch.setattr("enface_tools.sweep.launcher.run_all", stop)
    runs = tmp_path / "my runs"
    outcome = enface("sweep", toy, "--runs", runs, "--jobs", 3, "--launcher", "local", "--split", "test")
    assert outcome.code == 130
    again = f"enface sweep {toy} --runs '{runs}' --jobs 3 --launcher local --split test"
    assert outcome.out.splitlines()[-1] == f"stopped; resume with: {again}"
    assert enface("sweep", toy, "--runs", "runs").out.splitlines()[-1] == f"stopped; resume with: enface sweep {toy}"


class Working(RunningJob):
    """A job that writes its log and ends at the fourth look."""

    def __init__(self, job, log, runs):
        super().__init__(job, log)
        self.directory = write_run(job, runs, "1", evaluated=False)
        self.looks = 0

    def code(self):
        self.looks += 1
        entry = {"event": "step", "time": 100.0 + self.looks, "step": self.looks, "stage": "main", "values": {}}
        with (self.directory / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return 3 if self.looks == 4 else None

    def stop(self):
        """Nothing runs."""

    def wait(self):
        """Nothing runs."""


class WorkingSession(LauncherSession):
    at_once = 1

    def __init__(self, runs):
        self.runs = runs

    def start(self, jobs):
        return [Working(job, self.runs / "logs" / "none.log", self.runs) for job in jobs]


def test_a_sweep_shows_the_step_of_running_jobs_and_ends_with_a_table(toy, enface, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    monkeypatch.setattr(Local, "open", lambda *_: WorkingSession(runs))
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(launcher, "POLL", 0.01)
    monkeypatch.setattr(Job, "locks", lambda job, runs: [])
    monkeypatch.setattr(jobs, "is_locked", lambda path: path.parent.name == "1" and path.parent.exists())
    monkeypatch.setattr(launcher, "_start", lambda session, jobs, *_: session.start(jobs))
    outcome = enface("sweep", toy, "--runs", runs)
    assert outcome.code == 1
    assert "0 of 2 runs have ended; toy-a seed 0 2/6" in outcome.out
    assert "1 of 2 runs have ended; toy-b seed 0 2/3" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    start = rows.index(["run", "state", "step", "time", "set"])
    assert rows[start + 1] == ["toy-a", "seed", "0", "failed", "4/6", "0:03"]
    assert rows[start + 2] == ["toy-b", "seed", "0", "failed", "4/3", "0:03", "stages.main.steps=3"]


class Cluster(LauncherSession):
    """Still has the first job."""

    def start(self, jobs):
        return pytest.fail("a dry run starts nothing")

    def taken(self, jobs):
        return list(jobs[:1])


@pytest.mark.parametrize(("is_reachable", "state"), [(True, "queued"), (False, "new")])
def test_a_dry_run_lists_jobs_still_on_a_cluster(toy, enface, tmp_path, monkeypatch, is_reachable, state):
    def open_(*_):
        if not is_reachable:
            raise EnfaceError("launcher slurm: sbatch is not installed here")
        return Cluster()

    monkeypatch.setattr(Slurm, "open", open_)
    toy.write_text(yaml.safe_dump({**yaml.safe_load(toy.read_text()), "launcher": {"use": "slurm", "detach": True}}))
    outcome = enface("sweep", toy, "--runs", tmp_path / "runs", "--dry-run")
    assert outcome.out.split("\n")[:2] == [f"{state:8} toy-a seed 0", "new      toy-b seed 0"]
    rows = json.loads(enface("sweep", toy, "--runs", tmp_path / "runs", "--dry-run", "--json").out)
    assert [row["state"] for row in rows] == [state, "new"]
