"""What an evaluation leaves on disk: tables, the summary, pictures; and reading it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import resize

from enface.errors import DataError
from enface_tools.evaluate.measure import AT, Measured
from enface_tools.evaluate.result_columns import AGAIN, TEXT_COLUMNS, column_of
from enface_tools.evaluate.summary import FORMAT

SUMMARY, IMAGES, PICTURES = "summary.json", "images.csv", "pictures.json"
BASELINES = ("source", "mean_target")
TILE, ROWS, LARGE = 96, 64, 100
QUALITY = 82
MOST_ERROR = 0.5
"""The error that the error map's last colour stands for, in [0, 1]."""


@dataclass(frozen=True)
class Results:
    """An evaluation, read from disk.

    A metric may be called as a label is, as ``identity`` is; ``numbers`` and ``about`` tell them apart.

    Attributes:
        folder: Where it lies.
        summary: What ``summary.json`` holds.
        images: A row an image: what is known of it, and its numbers.
        baselines: The same rows for copying the source, and for the mean target; those there are.
    """

    folder: Path
    summary: dict[str, Any]
    images: pd.DataFrame
    baselines: dict[str, pd.DataFrame]

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The numbers alone: a column a metric, and ``METRIC@REGION``."""
        measured = self.summary.get("metrics") or {}
        names = dict.fromkeys(str(name).removesuffix(AGAIN) for name in self.images.columns)
        there = {name: column_of(self.images, name) for name in names if name.partition(AT)[0] in measured}
        return pd.DataFrame({name: self.images[column] for name, column in there.items() if column})

    @cached_property
    def about(self) -> pd.DataFrame:
        """What is known of each image, without the numbers."""
        taken = {column_of(self.images, name) for name in self.numbers.columns}
        return self.images[[name for name in self.images.columns if name not in taken]]

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read the evaluation of a run directory, or one in a folder of its own.

        Raises:
            DataError: when there is none, or a file of it cannot be read, naming it.
        """
        folder = path / "evaluation" if (path / "evaluation").is_dir() else path
        if not (folder / SUMMARY).is_file():
            what = f"enface evaluate {path}" if (path / "recipe.yaml").is_file() else "enface evaluate"
            raise DataError(f"{folder} holds no evaluation (no {SUMMARY}); make one with: {what}")
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / SUMMARY} is damaged ({error}); evaluate again") from error
        if not isinstance(summary, dict) or summary.get("format") != FORMAT:
            raise DataError(f"{folder / SUMMARY} was written by another version of enface; evaluate again")
        baselines = {name: _table(folder / f"{name}.csv") for name in BASELINES if (folder / f"{name}.csv").is_file()}
        return cls(folder, summary, _table(folder / IMAGES), baselines)


def write_results(
    folder: Path,
    about: pd.DataFrame,
    measured: Measured,
    baselines: Mapping[str, Measured],
    summary: Mapping[str, Any],
) -> None:
    """Write the tables and, last of all, the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMMARY).unlink(missing_ok=True)
    for name in BASELINES:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    for name, found in [("images", measured), *baselines.items()]:
        taken = {name: f"{name}{AGAIN}" for name in found.images.columns if name in about}
        pd.concat([about, found.images.rename(columns=taken)], axis=1).to_csv(folder / f"{name}.csv", index=False)
    text = json.dumps(summary, indent=1, allow_nan=False)
    (folder / SUMMARY).write_text(text, encoding="utf-8")


def _table(path: Path) -> pd.DataFrame:
    try:
        # A text of "NA" or "None" is a name like any other.
        found = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); evaluate again") from error
    missing = [name for name in ("key", "identity") if name not in found]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; evaluate again")
    return found


class PictureWriter:
    """Writes source, output, target and error map of every image, as it comes, into sprites.

    ``pictures/NNN.webp`` holds up to 64 rows of tiles; of images larger than a tile, some evenly spread ones are
    written at full size beside them. ``pictures.json`` says what there is.

    Args:
        total: How many images will come.
        sources: Whether there are sources.
    """

    def __init__(self, folder: Path, total: int, *, sources: bool = True) -> None:
        self._folder, self._places = folder, ("source",) * sources + ("output", "target", "error")
        self._large = set(np.linspace(0, max(total - 1, 0), min(total, LARGE)).round().astype(int).tolist())
        self._rows: list[npt.NDArray[np.uint8]] = []
        self._files: list[str] = []
        self._whole: dict[str, str] = {}
        self._tile = self._size = self._count = 0
        shutil.rmtree(folder / "pictures", ignore_errors=True)
        (folder / PICTURES).unlink(missing_ok=True)

    def add(self, images: Mapping[str, Tensor]) -> None:
        """Take a batch: ``output`` and ``target``, and ``source`` where there are any, (N, 3, H, W) in [0, 1]."""
        found = {name: image.detach().float().cpu() for name, image in images.items()}
        found["error"] = error_map(found["output"], found["target"])
        self._size = found["target"].shape[-1]
        self._tile = min(self._size, TILE)
        shown = [resize(found[name], [self._tile, self._tile], antialias=True) for name in self._places]
        whole = [found[name] for name in self._places]
        for row in range(len(found["output"])):
            self._rows.append(_beside(image[row] for image in shown))
            if self._tile < self._size and self._count in self._large:
                self._write(_beside(image[row] for image in whole), name := f"large-{self._count:05d}.webp")
                self._whole[str(self._count)] = name
            self._count += 1
            if len(self._rows) == ROWS:
                self._flush()

    def close(self) -> None:
        """Write what is left, and what there is."""
        if self._rows:
            self._flush()
        about = {"tile": self._tile, "rows": ROWS, "tiles": list(self._places), "files": self._files}
        large = {"size": self._size, "files": self._whole}
        (self._folder / PICTURES).write_text(json.dumps({**about, "images": self._count, "large": large}))

    def _flush(self) -> None:
        self._write(np.concatenate(self._rows), name := f"{len(self._files):03d}.webp")
        self._files.append(name)
        self._rows = []

    def _write(self, pixels: npt.NDArray[np.uint8], name: str) -> None:
        (self._folder / "pictures").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(self._folder / "pictures" / name, quality=QUALITY, method=4)


def error_map(output: Tensor, target: Tensor) -> Tensor:
    """The mean absolute error of each pixel in colours from black (none) to pale yellow (0.5 and more).

    Args:
        output: (N, 3, H, W) in [0, 1], as ``target`` and as what is returned.
    """
    error = ((output - target).abs().mean(1) / MOST_ERROR).clamp(0, 1)
    colours = torch.from_numpy(matplotlib.colormaps["inferno"](np.arange(256))[:, :3]).float()
    return colours[(error * 255).round().long()].permute(0, 3, 1, 2)


def _beside(images: Any) -> npt.NDArray[np.uint8]:
    whole = torch.cat(list(images), dim=-1)
    pixels: npt.NDArray[np.uint8] = (whole.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return pixels
