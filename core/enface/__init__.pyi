"""Types of what ``enface`` exports; ``lazy_loader`` reads it, too, to find the modules."""

import typing

from .cli.options import Terminal as Terminal
from .data.images import natural_key as natural_key, planes_of as planes_of, px as px, to_depth as to_depth
from .errors import (
    CheckpointError as CheckpointError,
    DataError as DataError,
    EnfaceError as EnfaceError,
    NonFiniteLossError as NonFiniteLossError,
    PluginError as PluginError,
    RecipeError as RecipeError,
    WeightsError as WeightsError,
)
from .plugin.bases import DataInfo as DataInfo, Dataset as Dataset, Row as Row, Targets as Targets
from .plugin.components import (
    AdversarialLoss as AdversarialLoss,
    Augmentation as Augmentation,
    Constant as Constant,
    CriticLoss as CriticLoss,
    Discriminator as Discriminator,
    Generator as Generator,
    GeneratorBuilder as GeneratorBuilder,
    Loss as Loss,
    Mask as Mask,
    Optimizer as Optimizer,
    Schedulable as Schedulable,
    Schedule as Schedule,
    as_schedule as as_schedule,
)
from .plugin.hooks import Run as Run, Validator as Validator, hookimpl as hookimpl
from .recipe.load import LoadedRecipe as LoadedRecipe, load_recipe as load_recipe
from .system.atomic import atomic_write as atomic_write
from .system.cache import cache_folder as cache_folder, is_offline as is_offline
from .system.messages import duration as duration
from .training.prepare import train as train
from .training.trainer import Interrupted as Interrupted

__version__: str

# Functions and classes that installed tools add, such as evaluate and Metric.
def __getattr__(name: str) -> typing.Any: ...
