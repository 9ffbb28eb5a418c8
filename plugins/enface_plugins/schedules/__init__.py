"""Schedules: values that depend on the step or on validation results."""

from __future__ import annotations

from enface import Constant
from enface_plugins.schedules.cosine import Cosine
from enface_plugins.schedules.cyclic import Cyclic
from enface_plugins.schedules.exponential import Exponential
from enface_plugins.schedules.linear import Linear
from enface_plugins.schedules.multi_step import MultiStep
from enface_plugins.schedules.patience import Patience
from enface_plugins.schedules.piecewise import Piecewise
from enface_plugins.schedules.plateau import Plateau
from enface_plugins.schedules.polynomial import Polynomial
from enface_plugins.schedules.step_decay import StepDecay

COMPONENTS = (
    Constant,
    Cosine,
    Cyclic,
    Exponential,
    Linear,
    MultiStep,
    Patience,
    Piecewise,
    Plateau,
    Polynomial,
    StepDecay,
)
