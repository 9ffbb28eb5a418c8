"""The house keeps its rooms: who may import whom, what loads torch, what the docs name."""

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
ROOMS = (
    *("errors", "signals", "writing", "holding", "images", "html", "direction"),
    *("bases", "components", "hookspecs", "plugins", "params", "optimizers"),
    "catalog",
    *("weight_sources", "weights", "remote_files", "recipe_text", "recipe", "loading", "describe"),
    *("filling", "pack", "pack_parts", "remote_pack", "sampling", "augment", "columns", "audit"),
    *("batchnorm", "engine", "codes", "launch", "terms", "players", "step"),
    *("build", "checkpoint", "start", "run", "trainer", "shares"),
    *("networks", "regions", "statistics", "result_columns", "measure", "summary", "cautions", "results"),
    *("evaluate", "stages", "compare", "report_files", "report_numbers", "report_tables", "report_stages"),
    *("report_curves",),
    *("report_pictures", "report_gallery", "report_recipe", "report_page", "report"),
    *("report_compare_gallery", "report_compare", "watch"),
    *("preview", "apply", "export", "folders", "sweep", "launchers", "contract", "scaffold"),
    *("mask_files", "marks", "drawing", "cli"),
)
ENTRANCES = {"__init__", "__main__"}


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name) of every import, but those for type checkers only; name is None for ``import module``."""

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


def test_the_scan_sees_imports(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import hidden\nelse:\n    import e\n"
        "def f():\n    try:\n        from g import h\n    except E:\n        import i\n"
    )
    assert list(imports(path)) == [("a.b", None), ("c", "d"), ("e", None), ("g", "h"), ("i", None)]


@pytest.mark.parametrize("path", sorted(CORE.glob("**/*.py")), ids=lambda path: path.stem)
def test_the_core_knows_no_plugin(path):
    assert not [module for module, _ in imports(path) if module.split(".")[0] == "enface_plugins"]
    assert "enface_plugins" not in path.read_text(encoding="utf-8")


def test_every_room_has_its_place():
    packages = {path.parent.name for path in CORE.glob("*/__init__.py")}
    assert {path.stem for path in CORE.glob("*.py")} - ENTRANCES | packages == set(ROOMS)


# The modules of a room that is a package may import each other.
MODULES = [
    *((room, CORE / f"{room}.py") for room in ROOMS if (CORE / f"{room}.py").is_file()),
    *((room, path) for room in ROOMS if room != "cli" for path in sorted((CORE / room).glob("*.py"))),
]


@pytest.mark.parametrize(("room", "path"), [pytest.param(*one, id=f"{one[0]}-{one[1].stem}") for one in MODULES])
def test_a_room_imports_only_rooms_above_it(room, path):
    wanted = set()
    for module, name in imports(path):
        if module == "enface" and name in ROOMS:
            wanted.add(name)
        elif module == "enface":
            # The package itself, for its version; names of other rooms come from these rooms.
            assert name is None or name == "__version__", f"from enface import {name}"
        elif module.startswith("enface."):
            wanted.add(module.split(".")[1])
    if path.parent != CORE:
        wanted -= {room}
    below = sorted(other for other in wanted if ROOMS.index(other) >= ROOMS.index(room))
    assert not below, f"{room} imports {below}"


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("**/*.py")), ids=lambda path: "/".join(path.parts[-2:]))
def test_plugins_import_only_what_enface_exports(path):
    import enface

    for module, name in imports(path):
        if module.split(".")[0] == "enface":
            assert module == "enface", f"{module} is not for plugins"
            assert name in enface._HOME_OF, f"enface exports no {name}"


def test_everything_exported_is_there_and_typed():
    import enface

    text = (CORE / "__init__.py").read_text(encoding="utf-8")
    for name in enface._HOME_OF:
        assert getattr(enface, name) is not None
        assert f"import {name} as {name}" in text, f"type checkers do not see enface.{name}"
    assert set(enface._HOME_OF) <= set(dir(enface))
    with pytest.raises(AttributeError, match="no attribute 'Lossy'"):
        _ = enface.Lossy


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


HEAVY = "{'torch', 'numpy', 'pandas', 'accelerate', 'omegaconf', 'PIL', 'enface_plugins'} & set(sys.modules)"


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
def test_help_does_not_wait_for_torch(code):
    found = python(f"import sys\n{code}\nprint('heavy:', {HEAVY})")
    assert found.stdout.strip().endswith("heavy: set()"), found.stdout[-500:] + found.stderr[-2000:]


def test_checking_a_recipe_does_not_wait_for_what_it_does_not_need(tmp_path):
    recipe = ROOT / "recipes" / "quickstart.yaml"
    call = "from enface.cli import main\ntry: main()\nexcept SystemExit: pass"
    code = f"sys.argv = ['enface', 'check', {str(recipe)!r}]\n{call}"
    heavy = "{'torchvision', 'pandas', 'kornia', 'matplotlib', 'tensorboard', 'lpips', 'scipy'} & set(sys.modules)"
    found = python(f"import sys\n{code}\nprint('heavy:', {heavy})")
    assert found.stdout.strip().endswith("heavy: set()"), found.stdout[-500:] + found.stderr[-2000:]


def test_the_check_for_torch_can_fail():
    assert "torch" in python(f"import sys\nfrom enface import Loss\nprint('heavy:', {HEAVY})").stdout


HOOKS = [
    "components",
    "weights",
    "run_started",
    "stage_started",
    "weights_loaded",
    "step_ended",
    "samples_ready",
    "checkpoint_saved",
    "evaluated",
    "run_ended",
]


def test_every_hook_is_in_the_docs():
    from enface.plugin import hooks as hookspecs

    found = [
        name for name, item in vars(hookspecs).items() if inspect.isfunction(item) and hasattr(item, "enface_spec")
    ]
    assert sorted(found) == sorted(HOOKS)
    page = ROOT / "docs" / "plugins" / "hooks.md"
    if not page.is_file():
        pytest.skip("docs/plugins/hooks.md is not written yet")
    text = page.read_text(encoding="utf-8")
    assert not [name for name in found if f"`{name}`" not in text]


def test_every_hook_says_what_it_is():
    from enface.plugin import hooks as hookspecs

    assert all(inspect.getdoc(getattr(hookspecs, name)) for name in HOOKS)
    assert all(inspect.getdoc(item) for item in (hookspecs, *(getattr(hookspecs, name) for name in HOOKS)))


def test_the_order_of_rooms_is_the_one_in_the_docs():
    import re

    text = (ROOT / "docs" / "maintainer" / "house.md").read_text(encoding="utf-8")
    table = text.partition("| room |")[2].partition("\n\n")[0]
    named = [room for line in table.splitlines()[2:] for room in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert named == [room for room in ROOMS if room in named]
    assert set(ROOMS) == set(named)


def test_every_module_and_public_name_of_the_core_has_a_docstring():
    for path in sorted(CORE.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"
