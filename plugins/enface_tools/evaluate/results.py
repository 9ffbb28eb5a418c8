"""Files of an evaluation: writing the tables and the summary, and reading them back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.errors import DataError
from enface.recipe.files import is_run
from enface_tools.evaluate.models import Summary, parse
from enface_tools.evaluate.splits import evaluation_folder

SUMMARY, IMAGES, PICTURES = "summary.json", "images.csv", "pictures.json"
BASELINES = ("source", "mean_target")
AT = "@"
"""Separates metric and region in the name of a column."""
ID_COLUMNS = ("key", "target_key", "identity", "pair")
"""Columns that are read as text and never group images."""
MAX_LABEL_VALUES = 40
"""A column with more values does not group images."""
DUPLICATE = ".1"
"""Suffix of a metric's column if a label has the metric's name. pandas adds the same."""


@dataclass
class Scores:
    """Metrics of all images.

    Attributes:
        images: One row per image, one column per metric and per ``METRIC@REGION``.
        sets: The number of each set metric; NaN if there are too few images.
        caveats: Sentences to read before the numbers, such as those of too few images.
        fallbacks: For metrics with a fallback, True for each output and target that needed it, (N, 2).
        undetected: For regions that are searched for, True for each image in whose target nothing was found, (N,).
        shares: Each layer's share of every image, (N, L), and by name of each region, if the generator has layers.
    """

    images: pd.DataFrame
    sets: dict[str, float]
    caveats: list[str] = field(default_factory=list)
    fallbacks: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    undetected: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    shares: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def mean(self, column: str) -> float:
        """The mean over the images that have a number; NaN if none has."""
        return float(self.images[column].mean())


@dataclass(frozen=True)
class Results:
    """An evaluation, read from disk.

    A metric may share its name with a label, as ``identity`` does; ``numbers`` and ``about`` separate them.

    Attributes:
        images: One row per image: labels and numbers.
        baselines: The same rows for copying the source and for the mean target, if written.
    """

    folder: Path
    summary: Summary
    images: pd.DataFrame
    baselines: dict[str, pd.DataFrame]

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The numbers only: one column per metric and per ``METRIC@REGION``."""
        names = dict.fromkeys(str(name).removesuffix(DUPLICATE) for name in self.images.columns)
        measured = [name for name in names if name.partition(AT)[0] in self.summary.metrics]
        columns = {name: column_of(self.images, name) for name in measured}
        return pd.DataFrame({name: self.images[column] for name, column in columns.items() if column})

    @cached_property
    def about(self) -> pd.DataFrame:
        """The labels of each image, without the numbers."""
        taken = {column_of(self.images, name) for name in self.numbers.columns}
        return self.images[[name for name in self.images.columns if name not in taken]]

    def table(self) -> pd.DataFrame:
        """One row per metric: mean, ends of the 95 % interval, and the means of the baselines.

        A set metric has a mean without an interval.
        """
        rows = {
            name: {"mean": item.mean, "low": item.low, "high": item.high, **item.baselines}
            for name, item in self.summary.metrics.items()
        }
        rows |= {name: {"mean": item.value, **item.baselines} for name, item in self.summary.sets.items()}
        return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("metric")

    def _repr_html_(self) -> str:
        """Show the table and the caveats in a notebook."""
        caveats = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.summary.caveats)
        return str(self.table().to_html(float_format="{:.4f}".format, na_rep="")) + caveats

    @classmethod
    def read(cls, path: Path, split: str = "test") -> Results:
        """Read the evaluation of a run directory, or one in its own folder.

        Args:
            split: ``test`` or ``val``, of a run directory.

        Raises:
            DataError: if there is no evaluation, or a file cannot be read, naming it.
        """
        folder = evaluation_folder(path, split) if (path / "evaluation").is_dir() else path
        summary = folder / SUMMARY
        if not summary.is_file():
            command = f"enface evaluate {path} --split {split}" if is_run(path) else "enface evaluate"
            raise DataError(f"{folder} holds no evaluation (no {SUMMARY}); make one with: {command}")
        try:
            text = summary.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{summary} cannot be read ({error}); evaluate again") from error
        there = [name for name in BASELINES if (folder / f"{name}.csv").is_file()]
        baselines = {name: _read_table(folder / f"{name}.csv") for name in there}
        return cls(folder, parse(text, Summary, str(summary)), _read_table(folder / IMAGES), baselines)


def column_of(images: pd.DataFrame, metric: str) -> str:
    """The column of ``images.csv`` with a metric's numbers; empty without one."""
    duplicate = f"{metric}{DUPLICATE}"
    if duplicate in images:
        return duplicate
    return metric if metric in images and metric not in ID_COLUMNS else ""


def write_results(
    folder: Path, about: pd.DataFrame, scores: Scores, baselines: Mapping[str, Scores], summary: Summary
) -> None:
    """Write the tables and, last, the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMMARY).unlink(missing_ok=True)
    for name in BASELINES:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    for name, item in [("images", scores), *baselines.items()]:
        write_table(folder / f"{name}.csv", about, item.images)
    text = json.dumps(summary.dump(), indent=1, allow_nan=False)
    (folder / SUMMARY).write_text(text, encoding="utf-8")


def write_table(path: Path, about: pd.DataFrame, numbers: pd.DataFrame) -> None:
    """Write labels and numbers of images; :func:`column_of` gives the column of a metric."""
    renamed = {name: f"{name}{DUPLICATE}" for name in numbers.columns if name in about}
    pd.concat([about, numbers.rename(columns=renamed)], axis=1).to_csv(path, index=False)


def parse_table(source: Path | io.StringIO) -> pd.DataFrame:
    """A table of images; texts such as "NA" or "None" are names like any other.

    Raises:
        OSError, ValueError: if it cannot be read.
    """
    return pd.read_csv(source, dtype=dict.fromkeys(ID_COLUMNS, str), keep_default_na=False, na_values=[""])


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = parse_table(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); evaluate again") from error
    missing = [name for name in ("key", "identity") if name not in table]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; evaluate again")
    return table


def label_columns(about: pd.DataFrame) -> list[str]:
    """The columns that group images."""
    return [
        str(name) for name in about.columns if name not in ID_COLUMNS and 2 <= about[name].nunique() <= MAX_LABEL_VALUES
    ]
