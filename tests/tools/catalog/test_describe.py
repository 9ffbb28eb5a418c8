"""Descriptions of components, and the JSON Schema of recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from enface import Loss, Schedulable
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface.plugin.schema import params_model
from enface.recipe.models import Recipe
from enface_tools.catalog import text
from enface_tools.catalog.describe import CLAIMS, PLURALS, ComponentInfo, describe_components
from enface_tools.catalog.json_schema import DROPPED, MODELS, recipe_schema
from enface_tools.catalog.keys import KEYS

KINDS = Catalog(load_plugins()).kinds

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"
PLUGINS = [str(SUPPORT / "toy_faces.py"), str(SUPPORT / "cauchy.py")]
RECIPES = [*sorted((ROOT / "recipes").rglob("*.yaml")), *sorted(SUPPORT.glob("*.yaml"))]


@pytest.fixture(scope="module")
def infos() -> dict[tuple[str, str], ComponentInfo]:
    manager = load_plugins(PLUGINS)
    return {(info.entry.kind, info.entry.name): info for info in describe_components(Catalog(manager), manager)}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return recipe_schema(Catalog(load_plugins(PLUGINS)))


@pytest.fixture(scope="module")
def complaints(schema: dict[str, Any]) -> Any:
    """List the places and reasons for which the schema refuses a recipe, as an editor shows them."""
    validator = Draft202012Validator(schema)
    alternatives = [schema["$defs"]["interpolation"], schema["$defs"]["grouped_digits"], DROPPED]

    def of(recipe: object) -> list[str]:
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in deepest(recipe)]

    def deepest(recipe: object) -> list[Any]:
        errors = list(validator.iter_errors(as_editors_read(recipe)))
        while any(error.context for error in errors):
            errors = [inner for error in errors for inner in (error.context or [error])]
        # Branches for interpolations and the like do not explain a mistake.
        return [error for error in errors if error.schema not in alternatives]

    return of


def as_editors_read(value: Any) -> Any:
    """Convert keys to text, as editors do."""
    if isinstance(value, dict):
        return {str(key): as_editors_read(item) for key, item in value.items()}
    return [as_editors_read(item) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------- text


class Worded(Loss):
    """Distance of the two. And more
    of them, after :class:`~enface.plugin.components.Constant`.

    A second paragraph.

    Args:
        scale: Of it.

    Raises:
        RecipeError: when it is too far,
            or too near.

    Source:
        A book.
    """

    def __init__(
        self,
        *,
        scale: Annotated[float, Gt(0)],
        share: Annotated[float, Ge(0), Le(1)] = 0.5,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.9,
        count: Annotated[int, Ge(1)] | None = None,
        kind: Literal["a", "b"] = "a",
        names: tuple[str, ...] = ("x", "090"),
        pair: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (1.0, 2.0),
        layers: dict[str, Annotated[float, Ge(0)]] | None = None,
        strength: Annotated[Schedulable, Ge(0)] = 1.0,
        file: Path | None = None,
        loud: bool = False,
        some: tuple[Literal["p", "q"], ...] = (),
    ) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("name", "type_", "default"),
    [
        ("scale", "number > 0", "required"),
        ("share", "number from 0 to 1", "0.5"),
        ("decay", "number >= 0 and < 1", "0.9"),
        ("count", "integer >= 1 or null", "null"),
        ("kind", "one of a, b", "a"),
        ("names", "list of text", '[x, "090"]'),
        ("pair", "list of 2 numbers > 0", "[1.0, 2.0]"),
        ("layers", "map of numbers >= 0 or null", "null"),
        ("strength", "number >= 0 or schedule", "1.0"),
        ("file", "path or null", "null"),
        ("loud", "true or false", "false"),
        ("some", "list of any of p, q", "[]"),
    ],
)
def test_types_and_defaults_are_formatted_as_text(name, type_, default):
    (parameter,) = [item for item in describe_one(Worded).parameters if item.name == name]
    assert (parameter.type, parameter.default) == (type_, default)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 2147483647}, "integer from 0 to 2147483647"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.999999}, "number > 0 and <= 0.999999"),
        ({"oneOf": [{"type": "integer"}, {"type": "array", "items": {"type": "text"}}]}, "integer or list of anything"),
        (
            {
                "type": "object",
                "additionalProperties": {
                    "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "number"}}, {"type": "string"}]
                },
            },
            "map of integers or lists of numbers or text",
        ),
    ],
)
def test_types_of_recipe_keys_are_formatted_as_text(schema, says):
    assert text.format_type(schema) == says


def describe_one(component: type) -> ComponentInfo:
    from enface.plugin.catalog import Entry
    from enface_tools.catalog.describe import Origin

    return ComponentInfo(Entry("loss", "worded", component, ""), Origin("", None, None, None), Catalog(load_plugins()))


def test_a_docstring_is_divided_into_summary_body_and_sections():
    info = describe_one(Worded)
    assert info.summary == "Distance of the two."
    body = text.body(info.docstring)
    assert body.endswith("A second paragraph.")
    assert "after ``Constant``" in body
    assert text.sections(info.docstring) == {
        "Args": "scale: Of it.",
        "Raises": "RecipeError: when it is too far,\n    or too near.",
        "Source": "A book.",
    }


def test_a_formatted_default_is_valid_in_a_recipe():
    for item in describe_one(Worded).parameters:
        if item.default != "required":
            content = OmegaConf.to_container(OmegaConf.create(f"scale: 1\n{item.name}: {item.default}"))
            checked = params_model(Worded).model_validate(content)
            assert getattr(checked, item.name) == params_model(Worded).model_fields[item.name].default


def test_a_type_without_a_json_schema_is_anything():
    class Odd(Loss):
        def __init__(self, *, thing: Any = None, kind: type = int) -> None:
            super().__init__()

    assert [item.type for item in describe_one(Odd).parameters] == ["anything", "anything"]


# ---------------------------------------------------------------------- components


def test_every_component_of_enface_has_a_summary_and_an_origin(infos):
    import enface

    for (kind, name), info in infos.items():
        if info.origin.module.startswith("enface_file_"):
            continue
        assert info.summary, (kind, name)
        assert str(info.origin) == f"enface {enface.__version__}"
        assert Path(info.origin.file or "").is_file()
        assert all(item.help for item in info.parameters), (kind, name)


def test_the_origin_of_a_plugin_file_is_the_file(infos):
    cauchy = infos["loss", "cauchy"]
    assert str(cauchy.origin) == str(SUPPORT / "cauchy.py")
    assert cauchy.origin.distribution is None
    assert cauchy.summary == ""


def test_requests_are_listed_for_each_method(infos):
    assert infos["loss", "l1"].requests == {"forward": ["output", "target"]}
    assert infos["loss", "hinge"].requests == {
        "forward": ["fake_logits"],
        "critic": ["real_logits", "fake_logits"],
    }
    assert list(infos["loss", "r1"].requests) == ["critic"]
    assert infos["discriminator", "conditional_patch_gan"].requests == {"forward": ["source"]}
    assert infos["discriminator", "patch_gan"].requests == {"forward": []}
    assert "requests" not in infos["metric", "mae"].facts


def test_an_argument_with_a_default_is_optional():
    class Lenient(Loss):
        def forward(self, output, target, step=0): ...

    assert describe_one(Lenient).requests == {"forward": ["output", "target", "step"]}
    assert describe_one(Lenient).optional == ["step"]


def test_claims_and_unit_are_those_of_the_class(infos):
    facts = infos["loss", "lecam"].facts
    assert facts["claims"]["stateful"]
    assert infos["loss", "l1"].claims["distance"]
    assert not infos["loss", "hinge"].claims["distance"]
    assert infos["loss", "l1"].unit == "per pixel"
    assert set(CLAIMS) <= set(Loss.__annotations__)


def test_provided_names_are_listed_for_labelled_data(infos):
    assert {"output", "pose_logits", "partner_identity_code"} <= set(infos["generator", "siamese"].provides)
    assert infos["generator", "siamese"].provides["output"] == ["source"]
    assert infos["discriminator", "patch_gan"].facts["provides"] == ["logits", "features"]


def test_a_network_that_cannot_be_built_is_described(plugin):
    body = (
        "class Broken(Generator):\n    def __init__(self) -> None:\n        raise RuntimeError('no such luck')\n"
        "    def forward(self, wants, source): ...\n"
    )
    manager = load_plugins([plugin(body, brings="Broken")])
    (info,) = [info for info in describe_components(Catalog(manager), manager) if info.entry.name == "broken"]
    assert info.provides == {"output": ["source"]}


def test_a_full_description_is_plain_data(infos):
    for info in infos.values():
        content = json.loads(json.dumps(info.full()))
        assert list(content)[:6] == ["kind", "name", "summary", "origin", "docstring", "parameters"]
        Draft202012Validator.check_schema(content["parameters"])


def test_every_kind_has_a_plural():
    assert set(PLURALS) == set(KINDS)


# ---------------------------------------------------------------------- recipes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_of_enface_satisfies_the_schema(complaints, path):
    assert complaints(OmegaConf.to_container(OmegaConf.load(path), resolve=False)) == []


def test_the_schema_is_valid_and_its_references_exist(schema):
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    referenced = {ref.rpartition("/")[2] for ref in refs(schema)}
    assert referenced <= set(schema["$defs"])


def refs(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for item in node for ref in refs(item)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for item in node.values() for ref in refs(item)]
    return []


def test_nothing_is_required_but_use(schema):
    def required(node: Any) -> list[Any]:
        if isinstance(node, list):
            return [names for item in node for names in required(item)]
        if not isinstance(node, dict):
            return []
        own = [node["required"]] if isinstance(node.get("required"), list) else []
        return own + [names for key, item in node.items() if key != "required" for names in required(item)]

    assert {tuple(names) for names in required(schema)} == {("use",)}


def term(**keys: object) -> dict[str, object]:
    return {"stages": {"main": {"terms": {"x": keys}}}}


FINE: list[dict[str, Any]] = [
    {},
    {"extends": "base.yaml", "plugins": ["x.py"], "seed": "${oc.env:SEED}"},
    {"stages": {"main": False, "two": {"steps": "${stages.main.steps}"}}},
    {"stages": {"main": {"terms": {"l1": False, "lpips": {"net": "alex"}, "con": {"weight": 2}}}}},
    {"stages": {"main": {"terms": "${stages.other.terms}", "discriminators": {"patch_gan": {}, "p": False}}}},
    term(use="charbonnier", eps="${eps}"),
    term(margin=3),
    term(use="${loss}", margin=3),
    term(use="hinge", against="p", weight={"use": "linear", "start": 0, "end": 1, "over": 5}),
    term(weight={"end": 1}),
    {"stages": {"main": {"steps": "100_000", "optimizer": {"lr": 1e-3, "momentum": 0.9}}}},
    {"stages": {"main": {"optimizer": {"use": "adam", "betas": [0.5, 0.999]}, "start": "scratch", "ema": None}}},
    {"stages": {"main": {"start": {"run": "runs/x", "step": 3}, "discriminators": {"p": {"augment": None}}}}},
    {"masks": {"ellipse": {"inside": {"use": "constant", "value": 3}}, "b": {"use": "ellipse"}, "c": False}},
    {"metrics": ["mae", "psnr"]},
    {"metrics": {"mae": {}, "mae_boundary": {"use": "mae", "mask": "b"}, "psnr": False}},
    {"data": {"use": "multipie", "split": "first_200"}},
    {"data": {"split": "setting_1", "size": 64}},
    {"data": {"split": {"train": ["001-054"], "test": 0.2}}},
    {"augment": {"crop": False, "flip": {"mirror": {"pose": "negate", "light": {1: 13}}}}},
    {"pairs": {"target": {"where": {"pose": [0, 15]}}}},
    {"generator": {"use": "siamese", "width": 0.25}, "log": {"validate": 0, "best": "ssim"}},
    {"generator": "${network}"},
    {"data": {"use": "toy_faces"}, "stages": {"main": {"terms": {"cauchy": {"scale": 0.2}}}}},
    term(use="perceptual", layers={"relu3_3": 1}),
]


@pytest.mark.parametrize("recipe", FINE, ids=lambda recipe: json.dumps(recipe)[:70])
def test_parts_of_recipes_are_accepted(complaints, recipe):
    assert complaints(recipe) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sede": 1}, "sede"),
    ({"seed": -1}, "minimum"),
    ({"data": {"use": "multipie", "rot": "x"}}, "rot"),
    ({"data": {"use": "multipi"}}, "multipi"),
    ({"data": {"use": "multipie", "split": "frist_200"}}, "frist_200"),
    ({"data": {"use": "paired_folders", "split": "first_200"}}, "first_200"),
    ({"data": {"size": 4}}, "less than the minimum"),
    ({"generator": {"use": "siamese", "depth": 3}}, "depth"),
    ({"generator": {"use": "unet", "depth": 99}}, "greater than the maximum"),
    ({"masks": {"ellipse": {"inisde": 3}}}, "inisde"),
    ({"masks": {"face": {"use": "elipse"}}}, "masks.face.use: "),
    ({"masks": {"face": {"use": "ellipse", "falloff": 2}}}, "greater than the maximum"),
    ({"masks": {"face": {"use": "ellipse", "inside": {"use": "linear", "form": 1}}}}, "form"),
    ({"masks": {"a b": {}}}, "does not match"),
    ({"metrics": ["psnrr"]}, "psnrr"),
    ({"metrics": {"mae": {"net": "vgg"}}}, "net"),
    ({"metrics": {"lpips": {"net": "vgg16"}}}, "vgg16"),
    (term(use="chabonnier"), "terms.x.use: "),
    (term(use="charbonnier", epss=1), "epss"),
    (term(use="charbonnier", eps=0), "less than or equal to the minimum"),
    (term(use="charbonnier", eps="small"), "small"),
    (term(use="charbonnier", margin=3), "margin"),
    (term(wieght=1), "wieght"),
    (term(margin="wide"), "wide"),
    (term(use="l1", every=0), "less than the minimum"),
    (term(use="l1", mask_on="eror"), "eror"),
    (term(use="l1", weight={"use": "liner"}), "liner"),
    (term(use="l1", weight={"use": "linear", "over": "long"}), "long"),
    ({"stages": {"main": {"terms": {"l1": {"eps": 1}}}}}, "eps"),
    ({"stages": {"main": {"terms": {"l1": True}}}}, "True is not of type 'object'"),
    ({"stages": {"main": {"terms": {"cauchy": {"scale": 0}}}}}, "less than or equal to the minimum"),
    ({"stages": {"main": {"step": 5}}}, "step"),
    ({"stages": {"main": {"steps": "many"}}}, "many"),
    ({"stages": {"main": {"optimizer": {"use": "adamm"}}}}, "optimizer.use: "),
    ({"stages": {"main": {"optimizer": {"use": "adam", "momentum": 0.9}}}}, "momentum"),
    ({"stages": {"main": {"optimizer": {"use": "adam", "betas": 0.9}}}}, "0.9 is not of type 'array'"),
    ({"stages": {"main": {"start": "scrach"}}}, "scrach"),
    ({"stages": {"main": {"start": {"runn": "x"}}}}, "runn"),
    ({"stages": {"main": {"discriminators": {"patch_gan": {"layers": 7}}}}}, "greater than the maximum"),
    ({"stages": {"main": {"discriminators": {"p": {"use": "patch_gan", "layer": 3}}}}}, "layer"),
    ({"stages": {"main": {"discriminators": {"p": {"augment": {"use": "dif_augment"}}}}}}, "dif_augment"),
    ({"stages": {"main": {"discriminators": {"p": {"augment": {"use": "diff_augment", "strength": 2}}}}}}, "maximum"),
    ({"pairs": {"target": {"sane": ["identity"]}}}, "sane"),
    ({"log": {"validate_": 0}}, "validate_"),
    ({"augment": {"shift": {"by": 0}}}, "less than the minimum"),
]


@pytest.mark.parametrize(("recipe", "says"), WRONG, ids=[json.dumps(recipe)[:70] for recipe, _ in WRONG])
def test_mistakes_in_a_recipe_are_refused(complaints, recipe, says):
    errors = complaints(recipe)
    assert any(says in error for error in errors), errors


def test_an_unknown_key_is_reported_with_its_place(complaints):
    (error,) = complaints({"stages": {"main": {"terms": {"l1": {"wieght": 1}}}}})
    assert error.startswith("stages.main.terms.l1:")


def test_every_key_and_parameter_has_hover_help(schema):
    own = {kind: set(KEYS.get(model, {})) for model, kind in MODELS.items()}
    for name, model in schema["$defs"].items():
        if name in ("terms", "discriminators", "masks", "metrics") or name.endswith(".cauchy"):
            continue
        # Maps of an unknown component have no help, and neither have torch's options.
        helpless = name.startswith("optimizer.") or name.endswith(".any")
        for key, item in model.get("properties", {}).items():
            if key != "use" and (not helpless or key in own.get(name.partition(".")[0], ())):
                assert item.get("description"), f"{name}.{key}"
    assert all(item["description"] for item in schema["properties"].values())
    assert schema["$defs"]["loss.charbonnier"]["properties"]["eps"]["description"].startswith(
        "Error at which the curve turns"
    )
    assert schema["$defs"]["loss.charbonnier"]["description"].startswith("Absolute error made smooth")


def test_help_is_for_existing_keys():
    whole = Recipe.model_json_schema()
    models = {"Recipe": whole, **whole["$defs"]}
    for name, keys in KEYS.items():
        assert set(keys) - {"extends"} == set(models[name]["properties"]) - {"use"}, name
