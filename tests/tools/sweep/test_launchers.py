"""Launchers run jobs, report those that fail, and let running jobs save when they are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from enface.errors import EnfaceError
from enface_tools.sweep.launcher import Stopped, run_all
from enface_tools.sweep.local import Local, LocalSession
from enface_tools.sweep.ray import Ray
from enface_tools.sweep.slurm import Slurm
from enface_tools.sweep.worker import RemoteJob, start_process

SUPPORT = Path(__file__).parents[2] / "support"
sys.path.insert(0, str(SUPPORT))
from job_scripts import scripts  # noqa: E402

SAVES = (
    "import signal, time\ndef stop(*args):\n    print('saved', flush=True)\n    raise SystemExit(130)\n"
    "signal.signal(signal.SIGINT, stop)\nsignal.signal(signal.SIGTERM, stop)\n"
    "print('ready', flush=True)\ntime.sleep(60)"
)


@pytest.fixture
def once():
    """Act in a thread as soon as a condition holds, but not after the test."""
    over = threading.Event()

    def start(ready, act):
        def watch():
            while not over.wait(0.05):
                if ready():
                    act()
                    return

        threading.Thread(target=watch, daemon=True).start()

    yield start
    over.set()


def says(log, word):
    return lambda: log.exists() and word in log.read_text()


# ------------------------------------------------------------------ local


def test_a_failing_job_does_not_stop_the_others(tmp_path):
    messages = []
    lines = ["print('fine')", "raise SystemExit('out of luck')", f"open({str(tmp_path / 'third')!r}, 'w')"]
    local = LocalSession(1, tmp_path / "runs", tmp_path / "logs")
    failed = run_all(local, scripts(tmp_path, *lines), tmp_path / "runs", messages.append)
    assert [job.name for job in failed] == ["job1"]
    assert (tmp_path / "third").exists()
    assert (tmp_path / "logs" / "job0-0.log").read_text() == "fine\n"
    assert any("out of luck" in line for line in messages)


def test_concurrent_jobs_are_distributed_over_devices(tmp_path):
    # Each job ends when both have started.
    line = (
        f"import os, pathlib, time\nfolder = pathlib.Path({str(tmp_path)!r})\n"
        "(folder / ('device' + os.environ['CUDA_VISIBLE_DEVICES'])).touch()\nuntil = time.monotonic() + 60\n"
        "while len(list(folder.glob('device*'))) < 2:\n    assert time.monotonic() < until\n    time.sleep(0.05)"
    )
    local = LocalSession(2, tmp_path / "runs", tmp_path / "logs", ["4", "GPU-7"])
    assert not run_all(local, scripts(tmp_path, line, line), tmp_path / "runs", lambda line: None)
    assert sorted(path.name for path in tmp_path.glob("device*")) == ["device4", "deviceGPU-7"]


@pytest.mark.parametrize(
    ("count", "allowed", "devices"),
    [
        (0, None, []),
        (1, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "4,7", ["4", "7"]),
        (2, "GPU-1, GPU-2", ["GPU-1", "GPU-2"]),
        (1, "4", []),
        (2, "4,7,99", ["4", "7"]),
    ],
)
def test_each_of_several_allowed_gpus_has_a_run(tmp_path, monkeypatch, count, allowed, devices):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    session = Local().open(None, tmp_path, tmp_path / "logs")
    assert (session.at_once, session._devices) == (len(devices) or 1, devices)
    assert Local().open(5, tmp_path, tmp_path / "logs").at_once == 5


def test_a_job_that_was_run_meanwhile_is_not_run_again(tmp_path, monkeypatch):
    states, messages = {"job0": "done", "job1": "running", "job2": "new"}, []
    monkeypatch.setattr("enface_tools.sweep.jobs.Job.find", lambda self, runs: (states[self.name], None))
    local = LocalSession(3, tmp_path / "runs", tmp_path / "logs")
    assert not run_all(local, scripts(tmp_path, *["print(1)"] * 3), tmp_path / "runs", messages.append)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["job2-0.log"]
    assert messages[:2] == ["job0 seed 0: already done", "job1 seed 0: already running"]


def test_a_running_job_is_locked(tmp_path):
    gate = tmp_path / "gate"
    line = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)"
    (job,) = scripts(tmp_path, line)
    (tmp_path / "logs").mkdir()
    process = start_process(job, tmp_path / "runs", tmp_path / "logs" / "log")
    assert job.find(tmp_path / "runs") == ("running", None)
    gate.touch()
    assert process.wait(60) == 0
    assert job.find(tmp_path / "runs") == ("new", None)


def test_a_job_stays_locked_when_the_sweep_is_killed(tmp_path):
    (job,) = scripts(tmp_path, "import time\ntime.sleep(60)")
    sweep = (
        "import os, pathlib, signal, sys\nfrom job_scripts import scripts\n"
        "from enface_tools.sweep.worker import start_process\n"
        "folder = pathlib.Path(sys.argv[1])\n(job,) = scripts(folder, 'import time\\ntime.sleep(60)')\n"
        "print(start_process(job, folder / 'runs', folder / 'log').pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", sweep, str(tmp_path)]
    killed = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SUPPORT)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert job.find(tmp_path / "runs") == ("running", None)
    os.kill(int(killed.stdout), signal.SIGKILL)
    until = time.monotonic() + 60
    while job.find(tmp_path / "runs") != ("new", None):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_job_receives_only_the_signals_that_make_it_save(tmp_path):
    """Ray's workers block these signals; Slurm sends others to every process of a job before its time limit."""
    (job,), log = scripts(tmp_path, SAVES), tmp_path / "log"
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        process = start_process(job, tmp_path / "runs", log)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == previous | {signal.SIGINT, signal.SIGTERM}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    until = time.monotonic() + 60
    while not says(log, "ready")():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGUSR2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert log.read_text().split() == ["ready", "saved"]


