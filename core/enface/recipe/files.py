"""Recipe files and run directories: read a file and its parents, apply overrides, locate keys for messages."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import yaml
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from enface.errors import RecipeError

# Keys beside a component's parameters, which keep their meaning when a child recipe names another component.
KEPT_WITH_NEW_USE = {"data": ("size", "load_size", "fit", "fill", "channels", "depth", "split", "on_error")}


@dataclass
class RecipeSource:
    """The files and overrides that a recipe was read from, to locate its keys.

    Attributes:
        files: Path and YAML tree of each file, the recipe's own first.
        parent: The merged parents of the recipe's file; if it has none, its own keys.
        overrides: Key and text of each override.
        merged: The recipe, merged over its parents and with overrides.
    """

    files: list[tuple[Path, yaml.Node | None]] = field(default_factory=list)
    parent: DictConfig = field(default_factory=lambda: DictConfig({}))
    overrides: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    merged: DictConfig = field(default_factory=lambda: DictConfig({}))

    def place(self, path: Sequence[str | int]) -> str:
        """Return ``FILE:LINE: a.b.c`` of a key, or of the nearest map above it."""
        dotted, (origin, _) = ".".join(map(str, path)) or "recipe", self._origin(path)
        return f"{origin}: {dotted}" if origin else dotted

    def absolute(self, value: Path | str, path: Sequence[str | int]) -> str:
        """Return the path in a key made absolute: relative to its file, or with ``--set`` to the working directory."""
        try:
            return absolute_path(str(value), self._origin(path)[1])
        except RecipeError as error:
            raise self.error([(path, str(error))]) from None

    def _origin(self, path: Sequence[str | int]) -> tuple[str, Path]:
        """Return file and line of a key, or its override, and the folder of paths there."""
        for key, text in reversed(self.overrides):
            if tuple(map(str, path[: len(key)])) == key:
                return f"--set {text}", Path.cwd()
        for cut in range(len(path), -1, -1):
            for file, root in self.files:
                line = _line_of(root, path[:cut])
                if line is not None:
                    return f"{file}:{line}", file.parent
            # A map that is in no file was created by an override of a key in it.
            texts = [text for key, text in self.overrides if cut and key[:cut] == tuple(map(str, path[:cut]))]
            if texts:
                return f"--set {texts[-1]}", Path.cwd()
        return (str(self.files[0][0]), self.files[0][0].parent) if self.files else ("", Path.cwd())

    def error(self, problems: Iterable[tuple[Sequence[str | int], str]]) -> RecipeError:
        """Return one error that lists all problems with their places."""
        return RecipeError("\n".join(f"{self.place(path)}: {message}" for path, message in problems))


def read_chain(path: Path, source: RecipeSource, children: tuple[Path, ...] = ()) -> DictConfig:
    """Return a recipe merged over its parents.

    Args:
        source: Receives the files.
        children: The files that extend this one.

    Raises RecipeError if a file is missing or not a recipe, or files extend each other in a circle.
    """
    path = path.resolve()
    if path in children:
        chain = " -> ".join(str(item) for item in (*children, path))
        raise RecipeError(f"{children[-1]}: extends: recipes extend each other in a circle: {chain}")
    config = _read_file(path, source, children)
    parent = config.pop("extends", None)
    if not isinstance(parent, str | None):
        raise RecipeError(f"{path}: extends: must be the path of one recipe")
    # Paths of plugins are relative to the file that names them, so they are made absolute before merging.
    if OmegaConf.is_list(config.get("plugins")):
        config["plugins"] = [absolute_plugin(str(item), path.parent) for item in config["plugins"]]
    base = config if parent is None else read_chain(Path(absolute_path(parent, path.parent)), source, (*children, path))
    if not children:
        # A copy, because merging and overriding change their arguments.
        source.parent = copy.deepcopy(base)
    return config if parent is None else _merge(base, config)


def _read_file(path: Path, source: RecipeSource, children: tuple[Path, ...]) -> DictConfig:
    if not path.is_file():
        named_by = f"{children[-1]}: extends: " if children else ""
        state = "is a folder, and no run directory" if path.is_dir() else "does not exist"
        raise RecipeError(f"{named_by}recipe {path} {state}")
    try:
        text = path.read_text(encoding="utf-8")
        source.files.append((path, yaml.compose(text, Loader=yaml.SafeLoader)))
        config = OmegaConf.create(text)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{path}{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise RecipeError(f"{path}: {first_line(error)}") from error
    if not isinstance(config, DictConfig):
        raise RecipeError(f"{path}: a recipe is a map of keys (name, data, generator, stages, ...)")
    return config


def _merge(parent: DictConfig, child: DictConfig) -> DictConfig:
    _remove_replaced(parent, child)
    merged = OmegaConf.merge(parent, child)
    assert isinstance(merged, DictConfig)
    return merged


def _remove_replaced(parent: DictConfig, child: DictConfig) -> None:
    """Remove from a parent what its child replaces as a whole, such as the parameters of another component."""
    for key in child:
        old, new = parent._get_node(key), child._get_node(key)
        if isinstance(old, ListConfig) and isinstance(new, DictConfig) and key == "metrics":
            parent[key] = {name: {} for name in old}
        elif isinstance(old, Container) and isinstance(new, Container) and type(old) is not type(new):
            del parent[key]
        elif isinstance(old, DictConfig) and isinstance(new, DictConfig):
            default = "adam" if key == "optimizer" else key
            if "use" in new and new._get_node("use") != old.get("use", default):
                kept = KEPT_WITH_NEW_USE.get(str(key), ())
                parent[key] = {name: old._get_node(name) for name in kept if name in old}
            else:
                _remove_replaced(old, new)


def apply_overrides(config: DictConfig, overrides: Sequence[str], source: RecipeSource) -> DictConfig:
    """Return the recipe with the values of ``--set`` merged over it. Raise RecipeError if one is invalid."""
    for item in overrides:
        key, equals, _ = item.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {item}: write it as key.of.the.recipe=value")
        source.overrides.append((tuple(key.split(".")), item))
        try:
            config = _merge(config, OmegaConf.from_dotlist([item]))
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
            raise RecipeError(f"--set {item}: {first_line(error)}") from error
    return config


def absolute_plugin(name: str, folder: Path) -> str:
    """Return the absolute path of a plugin file; a module's name unchanged."""
    return absolute_path(name, folder) if name.endswith(".py") else name


