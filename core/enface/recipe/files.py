"""A recipe's text: reading a file and its parents, merging, overriding, and where each key stands."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from enface.errors import RecipeError

# What a map holds beside its component's parameters, and what still means the same to another component.
KEPT_WITH_NEW_USE = {"data": ("size", "load_size", "split", "on_error")}


@dataclass
class Text:
    """The files a recipe was read from, nearest first, to say where a key stands.

    Attributes:
        before: What the nearest file extends, merged; that file's own keys where it extends nothing.
    """

    files: list[tuple[Path, yaml.Node | None]] = field(default_factory=list)
    before: DictConfig = field(default_factory=lambda: DictConfig({}))
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
        """One error of all problems, each with its place."""
        return RecipeError("\n".join(f"{self.place(path)}: {message}" for path, message in problems))


@dataclass(frozen=True)
class Lineage:
    """Where a recipe came from.

    Attributes:
        recipe: The file it was read from; empty for a recipe that is no file.
        parent: The file it extends, or None.
        changes: (key, what the parent has, what it has instead) of every key that differs from the parent, dotted;
            None where one of them says nothing. Without a parent, what the overrides changed.
        overrides: What ``--set`` gave.
    """

    recipe: str
    parent: str | None
    changes: tuple[tuple[str, Any, Any], ...]
    overrides: tuple[str, ...]

    def dump(self) -> dict[str, Any]:
        """As ``lineage.json`` holds it."""
        changes = [{"key": key, "from": old, "to": new} for key, old, new in self.changes]
        return {
            "recipe": self.recipe,
            "parent": self.parent,
            "changes": changes,
            "overrides": list(self.overrides),
        }


def lineage_of(text: Text, merged: DictConfig) -> Lineage:
    """Where a recipe came from that was read into ``text`` and, with its overrides, became ``merged``."""
    files = [str(path) for path, _ in text.files]
    old, new = (dict(_leaves(config)) for config in (text.before, merged))
    changes = [
        (key, old.get(key), new.get(key))
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key) and key != "name"
    ]
    overrides = tuple(item for _, item in text.overrides)
    return Lineage(files[0] if files else "", files[1] if len(files) > 1 else None, tuple(changes), overrides)


def _leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key and the value of everything in a recipe that is no map, or an empty one."""
    plain = OmegaConf.to_container(config, resolve=False) if isinstance(config, Container) else config
    if isinstance(plain, dict) and plain:
        for key, value in plain.items():
            yield from _leaves(value, f"{path}.{key!s}" if path else str(key))
    elif path:
        yield path, plain


def read_chain(path: Path, text: Text, children: tuple[Path, ...]) -> DictConfig:
    """A recipe merged over its parents; ``children`` are the files that led here. Raises RecipeError."""
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
        config["plugins"] = [absolute_plugin(str(item), path.parent) for item in config["plugins"]]
    below = config if parent is None else read_chain(path.parent / parent, text, (*children, path))
    if not children:
        # A copy, for merging and overriding change what they are given.
        text.before = copy.deepcopy(below)
    return config if parent is None else _merge(below, config)


def _read_file(path: Path, text: Text, children: tuple[Path, ...]) -> DictConfig:
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
        raise RecipeError(f"{path}: {first_line(error)}") from error
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
                kept = KEPT_WITH_NEW_USE.get(str(key), ())
                parent[key] = {name: mine._get_node(name) for name in kept if name in mine}
            else:
                _forget_replaced(mine, theirs)


def apply_overrides(config: DictConfig, overrides: Sequence[str], text: Text) -> DictConfig:
    """The recipe with ``--set`` items merged over it. Raises RecipeError."""
    for item in overrides:
        key, equals, _ = item.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {item}: write it as key.of.the.recipe=value")
        text.overrides.append((tuple(key.split(".")), item))
        try:
            config = _merge(config, OmegaConf.from_dotlist([item]))
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
            raise RecipeError(f"--set {item}: {first_line(error)}") from error
    return config


def absolute_plugin(name: str, folder: Path) -> str:
    """A plugin file's path made absolute; a module's name as it is."""
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


def first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
