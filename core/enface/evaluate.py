"""Per-image metrics on people the network never saw, with intervals and two baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision.utils import save_image

from enface.build import build_generator, build_metrics, output_of
from enface.checkpoint import Checkpoint, load
from enface.columns import Columns
from enface.components import DataInfo, Generator, Metric
from enface.errors import CheckpointError
from enface.loading import Loaded
from enface.pack import centered
from enface.run import Run, latest_checkpoint
from enface.sampling import Indices, Pairs

BASELINES = ("source", "mean_target")
CONFIDENCE = 0.95
GRID = 12


@dataclass
class Evaluator:
    """Measures a network on one split of a run's data.

    Outputs and targets are compared in [0, 1] in float32, after outputs are clipped to that range.

    Args:
        split: ``test`` or ``val``.
    """

    run: Run
    split: str = "test"
    metrics: dict[str, Metric] = field(init=False)
    unavailable: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        run = self.run
        built, self.unavailable = build_metrics(run.loaded, run.info)
        self.metrics = {name: metric.to(run.engine.device) for name, metric in built.items()}
        pairs = run.pairs(self.split)
        sources = _spread(pairs.sources, run.recipe.evaluation.images)
        self.rows = pairs.draw(sources, np.random.default_rng([run.recipe.seed, 3]))
        self._columns = Columns(run.pack, pairs.roles, run.engine.device, run.info.size)

    def means(self, network: nn.Module) -> dict[str, float]:
        """Each metric's mean over the split."""
        frame = self.measure(lambda source: output_of(network, source))
        return {name: float(frame[name].mean()) for name in self.metrics}

    @torch.no_grad()
    def measure(
        self, make: Callable[[Tensor], Tensor], progress: Callable[[int, int], None] | None = None
    ) -> pd.DataFrame:
        """A row an image, a column a metric, for outputs that ``make`` gives for sources in [-1, 1]."""
        found: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self.metrics}
        done = 0
        for rows in self._batches():
            source, target = (self._columns.gather(name, rows) for name in ("source", "target"))
            output = make(source)
            for name, metric in self.metrics.items():
                found[name].append(metric(_unit(output), _unit(target)).float().cpu().numpy())
            done += len(source)
            if progress is not None:
                progress(done, len(self.rows["source"]))
        return pd.DataFrame({name: np.concatenate(values) for name, values in found.items()})

    def baselines(self) -> dict[str, pd.DataFrame]:
        """The same numbers for copying the source, and for the mean target of the training split."""
        mean = mean_target(self.run.pairs("train"), self.run).to(self.run.engine.device)
        return {
            "source": self.measure(lambda source: source),
            "mean_target": self.measure(lambda source: mean.expand_as(source)),
        }

    def about(self) -> pd.DataFrame:
        """What is known of each source image: key, identity, pose, light, ..., and its target's key."""
        table = self.run.pack.table
        about = table.iloc[self.rows["source"]].reset_index(drop=True)
        about.insert(1, "target_key", table["key"].to_numpy()[self.rows["target"]])
        return about

    def images(self, network: nn.Module, rows: Mapping[str, Indices]) -> dict[str, Tensor]:
        """``source``, ``output`` and ``target`` of some rows, in [0, 1] on the CPU."""
        found = {name: self._columns.gather(name, rows) for name in ("source", "target")}
        with torch.no_grad():
            found["output"] = output_of(network, found["source"])
        return {name: _unit(image).cpu() for name, image in found.items()}

    def _batches(self) -> Iterator[dict[str, Indices]]:
        size = self.run.recipe.evaluation.batch
        for start in range(0, len(self.rows["source"]), size):
            yield {role: rows[start : start + size] for role, rows in self.rows.items()}


def mean_target(pairs: Pairs, run: Run) -> Tensor:
    """The mean of the targets drawn for all training sources: float (3, H, W) in [-1, 1]."""
    rows = pairs.draw(pairs.sources, np.random.default_rng([run.recipe.seed, 4]))["target"]
    targets, counts = np.unique(rows, return_counts=True)
    size = run.info.size
    total = np.zeros((run.pack.images.shape[1], size, size), np.float64)
    for start in range(0, len(targets), 256):
        chunk = slice(start, start + 256)
        total += np.tensordot(counts[chunk].astype(np.float64), centered(run.pack.images[targets[chunk]], size), axes=1)
    return torch.from_numpy(total / counts.sum() / 127.5 - 1).float()


