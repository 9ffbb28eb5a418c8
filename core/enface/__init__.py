"""enface: a loss laboratory for paired image translation.

Everything that plugins, notebooks and scripts need is exported here and listed in ``__init__.pyi``: base classes of
components, ``load_recipe``, ``train``. Installed tools add more, such as ``evaluate``, ``compare`` and ``apply``. Names
load on first use, so that ``import enface``, and with it the help of the command line, does not wait for torch.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_own, _dir, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _own(name)
    functions = _functions()
    if name not in functions:
        raise AttributeError(f"module 'enface' has no attribute {name!r}")
    value = globals()[name] = functions[name].load()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_dir(), *_functions()})


def _functions() -> dict[str, Any]:
    """Return the entry points by which installed tools add to the Python API, as ``enface.evaluate``."""
    from importlib.metadata import entry_points

    return {item.name: item for item in entry_points(group="enface.functions")}
