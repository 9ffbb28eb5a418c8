"""Discovery of plugins: installed ones by entry point (group ``enface``), others by a path in the recipe."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pluggy

from enface.errors import PluginError
from enface.plugin import hooks as hookspecs


def load_plugins(extra: Iterable[str] = ()) -> pluggy.PluginManager:
    """Return a plugin manager with every installed plugin and extra ones.

    Args:
        extra: Paths of Python files, or importable module names.

    Raises PluginError if a plugin cannot be imported, or implements a hook that does not exist.
    """
    manager = pluggy.PluginManager("enface")
    manager.add_hookspecs(hookspecs)
    try:
        manager.load_setuptools_entrypoints("enface")
    except Exception as error:
        raise PluginError(f"an installed plugin cannot be loaded: {type(error).__name__}: {error}") from error
    for name in extra:
        module = _import_file(Path(name)) if name.endswith(".py") else _import_module(name)
        if not manager.is_registered(module):
            _register(manager, module, name)
    _refuse_unknown_hooks(manager)
    for name in extra:
        _refuse_empty(manager, name)
    return manager


def origin(plugin: object) -> str:
    """Return the module and file of a plugin or class, for messages."""
    name = getattr(plugin, "__module__", None) or getattr(plugin, "__name__", repr(plugin))
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(str(name))
    file = getattr(module, "__file__", None)
    return f"{name} ({file})" if file else str(name)


def _register(manager: pluggy.PluginManager, module: ModuleType, name: str) -> None:
    try:
        manager.register(module, name=name)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {origin(module)}: {error}") from error


def _refuse_unknown_hooks(manager: pluggy.PluginManager) -> None:
    callers = {name: caller for name, caller in vars(manager.hook).items() if not name.startswith("_")}
    known = sorted(name for name, caller in callers.items() if caller.has_spec())
    for name, caller in callers.items():
        plugins = [] if name in known else [item.plugin for item in caller.get_hookimpls() if not item.optionalhook]
        if plugins:
            nearest = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
            raise PluginError(f"plugin {origin(plugins[0])}: there is no hook {name!r}; {advice}")


def _refuse_empty(manager: pluggy.PluginManager, name: str) -> None:
    plugin = manager.get_plugin(name)
    if plugin is not None and not manager.get_hookcallers(plugin):
        raise PluginError(f"plugin {name} implements no hook; add '@hookimpl def components(): return [YourClass]'")


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise PluginError(f"plugin module {name!r} cannot be imported: {error}") from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise PluginError(f"plugin file {path} does not exist")
    # The name contains a hash of the path, so that two files called losses.py do not shadow each other.
    name = f"enface_file_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        # The error may be in a file that this one imports.
        where = path if error.filename == str(path) else f"{path}: {error.filename}"
        raise PluginError(f"plugin file {where}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"plugin file {path}{_line_in(path, error)}: {type(error).__name__}: {error}") from error
    return module


def _line_in(path: Path, error: Exception) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
