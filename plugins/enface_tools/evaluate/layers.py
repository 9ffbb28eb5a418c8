"""The layers that a generator blends into its output: images that it samples along a flow, and a painted image.

A generator has layers if it provides ``masks``, (N, K + 1, H, W) with sum 1: the weights of K images and, last, of
``painted``. Its attribute ``images`` names the images; ``flow``, (N, K, 2, H, W) in pixels, right and down, leads from
each pixel to its place in each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.utils import flow_to_image

from enface.plugin.components import Generator
from enface.training.build import values_of
from enface_plugins.generators.sampling import sample
from enface_tools.evaluate.grid import grid, shown, to_pixels
from enface_tools.evaluate.measure import unit
from enface_tools.evaluate.models import LayerGroup, LayerShares, LayerSummary
from enface_tools.evaluate.results import label_columns
from enface_tools.evaluate.summary import estimate, within

if TYPE_CHECKING:
    import pandas as pd

LAYERS, PICTURE = "layers.json", "layers.png"
MASKS, PAINTED = "masks", "painted"
WHOLE = ""
"""Name of all pixels among the regions of an image."""
WORDS = {"source": "moved", "mirror": "mirrored", "partner": "from partner"}
"""Words for the pixels that come from an image."""
# Okabe and Ito, Color Universal Design, 2008: blue for pixels of the source, vermilion for those that are made up.
COLOURS = {"source": "#0072b2", "mirror": "#56b4e9", "partner": "#009e73", PAINTED: "#d55e00"}
OTHER_COLOURS = ("#cc79a7", "#f0e442", "#009e73", "#56b4e9", "#0072b2", "#e69f00")
STRONGEST = 0.99
"""Share of the flows that are shorter than the one with the strongest colour; a few long ones would fade the others."""

Shares = Mapping[str, npt.NDArray[np.float32]]
Column = Callable[[str], Tensor]
"""Returns a column of the batch by name; images in [-1, 1]."""


def has_layers(network: nn.Module) -> bool:
    """Return True if a generator provides ``masks``."""
    return isinstance(network, Generator) and MASKS in network.provides


def layer_names(network: nn.Module, count: int) -> tuple[str, ...]:
    """Return the names of ``count`` layers: those of ``network.images`` or else ``image 1`` and so on, and painted."""
    named: Any = getattr(network, "images", ())
    images = tuple(f"image {place + 1}" for place in range(count - 1))
    return (*(tuple(map(str, named)) if len(named) == len(images) else images), PAINTED)


def layer_word(name: str) -> str:
    """Return a word for the pixels of a layer, such as ``mirrored``."""
    return WORDS.get(name, name)


def layer_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each layer on the map of masks, ``#rrggbb``."""
    others = (OTHER_COLOURS[place % len(OTHER_COLOURS)] for place in range(len(names)))
    return {name: COLOURS.get(name) or next(others) for name in names}


def masks_map(masks: Tensor, names: Sequence[str]) -> Tensor:
    """Return the colours of the layers mixed by the masks (N, L, H, W), as (N, 3, H, W) in [0, 1]."""
    colours = [[*bytes.fromhex(colour[1:])] for colour in layer_colours(names).values()]
    return torch.einsum("nlhw,lc->nchw", masks, masks.new_tensor(colours) / 255).clamp(0, 1)


def flow_colours(flow: Tensor, longest: float) -> Tensor:
    """Return a flow (N, 2, H, W) in the colours of the Middlebury wheel, (N, 3, H, W) in [0, 1].

    The hue is the direction; no flow is white, and a length of ``longest`` and more has the full colour. Baker et al.,
    "A database and evaluation methodology for optical flow", IJCV 2011.
    """
    length = flow.norm(dim=1, keepdim=True)
    shortened = flow.float() / length.clamp(min=max(longest, 1e-6))
    # torchvision scales by the longest flow of its argument: a further column has one of length 1.
    scaled = pad(shortened, [0, 1])
    scaled[:, 0, :, -1] = 1
    colours: Tensor = flow_to_image(scaled)
    return colours[..., :-1].float() / 255


def longest_flow(flow: Tensor) -> float:
    """Return the length in pixels that has the full colour: the 99th percentile of a flow (N, 2, H, W)."""
    return float(np.quantile(flow.norm(dim=1).cpu().numpy(), STRONGEST))


def moved(image: Tensor, flow: Tensor) -> Tensor:
    """Return an image (N, C, H, W) sampled at each pixel plus its flow (N, 2, H, W) in pixels."""
    half = flow.new_tensor([flow.shape[-1] / 2, flow.shape[-2] / 2])
    return sample(image.to(flow), flow / half[:, None, None])


# ------------------------------------------------------------------ pictures


def layer_requests(network: Generator) -> list[str]:
    """Return the values of a generator that the pictures of the layers show."""
    return [name for name in ("output", MASKS, "flow", PAINTED) if name in network.provides]


