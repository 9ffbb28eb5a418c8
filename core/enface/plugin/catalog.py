"""The catalog of components: kind and name -> class, parameters and origin."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pluggy
from pydantic import BaseModel

from enface.errors import EnfaceError, PluginError, RecipeError
from enface.plugin.components import KINDS, Component, DataInfo, as_schedule
from enface.plugin.manager import origin
from enface.plugin.schema import GeneratorSpec, ScheduleSpec, closest, params_model, plain, wants_data_info


def snake_case(name: str) -> str:
    """Return the recipe name of a class, as ``patch_gan`` for ``PatchGAN``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Entry:
    """A component of the catalog."""

    kind: str
    name: str
    component: type[Component]
    origin: str

    @property
    def params(self) -> type[BaseModel]:
        """The pydantic model of its parameters."""
        component: type = self.component
        return params_model(component)


class Catalog:
    """All components of the loaded plugins; ``kinds`` holds the base class of each kind."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.kinds: dict[str, type] = dict(KINDS)
        for more in manager.hook.kinds():
            if repeated := self.kinds.keys() & more:
                raise PluginError(f"two plugins bring the kind {min(repeated)!r} of components; uninstall one of them")
            self.kinds |= more
        self._entries: dict[tuple[str, str], Entry] = {}
        for classes in _brought(manager):
            for component in classes:
                self._add(component)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return sorted(name for of_kind, name in self._entries if of_kind == kind)

    def get(self, kind: str, name: str) -> Entry:
        """Return the entry of a name. Raises RecipeError if there is none; suggests the nearest name."""
        try:
            return self._entries[kind, name]
        except KeyError:
            raise RecipeError(f"no {kind} is called {name!r}{self._suggestion(kind, name)}") from None

    def build(self, kind: str, name: str, params: Mapping[str, Any], data: DataInfo | None = None) -> Any:
        """Build a component from checked parameters, and the schedules among them.

        Args:
            data: Passed to components that request it; required for these.
        """
        return self.get(kind, name).component(**self.arguments(kind, name, params, data))

    def arguments(
        self, kind: str, name: str, params: Mapping[str, Any], data: DataInfo | None = None
    ) -> dict[str, Any]:
        """Return the arguments with which :meth:`build` calls a component's class."""
        entry = self.get(kind, name)
        checked = entry.params.model_validate(dict(params))
        arguments = {key: self._value(getattr(checked, key)) for key in checked.model_fields_set}
        wanted = wants_data_info(entry.component)
        if wanted is not None:
            assert data is not None, f"{name} needs to know the data"
            arguments[wanted] = data
        return arguments

    def schedule(self, value: float | ScheduleSpec) -> Any:
        """Build a schedule from a recipe's number or ``{use: ..}``."""
        if isinstance(value, ScheduleSpec):
            return self.build("schedule", value.use, value.model_extra or {})
        return as_schedule(value)

    def _suggestion(self, kind: str, name: str) -> str:
        known = {entry.name: (entry.name, *entry.component.aliases) for entry in self if entry.kind == kind}
        meant = sorted(other for other, names in known.items() if plain(name) in map(plain, names))
        if len(meant) > 2:
            return f"; did you mean one of {', '.join(meant)}?"
        return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else closest(name, known)

    def _value(self, value: Any) -> Any:
        if isinstance(value, GeneratorSpec):
            return partial(self.build, value.kind, value.use, value.model_extra or {})
        return self.schedule(value) if isinstance(value, ScheduleSpec) else value

    def _add(self, component: Any) -> None:
        if not isinstance(component, type):
            raise PluginError(f"{origin(component)}: components() must return classes, not {component!r}")
        kinds = [kind for kind, base in self.kinds.items() if issubclass(component, base)]
        if len(kinds) != 1:
            raise PluginError(
                f"{component.__qualname__} from {origin(component)} must have exactly one base of "
                f"{', '.join(self.kinds)}"
            )
        entry = Entry(kinds[0], snake_case(component.__name__), component, origin(component))
        known = self._entries.get((entry.kind, entry.name))
        if known is not None and known.component is not component:
            raise PluginError(
                f"two {entry.kind} components are called {entry.name!r}: {known.origin} and {entry.origin}; "
                "rename one class"
            )
        self._entries[entry.kind, entry.name] = entry
        try:
            params_model(component)
        except (TypeError, NameError) as error:
            raise PluginError(f"{entry.origin}: {error}") from error


def _brought(manager: pluggy.PluginManager) -> list[Iterable[type]]:
    """Return the results of the plugins' ``components`` hooks.

    Raises PluginError if a hook fails, or does not return classes.
    """
    try:
        brought = manager.hook.components()
    except EnfaceError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"{frame.filename}, line {frame.lineno}: the hook components() fails with {type(error).__name__}: {error}"
        ) from error
    for classes in brought:
        if not isinstance(classes, Iterable):
            raise PluginError(f"{origin(classes)}: components() must return a list of classes, not {classes!r}")
    return list(brought)
