"""Generate the reference of recipe keys from the models by which recipes are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from markdown_text import cell, escaped, literal, table
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from enface.recipe.models import Recipe
from enface_tools.catalog import text
from enface_tools.catalog.describe import PLURALS
from enface_tools.catalog.json_schema import MODELS
from enface_tools.catalog.keys import KEYS

PAGE = "researcher/keys.md"
INTRO = """# Keys of recipes

Every key with its type, range and default, generated from the models that check recipes. `NAME` stands for a name of
your choice. [Recipes](recipes.md) explains how to use them, the catalog lists the parameters of components, and `--set
KEY=VALUE` overrides any key from the command line. Any value may be an interpolation, such as `${seed}`. With
`enface schema --out recipe.schema.json` an editor shows this page's text while you type.
"""
# Kinds of components that a plain map names, by its place.
PLAIN = {"generator": "generator", "masks": "mask", "regions": "mask", "augment": "augmentation"}
USE = {
    "OptimizerModel": "Name of the optimizer.",
    "StopModel": "The [schedule](../plugins/schedules.md) that stops the stage once it is above 0.",
    "GroupModel": "Not used.",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page: a section for each map of a recipe."""
    places: dict[type[BaseModel], list[str]] = {}
    plain: list[tuple[str, str]] = []
    for place, model in maps(Recipe):
        if model.__name__ == "Spec":
            plain.append((place, PLAIN[place.removesuffix(".NAME").rpartition(".")[2]]))
        else:
            places.setdefault(model, []).append(place)
    sections = [part for model, where in places.items() for part in section(model, where, places)]
    rows = [
        (f"`{place}`", f"the parameters of [{PLURALS[kind]}](../plugins/{PLURALS[kind]}.md)") for place, kind in plain
    ]
    others = ["## Maps with no keys but those of components", table(("map", "keys besides `use`"), rows)]
    return "\n\n".join([INTRO.strip(), *sections, *others]) + "\n"


def maps(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (place, model) of a model and all maps within it: ``stages.NAME.optimizer``."""
    yield place, model
    for name, field in model.model_fields.items():
        key = f"{place}.{field.alias or name}".lstrip(".")
        for inner, is_map in models_in(field.annotation):
            yield from maps(inner, f"{key}.NAME" if is_map else key)


def models_in(annotation: Any, is_map: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the models in a type, and whether they are values of a dictionary."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation.__name__ != "ScheduleSpec":
            yield annotation, is_map
        return
    inside = is_map or getattr(annotation, "__origin__", None) is dict
    for argument in get_args(annotation):
        yield from models_in(argument, inside)


def section(model: type[BaseModel], places: list[str], known: Mapping[type[BaseModel], list[str]]) -> Iterator[str]:
    """Yield the paragraphs of a map's section."""
    yield f"## {f'`{places[0]}`' if places[0] else 'The recipe'} {{#{anchor(places[0])}}}"
    if len(places) > 1:
        yield f"Also: {', '.join(f'`{place}`' for place in places[1:])}."
    for paragraph in (model.__doc__ or "").split("\n\n"):
        yield escaped(" ".join(paragraph.split()))
    kind = MODELS.get(model.__name__)
    if kind is not None:
        yield f"Besides these keys, the parameters of the {kind} that `use` names: {catalog_link(kind)}."
    yield table(("key", "meaning"), list(rows(model, known)))


def rows(model: type[BaseModel], known: Mapping[type[BaseModel], list[str]]) -> Iterator[tuple[str, str]]:
    """Yield the table's rows of a model."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    meanings = KEYS.get(model.__name__, {})
    if model is Recipe:
        yield f"`extends`{{.name}}<br>text<br>{default('none')}", cell(meanings["extends"])
    for name, field in model.model_fields.items():
        key = field.alias or name
        meaning = meanings.get(key) or USE.get(model.__name__) or "Name of the component; default: the key."
        if key == "use" and model.__name__ == "DataModel":
            meaning = "Name of the dataset; with `pack` it may be missing."
        linked = [known[inner][0] for inner, _ in models_in(field.annotation) if inner in known]
        links = "".join(f"<br>[its keys](#{anchor(place)})" for place in linked)
        kind = literal(text.format_type(schema["properties"][key], definitions))
        facts = [f"`{key}`{{.name}}", kind, standard(model, key, field, meaning)]
        yield "<br>".join(filter(None, facts)) + links, meaning_cell(meaning)


def standard(model: type[BaseModel], key: str, field: Any, meaning: str) -> str:
    """Return the default of a key, as the meaning gives it or else as the model does."""
    stated = re.search(r"[Dd]efault: (.+?)[.;)]", meaning)
    if stated:
        return f"default: {escaped(stated[1])}"
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if key == "use" and value == "":
        return ""
    if isinstance(value, BaseModel):
        return ""
    return default("none" if value is None else text.format_value(value))


def default(value: str) -> str:
    return f"default: {value}" if value == "none" else f"default: `{value}`"


def meaning_cell(meaning: str) -> str:
    return meaning if "](" in meaning else cell(meaning)


def catalog_link(kind: str) -> str:
    return f"[{PLURALS[kind]}](../plugins/{PLURALS[kind]}.md)"


def anchor(place: str) -> str:
    """Return the anchor of a map: ``stages-optimizer``."""
    return place.replace(".NAME", "").replace(".", "-") or "the-recipe"
