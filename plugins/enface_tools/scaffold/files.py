"""Files of a new plugin package: a working component, its tests, and an example that uses it."""

from __future__ import annotations

import ast
import importlib.util
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

import enface
from enface.errors import EnfaceError
from enface.plugin.catalog import Catalog, snake_case
from enface.plugin.schema import closest
from enface_tools.report.html import text_environment


@dataclass(frozen=True)
class PackageNames:
    """Names in a new plugin package.

    Attributes:
        kind: Kind of the component, such as ``loss``.
        class_name: Name of its class, such as ``LogCosh``.
        name: The class name in snake case, ``log_cosh``: its name in recipes and of its file.
    """

    kind: str
    class_name: str
    name: str

    @property
    def module(self) -> str:
        """The package to import: ``enface_log_cosh``."""
        return f"enface_{self.name}"

    @property
    def distribution(self) -> str:
        """The package to install: ``enface-log-cosh``."""
        return self.module.replace("_", "-")

    @property
    def key(self) -> str:
        """The name as text in a recipe, quoted if YAML would read it as another type."""
        return self.name if yaml.safe_load(self.name) == self.name else f'"{self.name}"'

    @property
    def example_file(self) -> str:
        """The file of the example: launchers are used in sweeps, all others in recipes."""
        return "sweep.yaml" if self.kind == "launcher" else "recipe.yaml"

    @property
    def example_command(self) -> str:
        """The command that runs the example."""
        return f"enface {'sweep' if self.kind == 'launcher' else 'run'} {self.example_file}"


def choose_names(kind: str, given: str, catalog: Catalog) -> PackageNames:
    """Derive all names of a package from the name of its component.

    Args:
        given: The name in snake case or CamelCase.
        catalog: The installed components, which must not have the name yet.

    Raises:
        EnfaceError: if the kind does not exist, or the name is taken or cannot be a class name.
    """
    if kind not in catalog.kinds:
        raise EnfaceError(f"no kind of component is called {kind!r}{closest(kind, catalog.kinds)}")
    class_name = _class_name(given)
    names = PackageNames(kind, class_name, snake_case(class_name))
    if any(keyword.iskeyword(word) for word in (given, names.class_name, names.name)):
        raise EnfaceError(f"NAME {given!r} is a keyword of Python; choose another, such as my_{names.name}")
    if names.name in catalog.names(kind):
        origin = catalog.get(kind, names.name).origin
        raise EnfaceError(f"a {kind} called {names.name!r} is already installed, from {origin}; choose another NAME")
    if importlib.util.find_spec(names.module) is not None:
        raise EnfaceError(f"a package {names.module} is already installed; choose another NAME than {given!r}")
    return names


def render_package(names: PackageNames) -> dict[str, str]:
    """Return the text of each file of a package, by its path within the package's folder.

    Raises:
        EnfaceError: if the name of the class or the component has another meaning in one of the files.
    """
    environment = text_environment("enface_tools.scaffold")
    properties = ("module", "distribution", "key", "example_file", "example_command")
    values = {**asdict(names), **{name: getattr(names, name) for name in properties}}

    def render(template: str, **more: str) -> str:
        return environment.get_template(f"{template}.jinja").render(**values, **more)

    component = render(f"{names.kind}/component.py")
    summary = _summary(component, names.class_name)
    examples = {name: render(f"{names.kind}/{name}") for name in ("recipe.yaml", names.example_file)}
    package = f"src/{names.module}"
    files = {
        "pyproject.toml": render("pyproject.toml", summary=summary, version=enface.__version__),
        "README.md": render("README.md", summary=summary, example=examples[names.example_file]),
        ".gitignore": render("gitignore"),
        **examples,
        f"{package}/__init__.py": render("init.py", summary=summary),
        f"{package}/{names.name}.py": component,
        f"{package}/py.typed": "",
        f"tests/test_{names.name}.py": render(f"{names.kind}/test.py"),
    }
    _refuse_shadowing(names, files)
    return files


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a folder, which is created if needed.

    Raises:
        EnfaceError: if the folder exists and is not empty, or cannot be written to; nothing is overwritten.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            state = "exists and is not empty" if folder.is_dir() else "is a file"
            raise EnfaceError(f"{folder} {state}; nothing was written. Choose another folder with --dir")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise EnfaceError(f"cannot write to {folder} ({error.strerror})") from error


def _class_name(given: str) -> str:
    # Package indexes allow only ASCII names, although Python allows more.
    if not given.isidentifier() or not given.isascii():
        raise EnfaceError(
            f"NAME {given!r} cannot be a class name: use only letters a to z, digits and _, and no digit first; "
            "such as soft_edges or SoftEdges"
        )
    words = [word for word in given.split("_") if word]
    class_name = "".join(word[0].upper() + word[1:] for word in words)
    if not class_name.isidentifier():
        raise EnfaceError(f"NAME {given!r} must begin with a letter, such as soft_edges or SoftEdges")
    return class_name


def _summary(source: str, class_name: str) -> str:
    """First line of the docstring of a class in the source of a module."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == class_name]
    return (ast.get_docstring(classes[0]) or "").splitlines()[0]


def _refuse_shadowing(names: PackageNames, files: Mapping[str, str]) -> None:
    """Refuse a class called Tensor, which would hide torch's in its file, or a file called hookimpl.py."""
    for path, text in files.items():
        if path.endswith(".py"):
            bound = Counter(_bound_names(ast.parse(text)))
            if bound[names.class_name] > 1 or bound[names.name]:
                taken = names.class_name if bound[names.class_name] > 1 else names.name
                raise EnfaceError(f"NAME {taken!r} has another meaning in {path}; choose another")


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Every name that a module imports or defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
