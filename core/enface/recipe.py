"""The recipe: its models, and reading, extending, overriding and checking one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pluggy
import yaml
from annotated_types import Ge, Gt, Le
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from enface.catalog import Catalog
from enface.errors import RecipeError
from enface.params import ScheduleSpec, closest, explain
from enface.plugins import load_plugins

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*$")]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Whole = Annotated[int, Ge(0)]
SchedulableNumber = float | ScheduleSpec


class Model(BaseModel):
    """A map with known keys only."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Spec(BaseModel):
    """A map naming a component: ``use`` and, beside the model's own keys, that component's parameters."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    use: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """The component's own parameters."""
        return dict(self.model_extra or {})


class SplitModel(Model):
    """Which rows train, validate and test, by the values of a column in natural order.

    A whole number takes that many values, a fraction that share of them, a list those named
    (``"001-054"`` is a range). ``test`` is all the rest unless given.
    """

    by: str = "identity"
    train: Whole | Share | list[str | int] = 0.8
    val: Whole | Share | list[str | int] = 0
    test: Whole | Share | list[str | int] | None = None


class DataModel(Spec):
    """The dataset, the size its images are packed at, and the split."""

    size: Annotated[int, Ge(8), Le(2048)] = 96
    split: SplitModel = Field(default_factory=SplitModel)
    on_error: Literal["raise", "skip"] = "raise"


class PairRule(Model):
    """How the second image of a pair is drawn for a source: among rows that agree in the columns ``same``, lie
    one step away in the column ``adjacent``, and satisfy ``where``; with ``chance``, else any row of the split.
    """

    same: list[str] = Field(default_factory=list)
    where: dict[str, int | float | str | list[int | float | str]] = Field(default_factory=dict)
    adjacent: str | None = None
    chance: Share = 1.0


class PairsModel(Model):
    """Which rows may be sources, and how target and partner are drawn for one."""

    source: PairRule = Field(default_factory=PairRule)
    target: PairRule = Field(default_factory=lambda: PairRule(same=["identity"]))
    partner: PairRule | None = None

    @field_validator("source")
    @classmethod
    def _source_has_only_where(cls, rule: PairRule) -> PairRule:
        if rule.same or rule.adjacent:
            raise ValueError("a source has only 'where'")
        return rule


class OptimizerModel(Spec):
    """An optimizer of ``torch.optim`` by its name in lower case, with its parameters."""

    use: str = "adam"
    lr: SchedulableNumber = 1e-4


class TermModel(Spec):
    """One weighted loss. ``inputs`` maps the loss's argument names to the names it gets instead."""

    weight: SchedulableNumber = 1.0
    critic_weight: SchedulableNumber = 1.0
    mask: str | None = None
    mask_on: Literal["error", "images"] = "error"
    against: str | None = None
    inputs: dict[str, str] = Field(default_factory=dict)


class DiscriminatorModel(Spec):
    """A critic and its optimizer."""

    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)


class StageModel(Model):
    """A span of steps with its own terms, freezes and optimizers.

    ``batch`` is the number of images an optimizer step sees, over all processes; ``accumulate`` splits it into
    that many passes to save memory.
    """

    steps: Count
    batch: Count = 32
    accumulate: Count = 1
    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)
    terms: dict[Name, TermModel] = Field(min_length=1)
    discriminators: dict[Name, DiscriminatorModel] = Field(default_factory=dict)
    freeze: list[str] = Field(default_factory=list)
    clip: Annotated[float, Gt(0)] | None = None
    ema: Annotated[float, Gt(0), Le(0.999999)] | None = None

    @field_validator("terms", "discriminators", mode="before")
    @classmethod
    def _drop_false(cls, value: Any) -> Any:
        return _without_false(value)


