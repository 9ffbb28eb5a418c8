"""Select the components under test and build them."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
import yaml
from pydantic import ValidationError

from enface.errors import EnfaceError
from enface.plugin.catalog import Catalog, Entry
from enface.plugin.components import DataInfo, Targets
from enface.plugin.manager import load_plugins
from enface.plugin.schema import closest, explain

SIZE = 96
BATCH = 4
CLASSES: Mapping[str, int] = {"pose": 5, "light": 3, "identity": 4, "key": 60}
Size = int | tuple[int, int]
"""Side of square images, or height and width."""
T = TypeVar("T")


class Fixture:
    """Builds a component under test; a context manager, because the component's ``example`` may need files.

    Args:
        params: Parameters to build it with; they override those of its ``example``.
        backend: Backend for the rule on ``torch.compile``.
    """

    def __init__(
        self, entry: Entry, catalog: Catalog, params: Mapping[str, Any] | None = None, backend: str = "aot_eager"
    ) -> None:
        self.entry = entry
        self.backend = backend
        self.catalog = catalog
        self._given = params or {}
        self._stack = ExitStack()
        self._cache: dict[Any, Any] = {}

    def __enter__(self) -> Fixture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        """Temporary folder for files that the example needs."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    @cached_property
    def params(self) -> dict[str, Any]:
        """Parameters of the component: its example's, overridden by the given ones."""
        return {**self.entry.component.example(self.folder), **self._given}

    def cached(self, key: object, compute: Callable[[], T]) -> T:
        """Return ``compute()``, computed once per key, so that rules can share it."""
        if key not in self._cache:
            self._cache[key] = compute()
        value: T = self._cache[key]
        return value

    def build(
        self,
        size: Size = SIZE,
        targets: Callable[[int], Targets] | None = None,
        channels: Mapping[str, int] | None = None,
    ) -> Any:
        """Build a new component for images of ``size`` pixels, from the same seed at each call.

        Args:
            targets: Training targets for components that are built from them.
            channels: Planes of ``source`` and ``target`` (default: 3 each).
        """
        torch.manual_seed(0)
        data = DataInfo((size, size) if isinstance(size, int) else size, CLASSES)
        if targets is not None:
            data = replace(data, targets=targets)
        if channels is not None:
            data = replace(data, channels=channels)
        return self.catalog.build(self.entry.kind, self.entry.name, self.params, data)


def fixture_for(entry: Entry, catalog: Catalog, given: Mapping[str, Any], backend: str) -> Fixture:
    """Make the fixture of a component, with those of the given parameters that it has."""
    params = {name: value for name, value in given.items() if name in entry.params.model_fields}
    return Fixture(entry, catalog, params, backend)


def select_components(target: str | None, kind: str | None = None) -> tuple[Catalog, list[Entry]]:
    """Return the catalog and the components that a target names, optionally of one kind only.

    Args:
        target: ``FILE.py``, ``NAME``, ``KIND/NAME`` or an importable module (default: everything).

    Raises:
        EnfaceError: when it names no component, or none of that kind.
    """
    catalog = Catalog(load_plugins())
    if kind is not None and kind not in catalog.kinds:
        raise EnfaceError(f"no kind is called {kind!r}{closest(kind, catalog.kinds)}")
    if target is None:
        entries = list(catalog)
    elif target.endswith(".py"):
        catalog, entries = _of_plugin(target)
    else:
        entries = _of_name(catalog, target)
        if not entries:
            if not _importable(target):
                raise EnfaceError(_unknown(catalog, target))
            catalog, entries = _of_plugin(target)
    chosen = [entry for entry in entries if kind in (None, entry.kind)]
    if not chosen:
        kinds = ", ".join(sorted({entry.kind for entry in entries})) or "nothing"
        raise EnfaceError(f"{target or 'the catalog'} has no component of kind {kind!r}; it has {kinds}")
    return catalog, chosen


def _of_name(catalog: Catalog, target: str) -> list[Entry]:
    kind, _, name = target.rpartition("/")
    return [entry for entry in catalog if entry.name == name and kind in ("", entry.kind)]


def _of_plugin(target: str) -> tuple[Catalog, list[Entry]]:
    manager = load_plugins([target])
    catalog = Catalog(manager)
    # An installed plugin is registered by its entry point, under another name.
    plugin = manager.get_plugin(target) or importlib.import_module(target)
    components = getattr(plugin, "components", None)
    classes = list(components()) if components is not None else []
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
    if kind and kind not in catalog.kinds:
        return f"no kind is called {kind!r}{closest(kind, catalog.kinds)}"
    names = {entry.name for entry in catalog if kind in ("", entry.kind)}
    return f"no {kind or 'component or module'} is called {name!r}{closest(name, names)}"


def parse_params(pairs: Sequence[str], entries: Iterable[Entry]) -> dict[str, Any]:
    """Parse parameters written as ``KEY=VALUE``, the values as YAML.

    Raises:
        EnfaceError: when one cannot be parsed, or no component has such a parameter.
    """
    known = {name for entry in entries for name in entry.params.model_fields}
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise EnfaceError(f"--with {pair}: write KEY=VALUE")
        if key not in known:
            raise EnfaceError(f"--with {pair}: no tested component has a parameter {key!r}{closest(key, known)}")
        try:
            params[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise EnfaceError(f"--with {pair}: the value is not valid YAML") from error
    return params


def require_buildable(fixture: Fixture) -> None:
    """Raise EnfaceError if the parameters are not valid, with the option that gives them."""
    entry = fixture.entry
    try:
        entry.params.model_validate(fixture.params)
    except ValidationError as error:
        path, problem = explain(error.errors()[0], entry.params.model_fields)
        name = ".".join(map(str, path))
        raise EnfaceError(
            f"{entry.kind} {entry.name}: {name} {problem}; give --with {name}=VALUE, or a classmethod 'example' with"
            " small parameters"
        ) from error


def require_backend(name: str) -> None:
    """Raise EnfaceError if torch.compile has no such backend."""
    import torch._dynamo

    known = torch._dynamo.list_backends(exclude_tags=())
    if name not in known:
        raise EnfaceError(f"--compile: torch has no backend {name!r}{closest(name, known)}")