def layer_values(network: nn.Module, column: Column, images: Sequence[str] = ("source",)) -> dict[str, Tensor]:
    """Compute what the pictures of the layers need.

    Args:
        network: A generator that provides ``masks``.
        column: Returns a column of the batch by name; images in [-1, 1].
        images: Columns that are added.

    Returns:
        ``output``, ``masks`` and, if provided, ``flow`` and ``painted``, and the columns; float32 on the CPU.
    """
    assert isinstance(network, Generator)
    with torch.no_grad():
        values = values_of(network, column, layer_requests(network))
    values |= {name: column(name) for name in images}
    return {name: value.float().cpu() for name, value in values.items()}


def layer_rows(
    values: Mapping[str, Tensor], names: Sequence[str], longest: float | None = None
) -> tuple[dict[str, Tensor], float | None]:
    """Return pictures of the layers, in order and by name, and the length of flow in pixels with the full colour.

    Args:
        values: Result of :func:`layer_values`.
        names: Result of :func:`layer_names`.
        longest: Length of flow with the full colour; default: that of :func:`longest_flow`.

    Returns:
        Pictures (N, 3, H, W) in [0, 1]; the length is None without a flow.
    """
    images = {name: values[name] for name in ("source", "partner") if name in values}
    rows = dict(images)
    sampled = images | ({"mirror": values["source"].flip(-1)} if "source" in values else {})
    flows = dict(zip(names, values["flow"].unbind(1), strict=False)) if "flow" in values else {}
    rows |= {layer_word(name): moved(sampled[name], flow) for name, flow in flows.items() if name in sampled}
    rows |= {name: values[name] for name in (PAINTED,) if name in values}
    pictures = {name: unit(shown(image)) for name, image in rows.items()}
    pictures[MASKS] = masks_map(values[MASKS], names)
    if flows:
        first = next(iter(flows.values()))
        longest = longest_flow(first) if longest is None else longest
        pictures["flow"] = flow_colours(first, longest)
    pictures |= {name: unit(shown(values[name])) for name in ("output", "target") if name in values}
    return pictures, longest if flows else None


def write_layers(folder: Path, network: nn.Module, column: Column, shares: Shares, about: pd.DataFrame) -> None:
    """Write ``layers.png``, a grid with a row for each picture of the layers, and ``layers.json``.

    Without layers, remove those of another generator.

    Args:
        column: Returns a column of the images of the grid by name.
        shares: Result of :func:`layer_shares` for every image; empty if the generator has no layers.
        about: A row for every image: identity and labels.
    """
    if not shares:
        for file in (LAYERS, PICTURE):
            (folder / file).unlink(missing_ok=True)
        return
    names = layer_names(network, shares[WHOLE].shape[1])
    partner = ["partner"] if "partner" in names else []
    pictures, longest = layer_rows(layer_values(network, column, ["source", *partner, "target"]), names)
    pixels = [to_pixels(picture) for picture in pictures.values()]
    Image.fromarray(grid(pixels, gap=2, border=2)).save(folder / PICTURE)
    summary = summarized(shares, names, about, rows=list(pictures), longest=longest)
    (folder / LAYERS).write_text(json.dumps(summary.dump(), indent=1, allow_nan=False), encoding="utf-8")


# ------------------------------------------------------------------ shares


def layer_shares(masks: Tensor, regions: Mapping[str, Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    """Return each layer's mean share of every image, (N, L), and of each region; NaN without the region.

    Args:
        masks: (N, L, H, W), with sum 1.
        regions: Weights (N or 1, 1, H, W) >= 0, by name.
    """
    masks = masks.float()
    shares = {WHOLE: masks.mean((2, 3))}
    for name, weights in regions.items():
        weights = weights.to(masks)
        total = weights.sum((1, 2, 3))[:, None]
        shares[name] = (masks * weights).sum((2, 3)) / torch.where(total > 0, total, torch.nan)
    return {name: share.cpu().numpy() for name, share in shares.items()}


def summarized(
    shares: Shares, names: Sequence[str], about: pd.DataFrame, *, rows: list[str], longest: float | None
) -> LayerSummary:
    """Mean shares of all images and by label, over all pixels and by region, with intervals over people."""
    groups = {region: _group(share, names, about) for region, share in shares.items()}
    return LayerSummary(layers=list(names), rows=rows, longest_flow=longest, pixels=groups.pop(WHOLE), regions=groups)


def _group(shares: npt.NDArray[np.float32], names: Sequence[str], about: pd.DataFrame) -> LayerGroup:
    people = about["identity"].to_numpy().astype(str)
    return LayerGroup(
        all=_means(shares, names, people, np.ones(len(people), bool)),
        by={
            label: {
                str(value): _means(shares, names, people, (about[label] == value).to_numpy())
                for value in about[label].dropna().unique()
            }
            for label in label_columns(about)
        },
    )


def _means(
    shares: npt.NDArray[np.float32], names: Sequence[str], people: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]
) -> LayerShares:
    known = chosen & ~np.isnan(shares[:, 0])
    values = np.where(known[:, None], shares, np.nan)
    return LayerShares(
        images=int(known.sum()),
        shares={name: within(estimate(values[:, place], people), (0, 1)) for place, name in enumerate(names)},
    )
