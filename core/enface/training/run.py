"""A run: one execution of a recipe, and its directory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from enface.data.batches import Batches
from enface.data.images import center_crop, planes_of
from enface.data.pack import Pack
from enface.data.pairs import Indices, Pairs
from enface.errors import CheckpointError, RecipeError
from enface.plugin.components import DataInfo, Targets
from enface.plugin.hooks import Validator
from enface.recipe.diff import differences
from enface.recipe.files import runs_in
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import NOT_TRAINING, Recipe, save_recipe
from enface.system.atomic import atomic_write
from enface.system.messages import Reporter, Silent
from enface.training import checkpoint
from enface.training.engine import Engine

FINAL_EVENTS = ("trained", "evaluated", "reported", "interrupted")
"""Events at the end of a run; a resumed run logs them again."""


@dataclass
class Run:
    """One recipe being executed.

    Attributes:
        directory: ``runs/NAME/ID``.
        rows: Rows of the pack's table in each split.
        reporter: Receives messages and progress.
        validator: Measures networks during training; None without a plugin that does.
        step: Training steps of all stages completed so far.
    """

    directory: Path
    loaded: LoadedRecipe
    engine: Engine
    pack: Pack
    rows: Mapping[str, Indices]
    reporter: Reporter = field(default_factory=Silent)
    validator: Validator | None = None
    step: int = 0

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.loaded.recipe

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.directory / "checkpoints"

    @cached_property
    def info(self) -> DataInfo:
        """Image size, label classes and training targets, for components."""
        return self.recipe.data.info(classes=self.pack.classes, targets=self._targets)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an observing hook of the plugins that ``log.observers`` selects, on the main process only."""
        if not self.engine.is_main:
            return
        manager, wanted = self.loaded.plugins, self.recipe.log.observers
        muted = [item for name, item in manager.list_name_plugin() if wanted is not None and name not in wanted]
        manager.subset_hook_caller(hook, muted)(run=self, **arguments)

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Notify observers, who hold open bars and files, if an exception ends the run."""
        try:
            yield
        except BaseException as error:
            try:
                self.notify("run_ended", completed=False)
            except Exception as other:
                # Report the first error; the observer's own is a note to it.
                error.add_note(f"an observer failed at the end, too: {other!r}")
            raise

    def log(self, event: str, **values: Any) -> None:
        """Append a line to ``log.jsonl``."""
        if self.engine.is_main:
            line = json.dumps({"event": event, "time": round(time.time(), 3), "step": self.step, **values})
            with (self.directory / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def pairs(self, split: str) -> Pairs:
        """Return the pairs of a split."""
        return Pairs(self.pack.table, self.rows[split], self.recipe.pairs)

    def batches(self, roles: tuple[str, ...], **options: Any) -> Batches:
        """Return the batches of pairs with these images; the options are those of :class:`Batches`."""
        hook, info = self.loaded.plugins.hook, self.info
        found = hook.batch_columns(loaded=self.loaded, pack=self.pack, roles=roles, reporter=self.reporter)
        options["further"] = {name: column for columns in found for name, column in columns.items()}
        return Batches(self.pack, roles, self.engine.device, info.size, channels=info.channels, **options)

    def _targets(self, count: int) -> Targets:
        pairs = self.pairs("train")
        sources = self.first_sources(pairs, count)
        return self.targets(pairs.draw(sources, np.random.default_rng([self.recipe.seed, 6]))["target"])

    def first_sources(self, pairs: Pairs, count: int) -> Indices:
        """Return the first source of each of up to ``count`` people, evenly spread over their names."""
        people = self.pack.table["identity"].to_numpy()[pairs.sources].astype(str)
        _, first = np.unique(people, return_index=True)
        return pairs.sources[first[np.unique(np.linspace(0, len(first) - 1, count).round().astype(np.int64))]]

    def targets(self, rows: Indices) -> Targets:
        """Return rows of the pack as targets, for components."""
        pack, size = self.pack, self.recipe.data.image_size
        return Targets(
            tuple(pack.table["key"].to_numpy()[rows]),
            planes_of(center_crop(pack.images[rows], size), self.recipe.data.channels.target),
            None if pack.regions is None else center_crop(pack.regions[rows], size),
            tuple(pack.info.region_names),
        )


def new_directory(root: Path, name: str) -> Path:
    """Create ``root/NAME/ID``; the ID is the local time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = root / name / (stamp if number == 0 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            continue
        return folder
    raise RecipeError(f"no free run directory under {root / name}")


def latest_directory(root: Path, recipe: Recipe) -> Path:
    """Return the latest run of a recipe. Raises CheckpointError if there is no run."""
    directories = runs_in(root / recipe.name)
    if not directories:
        raise CheckpointError(f"no run of {recipe.name!r} under {root}; start one without --resume")
    return directories[-1]


def start_directory(run: Run) -> None:
    """Write the recipe, create the folders of a run, and let plugins write files that describe it."""
    save_recipe(run.recipe, run.directory / "recipe.yaml")
    for name in ("samples", "checkpoints", "evaluation"):
        (run.directory / name).mkdir(exist_ok=True)
    run.loaded.plugins.hook.run_created(run=run)


def check_same_recipe(directory: Path, recipe: Recipe) -> bool:
    """Refuse to resume a run with a recipe that would train differently, except for more steps of the last stage.

    Returns True if it has more. Raises CheckpointError if the recipes differ otherwise; names the keys.
    """
    saved = yaml.safe_load((directory / "recipe.yaml").read_text(encoding="utf-8"))
    before = Recipe.model_validate(saved)
    more = recipe.total_steps - before.total_steps
    if more >= 0 and before.training_digest(length=False) == recipe.training_digest(length=False):
        return more > 0
    keys = [key for key, *_ in differences(saved, recipe.dump()) if key.partition(".")[0] not in NOT_TRAINING]
    raise CheckpointError(
        f"{directory} was made by another recipe; different: {', '.join(keys[:10])}; "
        "resume with the recipe of that run, in which only the number of steps of the last stage may grow, or start a "
        f"new run without --resume; --set 'stages.{next(iter(recipe.stages))}.start={{run: {directory}}}' continues "
        "its weights"
    )


def latest_checkpoint(directory: Path) -> Path | None:
    """Return the checkpoint with the most steps, or None."""
    paths = checkpoint.saved_steps(directory)
    return paths[-1] if paths else None


def rewind_log(directory: Path, step: int) -> None:
    """Drop log entries after a step, so that the log of a resumed run reads like that of one run."""
    path = directory / "log.jsonl"
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            # A resumed run repeats everything after training.
            if entry["step"] <= step and entry["event"] not in FINAL_EVENTS:
                kept.append(line)
        except (json.JSONDecodeError, KeyError):
            # The last line of an interrupted run may be incomplete.
            continue
    with atomic_write(path) as beside:
        beside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
