"""The section on an output's layers: pictures of what was moved, mirrored and painted, and their shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from enface_tools.evaluate.grid import to_pixels
from enface_tools.evaluate.layers import LAYERS, PICTURE, flow_colours, layer_colours, layer_word
from enface_tools.evaluate.models import Estimate, LayerShares, LayerSummary
from enface_tools.evaluate.precision import places
from enface_tools.report.files import FolderReader, PageWriter, Picture
from enface_tools.report.numbers import NONE, count, label_key, number, shown
from enface_tools.report.rows import PictureRows, Size, grid_rows
from enface_tools.report.tables import POSE

WHEEL_STOPS = 25
"""Colours of the wheel of directions; a browser interpolates between them."""


@dataclass(frozen=True)
class Layer:
    """One layer: its name as a word, and its colour on the map of masks."""

    word: str
    colour: str


@dataclass(frozen=True)
class ShareRow:
    """Shares of one value of a label, or of one region.

    Attributes:
        cells: Mean and interval of each layer in percent, as text.
        widths: The means in percent; 0 for an undefined one.
    """

    value: str
    images: str
    cells: list[tuple[str, str]]
    widths: list[float]


@dataclass(frozen=True)
class ShareTable:
    """Shares by the values of a label, or by region."""

    label: str
    rows: list[ShareRow]


@dataclass(frozen=True)
class PaintedTable:
    """The painted share in each region, by pose: (pose, mean and interval of each region in percent)."""

    regions: list[str]
    rows: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class LayerSection:
    """Contents of the section.

    Attributes:
        sentence: The shares of all images in words.
        picture: The grid, if it is not one of rows.
        tables: Shares by pose come first.
        painted: The painted share by pose, and by name of each region: None without poses or regions.
        longest: Length of flow with the full colour, as text; empty without a flow.
        flows: The image that the flow leads to.
        wheel: CSS background of the wheel of directions.
    """

    layers: list[Layer]
    split: str
    images: str
    sentence: str
    rows: PictureRows | None
    picture: Picture | None
    tables: list[ShareTable]
    painted: PaintedTable | None
    longest: str
    flows: str
    wheel: str


def layer_section(
    reader: FolderReader, page: PageWriter, folder: str, split: str, size: Size | None
) -> LayerSection | None:
    """Read the layers of an evaluation; None if its generator has none.

    Args:
        folder: Of the evaluation, relative to the reader's, with a slash at its end.
        size: Of an image; None for square ones.
    """
    summary = reader.model(f"{folder}{LAYERS}", LayerSummary)
    if summary is None:
        return None
    alt = f"Layers of the outputs; rows: {', '.join(summary.rows)}."
    picture = page.picture(reader, reader.directory / folder / PICTURE, "layers", alt)
    rows = grid_rows(picture, summary.rows, size) if summary.rows else None
    longest = summary.longest_flow
    return LayerSection(
        layers=[Layer(layer_word(name), colour) for name, colour in layer_colours(summary.layers).items()],
        split=split,
        images=count(summary.pixels.all.images),
        sentence=in_words(summary.pixels.all),
        rows=rows,
        picture=picture,
        tables=_tables(summary),
        painted=_painted(summary),
        longest="" if longest is None else shown(longest, places(longest)),
        flows="the source" if summary.layers[0] == "source" else summary.layers[0],
        wheel=flow_wheel(),
    )


def in_words(item: LayerShares) -> str:
    """Shares as words, such as ``61 % moved, 24 % mirrored, 15 % painted``."""
    return ", ".join(
        f"{shown(100 * number(share.mean), 0)} % {layer_word(name)}" for name, share in item.shares.items()
    )


def flow_wheel() -> str:
    """CSS of the wheel of directions as :func:`enface_tools.evaluate.layers.flow_colours` gives them.

    A colour blends linearly into the white of no flow, which a second gradient does.
    """
    # CSS goes clockwise, as angles do if the second axis points down.
    angles = torch.linspace(0, 2 * math.pi, WHEEL_STOPS)
    flow = torch.stack([angles.cos(), angles.sin()])[None, :, None]
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in to_pixels(flow_colours(flow, 1.0))[0, 0])
    return f"radial-gradient(closest-side, #fff, transparent), conic-gradient(from 90deg, {stops})"


def _tables(summary: LayerSummary) -> list[ShareTable]:
    by = summary.pixels.by
    groups = {label: by[label] for label in sorted(by, key=lambda label: label != POSE)}
    regions = {name: group.all for name, group in summary.regions.items()}
    return [ShareTable(label, _rows(values)) for label, values in {**groups, "region": regions}.items() if values]


def _painted(summary: LayerSummary) -> PaintedTable | None:
    regions = {name: group.by.get(POSE, {}) for name, group in summary.regions.items()}
    poses = sorted({pose for by_pose in regions.values() for pose in by_pose}, key=label_key)
    if not poses:
        return None
    rows = [(pose, [_painted_cell(by_pose.get(pose)) for by_pose in regions.values()]) for pose in poses]
    return PaintedTable(list(regions), rows)


def _painted_cell(item: LayerShares | None) -> tuple[str, str]:
    return (NONE, "") if item is None else _cell(list(item.shares.values())[-1])


def _rows(groups: Mapping[str, LayerShares]) -> list[ShareRow]:
    return [
        ShareRow(
            value,
            count(item.images),
            [_cell(share) for share in item.shares.values()],
            [round(100 * (share.mean or 0), 2) for share in item.shares.values()],
        )
        for value, item in sorted(groups.items(), key=lambda group: label_key(group[0]))
    ]


def _cell(share: Estimate) -> tuple[str, str]:
    mean, low, high = (100 * number(value) for value in (share.mean, share.low, share.high))
    if math.isnan(mean):
        return NONE, ""
    return f"{shown(mean, 0)} %", "" if math.isnan(low) else f"[{shown(low, 0)}, {shown(high, 0)}]"
