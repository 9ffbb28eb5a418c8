"""Loss terms: maps of errors that the core masks, averages and weights."""

from __future__ import annotations

from enface_plugins.losses.charbonnier import Charbonnier
from enface_plugins.losses.contrastive import Contrastive
from enface_plugins.losses.cross_entropy import CrossEntropy
from enface_plugins.losses.hinge import Hinge
from enface_plugins.losses.l1 import L1
from enface_plugins.losses.mse import MSE

COMPONENTS = (
    Charbonnier,
    Contrastive,
    CrossEntropy,
    Hinge,
    L1,
    MSE,
)
