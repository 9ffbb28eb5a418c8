"""Experiment trackers: the part that all of them share."""

from __future__ import annotations

import importlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enface import EnfaceError, PluginError, atomic_write, hookimpl
from enface_plugins.observers.background import BackgroundWriter
from enface_plugins.observers.labels import picture, tags

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, nn

    from enface import LoadedRecipe, Run

CHECKPOINTS = "ENFACE_TRACK_CHECKPOINTS"
"""Environment variable that makes trackers upload the last and the best checkpoint."""


class Tracker(ABC):
    """Logs a run to a tracker, and nothing unless ``log.observers`` names the tracker, because trackers may upload.

    A resumed run continues its tracker run, whose ID is in ``RUN/NAME.json``. Steps repeated since the last checkpoint
    are not logged again. An error of a tracker ends its logging, not the training.

    Attributes:
        name: Name in ``log.observers``; also of the package and of the extra that installs it.
    """

    name: str

    def __init__(self) -> None:
        self._background = BackgroundWriter(self.name)
        self._file: Path | None = None
        self._final = self._failed = False
        self._logged: dict[str, int] = {}

    # ------------------------------------------------------------------ what a tracker implements

    @abstractmethod
    def open(self, run: Run, identity: str | None) -> str:
        """Start a tracker run, or continue the one with this ID; return its ID."""

    @abstractmethod
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by tag."""

    @abstractmethod
    def images(self, pictures: Mapping[str, npt.NDArray[Any]], step: int) -> None:
        """Log pictures uint8 (H, W, 3) by name."""

    @abstractmethod
    def upload(self, run: Run, paths: Mapping[str, Path]) -> None:
        """Upload files and folders by name."""

    @abstractmethod
    def close(self, completed: bool) -> None:
        """End the tracker run."""

    # ------------------------------------------------------------------ hooks

    @hookimpl
    def fetch_requirements(self, loaded: LoadedRecipe, kinds: Collection[str] | None) -> None:
        """Refuse a recipe that names this tracker before its data is packed if the package is not installed."""
        if kinds is None and self.name in (loaded.recipe.log.observers or []):
            self.package()

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Start or continue the tracker run."""
        self._file, self._final, self._failed = None, False, False
        if self.name not in (run.recipe.log.observers or []):
            return
        self.package()
        file = run.directory / f"{self.name}.json"
        state = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        try:
            identity = self.open(run, state.get("id"))
        except Exception as error:
            raise EnfaceError(f"log.observers: {self.name} cannot start: {error}") from error
        self._file, self._logged = file, state.get("logged", {})
        self._write(identity)

    @hookimpl
    def step_ended(self, run: Run, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log every value."""
        number, named = run.step, tags(run, stage, values)
        self._log(run, "steps", number, lambda: self.scalars(named, number))

    @hookimpl
    def samples_ready(self, run: Run, step: int, images: Mapping[str, Tensor]) -> None:
        """Log a picture of each kind of image."""
        self._log(
            run, "images", step, lambda: self.images({name: _pixels(item) for name, item in images.items()}, step)
        )

    @hookimpl
    def checkpoint_saved(self, run: Run, step: int, path: Path) -> None:
        """Wait for the tracker, so that few pictures wait in memory."""
        self._background.wait()

    @hookimpl(tryfirst=True)
    def trained(self, run: Run, network: nn.Module) -> None:
        """Note that evaluations are final from here on."""
        self._final = True

    @hookimpl
    def evaluated(self, run: Run, step: int, summary: Mapping[str, float], split: str) -> None:
        """Log metric means: ``metric/NAME`` during training, ``final/SPLIT/NAME`` at its end."""
        place = f"final/{split}" if self._final else "metric"
        named = {f"{place}/{name}": value for name, value in summary.items()}
        self._log(run, place, step, lambda: self.scalars(named, step))

    @hookimpl
    def run_ended(self, run: Run, completed: bool) -> None:
        """Upload report, recipe and evaluation of a completed run, and end the tracker run."""
        if self._file is None:
            return
        if completed:
            self._call(run, lambda: self.upload(run, _files(run)))
        self._background.wait()
        # The tracker run is ended even if it failed, by the thread that started it.
        self._attempt(run, lambda: self.close(completed))
        self._file = None

    # ------------------------------------------------------------------ helpers

    def package(self) -> Any:
        """Import the tracker's package.

        Raises:
            PluginError: if it is not installed, with the command that installs it.
        """
        try:
            return importlib.import_module(self.name)
        except ImportError as error:
            raise PluginError(
                f'log.observers: {self.name} is not installed: pip install "enface[{self.name}]"'
            ) from error

    def _log(self, run: Run, kind: str, step: int, action: Callable[[], None]) -> None:
        """Queue an action unless it was done at this step before the run was resumed."""
        if self._file is None or step <= self._logged.get(kind, -1):
            return

        def log() -> None:
            action()
            self._logged[kind] = step
            self._write()

        self._call(run, log)

    def _call(self, run: Run, action: Callable[[], None]) -> None:
        self._background.call(lambda: None if self._failed else self._attempt(run, action))

    def _attempt(self, run: Run, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            if not self._failed:
                run.reporter.say(f"{self.name} failed, and logs no more of this run: {type(error).__name__}: {error}")
            self._failed = True

    def _write(self, identity: str | None = None) -> None:
        assert self._file is not None
        if identity is not None:
            self._identity = identity
        with atomic_write(self._file) as beside:
            beside.write_text(json.dumps({"id": self._identity, "logged": self._logged}) + "\n", encoding="utf-8")


class WandBApi(Tracker):
    """A tracker whose runs log through the API of wandb."""

    _run: Any

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers; ``final/...`` are also the run's summary, as every last value is."""
        self._run.log(dict(values), step=step)

    def images(self, pictures: Mapping[str, npt.NDArray[Any]], step: int) -> None:
        """Log pictures."""
        image = self.package().Image
        self._run.log({f"samples/{name}": image(pixels) for name, pixels in pictures.items()}, step=step)


def artifact_stem(run: Run) -> str:
    """Return the first part of the names of a run's artifacts."""
    return re.sub(r"[^\w.-]", "-", settings(run)["name"])


def settings(run: Run) -> dict[str, str]:
    """Return project, group and name under which trackers show a run."""
    recipe = run.recipe.name
    return {"project": "enface", "group": recipe, "name": f"{recipe}/{run.directory.name}"}


def _files(run: Run) -> dict[str, Path]:
    """Files and folders to upload, by name."""
    directory = run.directory
    paths = {"recipe": directory / "recipe.yaml", "report": directory / "report"}
    paths |= {f"evaluation-{split}": path for split, path in _summaries(directory).items()}
    if os.environ.get(CHECKPOINTS, "0") not in ("", "0"):
        saved = sorted(run.checkpoints.glob("step-*.safetensors"))
        paths |= {"checkpoint-last": saved[-1]} if saved else {}
        paths["checkpoint-best"] = run.checkpoints / "best.safetensors"
    return {name: path for name, path in paths.items() if path.exists()}


def _summaries(directory: Path) -> dict[str, Path]:
    evaluation = directory / "evaluation"
    return {"test": evaluation / "summary.json", "val": evaluation / "val" / "summary.json"}


def _pixels(images: Tensor) -> npt.NDArray[Any]:
    pixels: npt.NDArray[Any] = picture(images).mul(255).add(0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return pixels
