"""Twenty lights, fixed to the room in which the person sits, as in Multi-PIE.

0 is the room alone; 1 to 13 are flashes in a row from the person's right (1) over the front (7) to the left (13),
15 degrees apart; 14 to 18 the same from higher up, 30 degrees apart; 19 comes from almost above.
"""

from __future__ import annotations

import numpy as np

from enface_plugins.datasets.heads.model import Floats

STANDARD = 7
COUNT = 20
# What becomes of a light when the picture is mirrored; the others stay.
MIRROR = {light: 14 - light for light in range(1, 14)} | {light: 32 - light for light in range(14, 19)}
# Taken in this order, any number of lights is spread out.
_ORDER = (7, 3, 11, 0, 16, 1, 13, 5, 9, 14, 18, 19, 2, 12, 4, 10, 15, 17, 6, 8)


def choose(count: int) -> tuple[int, ...]:
    """Numbers of ``count`` spread-out lights, in rising order; the frontal one, 7, is always among them."""
    return tuple(sorted(_ORDER[:count]))


def direction(light: int) -> Floats | None:
    """Unit vector (3,) from the head to a light; None for the room alone."""
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
