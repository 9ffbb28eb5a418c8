"""enface: a loss laboratory for paired image translation.

Everything that plugins, notebooks and scripts need is exported here: the base classes of components, ``load_recipe``,
``train``, and the functions of installed tools (``evaluate``, ``compare``, ``apply``). Names load on first use, so that
``import enface``, and with it the help of the command line, does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "plugin.bases": "DataInfo Dataset Row Targets",
    "plugin.components": (
        "AdversarialLoss Augmentation Constant CriticLoss Discriminator Generator Loss Mask Optimizer Schedulable"
        " Schedule as_schedule"
    ),
    "errors": ("CheckpointError DataError EnfaceError NonFiniteLossError PluginError RecipeError WeightsError"),
    "plugin.hooks": "Run Validator hookimpl",
    "recipe.load": "LoadedRecipe load_recipe",
    "cli.options": "Terminal",
    "train.prepare": "train",
    "train.trainer": "Interrupted",
    "data.images": "IMAGE_EXTENSIONS files_fingerprint list_images read_image",
    "system.atomic": "atomic_write",
    "system.cache": "cache_folder",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from enface.cli.options import Terminal as Terminal
    from enface.data.images import IMAGE_EXTENSIONS as IMAGE_EXTENSIONS
    from enface.data.images import files_fingerprint as files_fingerprint
    from enface.data.images import list_images as list_images
    from enface.data.images import read_image as read_image
    from enface.errors import CheckpointError as CheckpointError
    from enface.errors import DataError as DataError
    from enface.errors import EnfaceError as EnfaceError
    from enface.errors import NonFiniteLossError as NonFiniteLossError
    from enface.errors import PluginError as PluginError
    from enface.errors import RecipeError as RecipeError
    from enface.errors import WeightsError as WeightsError
    from enface.plugin.bases import DataInfo as DataInfo
    from enface.plugin.bases import Dataset as Dataset
    from enface.plugin.bases import Row as Row
    from enface.plugin.bases import Targets as Targets
    from enface.plugin.components import AdversarialLoss as AdversarialLoss
    from enface.plugin.components import Augmentation as Augmentation
    from enface.plugin.components import Constant as Constant
    from enface.plugin.components import CriticLoss as CriticLoss
    from enface.plugin.components import Discriminator as Discriminator
    from enface.plugin.components import Generator as Generator
    from enface.plugin.components import Loss as Loss
    from enface.plugin.components import Mask as Mask
    from enface.plugin.components import Optimizer as Optimizer
    from enface.plugin.components import Schedulable as Schedulable
    from enface.plugin.components import Schedule as Schedule
    from enface.plugin.components import as_schedule as as_schedule
    from enface.plugin.hooks import Run as Run
    from enface.plugin.hooks import Validator as Validator
    from enface.plugin.hooks import hookimpl as hookimpl
    from enface.recipe.load import LoadedRecipe as LoadedRecipe
    from enface.recipe.load import load_recipe as load_recipe
    from enface.system.atomic import atomic_write as atomic_write
    from enface.system.cache import cache_folder as cache_folder
    from enface.train.prepare import train as train
    from enface.train.trainer import Interrupted as Interrupted


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"enface.{_HOME_OF[name]}"), name)
    else:
        functions = _functions()
        if name not in functions:
            raise AttributeError(f"module 'enface' has no attribute {name!r}")
        value = functions[name].load()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_functions()})


def _functions() -> dict[str, EntryPoint]:
    """Functions that installed tools add to the Python API, as ``enface.evaluate``."""
    from importlib.metadata import entry_points

    return {item.name: item for item in entry_points(group="enface.functions")}