def test_a_job_that_cannot_be_started_stops_the_others(tmp_path, monkeypatch):
    import enface_tools.sweep.local as module

    log = tmp_path / "logs" / "job0-0.log"

    def start_first(job, *arguments):
        if job.name == "job0":
            return start_process(job, *arguments)
        while not says(log, "ready")():
            time.sleep(0.05)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "start_process", start_first)
    local = LocalSession(2, tmp_path / "runs", tmp_path / "logs")
    with pytest.raises(OSError, match="No space"):
        run_all(local, scripts(tmp_path, SAVES, SAVES), tmp_path / "runs", lambda line: None)
    assert local._running[0].process.wait(60) == 130
    assert log.read_text().split() == ["ready", "saved"]


def test_a_second_interrupt_does_not_wait_for_a_launcher(tmp_path):
    class Hangs(LocalSession):
        def start(self, jobs):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            return pytest.fail("the sweep waited for the launcher")

    with pytest.raises(KeyboardInterrupt):
        run_all(Hangs(1, tmp_path, tmp_path), scripts(tmp_path, "print(1)"), tmp_path / "runs", lambda line: None)


def test_stopping_lets_running_jobs_save(tmp_path, once):
    log = tmp_path / "logs" / "job0-0.log"
    once(says(log, "ready"), lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    local = LocalSession(1, tmp_path / "runs", tmp_path / "logs")
    with pytest.raises(Stopped):
        run_all(local, scripts(tmp_path, SAVES, "print(1)"), tmp_path / "runs", lambda line: None)
    assert log.read_text().split() == ["ready", "saved"]
    assert not (tmp_path / "logs" / "job1-0.log").exists()
    assert signal.getsignal(signal.SIGTERM) is before


# ------------------------------------------------------------------ Slurm


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The parts of Slurm that submitit uses, on this machine."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    state, programs = tmp_path / "slurm", tmp_path / "programs"
    state.mkdir(), programs.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {SUPPORT / "fake_slurm.py"} {name} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}:{os.environ.get('PYTHONPATH', '')}")
    return state


