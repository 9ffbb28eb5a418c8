"""Where a sweep's runs are run: on this machine, by Ray, or by Slurm."""

from __future__ import annotations

from pathlib import Path

from enface.launchers.running import Launcher
from enface.sweep import LauncherModel, RayModel, SlurmModel


def launcher_of(model: LauncherModel, at_once: int | None, runs: Path, logs: Path) -> Launcher:
    """The launcher that a sweep's file names.

    Args:
        at_once: Runs at a time; unless given, one for each CUDA device of this machine (one where there is none), and
            as many as a cluster has room for.

    Raises:
        EnfaceError: when its package or its cluster is not there.
    """
    if isinstance(model, RayModel):
        from enface.launchers.by_ray import ByRay

        return ByRay(model, at_once, runs.resolve(), logs.resolve())
    if isinstance(model, SlurmModel):
        from enface.launchers.by_slurm import BySlurm

        return BySlurm(model, at_once, runs.resolve(), logs.resolve())
    from enface.launchers.local import Local, cuda_devices

    devices = cuda_devices()
    return Local(at_once or len(devices) or 1, runs, logs, devices)
