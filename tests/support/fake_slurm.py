"""As much of Slurm as submitit asks for, on this machine: sbatch, srun, sacct, scancel and scontrol by their names.

What each job is doing lies in the folder that FAKE_SLURM names, a folder a job.
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


def sbatch(*words: str) -> None:
    """Start each task of an array, and say the array's number."""
    script = Path(words[-1]).read_text()
    (STATE / "script").write_text(script)
    last = re.search(r"^#SBATCH --array=0-(\d+)", script, re.MULTILINE)
    number = f"{100 + len(list(STATE.glob('*_0')) + list(STATE.glob('1??')))}"
    for task in range(int(last[1]) + 1) if last else [None]:
        name = number if task is None else f"{number}_{task}"
        (STATE / name).mkdir()
        (STATE / name / "state").write_text("PENDING")
        subprocess.Popen(
            [sys.executable, __file__, "slurmd", name, words[-1]],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=(STATE / name / "words").open("w"),
            stderr=subprocess.STDOUT,
        )
    print(f"Submitted batch job {number}")


def slurmd(name: str, script: str) -> None:
    """Run a job, again where it was queued again."""
    mine, (number, _, task) = STATE / name, name.partition("_")
    environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": "here", "FAKE_NAME": name}
    if task:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    environment |= dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
    environment |= dict.fromkeys(("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"), "1")
    while True:
        (mine / "requeued").unlink(missing_ok=True)
        (mine / "state").write_text("RUNNING")
        code = subprocess.run(["bash", script], env=environment, check=False).returncode
        if not (mine / "requeued").exists():
            break
    cancelled = (mine / "cancelled").exists()
    (mine / "state").write_text("CANCELLED by 0" if cancelled else "COMPLETED" if code == 0 else "FAILED")


def srun(*words: str) -> None:
    """Become the task."""
    command = list(words)
    while command[0].startswith("-"):
        command = command[1 if "=" in command[0] or command[0] == "--unbuffered" else 2 :]
    (STATE / os.environ["FAKE_NAME"] / "pid").write_text(str(os.getpid()))
    os.execvp(command[0], command)


def sacct(*_: str) -> None:
    """Every job's state."""
    print("JobID|State|NodeList")
    for path in sorted(STATE.glob("*/state")):
        print(f"{path.parent.name}|{path.read_text()}|here")


def scancel(*words: str) -> None:
    """Ask jobs to end."""
    for mine in [path for word in words for path in STATE.glob(f"{word}*") if path.is_dir()]:
        (mine / "cancelled").touch()
        while not (mine / "pid").exists():
            time.sleep(0.05)
        os.kill(int((mine / "pid").read_text()), signal.SIGTERM)


def scontrol(*words: str) -> None:
    """Queue a job again when it has ended."""
    assert words[0] == "requeue"
    (STATE / words[1] / "requeued").touch()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
