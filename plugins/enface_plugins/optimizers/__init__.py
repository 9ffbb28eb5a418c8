"""Optimizers beyond those of torch.optim."""

from enface_plugins.optimizers.library import PytorchOptimizer
from enface_plugins.optimizers.muon import Muon
from enface_plugins.optimizers.prodigy import Prodigy
from enface_plugins.optimizers.schedule_free import ScheduleFreeAdamw, ScheduleFreeSGD

COMPONENTS = [Muon, Prodigy, PytorchOptimizer, ScheduleFreeAdamw, ScheduleFreeSGD]
