"""The model card of a run: Markdown with the header that the Hugging Face hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from enface.data.images import px
from enface.errors import DataError, EnfaceError
from enface.recipe.load import load_recipe
from enface.recipe.models import Recipe, StageModel
from enface.system.atomic import atomic_write
from enface_tools.evaluate.checkpoints import find_checkpoints
from enface_tools.evaluate.models import MetricInfo, Summary
from enface_tools.evaluate.results import SUMMARY
from enface_tools.evaluate.run import require_run
from enface_tools.evaluate.splits import evaluation_folder
from enface_tools.report.files import FolderReader
from enface_tools.report.html import text_environment
from enface_tools.report.numbers import KeyNumber, key_numbers, number, shown
from enface_tools.report.provenance import Environment, Provenance

PICTURE = "samples.png"
"""File name of the picture beside the card."""


@dataclass(frozen=True)
class Evaluated:
    """A run with the evaluation that its card reports.

    Attributes:
        checkpoint: File of the evaluated weights.
        average: True if the running average of the weights was evaluated.
    """

    directory: Path
    recipe: Recipe
    summary: Summary
    provenance: Provenance
    checkpoint: Path

    @property
    def average(self) -> bool:
        """True if the running average of the weights was evaluated."""
        return self.summary.checkpoint is None or self.summary.checkpoint.weights == "average"

    @property
    def folder(self) -> Path:
        """Folder of the evaluation."""
        return evaluation_folder(self.directory, self.summary.split or "test")


def read_evaluated(directory: Path) -> Evaluated:
    """Read a run and its evaluation: that of test people, else that of validation people.

    Raises:
        EnfaceError: if the folder is not a run, it was not evaluated, or its evaluation is damaged.
        CheckpointError: if the evaluated checkpoint was deleted.
    """
    require_run(directory)
    reader = FolderReader(directory)
    names = (f"evaluation/{SUMMARY}", f"evaluation/val/{SUMMARY}")
    summary = next((item for item in (reader.model(name, Summary) for name in names) if item is not None), None)
    if summary is None:
        reason = reader.problems[0] if reader.problems else f"{directory} was not evaluated; run: enface evaluate"
        raise DataError(reason)
    recipe = load_recipe(directory).recipe
    return Evaluated(directory, recipe, summary, Provenance.read(reader), _checkpoint(directory, summary))


def _checkpoint(directory: Path, summary: Summary) -> Path:
    if summary.checkpoint is not None:
        path = directory / "checkpoints" / f"{summary.checkpoint.file}.safetensors"
        if path.is_file():
            return path
        raise EnfaceError(f"{path} was evaluated and does not exist any more; evaluate again: enface evaluate")
    (path,) = find_checkpoints(directory, "last").values()
    return path


def write_card(directory: Path, path: Path) -> Path:
    """Write the card of a run. Raises as :func:`read_evaluated` does, and EnfaceError if it cannot be written."""
    try:
        with atomic_write(path) as beside:
            beside.write_text(card_text(read_evaluated(directory)), encoding="utf-8")
    except OSError as error:
        raise EnfaceError(f"cannot write {path} ({error.strerror or error})") from error
    return path


def card_text(run: Evaluated, *, picture: bool = False, repo: str | None = None) -> str:
    """The card as Markdown.

    Args:
        picture: Show the picture of samples, which lies beside the card.
        repo: ``OWNER/NAME`` on the hub, for the commands that download it.
    """
    environment = text_environment("enface_tools.card")
    # The text is Markdown; the filter escapes what comes from files.
    environment.filters["text"] = escaped
    data = run.recipe.data
    return environment.get_template("card.md").render(
        header=_header(run),
        recipe=run.recipe,
        summary=run.summary,
        figures=[Figure.of(item) for item in key_numbers(run.summary.metrics)],
        sets=list(_sets(run.summary)),
        size=px(data.image_size),
        split=_plain(data.split.model_dump(exclude_defaults=True)),
        environment=run.provenance.environment or Environment(),
        lineage=run.provenance.lineage,
        stages=[_stage(name, stage) for name, stage in run.recipe.stages.items()],
        seen_people="test" if run.summary.split != "val" else "validation",
        plugins=[Path(name).name for name in run.recipe.plugins],
        average=run.average,
        picture=PICTURE if picture else None,
        repo=repo,
    )


@dataclass(frozen=True)
class Figure:
    """A row of the table of figures, as text."""

    name: str
    better: str
    output: str
    baselines: Mapping[str, str]
    verdict: str

    @classmethod
    def of(cls, item: KeyNumber) -> Figure:
        """The row of a metric over images."""
        interval = "" if item.low == item.high else f" [{item.low}, {item.high}]"
        baselines = {one.name: one.mean for one in item.comparisons}
        return cls(item.name, item.direction.words, f"{item.mean}{interval}", baselines, item.outcome)


def _sets(summary: Summary) -> Iterator[Figure]:
    for name, item in summary.sets.items():
        baselines = {key: shown(number(value), 2) for key, value in item.baselines.items()}
        yield Figure(name, item.direction.words, shown(number(item.value), 2), baselines, "no interval")


def _stage(name: str, stage: StageModel) -> dict[str, Any]:
    optimizer = stage.optimizer.model_dump(exclude_unset=True)
    terms = {stage.label(term): _plain(item.weight) for term, item in stage.terms.items()}
    average = "no" if stage.ema is None else f"decay {stage.ema.decay:g}"
    return {
        "name": name,
        "steps": stage.steps,
        "batch": stage.batch,
        "optimizer": f"{optimizer.pop('use', stage.optimizer.use)} {_plain(optimizer)}",
        "terms": ", ".join(f"{term} x {weight}" for term, weight in terms.items()),
        "average": average,
    }


def _plain(value: Any) -> str:
    """A value of a recipe as text."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def escaped(value: object) -> str:
    """Text from a file as Markdown that contains no markup and fits into a cell of a table."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", line)


def _header(run: Evaluated) -> str:
    """The header in YAML. It has no licence, which only the owner of weights and data can choose."""
    recipe, summary = run.recipe, run.summary
    metrics: Mapping[str, MetricInfo] = summary.all_metrics
    values = [
        {"type": name, "name": name, "value": round(value, 5), "verified": False}
        for name, value in summary.means.items()
        if name in metrics
    ]
    dataset = {"type": recipe.data.use, "name": recipe.data.use, "split": summary.split or "test"}
    result = {"task": {"type": "image-to-image"}, "dataset": dataset, "metrics": values}
    content = {
        "library_name": "enface",
        "pipeline_tag": "image-to-image",
        "tags": ["enface", "image-to-image", "paired-image-translation", recipe.generator.use],
        "metrics": list(summary.means),
        "model-index": [{"name": recipe.name, "results": [result]}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()
