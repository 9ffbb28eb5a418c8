"""Load a recipe: its files, its plugins, and a check of everything that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from enface.errors import DataError, RecipeError
from enface.plugin.catalog import Catalog
from enface.plugin.components import Dataset
from enface.plugin.manager import load_plugins
from enface.plugin.schema import ComponentSpec, closest, explain
from enface.recipe.files import (
    RecipeSource,
    absolute_plugin,
    apply_overrides,
    first_line,
    is_run,
    newest_run,
    read_chain,
)
from enface.recipe.models import DataModel, OptimizerModel, Recipe, Spec, SplitModel, StageModel, StartModel
from enface.recipe.optimizers import check_optimizer

KeyPath = tuple[str | int, ...]
Problem = tuple[KeyPath, str]
SPLIT_HINT = "a split says who is in each part: {by: identity, train: 0.8, val: 0.1, test: 0.1}"


@dataclass
class LoadedRecipe:
    """A checked recipe with the catalog it was checked against.

    Attributes:
        plugins: The plugin manager, which calls hooks.
        place: Returns ``FILE:LINE: key`` of a key's path, for messages.
        source: The files and overrides that it was read from.
        directory: The run directory that it was read from; None for a recipe file.
    """

    recipe: Recipe
    catalog: Catalog
    plugins: pluggy.PluginManager
    place: Callable[[Sequence[str | int]], str]
    source: RecipeSource
    directory: Path | None = None


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe and its parents, apply ``overrides`` (``a.b=value``), and check everything.

    Args:
        path: A recipe file, the name of a shipped recipe, or a run directory, whose recipe is read then.

    Raises:
        RecipeError: if anything is wrong; lists every problem with file, line and key.
        PluginError: if a plugin that it names cannot be loaded.
    """
    path = Path(path)
    if not path.suffix and not path.is_file() and not is_run(path):
        path = load_plugins().hook.find_recipe(name=path.as_posix()) or path
    directory = path if is_run(path) else None
    path = directory / "recipe.yaml" if directory is not None else path
    source = RecipeSource()
    return _validated(read_chain(path, source), overrides, source, path, directory)


