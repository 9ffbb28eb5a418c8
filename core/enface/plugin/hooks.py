"""The hooks a plugin may implement. Hooks that observe never change anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from enface.plugin.weights import Weights
    from enface.train.run import Run

hookspec = pluggy.HookspecMarker("enface")
hookimpl = pluggy.HookimplMarker("enface")


@hookspec
def components() -> Iterable[type]:  # type: ignore[empty-body]
    """Return the component classes this plugin brings."""


@hookspec
def weights() -> Iterable[Weights]:  # type: ignore[empty-body]
    """Return the pretrained weights this plugin's components may need."""


@hookspec
def run_started(run: Run) -> None:
    """A run begins or goes on; its directory exists."""


@hookspec
def stage_started(run: Run, stage: str, step: int) -> None:
    """A stage begins, or goes on at ``step`` (steps of the stage already done)."""


@hookspec
def weights_loaded(
    run: Run, stage: str, path: Path, loaded: Sequence[str], kept: Sequence[str], unused: Sequence[str]
) -> None:
    """A stage starts from a checkpoint: names of the generator's tensors filled from it, of those left as they
    were, and of those in the checkpoint that were not loaded.
    """


@hookspec
def step_ended(run: Run, stage: str, step: int, values: Mapping[str, float]) -> None:
    """Values are ready: each term (``term/NAME`` raw, ``weighted/NAME``), ``lr/PLAYER``, ``images_per_second``.

    Called every ``log.every`` steps, for reading numbers back from a device at each step would slow it.
    """


@hookspec
def samples_ready(run: Run, step: int, images: Mapping[str, Tensor]) -> None:
    """``source``, ``output`` and ``target`` of the fixed test faces, float in [-1, 1] on the CPU."""


@hookspec
def checkpoint_saved(run: Run, step: int, path: Path) -> None:
    """A checkpoint lies on disk."""


@hookspec
def evaluated(run: Run, step: int, summary: Mapping[str, float]) -> None:
    """Metric means over the validation split (or the test split, at the end) are known."""


@hookspec
def run_ended(run: Run, completed: bool) -> None:
    """A run ends: completed, or cut off, by a signal or by an error."""