def evaluate(
    evaluator: Evaluator, network: nn.Module, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Evaluate a network and write the run's ``evaluation/``: ``images.csv``, ``summary.json``, ``grid.png``.

    Returns:
        What ``summary.json`` holds.
    """
    run = evaluator.run
    network.eval()
    frame = evaluator.measure(lambda source: output_of(network, source), progress)
    baselines = evaluator.baselines()
    about = evaluator.about()
    summary = summarise(frame, baselines, about, evaluator, run.recipe.seed)
    folder = run.directory / "evaluation"
    folder.mkdir(exist_ok=True)
    pd.concat([about, frame], axis=1).to_csv(folder / "images.csv", index=False)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    save_grid(evaluator, network, about, folder / "grid.png")
    means = {name: item["mean"] for name, item in summary["metrics"].items()}
    run.log("evaluated", values=means)
    run.notify("evaluated", step=run.step, summary=means)
    return summary


def save_grid(evaluator: Evaluator, network: nn.Module, about: pd.DataFrame, path: Path) -> None:
    """A picture of source, output and target, one above the other: a column a person, each seen differently."""
    chosen = []
    for number, (_, images) in enumerate(list(about.groupby("identity"))[:GRID]):
        # A stride coprime to most counts of poses and lights, so that neighbours do not show the same view.
        chosen.append(int(images.index[number * 7 % len(images)]))
    rows = {role: indices[chosen] for role, indices in evaluator.rows.items()}
    shown = evaluator.images(network, rows)
    tiles = torch.cat([shown[name] for name in ("source", "output", "target")])
    save_image(tiles, path, nrow=len(chosen), padding=2)


def summarise(
    frame: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    about: pd.DataFrame,
    evaluator: Evaluator,
    seed: int,
) -> dict[str, Any]:
    """Means with intervals, beside the baselines, over all images and by pose."""
    metrics: dict[str, Any] = {}
    for name, metric in evaluator.metrics.items():
        low, high = interval(
            frame[name].to_numpy(), about["identity"].to_numpy(), evaluator.run.recipe.evaluation.bootstrap, seed
        )
        metrics[name] = {
            "mean": float(frame[name].mean()),
            "low": low,
            "high": high,
            "baselines": {key: float(other[name].mean()) for key, other in baselines.items()},
            "higher_is_better": metric.higher_is_better,
            "ideal": metric.ideal,
            "card": metric.card,
        }
    return {
        "metrics": metrics,
        "unavailable": evaluator.unavailable,
        "by_pose": _by(frame, baselines, about, "pose"),
        "images": len(frame),
        "identities": int(about["identity"].nunique()),
        "interval": f"{CONFIDENCE:.0%} bootstrap over identities",
        "split": evaluator.split,
        "step": evaluator.run.step,
    }


def _by(frame: pd.DataFrame, baselines: Mapping[str, pd.DataFrame], about: pd.DataFrame, column: str) -> dict[str, Any]:
    if column not in about:
        return {}
    found: dict[str, Any] = {}
    for value in sorted(about[column].unique()):
        here = (about[column] == value).to_numpy()
        found[str(value)] = {
            "images": int(here.sum()),
            "metrics": {
                str(name): {
                    "mean": float(frame[name][here].mean()),
                    "baselines": {key: float(other[name][here].mean()) for key, other in baselines.items()},
                }
                for name in frame.columns
            },
        }
    return found


def interval(values: npt.NDArray[Any], identities: npt.NDArray[Any], resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean, resampling identities: images of one person are not independent.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, cluster resampling).
    """
    people, place = np.unique(identities.astype(str), return_inverse=True)
    sums = np.bincount(place, weights=values)
    sizes = np.bincount(place)
    rng = np.random.default_rng([seed, 5])
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=resamples)
    means = (draws @ sums) / (draws @ sizes)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def load_network(run: Run, path: Path | None = None) -> nn.Module:
    """A run's network as a checkpoint holds it, the running average where there is one.

    Args:
        path: The checkpoint; the latest unless given.

    Raises:
        CheckpointError: when there is none, or it does not fit the recipe.
    """
    saved = _saved(run.directory, path)
    run.step = int(saved.state["step"])
    return _network(run.loaded, run.info, saved, run.engine.device)


def open_network(
    loaded: Loaded, directory: Path, path: Path | None, device: torch.device, *, raw: bool = False
) -> tuple[nn.Module, Checkpoint]:
    """A run's network where its data is not at hand, in eval mode, and the checkpoint it was filled from.

    Args:
        path: The checkpoint; the latest unless given.
        raw: Take the plain weights even where there is a running average.

    Raises:
        CheckpointError: when there is none, or it does not fit the recipe.
    """
    saved = _saved(directory, path)
    data, size = saved.state["data"], loaded.recipe.data.size
    if data["size"] != size:
        raise CheckpointError(
            f"{saved.path} was trained at {data['size']} px, {directory}/recipe.yaml is for {size} px"
        )
    network = _network(loaded, DataInfo(size, data["classes"]), saved, device, raw=raw)
    return network.eval().requires_grad_(False), saved


def _saved(directory: Path, path: Path | None) -> Checkpoint:
    path = path or latest_checkpoint(directory)
    if path is None:
        raise CheckpointError(f"{directory} has no checkpoint yet; train it, or go on with --resume")
    return load(path)


def _network(
    loaded: Loaded, info: DataInfo, saved: Checkpoint, device: torch.device, *, raw: bool = False
) -> nn.Module:
    generator: Generator = build_generator(loaded, info)
    generator.to(device)
    if raw or not saved.part("ema"):
        saved.load("generator", generator)
        return generator
    average = AveragedModel(generator, use_buffers=True)
    saved.load("ema", average)
    return average.module


def _unit(image: Tensor) -> Tensor:
    return ((image.float() + 1) / 2).clamp(0, 1)


def _spread(sources: Indices, count: int | None) -> Indices:
    """At most ``count`` of the sources, evenly spread over the table."""
    if count is None or count >= len(sources):
        return sources
    return sources[np.linspace(0, len(sources) - 1, count).round().astype(np.int64)]
