"""Masks: per-pixel weights."""

from __future__ import annotations

from enface_plugins.masks.boundary_from_landmarks import BoundaryFromLandmarks
from enface_plugins.masks.boundary_from_regions import BoundaryFromRegions
from enface_plugins.masks.ellipse import Ellipse
from enface_plugins.masks.face_part import FacePart
from enface_plugins.masks.points import Points
from enface_plugins.masks.regions import Regions

COMPONENTS = (BoundaryFromLandmarks, BoundaryFromRegions, Ellipse, FacePart, Points, Regions)