def absolute_path(text: str, folder: Path) -> str:
    """Return an absolute path; ``~`` and ``$VARIABLE`` are expanded, and ``$PWD`` is the working directory.

    Raises RecipeError if a variable is not set.
    """
    try:
        text = Template(text).substitute({**os.environ, "PWD": os.getcwd()})
    except (KeyError, ValueError) as error:
        if not (folder / text).exists():
            unknown = f"environment variable {error} is not set" if isinstance(error, KeyError) else str(error)
            raise RecipeError(f"{unknown} (in {text})") from error
    return str((folder / Path(text).expanduser()).resolve())


def is_run(directory: Path) -> bool:
    """Return True if a folder is a run directory."""
    return (directory / "recipe.yaml").is_file()


def runs_in(folder: Path) -> list[Path]:
    """Return the run directories in a folder, from the oldest to the newest."""
    return sorted(path.parent for path in folder.glob("*/recipe.yaml"))


def newest_run(folder: Path) -> Path:
    """Return the folder itself if it is a run directory or contains none, else the newest run directory in it."""
    runs = runs_in(folder)
    return runs[-1] if runs and not is_run(folder) else folder


def _line_of(node: yaml.Node | None, path: Sequence[str | int]) -> int | None:
    """Return the line of a key in a YAML tree, counted from 1; None if it has no such key."""
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


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