class EngineModel(Model):
    """How the arithmetic is done. ``auto`` precision is bf16 on CUDA devices that have it, else float32."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = True
    sync_batchnorm: bool = True


class LogModel(Model):
    """How often things are written, in steps; 0 is never.

    ``keep`` is how many of the latest checkpoints stay beside each stage's last one; ``best`` names the metric
    whose best validation value is kept as well (it needs a ``val`` split).
    """

    every: Count = 20
    samples: Annotated[int, Ge(0)] = 200
    checkpoint: Annotated[int, Ge(0)] = 500
    keep: Count = 2
    validate_: Annotated[int, Ge(0)] = Field(500, alias="validate")
    best: str | None = None
    observers: list[str] | None = None


class EvaluationModel(Model):
    """The test: at most ``images`` source images (evenly spread), resamples for the intervals."""

    images: Count | None = None
    batch: Count = 64
    bootstrap: Annotated[int, Ge(100)] = 1000


class Recipe(Model):
    """A whole recipe, as ``recipe.yaml`` in a run directory holds it."""

    name: Name
    plugins: list[str] = Field(default_factory=list)
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    data: DataModel
    pairs: PairsModel = Field(default_factory=PairsModel)
    generator: Spec
    masks: dict[Name, Spec] = Field(default_factory=dict)
    stages: dict[Name, StageModel] = Field(min_length=1)
    metrics: dict[Name, Spec] = Field(default_factory=dict)
    engine: EngineModel = Field(default_factory=EngineModel)
    log: LogModel = Field(default_factory=lambda: LogModel.model_validate({}))
    evaluation: EvaluationModel = Field(default_factory=EvaluationModel)

    @field_validator("metrics", mode="before")
    @classmethod
    def _names_to_specs(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {item: {} for item in value} if all(isinstance(item, str) for item in value) else value
        return _without_false(value)

    @field_validator("masks", "stages", mode="before")
    @classmethod
    def _drop_false(cls, value: Any) -> Any:
        return _without_false(value)

    @model_validator(mode="after")
    def _use_defaults_to_key(self) -> Recipe:
        for stage in self.stages.values():
            _name_after_keys(stage.terms)
            _name_after_keys(stage.discriminators)
        _name_after_keys(self.masks)
        _name_after_keys(self.metrics)
        return self

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages.values())

    def dump(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def training_digest(self) -> str:
        """Digest of what training depends on: all but logging, metrics and evaluation."""
        parts = {
            key: value
            for key, value in self.dump().items()
            if key not in {"name", "log", "metrics", "evaluation"}
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Loaded:
    """A checked recipe with the catalog it was checked against.

    Attributes:
        place: ``FILE:LINE: key`` of a key's path, for messages.
        plugins: The plugins, whose hooks are called by name.
    """

    recipe: Recipe
    catalog: Catalog
    plugins: pluggy.PluginManager
    place: Callable[[Sequence[str | int]], str]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a recipe and its parents, apply ``overrides`` (``a.b=value``), and check all of it.

    Raises:
        RecipeError: naming file, line and key of everything wrong at once.
        PluginError: when a plugin it names does not load.
    """
    text = _Text()
    merged = _read_chain(path, text, ())
    merged = _apply_overrides(merged, overrides, text)
    try:
        plain = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"{path}: {error.full_key or 'recipe'}: {_first_line(error)}") from error
    assert isinstance(plain, dict)
    plain.setdefault("name", path.stem)
    named = plain.get("plugins") or []
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        raise RecipeError(f"{text.place(('plugins',))}: must be a list of files or module names")
    plain["plugins"] = named = [_absolute_plugin(item, Path.cwd()) for item in named]
    manager = load_plugins(named)
    catalog = Catalog(manager)
    _default_pairs(plain, catalog)
    try:
        recipe = Recipe.model_validate(plain)
    except ValidationError as error:
        raise text.error(
            explain(item, _known_keys(Recipe, list(item["loc"][:-1]))) for item in error.errors()
        ) from error
    _check_components(recipe, catalog, text)
    _check_observers(recipe, manager, text)
    return Loaded(recipe, catalog, manager, text.place)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a resolved recipe."""
    path.write_text(yaml.safe_dump(recipe.dump(), sort_keys=False, allow_unicode=True), encoding="utf-8")


# ------------------------------------------------------------------ reading


@dataclass
class _Text:
    """The files a recipe was read from, nearest first, to say where a key stands."""

    files: list[tuple[Path, yaml.Node | None]] = field(default_factory=list)
    overrides: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def place(self, path: Sequence[str | int]) -> str:
        """``FILE:LINE: a.b.c`` of a key, or of the nearest map above it."""
        dotted = ".".join(map(str, path)) or "recipe"
        for key, text in reversed(self.overrides):
            if tuple(map(str, path[: len(key)])) == key:
                return f"--set {text}: {dotted}"
        for cut in range(len(path), -1, -1):
            for file, root in self.files:
                line = _line_of(root, path[:cut])
                if line is not None:
                    return f"{file}:{line}: {dotted}"
            # A map that no file has was made by an override below it.
            made_by = [text for key, text in self.overrides if cut and key[:cut] == tuple(map(str, path[:cut]))]
            if made_by:
                return f"--set {made_by[-1]}: {dotted}"
        return f"{self.files[0][0]}: {dotted}" if self.files else dotted

    def error(self, problems: Iterable[tuple[Sequence[str | int], str]]) -> RecipeError:
        return RecipeError("\n".join(f"{self.place(path)}: {message}" for path, message in problems))


def _read_chain(path: Path, text: _Text, children: tuple[Path, ...]) -> DictConfig:
    path = path.resolve()
    if path in children:
        chain = " -> ".join(str(item) for item in (*children, path))
        raise RecipeError(f"{children[-1]}: extends: recipes extend each other in a circle: {chain}")
    config = _read_file(path, text, children)
    parent = config.pop("extends", None)
    if not isinstance(parent, str | None):
        raise RecipeError(f"{path}: extends: must be the path of one recipe")
    # Paths of plugins are relative to the file that names them, so they must be made absolute before merging.
    if OmegaConf.is_list(config.get("plugins")):
        config["plugins"] = [_absolute_plugin(str(item), path.parent) for item in config["plugins"]]
    if parent is None:
        return config
    return _merge(_read_chain(path.parent / parent, text, (*children, path)), config)


def _read_file(path: Path, text: _Text, children: tuple[Path, ...]) -> DictConfig:
    if not path.is_file():
        named_by = f"{children[-1]}: extends: " if children else ""
        raise RecipeError(f"{named_by}recipe {path} does not exist")
    try:
        source = path.read_text(encoding="utf-8")
        text.files.append((path, yaml.compose(source, Loader=yaml.SafeLoader)))
        config = OmegaConf.create(source)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{path}{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise RecipeError(f"{path}: {_first_line(error)}") from error
    if not isinstance(config, DictConfig):
        raise RecipeError(f"{path}: a recipe is a map of keys (name, data, generator, stages, ...)")
    return config


def _merge(parent: DictConfig, child: DictConfig) -> DictConfig:
    _forget_replaced(parent, child)
    merged = OmegaConf.merge(parent, child)
    assert isinstance(merged, DictConfig)
    return merged


def _forget_replaced(parent: DictConfig, child: DictConfig) -> None:
    for key in child:
        mine, theirs = parent._get_node(key), child._get_node(key)
        if isinstance(mine, ListConfig) and isinstance(theirs, DictConfig) and key == "metrics":
            parent[key] = {name: {} for name in mine}
        elif isinstance(mine, Container) and isinstance(theirs, Container) and type(mine) is not type(theirs):
            del parent[key]
        elif isinstance(mine, DictConfig) and isinstance(theirs, DictConfig):
            # Another component's parameters mean nothing to the one that replaces it.
            default = "adam" if key == "optimizer" else key
            if "use" in theirs and theirs._get_node("use") != mine.get("use", default):
                del parent[key]
            else:
                _forget_replaced(mine, theirs)


def _apply_overrides(config: DictConfig, overrides: Sequence[str], text: _Text) -> DictConfig:
    for item in overrides:
        key, equals, _ = item.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {item}: write it as key.of.the.recipe=value")
        text.overrides.append((tuple(key.split(".")), item))
        try:
            config = _merge(config, OmegaConf.from_dotlist([item]))
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
            raise RecipeError(f"--set {item}: {_first_line(error)}") from error
    return config


def _absolute_plugin(name: str, folder: Path) -> str:
    return str((folder / Path(name).expanduser()).resolve()) if name.endswith(".py") else name


def _line_of(node: yaml.Node | None, path: Sequence[str | int]) -> int | None:
    """Line of a key in a composed YAML tree, counted from 1; None when it is not there."""
    line = None if node is None else node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if str(key.value) == str(part)]
            if not pairs:
                return None
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return None
    return line


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# ------------------------------------------------------------------ checking


def _without_false(value: Any) -> Any:
    """A map without the entries a child recipe switched off with ``false``."""
    return {key: item for key, item in value.items() if item is not False} if isinstance(value, dict) else value


def _name_after_keys(specs: Mapping[str, Spec]) -> None:
    for key, spec in specs.items():
        spec.use = spec.use or key


def _default_pairs(plain: dict[Any, Any], catalog: Catalog) -> None:
    """Write the dataset's own pairing into the recipe where that says nothing."""
    data = plain.get("data")
    if isinstance(data, dict) and data.get("use") in catalog.names("dataset"):
        defaults = catalog.get("dataset", data["use"]).component.pairs  # type: ignore[attr-defined]
        given = plain.get("pairs")
        if given is None or isinstance(given, dict):
            plain["pairs"] = {**defaults, **(given or {})}


