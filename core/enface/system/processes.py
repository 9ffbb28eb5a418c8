"""One command as several processes on this machine, by torch's elastic launcher; what they say when they end.

The launcher restarts nothing: a run goes on from its checkpoint when it is asked to.
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

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

WORDS = "ENFACE_LAST_WORDS"
"""Names the folder in which each process leaves what it has to say at its end, for the launcher to say it once."""
SECONDS_TO_SAVE = 60
"""How long processes have to save and end after a signal; ``TORCH_ELASTIC_SHUTDOWN_TIMEOUT`` overrides it."""
SECONDS_BEFORE_KILL = 20
MISTAKE = 2


class Stopped(Exception):
    """The processes were asked to stop by a signal.

    Attributes:
        number: The signal's.
    """

    def __init__(self, number: int, words: str) -> None:
        super().__init__(words or f"stopped by {signal.Signals(number).name} before there was anything to save")
        self.number = number


class ProcessDied(Exception):
    """A process was killed or failed, and the others were ended; the text says which, and how.

    Attributes:
        traceback: Its last words, if it had any.
    """

    def __init__(self, text: str, traceback: str = "") -> None:
        super().__init__(text)
        self.traceback = traceback


def launched() -> bool:
    """Whether this is one of the processes that :func:`launch` started."""
    return WORDS in os.environ


def leave_words(text: str) -> bool:
    """Have the launcher say something when this process has ended; False when there is no launcher."""
    folder = os.environ.get(WORDS)
    if folder is None:
        return False
    Path(folder, os.environ["RANK"]).write_text(text, encoding="utf-8")
    return True


def set_words(overrides: Sequence[str]) -> list[str]:
    """Overrides as words of a command line: ``--set KEY=VALUE`` for each."""
    return [word for override in overrides for word in ("--set", override)]


def check_processes(count: int, device: str) -> None:
    """Raises RecipeError when so many processes cannot run here.

    Args:
        device: The recipe's ``engine.device``.
    """
    import torch

    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        raise RecipeError("--processes starts processes by itself; leave it out under torchrun, accelerate or srun")
    devices = torch.cuda.device_count() if device != "cpu" else 0
    if devices and count > devices:
        raise RecipeError(
            f"--processes {count}: each needs a GPU of its own, and torch finds {devices} here; "
            f"ask for {devices} at most, or --set engine.device=cpu"
        )


def launch(count: int, words: Sequence[str]) -> None:
    """Run ``enface WORDS`` as so many processes, and wait for them.

    Raises:
        EnfaceError: with what a process said of a user's mistake.
        Stopped: when a signal came; the processes were sent it, too.
        ProcessDied: when one was killed or failed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from enface.data.packing import cores

    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.addHandler(logging.NullHandler())
    # It would tell in many lines what is told here in one.
    elastic.propagate = False
    with tempfile.TemporaryDirectory(prefix="enface-") as folder:
        os.environ[WORDS] = folder
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            # Any free port; by number, for not every machine can resolve its own name.
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            shutdown_timeout=int(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_SAVE)),
        )
        try:
            # -P: as for the installed command, the working directory is no place to import from.
            elastic_launch(config, sys.executable)("-P", "-m", "enface", *words)
        except SignalException as error:
            raise Stopped(int(error.sigval), _words(folder, range(count))) from None
        except ChildFailedError as error:
            raise _ended(error.failures, count, folder) from None
        finally:
            del os.environ[WORDS]


def _ended(failures: Mapping[int, ProcessFailure], count: int, folder: str) -> Exception:
    """What came of processes of which some failed; by their ranks, those that were ended for it among them."""
    first = min(failure.timestamp for failure in failures.values())
    killed = {rank: failure.exitcode for rank, failure in failures.items() if failure.exitcode < 0}
    codes = {rank: failure.exitcode for rank, failure in failures.items() if failure.exitcode > 0}
    for rank, code in sorted(codes.items()):
        if code == MISTAKE and (words := _words(folder, [rank])):
            return EnfaceError(words)
    # The launcher ends the others by SIGTERM, and those that do not end by SIGKILL half a minute later.
    before = [
        rank
        for rank, code in sorted(killed.items())
        if code != -signal.SIGTERM and failures[rank].timestamp < first + SECONDS_BEFORE_KILL
    ]
    # Those that the launcher ended may have saved themselves, and say so by these codes, too.
    failed = {rank: code for rank, code in codes.items() if code not in (128 + signal.SIGINT, 128 + signal.SIGTERM)}
    if codes and not before and not failed:
        return Stopped(min(codes.values()) - 128, _words(folder, range(count)))
    # Those that lost a killed process failed because of it.
    died = before or ([] if codes else sorted(killed))
    if died:
        return ProcessDied(f"process {died[0]} of {count} was killed by {signal.Signals(-killed[died[0]]).name}")
    rank = min(failed, key=lambda rank: _when(Path(folder, str(rank))))
    return ProcessDied(f"process {rank} of {count} failed with exit code {codes[rank]}", _words(folder, [rank]))


def _words(folder: str, ranks: Sequence[int]) -> str:
    """What the first of some processes that said anything said."""
    for rank in ranks:
        if (path := Path(folder, str(rank))).is_file():
            return path.read_text(encoding="utf-8")
    return ""


def _when(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else float("inf")