def call(tmp_path, model, *lines, at_once=None, messages=None):
    jobs = scripts(tmp_path, *lines)
    with model.open(at_once, tmp_path / "runs", tmp_path / "logs") as session:
        taken = session.taken(jobs)
        pending = [job for job in jobs if job not in taken]
        failed = run_all(session, pending, tmp_path / "runs", (messages if messages is not None else []).append)
    return [job.name for job in taken], [job.name for job in failed]


def test_slurm_runs_jobs_as_one_array(slurm, tmp_path):
    messages = []
    model = Slurm(partition="long", hours=0.5, gpus=2, memory=8, parameters={"account": "faces"})
    lines = ["print('fine')", "raise SystemExit('out of luck')"]
    assert call(tmp_path, model, *lines, at_once=1, messages=messages) == ([], ["job1"])
    assert (tmp_path / "logs" / "job0-0.log").read_text() == "fine\n"
    assert any("out of luck" in line for line in messages)
    script = (slurm / "script").read_text()
    for option in ("array=0-1%1", "partition=long", "time=30", "gpus-per-node=2", "mem=8GB", "account=faces"):
        assert f"#SBATCH --{option}\n" in script


def test_a_job_saves_and_is_requeued_at_its_time_limit(slurm, tmp_path, once):
    log = tmp_path / "logs" / "job0-0.log"

    def nearly_over():
        os.kill(int(next(slurm.glob("*/pid")).read_text()), signal.SIGUSR2)

    once(says(log, "ready"), nearly_over)
    assert call(tmp_path, Slurm(), SAVES) == ([], [])
    assert log.read_text().splitlines() == ["ready", "saved", "goes on"]


def test_a_preempted_job_is_requeued_and_does_not_fail(slurm, tmp_path, once):
    # Slurm signals the training first, and then its parent process.
    line = SAVES.replace("130", "143").replace("'ready'", "'ready', os.getpid()")
    log = tmp_path / "logs" / "job0-0.log"
    once(says(log, "ready"), lambda: os.kill(int(log.read_text().split()[1]), signal.SIGTERM))
    once(says(log, "saved"), lambda: os.kill(int(next(slurm.glob("*/pid")).read_text()), signal.SIGUSR2))
    assert call(tmp_path, Slurm(), f"import os\n{line}") == ([], [])
    assert log.read_text().splitlines()[1:] == ["saved", "goes on"]


def test_a_second_request_does_not_interrupt_saving(tmp_path, once):
    # A run that receives SIGINT after another signal ends without saving.
    line = (
        "import signal, time\nasked = []\n"
        "signal.signal(signal.SIGINT, lambda *_: exit(1) if asked else asked.append(2))\n"
        "signal.signal(signal.SIGTERM, lambda *_: asked.append(15))\nprint('ready', flush=True)\n"
        "while not asked:\n    time.sleep(0.05)\nprint('saving', flush=True)\ntime.sleep(0.5)\nprint('saved')"
    )
    (job,) = scripts(tmp_path, line)
    work = RemoteJob(job, tmp_path / "runs", tmp_path / "log", tmp_path)

    def ask_twice():
        work._process.send_signal(signal.SIGTERM)
        while not says(work.log, "saving")():
            time.sleep(0.05)
        work.save()

    once(says(work.log, "ready"), ask_twice)
    assert work() == 0
    assert work.log.read_text().split() == ["ready", "saving", "saved"]


def test_stopping_cancels_slurm_jobs_after_they_saved(slurm, tmp_path, once):
    # Slurm signals every process of a job, including the training.
    line = SAVES.replace("'ready'", "'ready', os.getpid()")
    log = tmp_path / "logs" / "job0-0.log"

    def cancelled():
        return (next(slurm.glob("1*"), slurm) / "cancelled").exists()

    once(says(log, "ready"), lambda: os.kill(os.getpid(), signal.SIGINT))
    once(cancelled, lambda: os.kill(int(log.read_text().split()[1]), signal.SIGTERM))
    with pytest.raises(Stopped):
        call(tmp_path, Slurm(), f"import os\n{line}")
    assert log.read_text().split()[-1] == "saved"


