"""One JSON Schema (2020-12) of recipes, for editors: every key, and every component's parameters where it is used.

A file may be part of a recipe only, for its parent gives the rest: nothing is required, and where a map does not
say which component it is of, the parameters of any of its kind will do. What the schema lets through may thus still
be refused by ``enface check``; what it refuses, a recipe cannot hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from enface.plugin.catalog import Catalog
from enface.plugin.components import Dataset
from enface.recipe.models import Recipe
from enface.recipe.optimizers import optimizers
from enface_tools.catalog import text as words
from enface_tools.catalog.describe import params_schema
from enface_tools.catalog.keys import KEYS

Schema = dict[str, Any]

INTERPOLATION = {"$ref": "#/$defs/interpolation"}
GROUPED = {"$ref": "#/$defs/grouped_digits"}
DROPPED = {"const": False, "description": "Drops what the parent recipe has here."}

# Models of the recipe that name a component, and its kind.
MODELS = {
    "DataModel": "dataset",
    "TermModel": "loss",
    "DiscriminatorModel": "discriminator",
    "MetricModel": "metric",
    "OptimizerModel": "optimizer",
    "ScheduleSpec": "schedule",
}
# Those of the other kinds have no keys of their own.
BARE_KINDS = ("generator", "mask", "augmentation")
# Where the name of a component is the map's key unless given.
KEYED = {"loss": "terms", "discriminator": "discriminators", "mask": "masks", "metric": "metrics"}


def recipe_schema(catalog: Catalog) -> Schema:
    """The JSON Schema of recipes that use the components of a catalog."""
    whole = Recipe.model_json_schema()
    # Read from the file and gone before there is a recipe.
    whole["properties"]["extends"] = {"type": "string"}
    models: dict[str, Schema] = whole.pop("$defs")
    for name, model in [("Recipe", whole), *models.items()]:
        for key, text in KEYS.get(name, {}).items():
            model["properties"][key]["description"] = text
    models["DiscriminatorModel"]["properties"]["augment"]["anyOf"][0]["$ref"] = "#/$defs/augmentation"
    definitions: dict[str, Schema] = {
        "interpolation": {"type": "string", "pattern": r"\$\{.+\}", "description": "Another key's value."},
        # A number to recipes, but text to editors that read YAML 1.2.
        "grouped_digits": {"type": "string", "pattern": r"^[-+]?\d+(_\d+)+(\.\d*)?$", "description": "A number."},
    }
    for name, model in models.items():
        if name not in MODELS and name != "Spec":
            definitions[name] = _partial(model)
    for name, kind in MODELS.items():
        _define(definitions, catalog, kind, models[name])
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
    return {**schema, "description": "A recipe, or the part of one that its parent does not give."}


def _replace(schema: Schema, key: str, by: Schema) -> None:
    """Give a key another schema, but the same help."""
    schema["properties"][key] = {**_waiting(by), "description": schema["properties"][key]["description"]}


# ---------------------------------------------------------------------- maps that name a component


def _define(definitions: dict[str, Schema], catalog: Catalog, kind: str, model: Schema) -> None:
    """Define a map of a kind (``loss``), of each component (``loss.l1``), and of any (``loss.any``).

    Args:
        model: What the recipe itself has in such a map.
    """
    own = _partial(model).get("properties", {})
    own.pop("use", None)
    known: dict[str, Schema] = {}
    for name, about, params in _components(catalog, kind):
        nested = f"{kind}.{name}."
        definitions |= {
            nested + key: _partial(item, nested) for key, item in params.get("$defs", {}).items() if key not in MODELS
        }
        known[name] = {
            "type": "object",
            "description": about,
            "properties": {
                "use": {"const": name, "description": about},
                **own,
                **_partial(params, nested).get("properties", {}),
                **(_splits(catalog, own["split"], [name]) if kind == "dataset" else {}),
            },
            "additionalProperties": False,
        }
    definitions |= {f"{kind}.{name}": schema for name, schema in known.items()}
    definitions[f"{kind}.any"] = _any_of_them(known.values(), own)
    if kind == "dataset":
        definitions["dataset.any"]["properties"] |= _splits(catalog, own["split"], list(known))
    names = [{"const": name, "description": words.summary(schema["description"])} for name, schema in known.items()]
    definitions[kind] = {
        "type": "object",
        "description": _help(model.get("description", "")),
        "properties": {"use": {"anyOf": [*names, INTERPOLATION], "description": f"Which {kind}."}},
        "allOf": [
            *({"if": _uses(name), "then": {"$ref": f"#/$defs/{kind}.{name}"}} for name in known),
            {"if": {"properties": {"use": INTERPOLATION}}, "then": {"$ref": f"#/$defs/{kind}.any"}},
        ],
    }


def _components(catalog: Catalog, kind: str) -> Iterable[tuple[str, str, Schema]]:
    """Name, description and JSON Schema of the parameters of each component of a kind."""
    if kind == "optimizer":
        yield from ((name, f"{made.__name__} of torch.optim.", _options(made)) for name, made in optimizers().items())
        return
    for name in catalog.names(kind):
        entry = catalog.get(kind, name)
        yield name, _help(words.body(words.docstring(entry.component))), params_schema(entry)


def _options(optimizer: Callable[..., Any]) -> Schema:
    """What ``torch.optim`` says of an optimizer's options: their names, and the kind of their defaults."""
    named = list(inspect.signature(optimizer).parameters.items())[1:]
    return {"properties": {name: _like(option.default) for name, option in named if name != "lr"}}


