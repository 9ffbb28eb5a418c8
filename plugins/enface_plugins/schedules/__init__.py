"""Schedules: numbers that depend on the step."""

from __future__ import annotations

from enface_plugins.schedules.constant import Constant
from enface_plugins.schedules.cosine import Cosine
from enface_plugins.schedules.linear import Linear
from enface_plugins.schedules.step_decay import StepDecay

COMPONENTS = (
    Constant,
    Cosine,
    Linear,
    StepDecay,
)
