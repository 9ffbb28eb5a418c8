"""Networks, recipes, steps and folders of benchmarks/generators.py."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from enface.recipe.files import runs_in
from enface_tools.evaluate.splits import evaluation_folder

TEMPLATE = Path(__file__).with_name("generators.yaml")
STAGES = ("pixels", "adversarial")
SIZES = ("wall-clock", "parameters")
NETWORKS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # Sizes that one would use; all are trained for the same time.
    "wall-clock": {
        "siamese": {"use": "siamese", "width": 0.25},
        "unet": {"use": "unet", "width": 32},
        "unet-batch": {"use": "unet", "width": 32, "norm": "batch"},
        "resnet": {"use": "resnet", "width": 16},
        "nafnet": {
            "use": "nafnet",
            "width": 16,
            "encoder_blocks": [1, 1, 1, 1],
            "middle_blocks": 1,
            "decoder_blocks": [1, 1, 1, 1],
        },
        "warp": {"use": "warp", "trunk": {"use": "unet", "width": 32}},
    },
    # 0.44 to 0.49 million parameters; all are trained on the same number of images.
    "parameters": {
        "siamese": {"use": "siamese", "width": 0.27},
        "unet": {"use": "unet", "width": 8},
        "unet-batch": {"use": "unet", "width": 8, "norm": "batch"},
        "resnet": {"use": "resnet", "width": 16},
        "nafnet": {
            "use": "nafnet",
            "width": 10,
            "encoder_blocks": [1, 1, 1, 1],
            "middle_blocks": 1,
            "decoder_blocks": [1, 1, 1, 1],
        },
        "warp": {"use": "warp", "trunk": {"use": "unet", "width": 8}},
    },
}
NAMES = tuple(NETWORKS["wall-clock"])
REFERENCE = "wall-clock/warp"
"""The network whose number of images all networks of ``parameters`` are trained on."""
METRICS = ("ssim", "lpips", "sharpness")
RATES = (1e-3, 2e-3, 4e-3)
RATE_SIZE = "wall-clock"
"""The size at which a network's learning rate is chosen; it has the same at the other."""
RATE_SEED = 100
"""Seed of the runs that choose a learning rate; none of those that are reported."""
END, WARM_UP = 0.1, 40
"""Last learning rate of the first stage relative to its highest, and steps of its warm-up."""
ADVERSARIAL = (0.3, 0.025)
"""First and last learning rate of the second stage, relative to the highest of the first."""
QUICK_DATA = {"identities": 18, "lights": 1, "split": {"by": "identity", "train": 8, "val": 5, "test": 5}}


@dataclass(frozen=True)
class Setup:
    """A network at one of its sizes."""

    size: str
    name: str

    def __str__(self) -> str:
        return f"{self.size}/{self.name}"

    @property
    def generator(self) -> dict[str, Any]:
        """Its key ``generator`` in a recipe."""
        return copy.deepcopy(dict(NETWORKS[self.size][self.name]))


def setups(sizes: Sequence[str] = SIZES, names: Sequence[str] = NAMES) -> list[Setup]:
    """Return networks at sizes, one size after the other."""
    return [Setup(size, name) for size in sizes for name in NAMES if name in names]


def steps_in(seconds: float, images_per_second: float, batch: int) -> int:
    """Return the number of training steps in a time, rounded, at least 1."""
    return max(1, round(seconds * images_per_second / batch))


def stage_steps(speeds: Mapping[str, Any], setup: Setup, seconds: Mapping[str, float]) -> dict[str, int]:
    """Return the steps of each stage.

    A network of ``wall-clock`` is trained for ``seconds``, one of ``parameters`` as long as :data:`REFERENCE`.

    Args:
        speeds: ``networks`` of ``speed.json``.
        seconds: Of each stage.
    """
    measured = speeds[str(setup) if setup.size == "wall-clock" else REFERENCE]
    batches = {name: stage["batch"] for name, stage in template()["stages"].items()}
    return {name: steps_in(seconds[name], measured[name]["images_per_second"], batches[name]) for name in STAGES}


def template(quick: bool = False) -> dict[str, Any]:
    """Return the recipe without what differs between networks.

    Args:
        quick: Few people, to test that everything runs.
    """
    content: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    if quick:
        content["data"] |= QUICK_DATA
    return content


def recipe(
    setup: Setup, steps: Mapping[str, int], rate: float, seed: int, *, stages: Sequence[str] = STAGES, quick: bool
) -> dict[str, Any]:
    """Return the recipe of a run.

    Args:
        steps: Of each stage.
        rate: Highest learning rate of the first stage.
        stages: Names of the stages to train.
        quick: See :func:`template`.
    """
    content = template(quick) | {"name": setup.name, "generator": setup.generator, "seed": seed}
    content["stages"] = {name: content["stages"][name] | {"steps": steps[name]} for name in stages}
    ends = {"pixels": (rate, rate * END), "adversarial": tuple(rate * factor for factor in ADVERSARIAL)}
    for name, stage in content["stages"].items():
        start, end = (float(f"{value:.4g}") for value in ends[name])
        rates = {"use": "cosine", "start": start, "end": end, "over": steps[name]}
        if name == "pixels":
            rates["warmup"] = min(WARM_UP, steps[name] // 2)
        stage["optimizer"]["lr"] = rates
    return content


@dataclass(frozen=True)
class Job:
    """A run to train.

    Attributes:
        folder: Holds the recipe's file, the log of its commands, and its run.
    """

    setup: Setup
    folder: Path
    content: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """The recipe's file."""
        return self.folder / f"{self.setup.name}.yaml"

    @property
    def text(self) -> str:
        """Contents of the recipe's file."""
        return yaml.safe_dump(dict(self.content), sort_keys=False)

    @property
    def run(self) -> Path | None:
        """The run directory; None before training."""
        runs = runs_in(self.folder / self.setup.name)
        return runs[-1] if runs else None

    def is_measured(self, split: str) -> bool:
        """Return True if both stages were evaluated."""
        return self.run is not None and (evaluation_folder(self.run, split) / "checkpoints.json").is_file()

    def stage_folder(self, stage: str, split: str) -> Path:
        """Return the folder of a stage's evaluation.

        Raises:
            SystemExit: if the run has none, naming the subcommand that makes it.
        """
        run = self.run
        if run is None or not self.is_measured(split):
            command = "runs" if split == "val" else "test"
            raise SystemExit(
                f"{self.folder / self.setup.name} has no evaluation of {split} people; "
                f"run: python benchmarks/generators.py {command}"
            )
        names = list(self.content["stages"])
        steps = sum(self.content["stages"][name]["steps"] for name in names[: names.index(stage) + 1])
        return evaluation_folder(run, split) / "checkpoints" / f"step-{steps:08d}"

    def summary(self, stage: str, split: str) -> dict[str, Any]:
        """Return ``summary.json`` of a stage. Raises as :meth:`stage_folder` does."""
        return read_json(self.stage_folder(stage, split) / "summary.json")


def read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a file.

    Raises:
        SystemExit: if it does not exist, naming the subcommand that writes it.
    """
    if not path.is_file():
        raise SystemExit(f"{path} does not exist; run first: python benchmarks/generators.py {path.stem}")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, and its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
