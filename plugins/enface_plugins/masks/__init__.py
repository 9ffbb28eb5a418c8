"""Masks: weights over the image."""

from __future__ import annotations

from enface_plugins.masks.ellipse import Ellipse
from enface_plugins.masks.points import Points

COMPONENTS = (Ellipse, Points)
