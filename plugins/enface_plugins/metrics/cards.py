"""Entries of cards that depend on the data's planes."""

from __future__ import annotations

from enface import DataInfo


def pixel_card(data: DataInfo) -> dict[str, str]:
    """The card of metrics that enface computes from the pixels themselves."""
    return {
        "implementation": "enface",
        "data_range": "1",
        "colour": colour_text(data),
        "crop": "none",
        "resize": "none",
    }


def colour_text(data: DataInfo) -> str:
    """Colour of the compared images."""
    planes = data.channels["target"]
    return {1: "grey", 3: "RGB"}.get(planes, f"{planes} planes")


def mean_colour_text(data: DataInfo) -> str:
    """Colour of the compared images, for a metric of each plane."""
    mean = {1: "", 3: ", mean of channels"}.get(data.channels["target"], ", mean of planes")
    return colour_text(data) + mean


def rgb_text(data: DataInfo) -> str:
    """Colour of the compared images, for a metric of RGB images."""
    return "RGB" if data.channels["target"] == 3 else "grey, repeated as RGB"