def load_mapping(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Check a recipe that is a mapping, as YAML would give it, instead of a file.

    Raises RecipeError that lists every problem with its key, PluginError if a plugin cannot be loaded.
    """
    source = RecipeSource(parent=DictConfig(dict(content)))
    return _validated(DictConfig(dict(content)), overrides, source, Path("recipe"))


def _validated(
    merged: DictConfig, overrides: Sequence[str], source: RecipeSource, path: Path, directory: Path | None = None
) -> LoadedRecipe:
    merged = apply_overrides(merged, overrides, source)
    try:
        plain = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        hint = "; $NAME and ${oc.env:NAME} are environment variables" if "Interpolation key" in str(error) else ""
        raise source.error([((error.full_key or "").split("."), f"{first_line(error)}{hint}")]) from error
    assert isinstance(plain, dict)
    plain.setdefault("name", path.stem)
    named = plain.get("plugins") or []
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        raise RecipeError(f"{source.place(('plugins',))}: must be a list of files or module names")
    plain["plugins"] = named = [absolute_plugin(item, Path.cwd()) for item in named]
    manager = load_plugins(named)
    catalog = Catalog(manager)
    problems = _fill_from_dataset(plain, catalog)
    recipe = _modelled(plain, problems)
    checker = _Checker(catalog, source, tuple(path for path, _ in problems))
    if recipe is not None:
        checker.recipe(recipe, [name for name, _ in manager.list_name_plugin()])
    if problems or checker.problems:
        raise source.error([*problems, *checker.problems])
    assert recipe is not None
    source.merged = merged
    return LoadedRecipe(recipe, catalog, manager, source.place, source, directory)


def _modelled(plain: dict[Any, Any], problems: list[Problem]) -> Recipe | None:
    """Return the recipe of plain values and list its problems; without wrong values, so that the rest is checked."""
    for attempt in range(4):
        try:
            return Recipe.model_validate(plain)
        except ValidationError as error:
            wrong = [explain(item, _known_keys(Recipe, item)) for item in error.errors()]
        # Later ones are consequences of what was removed.
        problems += wrong if attempt == 0 else []
        for path, _ in reversed(wrong):
            _remove(plain, path)
    return None


def _remove(tree: Any, path: tuple[Any, ...]) -> None:
    """Remove a value from maps and lists; put a number in the place of one that is missing."""
    try:
        for part in path[:-1]:
            tree = tree[part]
        del tree[path[-1]]
    except KeyError:
        tree[path[-1]] = 1
    except (IndexError, TypeError):
        # The error is about another form of the value, as of a list that stands for a map.
        return


def _fill_from_dataset(plain: dict[Any, Any], catalog: Catalog) -> list[Problem]:
    """Fill in the pairs, splits and mirrored labels that the dataset declares; return what is wrong."""
    data = plain.get("data")
    problems: list[Problem] = []
    if not isinstance(data, dict) or data.get("use") not in catalog.names("dataset"):
        return []
    dataset = catalog.get("dataset", data["use"]).component
    assert issubclass(dataset, Dataset)
    given = plain.get("pairs")
    if given is None or isinstance(given, dict):
        plain["pairs"] = {**dataset.pairs, **(given or {})}
    split = data.get("split")
    if isinstance(split, str):
        if split not in dataset.splits:
            known = closest(split, dataset.splits) if dataset.splits else f" ({data['use']} has no named splits)"
            problems.append((("data", "split"), f"no split is called {split!r}{known}; {SPLIT_HINT}"))
        data["split"] = dict(dataset.splits.get(split, {}))
    augment = plain.get("augment")
    flip = augment.get("flip") if isinstance(augment, dict) else None
    if isinstance(flip, dict) and dataset.mirror:
        flip.setdefault("mirror", dict(dataset.mirror))
    return problems


def _known_keys(model: Any, item: Any) -> list[str]:
    """Return the keys that are allowed in the map with one of pydantic's errors."""
    for part in item["loc"][: None if item["type"].startswith("model_") else -1]:
        fields = {info.alias or key: info.annotation for key, info in getattr(model, "model_fields", {}).items()}
        model = _inner_model(fields.get(part, model))
    return [info.alias or key for key, info in getattr(model, "model_fields", {}).items()]


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(getattr(annotation, "__args__", ())):
        model = _inner_model(argument)
        if model is not None:
            return model
    return None


@dataclass
class _Checker:
    """Finds the mistakes in a recipe that its models cannot see, and makes its paths absolute.

    Values that depend on ``removed`` keys are not checked.
    """

    catalog: Catalog
    source: RecipeSource
    removed: tuple[KeyPath, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def recipe(self, recipe: Recipe, observers: list[str]) -> None:
        self._data(recipe)
        self.component("generator", recipe.generator, "generator")
        for name, mask in recipe.masks.items():
            self.component("mask", mask, "masks", name)
        for name, metric in recipe.metrics.items() if "metric" in self.catalog.kinds else ():
            self.component("metric", metric, "metrics", name)
            self._defined("mask", metric.mask, list(recipe.masks), "metrics", name, "mask")
        for name, region in recipe.evaluation.regions.items():
            self.component("mask", region, "evaluation", "regions", name)
        for name, stage in recipe.stages.items():
            self._stage(stage, recipe, "stages", name)
        is_cropped = recipe.augment.crop is not None and self._knows("size", "load_size")
        if is_cropped and recipe.data.packed_size == recipe.data.image_size:
            self._add("needs a data.load_size larger than data.size", "augment", "crop")
        for index, name in enumerate(recipe.log.observers or []):
            if name not in observers:
                self._add(f"no plugin is called {name!r}{closest(name, observers)}", "log", "observers", index)
        best = recipe.log.best if self._knows("metrics", "split", "val", recipe.log.best) else None
        if best is not None and best not in recipe.metrics:
            self._add(f"no metric {best!r}; listed: {', '.join(recipe.metrics)}", "log", "best")
        if best is not None and recipe.data.split.val in (0, []):
            self._add("needs validation images; set data.split.val", "log", "best")

    def _data(self, recipe: Recipe) -> None:
        data = recipe.data
        if data.pack is None:
            self.component("dataset", data, "data")
            if not self.problems:
                self._split(data)
            return
        if data.local_pack is not None:
            data.pack = self.source.absolute(data.local_pack, ("data", "pack"))
        if data.use:
            self.component("dataset", data, "data", complete=False)
            return
        for name in data.params:
            self._add("is not a key of data; parameters need a dataset: set 'use'", "data", name)
        if "pairs" not in recipe.model_fields_set:
            self._add("has no 'use', so no dataset declares how targets are drawn: set 'pairs'", "data")

    def _split(self, data: DataModel) -> None:
        dataset = self.catalog.get("dataset", data.use).component
        assert issubclass(dataset, Dataset)
        try:
            given = data.split.model_dump(exclude_unset=True)
            data.split = SplitModel.model_validate(dataset.split(data.params, given))
        except DataError as error:
            self._add(str(error), "data", "split")

    def component(self, kind: str, spec: Spec, *path: str, complete: bool = True) -> None:
        """Check a map that names a component.

        Args:
            complete: Report missing required parameters, too.
        """
        if not spec.use:
            self._add(f"has no 'use'; known: {', '.join(self.catalog.names(kind))}", *path)
            return
        try:
            entry = self.catalog.get(kind, spec.use)
        except RecipeError as error:
            self._add(str(error), *path, *(() if spec.use == path[-1] else ("use",)))
            return
        reserved = type(spec).model_fields
        for name in entry.params.model_fields:
            if name in reserved:
                self._add(f"{entry.origin}: parameter {name!r} has the name of a recipe's own key; rename it", *path)
        try:
            checked = entry.params.model_validate(spec.params)
        except ValidationError as error:
            for item in error.errors():
                if complete or item["type"] != "missing":
                    where, message = explain(item, [*entry.params.model_fields, *reserved])
                    self._add(message, *path, *where)
            return
        for key in checked.model_fields_set:
            value = getattr(checked, key)
            assert spec.model_extra is not None
            if isinstance(value, ComponentSpec):
                spec.model_extra[key] = self._nested(value, *path, key)
            elif isinstance(value, Path):
                spec.model_extra[key] = self.source.absolute(value, (*path, key))

    def _start(self, start: StartModel, recipe: Recipe, *here: str) -> None:
        if start.run is None and start.checkpoint is None:
            names = list(recipe.stages)
            earlier = names[: names.index(here[1])]
            if start.stage not in earlier and self._knows(start.stage):
                known = closest(str(start.stage), earlier) if earlier else ""
                self._add(f"no stage {start.stage!r} is trained before this one{known}", *here, "stage")
        if start.run is not None:
            start.run = str(newest_run(Path(self.source.absolute(start.run, (*here, "run")))))
        if start.checkpoint is not None:
            start.checkpoint = self.source.absolute(start.checkpoint, (*here, "checkpoint"))

    def _stage(self, stage: StageModel, recipe: Recipe, *here: str) -> None:
        if isinstance(stage.start, StartModel):
            self._start(stage.start, recipe, *here, "start")
        self._optimizer(stage.optimizer, *here, "optimizer")
        if stage.stop is not None:
            self.component("schedule", stage.stop, *here, "stop")
        for name, term in stage.terms.items():
            path = (*here, "terms", name)
            self.component("loss", term, *path)
            self._nested(term.weight, *path, "weight")
            self._nested(term.critic_weight, *path, "critic_weight")
            self._defined("mask", term.mask, list(recipe.masks), *path, "mask")
            self._defined("discriminator", term.against, list(stage.discriminators), *path, "against")
        for name, critic in stage.discriminators.items():
            self.component("discriminator", critic, *here, "discriminators", name)
            if critic.augment is not None:
                self.component("augmentation", critic.augment, *here, "discriminators", name, "augment")
            self._optimizer(critic.optimizer, *here, "discriminators", name, "optimizer")

    def _optimizer(self, model: OptimizerModel, *path: str) -> None:
        self._nested(model.lr, *path, "lr")
        if model.use in self.catalog.names("optimizer"):
            count = len(self.problems)
            self.component("optimizer", model, *path)
            if len(self.problems) > count:
                return
        for where, message in check_optimizer(self.catalog, model):
            self._add(message, *path, *where)

    def _nested(self, value: Any, *path: str) -> Any:
        """Check a component that is the value of a key; return its map."""
        if not isinstance(value, ComponentSpec):
            return value
        spec = Spec.model_validate(value.model_dump())
        self.component(value.kind, spec, *path)
        return spec.model_dump()

    def _defined(self, kind: str, name: str | None, known: list[str], *path: str) -> None:
        if name is not None and name not in known and self._knows(name, f"{kind}s"):
            listed = ", ".join(known) or f"none; add it under '{kind}s:'"
            self._add(f"no {kind} {name!r}; defined: {listed}", *path)

    def _add(self, message: str, *path: str | int) -> None:
        if not any(path == key[: len(path)] for key in self.removed):
            self.problems.append((path, message))

    def _knows(self, *keys: str | int | None) -> bool:
        return not any(key and key[-1] in keys for key in self.removed)
