"""JSON Schema (2020-12) of recipes, for editors: every key, and the parameters of every component.

A file may be only part of a recipe, with the rest in its parent. So no key is required, and a map that does not name
its component accepts the parameters of any component of its kind. ``enface check`` may refuse what the schema
accepts, but never accepts what the schema refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer

from enface.plugin.catalog import Catalog
from enface.plugin.components import Dataset
from enface.recipe.models import Recipe, StopModel
from enface.recipe.optimizers import options_model, torch_optimizers
from enface_tools.catalog import text
from enface_tools.catalog.describe import params_schema
from enface_tools.catalog.keys import KEYS

Schema = dict[str, Any]

INTERPOLATION = {"$ref": "#/$defs/interpolation"}
GROUPED = {"$ref": "#/$defs/grouped_digits"}
DROPPED = {"const": False, "description": "Removes the entry of the parent recipe."}

# Recipe models that name a component, and the component's kind.
MODELS = {
    "DataModel": "dataset",
    "TermModel": "loss",
    "DiscriminatorModel": "discriminator",
    "MetricModel": "metric",
    "OptimizerModel": "optimizer",
    "ScheduleSpec": "schedule",
}
# Kinds whose map has no keys of its own.
BARE_KINDS = ("generator", "mask", "augmentation")
# Maps in which `use` defaults to the key.
KEYED = {"loss": "terms", "discriminator": "discriminators", "mask": "masks", "metric": "metrics"}


def recipe_schema(catalog: Catalog) -> Schema:
    """JSON Schema of recipes that use the components of a catalog."""
    whole = Recipe.model_json_schema()
    # Resolved when the file is loaded, so the model has no such field.
    whole["properties"]["extends"] = {"type": "string"}
    models: dict[str, Schema] = whole.pop("$defs")
    for name, model in [("Recipe", whole), *models.items()]:
        for key, meaning in KEYS.get(name, {}).items():
            model["properties"][key]["description"] = meaning
    models["DiscriminatorModel"]["properties"]["augment"]["anyOf"][0]["$ref"] = "#/$defs/augmentation"
    definitions: dict[str, Schema] = {
        "interpolation": {"type": "string", "pattern": r"\$\{.+\}", "description": "The value of another key."},
        # A number in recipes (YAML 1.1), but text to editors that read YAML 1.2.
        "grouped_digits": {"type": "string", "pattern": r"^[-+]?\d+(_\d+)+(\.\d*)?$", "description": "A number."},
    }
    for name, model in models.items():
        if name not in MODELS and name != "Spec":
            definitions[name] = _partial(model)
    for name, kind in MODELS.items():
        _define(definitions, catalog, kind, models[name])
    default = StopModel.model_fields["use"].default
    if default in catalog.names("schedule"):
        params = _partial(params_schema(catalog.get("schedule", default)))
        definitions["StopModel"]["properties"] |= params["properties"]
    for kind in BARE_KINDS:
        _define(definitions, catalog, kind, {"description": f"A {kind}."})
    for kind, place in KEYED.items():
        definitions[place] = _keyed(kind, catalog.names(kind))
    for key in ("terms", "discriminators"):
        _replace(definitions["StageModel"], key, {"$ref": f"#/$defs/{key}"})
    _replace(definitions["EvaluationModel"], "regions", {"$ref": "#/$defs/masks"})
    for item in definitions["AugmentModel"]["properties"].values():
        item["anyOf"].append(DROPPED)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "enface recipe",
        **_root(_partial(whole), catalog),
        "$defs": dict(sorted(definitions.items())),
    }


def _root(schema: Schema, catalog: Catalog) -> Schema:
    names = {"type": "array", "items": {"enum": catalog.names("metric")}}
    _replace(schema, "data", {"$ref": "#/$defs/dataset"})
    _replace(schema, "generator", {"$ref": "#/$defs/generator"})
    _replace(schema, "masks", {"$ref": "#/$defs/masks"})
    _replace(schema, "metrics", {"anyOf": [names, {"$ref": "#/$defs/metrics"}]})
    _replace(schema, "stages", _named({"$ref": "#/$defs/StageModel"}))
    return {**schema, "description": "A recipe, or the part of it that its parent does not have."}


def _replace(schema: Schema, key: str, by: Schema) -> None:
    """Replace the schema of a key, keeping its description."""
    schema["properties"][key] = {**_or_interpolation(by), "description": schema["properties"][key]["description"]}


# ---------------------------------------------------------------------- maps that name a component


def _define(definitions: dict[str, Schema], catalog: Catalog, kind: str, model: Schema) -> None:
    """Define the map of a kind (``loss``), of each component (``loss.l1``), and of an unknown one (``loss.any``).

    Args:
        model: Schema of the recipe's own keys in such a map.
    """
    own = _partial(model).get("properties", {})
    own.pop("use", None)
    known: dict[str, Schema] = {}
    for name, description, params in _components(catalog, kind):
        nested = f"{kind}.{name}."
        definitions |= {
            nested + key: _partial(item, nested)
            for key, item in params.get("$defs", {}).items()
            if key not in text.NESTED
        }
        known[name] = {
            "type": "object",
            "description": description,
            "properties": {
                "use": {"const": name, "description": description},
                **own,
                **_partial(params, nested).get("properties", {}),
                **(_splits(catalog, own["split"], [name]) if kind == "dataset" else {}),
            },
            "additionalProperties": False,
        }
    definitions |= {f"{kind}.{name}": schema for name, schema in known.items()}
    definitions[f"{kind}.any"] = _union(known.values(), own)
    if kind == "dataset":
        definitions["dataset.any"]["properties"] |= _splits(catalog, own["split"], list(known))
    names = [{"const": name, "description": text.summary(schema["description"])} for name, schema in known.items()]
    definitions[kind] = {
        "type": "object",
        "description": _help(model.get("description", "")),
        "properties": {"use": {"anyOf": [*names, INTERPOLATION], "description": f"Name of the {kind}."}},
        "allOf": [
            *({"if": _uses(name), "then": {"$ref": f"#/$defs/{kind}.{name}"}} for name in known),
            {"if": {"properties": {"use": INTERPOLATION}}, "then": {"$ref": f"#/$defs/{kind}.any"}},
        ],
    }


def _components(catalog: Catalog, kind: str) -> Iterable[tuple[str, str, Schema]]:
    """(name, description, JSON Schema of the parameters) of each component of a kind."""
    if kind == "optimizer":
        yield from (
            (name, f"{optimizer.__name__} of torch.optim.", _options(optimizer))
            for name, optimizer in torch_optimizers().items()
            if name not in catalog.names(kind)
        )
    for name in catalog.names(kind):
        entry = catalog.get(kind, name)
        yield name, _help(text.body(text.docstring(entry.component))), params_schema(entry)


def _options(optimizer: type[Optimizer]) -> Schema:
    """Schema of the options of an optimizer of torch.optim, from their names and defaults."""
    fields = options_model(optimizer).model_fields  # type: ignore[arg-type]
    return {"properties": {name: _like(field.default) for name, field in fields.items()}}


def _like(default: Any) -> Schema:
    if isinstance(default, bool):
        return {"type": "boolean", "default": default}
    if isinstance(default, int | float):
        return {"type": "number", "default": default}
    if isinstance(default, tuple):
        item = {"type": ["number", "null"]} if None in default else {"type": "number"}
        return {"type": "array", "items": item, "minItems": len(default), "maxItems": len(default)}
    return {}


def _union(known: Iterable[Schema], own: Schema) -> Schema:
    """A map with the keys of any of these components; the parent recipe names the component."""
    options: dict[str, list[Schema]] = {}
    for schema in known:
        for name, item in schema["properties"].items():
            if name not in own and name != "use" and item not in options.setdefault(name, []):
                options[name].append(item)
    either = {name: items[0] if len(items) == 1 else {"anyOf": items} for name, items in options.items()}
    return {"type": "object", "properties": {"use": True, **own, **either}, "additionalProperties": False}


def _splits(catalog: Catalog, split: Schema, datasets: Iterable[str]) -> Schema:
    """Schema of ``split``, which may also be the name of one of the datasets' own splits."""
    named: list[str] = []
    for name in datasets:
        component = catalog.get("dataset", name).component
        assert issubclass(component, Dataset)
        named += component.splits
    return {"split": {**split, "anyOf": [*split["anyOf"], {"enum": named}]} if named else split}


