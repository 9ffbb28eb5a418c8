"""A picture of six pairs of a recipe, labelled, as a training crops and resizes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from enface.data.images import center_crop, planes_of, to_depth
from enface.data.pairs import Pairs, split_rows
from enface.errors import DataError
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import DataModel
from enface_tools.packs.building import PackBuilder
from enface_tools.packs.image_format import ImageFormat

PAIRS, COLUMNS = 6, 2
TILE = 144
"""Least side of a shown image, in pixels; small images are enlarged by a whole number without smoothing."""
GAP, MARGIN, LINE = 6, 20, 17
PAPER, INK, FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)


@dataclass(frozen=True)
class Counts:
    """Pairs and people of each part of the split that a recipe resolves to."""

    pairs: dict[str, int]
    people: dict[str, int]


def draw_pairs(loaded: LoadedRecipe, table: pd.DataFrame, path: Path) -> Counts:
    """Draw pairs of the training split as its rules draw them, save them, and count the pairs of each part.

    Args:
        table: The rows of the recipe's dataset.
        path: The picture, a PNG file.

    Raises:
        DataError: if the split or the pairs cannot be made, an image cannot be read, or the picture not be written.
    """
    recipe = loaded.recipe
    parts = split_rows(table, recipe.data.split, recipe.seed)
    pairs = {name: Pairs(table, rows, recipe.pairs) for name, rows in parts.items() if len(rows)}
    sources = _spread(table, pairs["train"].sources)
    drawn = pairs["train"].draw(sources, np.random.default_rng(0))
    with warnings.catch_warnings():
        # The survey has caught what the dataset warns of.
        warnings.simplefilter("ignore")
        dataset = PackBuilder.of(recipe, loaded.catalog).dataset
    records = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    panels = []
    for source, target in zip(drawn["source"], drawn["target"], strict=True):
        rows = records[source], records[target]
        panels.append(_panel([_shown(dataset.image(row), recipe.data) for row in rows], rows))
    _save(_sheet(panels), path)
    return Counts(
        {name: len(part.sources) for name, part in pairs.items()},
        {name: int(table["identity"].iloc[part.rows].nunique()) for name, part in pairs.items()},
    )


def _spread(table: pd.DataFrame, sources: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Six sources, of different people if there are as many, at different places in their rows."""
    people = table["identity"].iloc[sources].to_numpy()
    names = pd.unique(people)
    chosen: list[int] = []
    for number in range(PAIRS):
        own = sources[people == names[number * len(names) // PAIRS]]
        turned = np.roll(own, -(number * len(own) // PAIRS))
        free = [row for row in (*turned.tolist(), *sources.tolist()) if row not in chosen]
        chosen += free[:1]
    return np.array(chosen, np.int64)


def _shown(image: npt.NDArray[Any], data: DataModel) -> Image.Image:
    """An image as a network sees it in evaluation, enlarged for the eye."""
    pixels = center_crop(ImageFormat.of(data).image(image).transpose(2, 0, 1), data.image_size)
    height, width = data.image_size
    small = Image.fromarray(to_depth(planes_of(pixels, 3), 8).transpose(1, 2, 0))
    scale = max(1, -(-TILE // min(data.image_size)))
    return small.resize((width * scale, height * scale), Image.Resampling.NEAREST)


def _panel(images: list[Image.Image], rows: tuple[dict[str, Any], dict[str, Any]]) -> Image.Image:
    width, height = images[0].size
    panel = Image.new("RGB", (2 * width + GAP, height + 3 * LINE), PAPER)
    draw = ImageDraw.Draw(panel)
    for column, (role, image, row) in enumerate(zip(("source", "target"), images, rows, strict=True)):
        left = column * (width + GAP)
        panel.paste(image, (left, LINE))
        draw.text((left, 0), role, INK, _font())
        draw.text((left, LINE + height + 1), _shortened(PurePosixPath(str(row["key"])).name, width), FAINT, _font())
    draw.text((0, 2 * LINE + height), _shortened(f"person {rows[0]['identity']}", 2 * width), INK, _font())
    return panel


def _sheet(panels: list[Image.Image]) -> Image.Image:
    width, height = panels[0].size
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    size = (columns * (width + MARGIN) + MARGIN, rows * (height + MARGIN) + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        sheet.paste(panel, (MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN)))
    return sheet


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)


def _shortened(text: str, width: int) -> str:
    """Leave out the middle of a text that is wider than ``width`` pixels."""
    while _font().getlength(text) > width and len(text) > 5:
        half = (len(text) - 2) // 2
        text = f"{text[:half]}…{text[-half:]}" if "…" not in text else f"{text[: half - 1]}…{text[-half + 1 :]}"
    return text


def _save(sheet: Image.Image, path: Path) -> None:
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot write {path}: {error}") from error
