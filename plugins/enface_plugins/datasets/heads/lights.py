"""Twenty lights at fixed places in the room, as in Multi-PIE.

0 is the room light alone. 1 to 13 are flashes 15 degrees apart, from the person's right (1) over the front (7) to the
left (13). 14 to 18 are flashes from higher up, 30 degrees apart. 19 is almost overhead.
"""

from __future__ import annotations

import numpy as np

from enface_plugins.datasets.heads.model import Floats

STANDARD = 7
COUNT = 20
# The light that each light becomes in a mirrored image; the others stay.
MIRROR = {light: 14 - light for light in range(1, 14)} | {light: 32 - light for light in range(14, 19)}
# Any number of lights taken in this order is spread evenly.
_ORDER = (7, 3, 11, 0, 16, 1, 13, 5, 9, 14, 18, 19, 2, 12, 4, 10, 15, 17, 6, 8)


def choose(count: int) -> tuple[int, ...]:
    """Choose ``count`` evenly spread lights, in ascending order and always with the frontal one, 7."""
    return tuple(sorted(_ORDER[:count]))


def direction(light: int) -> Floats | None:
    """Unit vector from the head to a light, (3,); None for the room light."""
    if light == 0:
        return None
    if light <= 13:
        azimuth, height = -90 + 15 * (light - 1), 12
    elif light <= 18:
        azimuth, height = -60 + 30 * (light - 14), 42
    else:
        azimuth, height = 0, 68
    turn, tilt = np.radians(azimuth), np.radians(height)
    return np.asarray([np.sin(turn) * np.cos(tilt), np.sin(tilt), np.cos(turn) * np.cos(tilt)], np.float32)
