"""The hooks a plugin may implement, and the types they are called with. Observing hooks must not change the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import typer
    from torch import Tensor, nn

    from enface.plugin.bases import DataInfo
    from enface.system.messages import Reporter

hookspec = pluggy.HookspecMarker("enface")
hookimpl = pluggy.HookimplMarker("enface")


class Run(Protocol):
    """A recipe being executed, as hooks see it.

    Attributes:
        directory: ``runs/NAME/ID``.
        step: Training steps of all stages completed so far.
        reporter: Receives messages and progress for the user.
        recipe: The resolved recipe, a pydantic model with the keys of the recipe file.
        info: Image size, label classes and training targets.
        checkpoints: The folder of checkpoints.
    """

    directory: Path
    step: int
    reporter: Reporter
    recipe: Any
    info: DataInfo
    checkpoints: Path

    def log(self, event: str, **values: Any) -> None:
        """Append a line to ``log.jsonl``."""


class Validation(NamedTuple):
    """A metric over the validation split: its mean, and a number that is higher if the metric is better.

    The score is not a function of the mean if the metric has an ideal value: it follows the mean distance to it.
    """

    value: float
    score: float


class Validator(Protocol):
    """Measures a network on validation images during training.

    Attributes:
        measured: Names of the metrics that :meth:`validate` returns; empty without validation images.
        unavailable: Reasons why the other metrics of the recipe cannot be computed, by name.
    """

    measured: Sequence[str]
    unavailable: Mapping[str, str]

    def validate(self, network: nn.Module) -> Mapping[str, Validation]:
        """Measure a network on the validation split; return each metric by name."""


class BatchSource(Protocol):
    """Gathers the columns of a batch."""

    def batch(self, names: Sequence[str], rows: Mapping[str, Any], moves: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return columns by name. ``rows`` and ``moves``: rows of the pack and augmentations, by role."""


@hookspec
def components() -> Iterable[type]:  # type: ignore[empty-body]
    """Return the component classes of this plugin."""


@hookspec
def kinds() -> Mapping[str, type]:  # type: ignore[empty-body]
    """Return further kinds of components, by name: their base classes."""


@hookspec
def weights() -> Iterable[Any]:  # type: ignore[empty-body]
    """Return the pretrained weights that components may need, as ``enface_plugins.pretrained.Weights``."""


@hookspec
def commands(app: typer.Typer) -> None:
    """Register commands. Import torch and other slow packages inside the commands, so that help stays fast."""


@hookspec(firstresult=True)
def find_recipe(name: str) -> Path | None:
    """Return the file of a recipe by its name; None if the name is unknown."""


@hookspec
def fetch_requirements(loaded: Any, kinds: Collection[str] | None, reporter: Reporter) -> None:
    """Fetch files that a recipe's components of these kinds (None: all) need. Called once a machine, before packing."""


@hookspec
def complete_name(text: str, recipe: bool) -> Iterable[str]:  # type: ignore[empty-body]
    """Return names of runs, or with ``recipe`` also of recipes, that begin with a text, for the shell's completion."""


@hookspec(firstresult=True)
def find_run(path: Path, runs: Path, recipe: bool) -> Path | None:
    """Return the directory of a run by its name below ``runs``; None if ``recipe``, and the path may be one."""


@hookspec(firstresult=True)
def make_pack(loaded: Any, progress: Callable[[int, int], None] | None) -> Any:
    """Return the pack of a recipe's dataset; make it if it is not cached."""


@hookspec
def batch_columns(loaded: Any, pack: Any, roles: Sequence[str], reporter: Reporter) -> Any:
    """Return a map from names to ``enface.data.batches.BatchColumn``, for batches of pairs with these roles."""


@hookspec(firstresult=True)
def open_pack(
    address: str, progress: Callable[[int, int], None] | None, say: Callable[[str], None] | None
) -> Path | None:
    """Fetch a pack that is not a local folder and return its local folder; None if the address is not supported."""


@hookspec(firstresult=True)
def launch(processes: int, device: str, arguments: Sequence[str], remedy: Callable[[], str]) -> bool | None:
    """Run ``enface ARGUMENTS`` as several processes and return True; ``remedy`` returns advice if one died."""


@hookspec(firstresult=True)
def validator(run: Run) -> Validator | None:
    """Return the object that measures networks. Called before training, so that it refuses an unusable metric early."""


@hookspec(firstresult=True)
def synchronize_batchnorm(module: nn.Module, device: Any, twice: bool) -> nn.Module | None:
    """Return the module with every BatchNorm over the batches of all processes; ``twice``: twice differentiable."""


@hookspec(firstresult=True)
def cache_codes(
    run: Run, stage: str, columns: BatchSource, encoder: nn.Module, rows: Any, augment: Any
) -> BatchSource | None:
    """Return the batches of a stage with ``cache_codes``: ``columns``, and ``encoded_ROLE``, the codes of that image.

    ``rows`` are the rows of the pack that may be requested, ``augment`` is the augmentation of the images.
    """


@hookspec
def run_created(run: Run) -> None:
    """A run directory was created. Write files that describe the run. Called on the main process."""


@hookspec
def run_started(run: Run) -> None:
    """Training started, or resumed at ``run.step``; the run's directory exists."""


@hookspec
def stage_started(run: Run, stage: str, step: int) -> None:
    """A stage started, or resumed at ``step`` (completed steps of the stage)."""


@hookspec
def weights_loaded(
    run: Run, stage: str, path: Path, loaded: Sequence[str], kept: Sequence[str], unused: Sequence[str]
) -> None:
    """A stage starts from a checkpoint. ``kept`` names the generator's tensors that it lacks, ``unused`` its others."""


@hookspec
def step_ended(run: Run, stage: str, step: int, values: Mapping[str, float]) -> None:
    """An interval of ``log.every`` steps ended, or a stage; ``step`` is the number of completed steps of the stage.

    ``values`` holds means over the steps since the last call: ``term/NAME`` over those at which the term was active,
    and ``weighted/NAME``, times its weight (per update: a lazy term's larger weight is spread over the updates that it
    stands for). A term that was not active has no value. Beside them: ``lr/NAME`` of the last step and
    ``images_per_second``. Reading numbers back from a device at each step would slow it down.
    """


@hookspec
def samples_ready(run: Run, step: int, images: Mapping[str, Tensor]) -> None:
    """``source``, ``output`` and ``target`` of the fixed sample faces, float in [-1, 1] on the CPU."""


@hookspec
def checkpoint_saved(run: Run, step: int, path: Path) -> None:
    """A checkpoint was saved."""


@hookspec
def evaluated(run: Run, step: int, summary: Mapping[str, float], split: str) -> None:
    """Metric means over a split, ``val`` or ``test``, were computed during training or at its end."""


@hookspec
def trained(run: Run, network: nn.Module) -> None:
    """Training finished. Called on every process, because evaluation gathers results over ranks."""


@hookspec
def results_written(folder: Path, reporter: Reporter, run: Run | None) -> None:
    """An evaluation was written to a run directory, or to ``folder`` without a run. Called on the main process."""


@hookspec
def run_ended(run: Run, completed: bool) -> None:
    """A run ended: completed, or stopped by a signal or an error."""
