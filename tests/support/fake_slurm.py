"""The parts of Slurm that submitit uses, on this machine: sbatch, srun, sacct, scancel and scontrol.

The environment variable FAKE_SLURM names a folder with the state of the jobs, one folder per job.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])


def sbatch(*arguments: str) -> None:
    """Start each task of an array, and print the array's number."""
    script = Path(arguments[-1]).read_text()
    (STATE / "script").write_text(script)
    last = re.search(r"^#SBATCH --array=0-(\d+)", script, re.MULTILINE)
    number = f"{100 + len(list(STATE.glob('*_0')) + list(STATE.glob('1??')))}"
    for task in range(int(last[1]) + 1) if last else [None]:
        name = number if task is None else f"{number}_{task}"
        (STATE / name).mkdir()
        (STATE / name / "state").write_text("PENDING")
        subprocess.Popen(
            [sys.executable, __file__, "slurmd", name, arguments[-1]],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=(STATE / name / "output").open("w"),
            stderr=subprocess.STDOUT,
        )
    print(f"Submitted batch job {number}")


def slurmd(name: str, script: str) -> None:
    """Run a job, and run it again if it was requeued."""
    folder, (number, _, task) = STATE / name, name.partition("_")
    environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": "here", "FAKE_NAME": name}
    if task:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    environment |= dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
    environment |= dict.fromkeys(("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"), "1")
    while True:
        (folder / "requeued").unlink(missing_ok=True)
        (folder / "state").write_text("RUNNING")
        code = subprocess.run(["bash", script], env=environment, check=False).returncode
        if not (folder / "requeued").exists():
            break
    cancelled = (folder / "cancelled").exists()
    (folder / "state").write_text("CANCELLED by 0" if cancelled else "COMPLETED" if code == 0 else "FAILED")


def srun(*arguments: str) -> None:
    """Replace this process by the task."""
    command = list(arguments)
    while command[0].startswith("-"):
        command = command[1 if "=" in command[0] or command[0] == "--unbuffered" else 2 :]
    (STATE / os.environ["FAKE_NAME"] / "pid").write_text(str(os.getpid()))
    os.execvp(command[0], command)


def sacct(*_: str) -> None:
    """Print the state of every job."""
    print("JobID|State|NodeList")
    for path in sorted(STATE.glob("*/state")):
        print(f"{path.parent.name}|{path.read_text()}|here")


def scancel(*arguments: str) -> None:
    """Signal jobs to end."""
    for folder in [path for name in arguments for path in STATE.glob(f"{name}*") if path.is_dir()]:
        (folder / "cancelled").touch()
        while not (folder / "pid").exists():
            time.sleep(0.05)
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)


def scontrol(*arguments: str) -> None:
    """Requeue a job when it has ended."""
    assert arguments[0] == "requeue"
    (STATE / arguments[1] / "requeued").touch()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
