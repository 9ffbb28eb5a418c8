"""What is known of one component: where it is from, what it asks for, promises and provides, its parameters."""

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
from enface.plugin.components import AdversarialLoss, CriticLoss, DataInfo, Discriminator, Generator, Loss, Mask, Metric
from enface_tools.catalog import text as words

PLURALS = {
    "loss": "losses",
    "mask": "masks",
    "discriminator": "discriminators",
    "augmentation": "augmentations",
    "schedule": "schedules",
    "generator": "generators",
    "dataset": "datasets",
    "metric": "metrics",
}
"""What the components of a kind are called together."""

CLAIMS = ("distance", "non_negative", "per_image", "deterministic", "stateful")
"""What a loss claims with a class attribute, beside its ``unit``."""

LABELLED = DataInfo(96, {"identity": 200, "pose": 9, "light": 20})
"""The data for which it is said what a network provides."""


@dataclass(frozen=True)
class Origin:
    """Where a component comes from.

    Attributes:
        file: None where the module has none.
        distribution: The installed package whose entry point brought it; None for a file or module by name.
        version: Of the distribution.
    """

    module: str
    file: str | None
    distribution: str | None
    version: str | None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}" if self.distribution else self.file or self.module


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component, in words.

    Attributes:
        default: As a recipe would write it; ``required`` where there is none.
    """

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True)
class About:
    """What is known of one component of the catalog.

    Attributes:
        requests: What it asks for by argument name, for each of its methods (``forward``, ``critic``).
        optional: Those among them that it can do without.
        provides: What a discriminator or generator gives; empty for other kinds.
    """

    entry: Entry
    origin: Origin
    catalog: Catalog

    @property
    def docstring(self) -> str:
        """The docstring of its class."""
        return words.docstring(self.entry.component)

    @property
    def summary(self) -> str:
        """What it is, in a sentence."""
        return words.summary(self.docstring)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of its parameters."""
        return params_schema(self.entry)

    @property
    def parameters(self) -> list[Parameter]:
        """Its parameters, in words."""
        schema = self.schema
        return [
            Parameter(
                name,
                words.type_in_words(item, schema.get("$defs")),
                words.in_yaml(item["default"]) if "default" in item else _missing(self.entry, name),
                item.get("description", ""),
            )
            for name, item in schema.get("properties", {}).items()
        ]

    @property
    def requests(self) -> dict[str, list[str]]:
        """Names it asks for, by method."""
        return {side: list(_arguments(self.entry.component, side)) for side in _sides(self.entry.component)}

    @property
    def optional(self) -> list[str]:
        """Names it asks for and can do without."""
        component = self.entry.component
        return [
            name
            for side in _sides(component)
            for name, argument in _arguments(component, side).items()
            if argument.default is not argument.empty
        ]

    @property
    def unit(self) -> str:
        """What one number of a loss's map belongs to, or how that is found out; empty for other kinds."""
        component = self.entry.component
        return str(component.unit) if issubclass(component, Loss) else ""

    @property
    def claims(self) -> dict[str, bool]:
        """What a loss claims of itself; empty for other kinds."""
        component = self.entry.component
        return {claim: bool(getattr(component, claim)) for claim in CLAIMS} if issubclass(component, Loss) else {}

    @property
    def provides(self) -> dict[str, list[str]]:
        """What a discriminator or generator gives, each with the columns it is computed from; empty for other kinds.

        It may depend on the data: this is for images labelled as ``LABELLED`` says. Of a network that cannot be
        built here, for want of weights, it is what the class says of all of them.
        """
        component: Any = self.entry.component
        if not issubclass(component, Discriminator | Generator):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            try:
                example = component.example(Path(folder))
                component = self.catalog.build(self.entry.kind, self.entry.name, example, LABELLED)
            except Exception:  # describing a network is not the place to say why it cannot be built
                pass
        if isinstance(component.provides, Mapping):
            return {name: list(columns) for name, columns in component.provides.items()}
        return {name: [] for name in component.provides}

    @property
    def facts(self) -> dict[str, Any]:
        """What only its kind has: requests, unit and claims, or what it provides, or its direction."""
        component = self.entry.component
        if issubclass(component, Metric):
            return {"higher_is_better": getattr(component, "higher_is_better", None)}
        found: dict[str, Any] = {}
        if issubclass(component, Loss | Mask | Discriminator):
            found |= {"requests": self.requests, "optional": self.optional}
        if issubclass(component, Loss):
            found |= {"unit": self.unit, "claims": self.claims}
        if issubclass(component, Discriminator):
            found["provides"] = list(self.provides)
        if issubclass(component, Generator):
            found["provides"] = self.provides
        return found

    def brief(self) -> dict[str, Any]:
        """Kind, name, sentence and origin, as plain data."""
        return {
            "kind": self.entry.kind,
            "name": self.entry.name,
            "summary": words.plain(self.summary),
            "origin": asdict(self.origin),
        }

    def full(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {**self.brief(), "docstring": self.docstring, "parameters": self.schema, **self.facts}


def described(catalog: Catalog, manager: pluggy.PluginManager) -> list[About]:
    """Every component of the catalog, described; in the catalog's order.

    Args:
        manager: What the catalog was made from; it knows which package brought a plugin.
    """
    brought_by = _distributions(manager)
    return [About(entry, _origin(entry, brought_by.get(entry.component)), catalog) for entry in catalog]


def params_schema(entry: Entry) -> dict[str, Any]:
    """JSON Schema of a component's parameters, without the titles that pydantic makes up."""
    schema = entry.params.model_json_schema(schema_generator=_Schema)
    for properties in [schema, *schema.get("$defs", {}).values()]:
        for item in (properties, *properties.get("properties", {}).values()):
            item.pop("title", None)
    return schema


class _Schema(GenerateJsonSchema):
    """A type that JSON Schema has no word for lets anything through; checking it is left to the recipe."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic has it

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def _distributions(manager: pluggy.PluginManager) -> dict[type, tuple[str, str]]:
    installed = {id(plugin): distribution for plugin, distribution in manager.list_plugin_distinfo()}
    found: dict[type, tuple[str, str]] = {}
    for implementation in manager.hook.components.get_hookimpls():
        distribution = installed.get(id(implementation.plugin))
        if distribution is not None:
            named = (str(distribution.project_name), str(distribution.version))
            brought: Iterable[type] = implementation.function()  # type: ignore[assignment]
            found |= dict.fromkeys(brought, named)
    return found


def _origin(entry: Entry, distribution: tuple[str, str] | None) -> Origin:
    module = entry.component.__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    name, version = distribution or (None, None)
    return Origin(module, str(Path(file)) if file else None, name, version)


def _missing(entry: Entry, name: str) -> str:
    return "required" if entry.params.model_fields[name].is_required() else "its own"


def _sides(component: type) -> list[str]:
    """The methods whose arguments are requests."""
    if issubclass(component, AdversarialLoss):
        return ["forward", "critic"]
    if issubclass(component, CriticLoss):
        return ["critic"]
    return ["forward"] if issubclass(component, Loss | Mask | Discriminator) else []


def _arguments(component: type, side: str) -> dict[str, inspect.Parameter]:
    # The first argument is self; a discriminator's next is the image it judges, which nobody needs to ask for.
    first = 2 if issubclass(component, Discriminator) else 1
    named = list(inspect.signature(getattr(component, side)).parameters.items())[first:]
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: argument for name, argument in named if argument.kind not in catch_all}
