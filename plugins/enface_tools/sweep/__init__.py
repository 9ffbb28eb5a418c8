"""Where a sweep's runs are run: on this machine, by Ray, or by Slurm."""

from __future__ import annotations

from pathlib import Path

from enface_tools.sweep.jobs import LauncherModel, RayModel, SlurmModel
from enface_tools.sweep.launcher import Launcher


def launcher_of(model: LauncherModel, at_once: int | None, runs: Path, logs: Path) -> Launcher:
    """The launcher that a sweep's file names.

    Args:
        at_once: Runs at a time; unless given, one for each CUDA device of this machine (one where there is none), and
            as many as a cluster has room for.

    Raises:
        EnfaceError: when its package or its cluster is not there.
    """
    if isinstance(model, RayModel):
        from enface_tools.sweep.ray import ByRay

        return ByRay(model, at_once, runs.resolve(), logs.resolve())
    if isinstance(model, SlurmModel):
        from enface_tools.sweep.slurm import BySlurm

        return BySlurm(model, at_once, runs.resolve(), logs.resolve())
    from enface_tools.sweep.local import Local, cuda_devices

    devices = cuda_devices()
    return Local(at_once or len(devices) or 1, runs, logs, devices)
