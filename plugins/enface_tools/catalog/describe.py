"""Properties of a component: its origin, requests, claims, provided names and parameters."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pluggy
from pydantic.json_schema import GenerateJsonSchema

from enface.plugin.catalog import Catalog, Entry
from enface.plugin.components import AdversarialLoss, CriticLoss, DataInfo, Discriminator, Generator, Loss, Mask
from enface_tools.catalog import text
from enface_tools.evaluate.direction import range_text
from enface_tools.evaluate.metrics import Metric

PLURALS = {
    "loss": "losses",
    "mask": "masks",
    "discriminator": "discriminators",
    "augmentation": "augmentations",
    "schedule": "schedules",
    "generator": "generators",
    "dataset": "datasets",
    "metric": "metrics",
    "optimizer": "optimizers",
    "launcher": "launchers",
}
"""Plural of each kind."""

CLAIMS = ("distance", "non_negative", "per_image", "deterministic", "paired", "stateful")
"""Class attributes by which a loss describes itself, besides ``unit``."""

LABELLED = DataInfo.square(96, {"identity": 200, "pose": 9, "light": 20})
"""Labelled data for which the names that a network provides are listed."""


@dataclass(frozen=True)
class Origin:
    """Source of a component.

    Attributes:
        file: None if the module has no file.
        distribution: The installed package whose entry point registered it; None for plugins given by file or module.
        version: Version of the distribution.
    """

    module: str
    file: str | None
    distribution: str | None
    version: str | None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}" if self.distribution else self.file or self.module


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component, as text.

    Attributes:
        default: In a recipe's notation; ``required`` for parameters without a default.
    """

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True)
class ComponentInfo:
    """Description of one component of the catalog."""

    entry: Entry
    origin: Origin
    catalog: Catalog

    @property
    def docstring(self) -> str:
        """Docstring of the class."""
        return text.docstring(self.entry.component)

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return text.summary(self.docstring)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters."""
        return params_schema(self.entry)

    @property
    def parameters(self) -> list[Parameter]:
        """Parameters, as text."""
        schema = self.schema
        return [
            Parameter(
                name,
                text.format_type(item, schema.get("$defs")),
                text.format_value(item["default"]) if "default" in item else _without_default(self.entry, name),
                item.get("description", ""),
            )
            for name, item in schema.get("properties", {}).items()
        ]

    @property
    def requests(self) -> dict[str, list[str]]:
        """Requested names for each method (``forward``, ``critic``)."""
        return {side: list(_arguments(self.entry.component, side)) for side in _sides(self.entry.component)}

    @property
    def optional(self) -> list[str]:
        """Requested names that have a default."""
        component = self.entry.component
        return [
            name
            for side in _sides(component)
            for name, argument in _arguments(component, side).items()
            if argument.default is not argument.empty
        ]

    @property
    def unit(self) -> str:
        """Unit of one value of a loss's map ('per pixel'); empty if it depends on the map, and for other kinds."""
        component = self.entry.component
        return str(component.unit) if issubclass(component, Loss) else ""

    @property
    def claims(self) -> dict[str, bool]:
        """Claims of a loss; empty for other kinds."""
        component = self.entry.component
        return {claim: bool(getattr(component, claim)) for claim in CLAIMS} if issubclass(component, Loss) else {}

    @property
    def provides(self) -> dict[str, list[str]]:
        """Names that a discriminator or generator provides, each with its input columns; empty for other kinds.

        They may depend on the data, and are listed for images labelled as ``LABELLED``. For a network that cannot be
        built here, for instance without its weights, they are those of the class.
        """
        component: Any = self.entry.component
        if not issubclass(component, Discriminator | Generator):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            try:
                example = component.example(Path(folder))
                component = self.catalog.build(self.entry.kind, self.entry.name, example, LABELLED)
            except Exception:  # a description does not report why a network cannot be built
                pass
        if isinstance(component.provides, Mapping):
            return {name: list(columns) for name, columns in component.provides.items()}
        return {name: [] for name in component.provides}

    @property
    def facts(self) -> dict[str, Any]:
        """Properties specific to its kind: requests, unit, claims, provided names, or the direction of a metric."""
        component = self.entry.component
        if issubclass(component, Metric):
            direction = getattr(component, "higher_is_better", None)
            return {"higher_is_better": direction, "ideal": component.ideal, "range": _range(component)}
        facts: dict[str, Any] = {}
        if issubclass(component, Loss | Mask | Discriminator):
            facts |= {"requests": self.requests, "optional": self.optional}
        if issubclass(component, Loss):
            facts |= {"unit": self.unit, "claims": self.claims}
        if issubclass(component, Discriminator):
            facts["provides"] = list(self.provides)
        if issubclass(component, Generator):
            facts["provides"] = self.provides
        return facts

    def brief(self) -> dict[str, Any]:
        """Kind, name, summary and origin, as plain data."""
        return {
            "kind": self.entry.kind,
            "name": self.entry.name,
            "summary": text.plain(self.summary),
            "origin": asdict(self.origin),
        }

    def full(self) -> dict[str, Any]:
        """All properties, as plain data."""
        return {**self.brief(), "docstring": self.docstring, "parameters": self.schema, **self.facts}


