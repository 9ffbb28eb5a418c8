"""The runs of ``photos.py parts``: the whole recipe for photographs, and the recipe without one of its parts each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enface.recipe.files import runs_in
from enface_tools.evaluate.splits import is_evaluated

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
METRICS = ("ssim", "lpips", "sharpness")
LOG_LINES = 15
UNET = {"use": "unet", "width": 32}
SIAMESE = {"use": "siamese", "width": 0.25}
FEW_PEOPLE = {"data.split.train": ["0000-0095"]}
NO_FLOW = {"stages.pixels.terms.flow_epe": False}
# A network without a flow has no error of it.
OTHER_NETWORK = {**NO_FLOW, "metrics": list(METRICS)}
QUICK_PRETRAINING = {
    "data.identities": 8,
    "data.lights": 1,
    "data.split": {"by": "identity", "train": 4, "val": 2, "test": 2},
    "data.size": 32,
    "stages.pixels.batch": 2,
    "stages.pixels.optimizer.lr.warmup": 0,
}
QUICK = {
    "data.size": 32,
    "stages.photographs.batch": 2,
    "stages.photographs.terms.perceptual": False,
    "stages.photographs.optimizer.lr.warmup": 0,
}

Overrides = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Part:
    """The whole recipe, or one without a part.

    Attributes:
        name: Name of the run on photographs.
        what: Label in the tables.
        pretraining: Name of the run on synthetic people that it starts from; None for random weights.
        network: Overrides of both runs that choose another network.
        synthetic: Other overrides of the pretraining.
        aligned: Use the aligned photographs, not the crops as published.
        start: Further keys of ``start``.
    """

    name: str
    what: str
    pretraining: str | None = "photos-pretrain"
    network: Overrides = field(default_factory=dict)
    synthetic: Overrides = field(default_factory=dict)
    aligned: bool = True
    start: Overrides = field(default_factory=dict)


WHOLE = Part("whole", "all parts")
PARTS = (
    WHOLE,
    Part("crops", "without alignment", aligned=False),
    Part("people-96", "96 synthetic people instead of 400", "photos-pretrain-96", synthetic=FEW_PEOPLE),
    Part("scratch", "no synthetic people", None),
    Part("no-flow", "without supervision of the flow", "photos-pretrain-no-flow", synthetic=NO_FLOW),
    # Networks without a flow cannot be supervised by it: compare them with the row above.
    Part("unet", "unet, without a flow", "photos-pretrain-unet", {"generator": UNET}, OTHER_NETWORK),
    Part(
        "siamese",
        "siamese, without a flow",
        "photos-pretrain-siamese",
        {"generator": SIAMESE},
        # The learning rate of its own recipes.
        {**OTHER_NETWORK, "stages.pixels.optimizer.lr.start": 1e-3},
        # Photographs have other classes of pose and no light, so the heads do not fit.
        start={"parts": ["encoder", "decoder"]},
    ),
)
NAMES = tuple(part.name for part in PARTS)


@dataclass(frozen=True)
class Settings:
    """Settings of all runs.

    Attributes:
        out: Folder of runs.
        aligned: Folder of the aligned photographs.
        crops: Folder of the photographs as published.
        steps: Of a run on photographs.
        pretraining_steps: Of a run on synthetic people.
        seed: Of all random numbers.
        threads: Of each run; the last bits depend on them.
        quick: A few steps on a few people, to test that everything runs.
    """

    out: Path
    aligned: Path
    crops: Path
    steps: int
    pretraining_steps: int
    seed: int = 0
    threads: int = 2
    quick: bool = False


@dataclass(frozen=True)
class Job:
    """A run to train."""

    recipe: Path
    name: str
    folder: Path
    overrides: Overrides

    @property
    def run(self) -> Path | None:
        """The run directory; None before training."""
        runs = runs_in(self.folder / self.name)
        return runs[-1] if runs else None

    def arguments(self) -> list[str]:
        """Return the arguments of ``enface``. An interrupted run is resumed."""
        values = {"name": self.name, **self.overrides}
        settings = [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        resume = ["--resume"] if self.run is not None else []
        return ["run", str(self.recipe), "--runs", str(self.folder), *settings, *resume]


def jobs(settings: Settings, names: Sequence[str] = NAMES) -> Iterator[Job]:
    """Return the runs of some parts: each pretraining once, before the first run that starts from it."""
    seen: set[str] = set()
    for part in PARTS:
        if part.name not in names:
            continue
        if part.pretraining is not None and part.pretraining not in seen:
            seen.add(part.pretraining)
            yield pretraining_job(part, settings)
        yield photographs_job(part, settings)


def pretraining_job(part: Part, settings: Settings) -> Job:
    """Return the run on synthetic people that a part starts from."""
    assert part.pretraining is not None, "the part starts from random weights"
    steps = settings.pretraining_steps
    overrides = {
        "seed": settings.seed,
        "stages.pixels.steps": steps,
        "stages.pixels.optimizer.lr.over": steps,
        **part.network,
        **part.synthetic,
        **(QUICK_PRETRAINING if settings.quick else {}),
    }
    return Job(RECIPES / "photos" / "pretrain.yaml", part.pretraining, settings.out, overrides)


def photographs_job(part: Part, settings: Settings) -> Job:
    """Return a part's run on photographs, which is measured on validation people only."""
    runs = (settings.out / part.pretraining).resolve() if part.pretraining else None
    overrides = {
        "data.root": str((settings.aligned if part.aligned else settings.crops).resolve()),
        "seed": settings.seed,
        "stages.photographs.steps": settings.steps,
        "stages.photographs.optimizer.lr.over": settings.steps,
        "stages.photographs.start": {"run": str(runs), **part.start} if runs else "scratch",
        "evaluation.split": "val",
        "metrics": list(METRICS),
        **part.network,
        **(QUICK if settings.quick else {}),
    }
    return Job(RECIPES / "frmdb.yaml", part.name, settings.out, overrides)


def train(job: Job, threads: int) -> bool:
    """Train and evaluate a run that is not finished; its output goes to a file.

    Returns:
        False if the run was finished already.

    Raises:
        SystemExit: if it fails, with the end of its output.
    """
    if job.run is not None and is_evaluated(job.run):
        return False
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / f"{job.name}.log"
    with log.open("a", encoding="utf-8") as file:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "enface", *job.arguments()]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
    if code:
        last = log.read_text(encoding="utf-8").splitlines()[-LOG_LINES:]
        raise SystemExit("\n".join([f"{job.name} failed ({log}):", *last]))
    return True
