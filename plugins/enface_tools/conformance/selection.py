"""Which components are meant: those of a plugin file or module, or installed ones by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from enface.errors import EnfaceError
from enface.plugin.catalog import Catalog, Entry
from enface.plugin.components import KINDS
from enface.plugin.manager import load_plugins
from enface.plugin.schema import closest, explain
from enface_tools.conformance.fixture import Subject


def find(target: str | None, kind: str | None = None) -> tuple[Catalog, list[Entry]]:
    """The catalog and, of it, what a target means, perhaps of one kind only.

    Args:
        target: ``FILE.py``, ``NAME``, ``KIND/NAME`` or an importable module; everything unless given.

    Raises:
        EnfaceError: when it means nothing, or nothing of that kind.
    """
    if kind is not None and kind not in KINDS:
        raise EnfaceError(f"no kind is called {kind!r}{closest(kind, KINDS)}")
    if target is None:
        catalog = Catalog(load_plugins())
        found = list(catalog)
    elif target.endswith(".py"):
        catalog, found = _of_plugin(target)
    else:
        catalog = Catalog(load_plugins())
        found = _of_name(catalog, target)
        if not found:
            if not _importable(target):
                raise EnfaceError(_unknown(catalog, target))
            catalog, found = _of_plugin(target)
    chosen = [entry for entry in found if kind in (None, entry.kind)]
    if not chosen:
        kinds = ", ".join(sorted({entry.kind for entry in found})) or "nothing"
        raise EnfaceError(f"{target or 'the catalog'} has no component of kind {kind!r}; it has {kinds}")
    return catalog, chosen


def _of_name(catalog: Catalog, target: str) -> list[Entry]:
    kind, _, name = target.rpartition("/")
    return [entry for entry in catalog if entry.name == name and kind in ("", entry.kind)]


def _of_plugin(target: str) -> tuple[Catalog, list[Entry]]:
    manager = load_plugins([target])
    catalog = Catalog(manager)
    # One that is installed was registered by its entry point, under another name.
    plugin = manager.get_plugin(target) or importlib.import_module(target)
    bring = getattr(plugin, "components", None)
    classes = list(bring()) if bring is not None else []
    if not classes:
        raise EnfaceError(f"{target} brings no components, only hooks that observe; there is nothing to test")
    return catalog, [entry for entry in catalog if entry.component in classes]


def _importable(target: str) -> bool:
    try:
        return importlib.util.find_spec(target) is not None
    except (ImportError, ValueError):
        return False


def _unknown(catalog: Catalog, target: str) -> str:
    if Path(target).is_dir():
        return f"{target} is a folder; give a file in it, or install it and give the module's name"
    kind, _, name = target.rpartition("/")
    if kind and kind not in KINDS:
        return f"no kind is called {kind!r}{closest(kind, KINDS)}"
    names = {entry.name for entry in catalog if kind in ("", entry.kind)}
    return f"no {kind or 'component or module'} is called {name!r}{closest(name, names)}"


def given_params(pairs: Sequence[str], entries: Iterable[Entry]) -> dict[str, Any]:
    """Parameters written as ``KEY=VALUE``, the values as in YAML.

    Raises:
        EnfaceError: when one cannot be read, or no component has such a parameter.
    """
    known = {name for entry in entries for name in entry.params.model_fields}
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise EnfaceError(f"--with {pair}: write KEY=VALUE")
        if key not in known:
            raise EnfaceError(f"--with {pair}: nothing that is tested has a parameter {key!r}{closest(key, known)}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise EnfaceError(f"--with {pair}: the value is not valid YAML") from error
    return found


def subject_of(entry: Entry, catalog: Catalog, given: Mapping[str, Any], backend: str) -> Subject:
    """The component under test, with those of the given parameters that it has."""
    mine = {name: value for name, value in given.items() if name in entry.params.model_fields}
    return Subject(entry, catalog, mine, backend)


def require_buildable(subject: Subject) -> None:
    """Raises EnfaceError when its parameters are not valid, saying how to give them."""
    entry = subject.entry
    try:
        entry.params.model_validate(subject.params)
    except ValidationError as error:
        path, problem = explain(error.errors()[0], entry.params.model_fields)
        name = ".".join(map(str, path))
        raise EnfaceError(
            f"{entry.kind} {entry.name}: {name} {problem}; give --with {name}=VALUE, or a classmethod 'example' with"
            " small parameters"
        ) from error


def require_backend(name: str) -> None:
    """Raises EnfaceError when torch.compile has no such backend."""
    import torch._dynamo

    known = torch._dynamo.list_backends(exclude_tags=())
    if name not in known:
        raise EnfaceError(f"--compile: torch has no backend {name!r}{closest(name, known)}")