def _keyed(kind: str, names: Iterable[str]) -> Schema:
    """A map of components by name; ``use`` defaults to the name."""
    dispatch = {"$ref": f"#/$defs/{kind}"}
    known = {
        name: {"anyOf": [{"if": {"required": ["use"]}, "then": dispatch, "else": {"$ref": f"#/$defs/{kind}.{name}"}}]}
        for name in names
    }
    return _named(dispatch, known)


def _named(schema: Schema, known: Mapping[str, Schema] | None = None) -> Schema:
    """A map from names to a schema; a child recipe may remove entries."""
    entry = {"anyOf": [schema, DROPPED, INTERPOLATION]}
    return {
        "type": "object",
        "properties": {
            name: {"anyOf": [*item["anyOf"], DROPPED, INTERPOLATION]} for name, item in (known or {}).items()
        },
        "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_\-]*$"},
        "additionalProperties": entry,
    }


def _uses(name: str) -> Schema:
    return {"properties": {"use": {"const": name}}, "required": ["use"]}


# ---------------------------------------------------------------------- parts of recipes


def _partial(schema: Schema, nested: str = "") -> Schema:
    """A schema whose keys are all optional and may be interpolations.

    Args:
        nested: Prefix of the names of this schema's own definitions.
    """
    dropped = ("title", "required", "minProperties", "format", "$defs")
    partial = {key: item for key, item in schema.items() if key not in dropped}
    if "$ref" in partial:
        name = partial["$ref"].rpartition("/")[2]
        partial["$ref"] = f"#/$defs/{(MODELS | text.NESTED).get(name, nested + name)}"
    if "description" in partial:
        partial["description"] = _help(partial["description"])
    for key in ("properties", "patternProperties"):
        if key in partial:
            partial[key] = {name: _or_interpolation(_partial(item, nested)) for name, item in partial[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(partial.get(key), dict):
            partial[key] = _or_interpolation(_partial(partial[key], nested))
    for key in ("prefixItems", "anyOf", "oneOf"):
        if key in partial:
            wrap = _or_interpolation if key == "prefixItems" else _same
            partial[key] = [wrap(_partial(item, nested)) for item in partial[key]]
    return partial


def _or_interpolation(schema: Schema) -> Schema:
    """A schema, or an interpolation in its place."""
    annotations: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: item for key, item in schema.items() if key not in annotations}
    branches = list(inner["anyOf"]) if set(inner) == {"anyOf"} else [inner] if inner else []
    if not branches or any(branch.keys() == {"type"} and branch["type"] == "string" for branch in branches):
        return schema
    if any(branch.get("type") in ("integer", "number") for branch in branches):
        branches.append(GROUPED)
    return {**annotations, "anyOf": [*branches, INTERPOLATION]}


def _help(docstring: str) -> str:
    return text.plain(text.unwrapped(docstring))


def _same(schema: Schema) -> Schema:
    return schema
