"""Optional packages of optimizers."""

from __future__ import annotations

import importlib
from typing import Any

from enface import PluginError


def require(package: str, optimizer: str) -> Any:
    """Import the package that an optimizer needs.

    Raises:
        PluginError: if it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise PluginError(f'optimizer {optimizer} needs {package}: pip install "enface[optimizers]"') from error
