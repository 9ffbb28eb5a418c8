"""The architecture: sizes, layers, fast imports, and names that the docs must mention."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "core" / "enface"
PLUGINS = ROOT / "plugins" / "enface_plugins"
TOOLS = ROOT / "plugins" / "enface_tools"
PACKAGES = ("system", "plugin", "recipe", "data", "training", "cli")
SOURCES = sorted([*CORE.glob("**/*.py"), *PLUGINS.glob("**/*.py"), *TOOLS.glob("**/*.py")])


def lines(folder: Path) -> int:
    return sum(path.read_text(encoding="utf-8").count("\n") for path in folder.glob("**/*.py"))


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) of every import except those for type checkers; name is None for ``import module``."""

    def walk(nodes: list[ast.stmt] | ast.AST) -> Iterator[tuple[str, str | None]]:
        for node in nodes if isinstance(nodes, list) else ast.iter_child_nodes(nodes):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from walk(node.orelse)
            elif isinstance(node, ast.Import):
                yield from ((item.name, None) for item in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                yield from ((str(node.module), item.name) for item in node.names)
            else:
                yield from walk(node)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def test_imports_lists_nested_and_conditional_imports(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import hidden\nelse:\n    import e\n"
        "def f():\n    try:\n        from g import h\n    except E:\n        import i\n"
    )
    assert list(imports(path)) == [("a.b", None), ("c", "d"), ("e", None), ("g", "h"), ("i", None)]


def test_the_core_stays_within_its_size_limits():
    assert lines(CORE) <= 6500
    assert lines(CORE / "training") <= 2600
    assert {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(PACKAGES)
    for folder in (CORE, *(CORE / name for name in PACKAGES)):
        assert len(list(folder.glob("*.py"))) <= 16, folder


def test_the_layers_hold():
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    lint = subprocess.run(["lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert lint.returncode == 0, lint.stdout


def test_the_core_imports_no_plugin_package():
    for path in CORE.glob("**/*.py"):
        assert not [module for module, _ in imports(path) if module.startswith("enface_")], path


def test_every_tool_is_installed_as_a_plugin():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["entry-points"]["enface"].values()
    tools = {entry.removeprefix("enface_tools.").partition(".")[0] for entry in entries}
    assert {path.parent.name for path in TOOLS.glob("*/__init__.py")} <= tools


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("**/*.py")), ids=lambda path: "/".join(path.parts[-2:]))
def test_plugins_import_only_what_enface_exports(path):
    import enface

    exported = {*enface.__all__, *enface._functions()}
    for module, name in imports(path):
        if module.split(".")[0] == "enface":
            assert module == "enface", f"{module} is not for plugins"
            assert name is None or name in exported, f"enface exports no {name}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.alias) and node.name == "enface" and node.asname), "import enface as itself"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "enface":
            assert node.attr in exported, f"enface exports no {node.attr}"


def test_every_exported_name_exists():
    import enface

    for name in {*enface.__all__, *enface._functions()}:
        assert getattr(enface, name) is not None
    assert {*enface.__all__, *enface._functions()} <= set(dir(enface))
    with pytest.raises(AttributeError, match="no attribute 'Lossy'"):
        _ = enface.Lossy


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


HEAVY = "{'torch', 'numpy', 'pandas', 'accelerate', 'omegaconf', 'PIL', 'rich', 'jinja2'} & set(sys.modules)"


@pytest.mark.parametrize(
    "code",
    [
        "import enface",
        "from enface import hookimpl",
        "import enface.cli",
        "sys.argv = ['enface', '--help']\nfrom enface.cli import main\ntry: main()\nexcept SystemExit: pass",
        "sys.argv = ['enface', 'run', '--help']\nfrom enface.cli import main\ntry: main()\nexcept SystemExit: pass",
        "sys.argv = ['enface', '--version']\nfrom enface.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
    ids=["import", "hookimpl", "cli", "help", "run help", "version"],
)
def test_help_imports_no_slow_package(code):
    process = python(f"import sys\n{code}\nprint('heavy:', {HEAVY})")
    assert process.stdout.strip().endswith("heavy: set()"), process.stdout[-500:] + process.stderr[-2000:]


def test_checking_a_recipe_imports_only_the_packages_it_needs(tmp_path):
    recipe = ROOT / "recipes" / "quickstart.yaml"
    call = "from enface.cli import main\ntry: main()\nexcept SystemExit: pass"
    code = f"sys.argv = ['enface', 'check', {str(recipe)!r}]\n{call}"
    slow = ("torchvision", "pandas", "kornia", "matplotlib", "tensorboard", "lpips", "scipy", "torch._dynamo")
    heavy = f"{set(slow)} & set(sys.modules)"
    process = python(f"import sys\n{code}\nprint('heavy:', {heavy})")
    assert process.stdout.strip().endswith("heavy: set()"), process.stdout[-500:] + process.stderr[-2000:]


def test_the_test_of_slow_packages_can_fail():
    assert "torch" in python(f"import sys\nfrom enface import Loss\nprint('heavy:', {HEAVY})").stdout


HOOKS = [
    *("components", "kinds", "weights", "commands", "find_recipe", "find_run", "open_pack", "launch", "validator"),
    "complete_name",
    *("make_pack", "batch_columns"),
    "fetch_requirements",
    *("synchronize_batchnorm", "cache_codes"),
    *("run_created", "run_started", "stage_started", "weights_loaded", "step_ended"),
    *("samples_ready", "checkpoint_saved", "evaluated", "trained", "results_written", "run_ended"),
]


def test_every_hook_is_in_the_docs():
    from enface.plugin import hooks as hookspecs

    functions = {name: item for name, item in vars(hookspecs).items() if inspect.isfunction(item)}
    hooks = [name for name, item in functions.items() if hasattr(item, "enface_spec")]
    assert sorted(hooks) == sorted(HOOKS)
    text = (ROOT / "docs" / "plugins" / "hooks.md").read_text(encoding="utf-8")
    assert not [name for name in hooks if f"`{name}`" not in text]


def test_every_hook_has_a_docstring():
    from enface.plugin import hooks as hookspecs

    assert all(inspect.getdoc(getattr(hookspecs, name)) for name in HOOKS)
    assert all(inspect.getdoc(item) for item in (hookspecs, *(getattr(hookspecs, name) for name in HOOKS)))


def test_the_architecture_page_names_every_package_and_tool():
    text = (ROOT / "docs" / "maintainer" / "architecture.md").read_text(encoding="utf-8")
    tools = [path.parent.name for path in TOOLS.glob("*/__init__.py")]
    assert not [name for name in (*PACKAGES, *tools) if f"`{name}`" not in text and f"`{name}/`" not in text]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_and_public_name_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if any(ast.unparse(item) == "overload" for item in node.decorator_list):
                continue  # The implementation has it.
            assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"