def describe_components(catalog: Catalog, manager: pluggy.PluginManager) -> list[ComponentInfo]:
    """Describe every component of a catalog, in its order.

    Args:
        manager: The plugin manager of the catalog; it knows the distribution of each plugin.
    """
    distributions = _distributions(manager)
    return [ComponentInfo(entry, _origin(entry, distributions.get(entry.component)), catalog) for entry in catalog]


def params_schema(entry: Entry) -> dict[str, Any]:
    """JSON Schema of a component's parameters, without pydantic's generated titles."""
    schema = entry.params.model_json_schema(schema_generator=_Schema)
    for properties in [schema, *schema.get("$defs", {}).values()]:
        for item in (properties, *properties.get("properties", {}).values()):
            item.pop("title", None)
    return schema


class _Schema(GenerateJsonSchema):
    """Accept any value for a type that JSON Schema cannot express; loading the recipe checks it."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic has it

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def _distributions(manager: pluggy.PluginManager) -> dict[type, tuple[str, str]]:
    installed = {id(plugin): distribution for plugin, distribution in manager.list_plugin_distinfo()}
    distributions: dict[type, tuple[str, str]] = {}
    for implementation in manager.hook.components.get_hookimpls():
        distribution = installed.get(id(implementation.plugin))
        if distribution is not None:
            name_and_version = (str(distribution.project_name), str(distribution.version))
            components: Iterable[type] = implementation.function()  # type: ignore[assignment]
            distributions |= dict.fromkeys(components, name_and_version)
    return distributions


def _origin(entry: Entry, distribution: tuple[str, str] | None) -> Origin:
    module = entry.component.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    name, version = distribution or (None, None)
    return Origin(module, str(Path(file)) if file else None, name, version)


def _without_default(entry: Entry, name: str) -> str:
    return "required" if entry.params.model_fields[name].is_required() else "its own"


def _range(metric: type[Metric]) -> str:
    bounds: Any = metric.bounds
    if isinstance(bounds, property):
        return f"depends on the data ({metric.unit})" if metric.unit else "depends on the data"
    return range_text(bounds, metric.unit)


def _sides(component: type) -> list[str]:
    """The methods whose arguments are requests."""
    if issubclass(component, AdversarialLoss):
        return ["forward", "critic"]
    if issubclass(component, CriticLoss):
        return ["critic"]
    return ["forward"] if issubclass(component, Loss | Mask | Discriminator) else []


def _arguments(component: type, side: str) -> dict[str, inspect.Parameter]:
    # The first argument is self; a discriminator's second is the image it evaluates, which is always passed.
    first = 2 if issubclass(component, Discriminator) else 1
    named = list(inspect.signature(getattr(component, side)).parameters.items())[first:]
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: argument for name, argument in named if argument.kind not in catch_all}
