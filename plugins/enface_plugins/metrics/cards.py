"""The card of metrics that enface computes from the pixels themselves."""

from __future__ import annotations

PIXELS = {
    "implementation": "enface",
    "data_range": "1",
    "colour": "RGB",
    "crop": "none",
    "resize": "none",
}
