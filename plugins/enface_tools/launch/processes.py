"""Run one command as several processes on this machine by torch's elastic launcher, and report how they ended.

The launcher restarts nothing; the user resumes a run from its checkpoint.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enface.errors import EnfaceError, RecipeError
from enface.system.processes import MESSAGES, cores

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

SECONDS_TO_SAVE = 60
"""Time for processes to save and end after a signal; ``TORCH_ELASTIC_SHUTDOWN_TIMEOUT`` overrides it."""
SECONDS_BEFORE_KILL = 20
MISTAKE = 2
"""Exit code of an :class:`EnfaceError`."""


class StoppedBySignal(Exception):
    """The processes were stopped by a signal.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message or f"stopped by {signal.Signals(number).name} while no training was in progress")
        self.number = number


class ProcessDied(Exception):
    """A process was killed or failed, and the others were ended; the text names it.

    Attributes:
        traceback: The message it left, if any.
    """

    def __init__(self, text: str, traceback: str = "") -> None:
        super().__init__(text)
        self.traceback = traceback


def check_processes(count: int, device: str) -> None:
    """Raise RecipeError if ``count`` processes cannot run here.

    Args:
        device: The recipe's ``engine.device``.
    """
    import torch

    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        raise RecipeError("--processes starts the processes itself; omit it under torchrun, accelerate or srun")
    devices = torch.cuda.device_count() if device != "cpu" else 0
    if devices and count > devices:
        raise RecipeError(
            f"--processes {count}: each process needs a GPU of its own, and torch finds {devices} here; "
            f"request at most {devices}, or --set engine.device=cpu"
        )


def run_processes(count: int, arguments: Sequence[str]) -> None:
    """Run ``enface ARGUMENTS`` as ``count`` processes and wait for them.

    Raises:
        EnfaceError: with the message of a process that refused a user's mistake.
        StoppedBySignal: after a signal, which the processes received, too.
        ProcessDied: if a process was killed or failed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.addHandler(logging.NullHandler())
    # Its many lines say what is reported here in one.
    elastic.propagate = False
    with tempfile.TemporaryDirectory(prefix="enface-") as folder:
        os.environ[MESSAGES] = folder
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            # Any free port; an address, because not every machine can resolve its own name.
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=int(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_SAVE)),
        )
        try:
            # -P: like the installed command, do not import from the working directory.
            elastic_launch(config, sys.executable)("-P", "-m", "enface", *arguments)
        except SignalException as error:
            raise StoppedBySignal(int(error.sigval), _message(folder, range(count))) from None
        except ChildFailedError as error:
            raise _failure(error.failures, count, folder) from None
        finally:
            del os.environ[MESSAGES]


def _failure(failures: Mapping[int, ProcessFailure], count: int, folder: str) -> Exception:
    """Return the exception for processes of which some failed.

    Args:
        failures: By rank; processes that the launcher ended because of another's failure are among them.
    """
    first = min(failure.timestamp for failure in failures.values())
    killed = {rank: failure.exitcode for rank, failure in failures.items() if failure.exitcode < 0}
    codes = {rank: failure.exitcode for rank, failure in failures.items() if failure.exitcode > 0}
    for rank, code in sorted(codes.items()):
        if code == MISTAKE and (message := _message(folder, [rank])):
            return EnfaceError(message)
    # The launcher ends the others by SIGTERM, and those that do not end by SIGKILL half a minute later.
    killed_first = [
        rank
        for rank, code in sorted(killed.items())
        if code != -signal.SIGTERM and failures[rank].timestamp < first + SECONDS_BEFORE_KILL
    ]
    # Processes that the launcher ended may have saved, and have these exit codes, too.
    failed = {rank: code for rank, code in codes.items() if code not in (128 + signal.SIGINT, 128 + signal.SIGTERM)}
    if codes and not killed_first and not failed:
        return StoppedBySignal(min(codes.values()) - 128, _message(folder, range(count)))
    # A process that lost its killed peer failed because of it, so the killed one is named.
    died = killed_first or ([] if codes else sorted(killed))
    if died:
        return ProcessDied(f"process {died[0]} of {count} was killed by {signal.Signals(-killed[died[0]]).name}")
    rank = min(failed, key=lambda rank: _time(Path(folder, str(rank))))
    return ProcessDied(f"process {rank} of {count} failed with exit code {codes[rank]}", _message(folder, [rank]))


def _message(folder: str, ranks: Sequence[int]) -> str:
    """Return the message of the first of these processes that left one."""
    for rank in ranks:
        if (path := Path(folder, str(rank))).is_file():
            return path.read_text(encoding="utf-8")
    return ""


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else float("inf")
