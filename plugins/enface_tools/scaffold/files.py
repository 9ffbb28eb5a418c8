"""The files of a new plugin package: one component that works, with its test and a recipe that trains it."""

from __future__ import annotations

import ast
import importlib.util
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import yaml

import enface
from enface.errors import EnfaceError
from enface.plugin.catalog import Catalog, snake_case
from enface.plugin.components import KINDS
from enface.plugin.schema import closest


@dataclass(frozen=True)
class Names:
    """What a new component is called, and where.

    Attributes:
        kind: As ``loss``.
        component: Its class, as ``LogCosh``.
        name: What a recipe calls it, and its file: the class in snake case, ``log_cosh``.
    """

    kind: str
    component: str
    name: str

    @property
    def module(self) -> str:
        """The package one imports: ``enface_log_cosh``."""
        return f"enface_{self.name}"

    @property
    def distribution(self) -> str:
        """The package one installs: ``enface-log-cosh``."""
        return self.module.replace("_", "-")

    @property
    def key(self) -> str:
        """The name as a recipe's text; in quotes where YAML would not read it as text."""
        return self.name if yaml.safe_load(self.name) == self.name else f'"{self.name}"'


def name_component(kind: str, given: str, catalog: Catalog) -> Names:
    """The names of a new component.

    Args:
        given: In snake case or CamelCase.
        catalog: What is installed, with which it must not clash.

    Raises:
        EnfaceError: when there is no such kind, the name cannot be a class's, or it is taken.
    """
    if kind not in KINDS:
        raise EnfaceError(f"there is no kind of component called {kind!r}{closest(kind, KINDS)}")
    component = _class_name(given)
    names = Names(kind, component, snake_case(component))
    if any(keyword.iskeyword(word) for word in (given, names.component, names.name)):
        raise EnfaceError(f"NAME {given!r} is a word of Python itself; choose another, as my_{names.name}")
    if names.name in catalog.names(kind):
        known = catalog.get(kind, names.name).origin
        raise EnfaceError(f"a {kind} called {names.name!r} is installed already, from {known}; choose another NAME")
    if importlib.util.find_spec(names.module) is not None:
        raise EnfaceError(f"a package {names.module} is installed already; choose another NAME than {given!r}")
    return names


def new_files(names: Names) -> dict[str, str]:
    """The text of each file of a package, by its path in the package's folder.

    Raises:
        EnfaceError: when a file needs the class's name, or the component's, for something else.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("enface_tools.scaffold"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    known = {**asdict(names), "module": names.module, "distribution": names.distribution, "key": names.key}

    def render(template: str, **more: str) -> str:
        return environment.get_template(f"{template}.jinja").render(**known, **more)

    component = render(f"{names.kind}/component.py")
    recipe = render(f"{names.kind}/recipe.yaml")
    summary = _summary(component, names.component)
    package = f"src/{names.module}"
    files = {
        "pyproject.toml": render("pyproject.toml", summary=summary, version=enface.__version__),
        "README.md": render("README.md", summary=summary, recipe=recipe),
        ".gitignore": render("gitignore"),
        "recipe.yaml": recipe,
        f"{package}/__init__.py": render("init.py", summary=summary),
        f"{package}/{names.name}.py": component,
        f"{package}/py.typed": "",
        f"tests/test_{names.name}.py": render(f"{names.kind}/test.py"),
    }
    _refuse_shadows(names, files)
    return files


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a folder, which is made.

    Raises:
        EnfaceError: when the folder is there and not empty, or cannot be written to; nothing is overwritten.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "holds files" if folder.is_dir() else "is a file"
            raise EnfaceError(f"{folder} is there and {what}; nothing was written. Give another folder with --dir")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise EnfaceError(f"{folder} cannot be written to ({error.strerror})") from error


def _class_name(given: str) -> str:
    # Packages' names on an index are ASCII, whatever Python itself would allow.
    if not given.isidentifier() or not given.isascii():
        raise EnfaceError(
            f"NAME {given!r} is no name for a class: letters a to z, digits and _ only, and no digit first; "
            "as soft_edges or SoftEdges"
        )
    words = [word for word in given.split("_") if word]
    component = "".join(word[0].upper() + word[1:] for word in words)
    if not component.isidentifier():
        raise EnfaceError(f"NAME {given!r} must have a letter first, as soft_edges or SoftEdges")
    return component


def _summary(component: str, name: str) -> str:
    """The first line of the docstring of a class in a module's text."""
    classes = [node for node in ast.parse(component).body if isinstance(node, ast.ClassDef) and node.name == name]
    return (ast.get_docstring(classes[0]) or "").splitlines()[0]


def _refuse_shadows(names: Names, files: Mapping[str, str]) -> None:
    """A class called Tensor would hide torch's in its own file, a file called hookimpl.py the hook beside it."""
    for path, text in files.items():
        if path.endswith(".py"):
            bound = Counter(_bound(ast.parse(text)))
            if bound[names.component] > 1 or bound[names.name]:
                taken = names.component if bound[names.component] > 1 else names.name
                raise EnfaceError(f"NAME {taken!r} means something else in {path}; choose another")


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a module imports or defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