def _like(default: Any) -> Schema:
    if isinstance(default, bool):
        return {"type": "boolean", "default": default}
    if isinstance(default, int | float):
        return {"type": "number", "default": default}
    if isinstance(default, tuple):
        item = {"type": ["number", "null"]} if None in default else {"type": "number"}
        return {"type": "array", "items": item, "minItems": len(default), "maxItems": len(default)}
    return {}


def _any_of_them(known: Iterable[Schema], own: Schema) -> Schema:
    """A map that holds what any of these may hold: which it is stands in a parent."""
    options: dict[str, list[Schema]] = {}
    for schema in known:
        for name, item in schema["properties"].items():
            if name not in own and name != "use" and item not in options.setdefault(name, []):
                options[name].append(item)
    either = {name: items[0] if len(items) == 1 else {"anyOf": items} for name, items in options.items()}
    return {"type": "object", "properties": {"use": True, **own, **either}, "additionalProperties": False}


def _splits(catalog: Catalog, split: Schema, datasets: Iterable[str]) -> Schema:
    """``split`` may be the name of one that a dataset knows."""
    named: list[str] = []
    for name in datasets:
        component = catalog.get("dataset", name).component
        assert issubclass(component, Dataset)
        named += component.splits
    return {"split": {**split, "anyOf": [*split["anyOf"], {"enum": named}]} if named else split}


def _keyed(kind: str, names: Iterable[str]) -> Schema:
    """A map of components by name, where the name says which one it is unless ``use`` does."""
    dispatch = {"$ref": f"#/$defs/{kind}"}
    known = {
        name: {"anyOf": [{"if": {"required": ["use"]}, "then": dispatch, "else": {"$ref": f"#/$defs/{kind}.{name}"}}]}
        for name in names
    }
    return _named(dispatch, known)


def _named(schema: Schema, known: Mapping[str, Schema] | None = None) -> Schema:
    """A map from names to such a schema, whose entries a child recipe may drop."""
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
    """A schema of which anything may be missing or given by an interpolation.

    Args:
        nested: What precedes the names of definitions that belong to this schema.
    """
    dropped = ("title", "required", "minProperties", "format", "$defs")
    found = {key: item for key, item in schema.items() if key not in dropped}
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        found["$ref"] = f"#/$defs/{MODELS.get(name, nested + name)}"
    if "description" in found:
        found["description"] = _help(found["description"])
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {name: _waiting(_partial(item, nested)) for name, item in found[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _waiting(_partial(found[key], nested))
    for key in ("prefixItems", "anyOf", "oneOf"):
        if key in found:
            wrap = _waiting if key == "prefixItems" else _same
            found[key] = [wrap(_partial(item, nested)) for item in found[key]]
    return found


def _waiting(schema: Schema) -> Schema:
    """A schema, or an interpolation that will give what it asks for."""
    about: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: item for key, item in schema.items() if key not in about}
    branches = list(inner["anyOf"]) if set(inner) == {"anyOf"} else [inner] if inner else []
    if not branches or any(branch.keys() == {"type"} and branch["type"] == "string" for branch in branches):
        return schema
    if any(branch.get("type") in ("integer", "number") for branch in branches):
        branches.append(GROUPED)
    return {**about, "anyOf": [*branches, INTERPOLATION]}


def _help(text: str) -> str:
    return words.plain(words.unwrapped(text))


def _same(schema: Schema) -> Schema:
    return schema