def test_detached_jobs_are_not_submitted_twice(slurm, tmp_path):
    model, gate = Slurm(detach=True), tmp_path / "gate"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nprint('done')"
    messages = []
    assert call(tmp_path, model, waits, messages=messages) == ([], [])
    assert "is queued" in messages[0]
    assert json.loads((tmp_path / "logs" / "slurm.json").read_text()) == {"digest0": "100"}
    assert call(tmp_path, model, waits, "print('new')") == (["job0"], [])
    gate.touch()
    new, until = tmp_path / "logs" / "job1-0.log", time.monotonic() + 300
    while not says(new, "new")() or call(tmp_path, model, waits)[0]:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert new.read_text() == "new\n"
    assert (tmp_path / "logs" / "job0-0.log").read_text().split("\n")[0] == "done"


def test_submitits_local_executor_needs_no_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}:{os.environ.get('PYTHONPATH', '')}")
    model = Slurm(cluster="local")
    assert call(tmp_path, model, "print('fine')", "raise SystemExit(3)") == ([], ["job1"])
    log = tmp_path / "logs" / "job0-0.log"
    assert log.read_text() == "fine\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sbatch is not installed here"),
        ({"cluster": "local", "parameters": {"acount": 1}}, "launcher slurm: .*slurm_acount"),
    ],
)
def test_errors_of_slurm_are_reported(tmp_path, monkeypatch, options, message):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnfaceError, match=message):
        Slurm(**options).open(None, tmp_path, tmp_path / "logs")


# ------------------------------------------------------------------ Ray


@pytest.fixture
def ray_here(monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_ray_runs_jobs(ray_here, tmp_path):
    messages = []
    lines = ["print('fine')", "raise SystemExit('out of luck')"]
    assert call(tmp_path, Ray(), *lines, messages=messages) == ([], ["job1"])
    assert (tmp_path / "logs" / "job0-0.log").read_text() == "fine\n"
    assert any("out of luck" in line for line in messages)


def test_stopping_lets_rays_tasks_save(ray_here, tmp_path, once):
    log = tmp_path / "logs" / "job0-0.log"
    once(says(log, "ready"), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        call(tmp_path, Ray(), SAVES)
    assert log.read_text().split()[:2] == ["ready", "saved"]


def test_ray_gives_a_job_a_gpu_if_it_has_any(monkeypatch, tmp_path):
    requested, resources = [], {"CPU": 2.0, "GPU": 4.0}
    fake = types.SimpleNamespace(
        init=lambda **options: None,
        shutdown=lambda: None,
        cluster_resources=lambda: resources,
        remote=lambda **options: lambda function: requested.append(options["num_gpus"]),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    for given in (None, 0, 0.5):
        Ray(gpus=given).open(None, tmp_path, tmp_path / "logs").start([])
    del resources["GPU"]
    Ray().open(None, tmp_path, tmp_path / "logs").start([])
    assert requested == [1, 0, 0.5, 0]


def test_errors_of_ray_are_reported(ray_here, tmp_path, monkeypatch):
    with pytest.raises(EnfaceError, match=r"launcher ray: gpus: 64 for each run, but the cluster has"):
        Ray(gpus=64).open(None, tmp_path, tmp_path / "logs")

    def no_cluster(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    # Otherwise, Ray would use a cluster that runs on this machine.
    monkeypatch.setattr("ray.init", no_cluster)
    with pytest.raises(EnfaceError, match=r"launcher ray: no cluster at auto .*ray start --head"):
        Ray(address="auto").open(None, tmp_path, tmp_path / "logs")


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_missing_package_is_reported_with_its_remedy(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, {"ray": "ray", "slurm": "submitit"}[name], None)
    model = {"ray": Ray, "slurm": Slurm}[name]()
    with pytest.raises(EnfaceError, match=rf'pip install "enface\[{name}\]"'):
        model.open(None, tmp_path, tmp_path / "logs")
