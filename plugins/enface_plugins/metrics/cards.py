"""The card of metrics that are worked out here, from the pixels as they are."""

from __future__ import annotations

PIXELS = {
    "implementation": "enface",
    "data_range": "1",
    "colour": "RGB",
    "crop": "none",
    "resize": "none",
}
