"""Kind and name -> class, its parameters and where it came from."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pluggy
from pydantic import BaseModel

from enface.errors import EnfaceError, PluginError, RecipeError
from enface.plugin.components import KINDS, DataInfo, as_schedule
from enface.plugin.manager import origin
from enface.plugin.schema import ScheduleSpec, closest, params_model, wants_data_info


def snake_case(name: str) -> str:
    """``PatchGAN`` -> ``patch_gan``: a class name as a recipe writes it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Entry:
    """One component of the catalog."""

    kind: str
    name: str
    component: type
    origin: str

    @property
    def params(self) -> type[BaseModel]:
        """The model of its parameters."""
        return params_model(self.component)


class Catalog:
    """Every component that the loaded plugins bring."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        for classes in _brought(manager):
            for component in classes:
                self._add(component)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def names(self, kind: str) -> list[str]:
        """The names of a kind, sorted."""
        return sorted(name for of_kind, name in self._entries if of_kind == kind)

    def get(self, kind: str, name: str) -> Entry:
        """The entry of a name.

        Raises:
            RecipeError: when there is none, with the nearest right name.
        """
        try:
            return self._entries[kind, name]
        except KeyError:
            raise RecipeError(f"no {kind} is called {name!r}{closest(name, self.names(kind))}") from None

    def build(self, kind: str, name: str, params: Mapping[str, Any], data: DataInfo | None = None) -> Any:
        """A component, from checked parameters; schedules among them are built too.

        Args:
            data: Given to components that ask for it; needed for these.
        """
        return self.get(kind, name).component(**self.arguments(kind, name, params, data))

    def arguments(
        self, kind: str, name: str, params: Mapping[str, Any], data: DataInfo | None = None
    ) -> dict[str, Any]:
        """What :meth:`build` calls a component's class with."""
        entry = self.get(kind, name)
        checked = entry.params.model_validate(dict(params))
        arguments = {key: self._value(getattr(checked, key)) for key in checked.model_fields_set}
        wanted = wants_data_info(entry.component)
        if wanted is not None:
            assert data is not None, f"{name} needs to know the data"
            arguments[wanted] = data
        return arguments

    def schedule(self, value: float | ScheduleSpec) -> Any:
        """A schedule from a recipe's number or ``{use: ..}``."""
        if isinstance(value, ScheduleSpec):
            return self.build("schedule", value.use, value.model_extra or {})
        return as_schedule(value)

    def _value(self, value: Any) -> Any:
        return self.schedule(value) if isinstance(value, ScheduleSpec) else value

    def _add(self, component: type) -> None:
        if not isinstance(component, type):
            raise PluginError(f"{origin(component)}: components() must return classes, not {component!r}")
        kinds = [kind for kind, base in KINDS.items() if issubclass(component, base)]
        if len(kinds) != 1:
            raise PluginError(
                f"{component.__qualname__} from {origin(component)} must have exactly one base of {', '.join(KINDS)}"
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
    """What each plugin's ``components`` hook returns.

    Raises:
        PluginError: when one fails, or returns something else than several classes.
    """
    try:
        found = manager.hook.components()
    except EnfaceError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"{frame.filename}, line {frame.lineno}: the hook components() fails with {type(error).__name__}: {error}"
        ) from error
    for classes in found:
        if not isinstance(classes, Iterable):
            raise PluginError(f"{origin(classes)}: components() must return a list of classes, not {classes!r}")
    return list(found)