def _known_keys(model: Any, path: list[str | int]) -> list[str]:
    """The keys allowed in the map at ``path``, found by walking the models."""
    for part in path:
        fields = {info.alias or key: info.annotation for key, info in getattr(model, "model_fields", {}).items()}
        model = _inner_model(fields.get(part, model))
    return [info.alias or key for key, info in getattr(model, "model_fields", {}).items()]


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(getattr(annotation, "__args__", ())):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def _check_components(recipe: Recipe, catalog: Catalog, text: _Text) -> None:
    problems: list[tuple[tuple[str, ...], str]] = []

    def check(kind: str, spec: Spec, *path: str) -> None:
        if not spec.use:
            problems.append((path, f"says no 'use'; known: {', '.join(catalog.names(kind))}"))
            return
        try:
            entry = catalog.get(kind, spec.use)
        except RecipeError as error:
            problems.append(((*path, "use") if spec.use != path[-1] else path, str(error)))
            return
        known = [*entry.params.model_fields, *type(spec).model_fields]
        try:
            checked = entry.params.model_validate(spec.params)
        except ValidationError as error:
            for item in error.errors():
                where, message = explain(item, known)
                problems.append(((*path, *map(str, where)), message))
            return
        for key in checked.model_fields_set:
            value = getattr(checked, key)
            check_schedule(value, *path, key)
            if isinstance(value, Path) and spec.model_extra is not None:
                # As typed it means something in this folder only; a run must be found from any other.
                spec.model_extra[key] = str(value.expanduser().resolve())

    def check_schedule(value: Any, *path: str) -> None:
        if isinstance(value, ScheduleSpec):
            check("schedule", Spec.model_validate(value.model_dump()), *path)

    check("dataset", recipe.data, "data")
    check("generator", recipe.generator, "generator")
    for name, mask in recipe.masks.items():
        check("mask", mask, "masks", name)
    for name, metric in recipe.metrics.items():
        check("metric", metric, "metrics", name)
    for stage_name, stage in recipe.stages.items():
        here = ("stages", stage_name)
        check_schedule(stage.optimizer.lr, *here, "optimizer", "lr")
        for name, term in stage.terms.items():
            check("loss", term, *here, "terms", name)
            check_schedule(term.weight, *here, "terms", name, "weight")
            check_schedule(term.critic_weight, *here, "terms", name, "critic_weight")
            if term.mask is not None and term.mask not in recipe.masks:
                known = ", ".join(recipe.masks) or "none; add it under 'masks:'"
                problems.append(((*here, "terms", name, "mask"), f"no mask {term.mask!r}; defined: {known}"))
            if term.against is not None and term.against not in stage.discriminators:
                known = ", ".join(stage.discriminators) or "none; add it under 'discriminators:'"
                problems.append(
                    ((*here, "terms", name, "against"), f"no discriminator {term.against!r}; defined: {known}")
                )
        for name, critic in stage.discriminators.items():
            check("discriminator", critic, *here, "discriminators", name)
            check_schedule(critic.optimizer.lr, *here, "discriminators", name, "optimizer", "lr")
    if recipe.log.best is not None and recipe.log.best not in recipe.metrics:
        problems.append((("log", "best"), f"no metric {recipe.log.best!r}; listed: {', '.join(recipe.metrics)}"))
    if recipe.log.best is not None and recipe.data.split.val in (0, []):
        problems.append((("log", "best"), "needs validation images; set data.split.val"))
    if problems:
        raise text.error(problems)


def _check_observers(recipe: Recipe, manager: pluggy.PluginManager, text: _Text) -> None:
    known = [name for name, _ in manager.list_name_plugin()]
    for index, name in enumerate(recipe.log.observers or []):
        if name not in known:
            raise text.error([(("log", "observers", index), f"no plugin is called {name!r}{closest(name, known)}")])
