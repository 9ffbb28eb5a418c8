"""New plugin packages: a working one for every kind of component, and safe names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enface.errors import EnfaceError
from enface.plugin.catalog import Catalog, snake_case
from enface.plugin.manager import load_plugins
from enface_tools.scaffold.files import choose_names, render_package, write_files

KINDS = Catalog(load_plugins()).kinds

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "plugins" / "enface_tools"
TOY = ROOT / "tests" / "support" / "toy_faces.py"
INSTALLED = Catalog(load_plugins())


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Unload the packages that a test imported, which the next one would take for installed."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("enface_") and not name.startswith(("enface_plugins", "enface_file_")):
            del sys.modules[name]


def write(kind: str, given: str, folder: Path) -> Any:
    names = choose_names(kind, given, INSTALLED)
    write_files(render_package(names), folder)
    return names


def call(*arguments: object, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages of each kind, in one folder."""
    top = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        write(kind, f"tried_{kind}", top / kind)
    return {kind: top / kind for kind in KINDS}


def sources(packages: dict[str, Path]) -> str:
    return os.pathsep.join(str(folder / "src") for folder in packages.values())


@pytest.fixture(scope="module")
def tested(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, str]]]:
    """(test, failure) of each package's tests, all run in one process because importing torch takes long."""
    report = tmp_path_factory.mktemp("report") / "report.xml"
    folders = [folder / "tests" for folder in packages.values()]
    arguments = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", *folders)
    process = call("pytest", *arguments, folder=report.parent, PYTHONPATH=sources(packages), OMP_NUM_THREADS="1")
    assert report.is_file(), process.stdout + process.stderr
    results: dict[str, list[tuple[str, str]]] = {kind: [] for kind in packages}
    for case in ElementTree.parse(report).iter("testcase"):
        kind = str(case.get("classname")).rpartition("test_tried_")[2]
        results[kind].append((str(case.get("name")), " ".join(item.text or item.tag for item in case)))
    return results


# ------------------------------------------------------------------ every kind


def test_every_kind_has_its_templates_and_they_are_installed():
    top = TOOLS / "scaffold" / "templates"
    assert {path.name for path in top.iterdir() if path.is_dir()} == set(KINDS)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = declared["tool"]["setuptools"]["package-data"]["enface_tools"]
    installed = {path for pattern in globs for path in TOOLS.glob(pattern) if path.is_file()}
    assert set(filter(Path.is_file, top.rglob("*"))) <= installed


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_and_include_the_conformance_tests(tested, kind):
    assert [failure for _, failure in tested[kind] if failure] == []
    names = [name for name, _ in tested[kind]]
    assert names[0] == "test_conformance"
    assert len(names) > 1, "a test with values worked out by hand"


@pytest.mark.parametrize("kind", KINDS)
def test_its_example_names_it_and_its_recipe_is_valid(packages, kind, enface, monkeypatch):
    monkeypatch.syspath_prepend(packages[kind] / "src")
    recipe = packages[kind] / "recipe.yaml"
    example = packages[kind] / choose_names(kind, f"other_{kind}", INSTALLED).example_file
    assert f"tried_{kind}" in example.read_text(encoding="utf-8").partition("\n" if kind == "launcher" else "data:")[2]
    outcome = enface("check", recipe, "--set", f"plugins=[enface_tried_{kind}]")
    assert outcome.code == 0, outcome.err
    # Again with data that takes a moment to draw, and with everything that training would refuse.
    data = [] if kind == "dataset" else ["--set", "data.use=toy_faces"]
    outcome = enface("check", recipe, "--data", "--set", f"plugins=[enface_tried_{kind},{TOY}]", *data)
    assert outcome.code == 0, outcome.err


def test_the_example_of_a_launcher_is_a_sweep_that_runs(packages, enface, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(packages["launcher"] / "src")
    monkeypatch.setenv("PYTHONPATH", str(packages["launcher"] / "src"))
    text = (packages["launcher"] / "recipe.yaml").read_text(encoding="utf-8")
    shorter = {"use: synthetic_heads": "use: toy_faces", "steps: 20": "steps: 2", "name:": "seed: 0\nname:"}
    for old, new in shorter.items():
        text = text.replace(old, new, 1)
    (tmp_path / "recipe.yaml").write_text(f"{text}plugins: [enface_tried_launcher, {TOY}]\n", encoding="utf-8")
    shutil.copy(packages["launcher"] / "sweep.yaml", tmp_path)
    outcome = enface("sweep", tmp_path / "sweep.yaml", "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.out + outcome.err
    assert "2 of 2 runs are done" in outcome.out


def test_a_recipe_without_its_package_is_refused(packages, enface):
    outcome = enface("check", packages["loss"] / "recipe.yaml")
    assert outcome.code == 2
    assert "no loss is called 'tried_loss'" in outcome.err


def test_generated_code_is_formatted_and_typed(packages):
    pytest.importorskip("ruff")
    pytest.importorskip("mypy")
    top = packages["loss"].parent
    for arguments in (("check",), ("format", "--check")):
        process = call("ruff", *arguments, "--no-cache", ".", folder=top)
        assert process.returncode == 0, process.stdout + process.stderr
    # Imports of torch and enface are skipped, because reading them takes a minute.
    arguments = ("--strict", "--follow-imports=skip", "--ignore-missing-imports", "--no-warn-return-any")
    bases = ("--allow-subclassing-any", "--allow-untyped-decorators", "--cache-dir", top / ".mypy_cache")
    folders = [folder / part for folder in packages.values() for part in ("src", "tests")]
    process = call("mypy", *arguments, *bases, *folders, folder=top, MYPYPATH=sources(packages))
    assert process.returncode == 0, process.stdout + process.stderr
    assert f"in {3 * len(KINDS)} source files" in process.stdout


def test_an_installed_package_is_found_by_its_name_and_trains(tmp_path):
    pytest.importorskip("setuptools")
    names = write("loss", "SSIM2d", tmp_path / "package")
    arguments = ("install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site")
    process = call("pip", *arguments, tmp_path / "package", folder=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    shorter = ("stages.main.steps=2", "log.every=1", "data.use=toy_faces", f"plugins=[{TOY}]")
    arguments = tuple(argument for item in shorter for argument in ("--set", item))
    site = str(tmp_path / "site")
    process = call("enface", "run", "package/recipe.yaml", *arguments, folder=tmp_path, PYTHONPATH=site)
    assert process.returncode == 0, process.stdout + process.stderr
    (log,) = (tmp_path / "runs").glob("*/*/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    values = [entry["values"][f"term/{names.name}"] for entry in entries if entry["event"] == "step"]
    assert len(values) == 2
    assert all(0 < value < 2 for value in values)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("given", "class_name", "name"),
    [
        ("soft_edges", "SoftEdges", "soft_edges"),
        ("SoftEdges", "SoftEdges", "soft_edges"),
        ("SSIM2d", "SSIM2d", "ssim2d"),
        ("my_SSIM", "MySSIM", "my_ssim"),
        ("l1_2", "L12", "l12"),
        ("_hidden_", "Hidden", "hidden"),
        # YAML 1.1 reads this as true.
        ("on", "On", "on"),
    ],
)
def test_any_name_gives_a_package_whose_component_is_named_after_its_class(
    given, class_name, name, tmp_path, monkeypatch, enface
):
    names = write("loss", given, tmp_path)
    assert (names.class_name, names.name) == (class_name, name)
    assert snake_case(class_name) == name
    monkeypatch.syspath_prepend(tmp_path / "src")
    assert Catalog(load_plugins([names.module])).get("loss", name).component.__name__ == class_name
    outcome = enface("check", tmp_path / "recipe.yaml", "--set", f"plugins=[{names.module}]")
    assert outcome.code == 0, outcome.err
    assert f"losses: {name}" in outcome.out


def test_the_summary_of_the_component_describes_the_package():
    names = choose_names("loss", "soft_edges", INSTALLED)
    files = render_package(names)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "enface-soft-edges"
    assert project["entry-points"] == {"enface": {"enface_soft_edges": "enface_soft_edges"}}
    assert f'"""{project["description"]}\n' in files["src/enface_soft_edges/soft_edges.py"]
    assert project["description"] in files["README.md"]
    assert files["recipe.yaml"] in files["README.md"]


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("los", "mine", "did you mean 'loss'"),
        ("observer", "mine", "known: augmentation, dataset"),
        ("loss", "2fast", "'2fast' cannot be a class name"),
        ("loss", "soft-edges", "'soft-edges' cannot be a class name"),
        ("loss", "../up", "'../up' cannot be a class name"),
        ("loss", "", "'' cannot be a class name"),
        ("loss", "kanté", "'kanté' cannot be a class name"),
        ("loss", "__", "must begin with a letter"),
        ("loss", "_2", "must begin with a letter"),
        ("loss", "lambda", "keyword of Python"),
        ("loss", "Lambda", "keyword of Python"),
        ("loss", "none", "keyword of Python"),
        ("loss", "charbonnier", "a loss called 'charbonnier' is already installed, from"),
        ("loss", "Charbonnier", "a loss called 'charbonnier' is already installed, from"),
        ("loss", "plugins", "a package enface_plugins is already installed"),
        ("loss", "tensor", "'Tensor' has another meaning in src/enface_tensor/tensor.py"),
        ("generator", "sample", "'sample' has another meaning in src/enface_sample/sample.py"),
        ("loss", "hookimpl", "'hookimpl' has another meaning in src/enface_hookimpl/__init__.py"),
        ("loss", "fixture", "'Fixture' has another meaning in tests/test_fixture.py"),
    ],
)
def test_a_name_that_would_not_work_is_refused(kind, given, says):
    with pytest.raises(EnfaceError) as caught:
        render_package(choose_names(kind, given, INSTALLED))
    assert says in str(caught.value)


# ------------------------------------------------------------------ files


def test_existing_files_are_not_overwritten(tmp_path):
    files = {"a.txt": "new", "src/b.txt": "new"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("old")
    with pytest.raises(EnfaceError, match="exists and is not empty; nothing was written"):
        write_files(files, tmp_path / "mine")
    with pytest.raises(EnfaceError, match="is a file; nothing was written"):
        write_files(files, tmp_path / "mine" / "kept.txt")
    with pytest.raises(EnfaceError, match="cannot write to"):
        write_files(files, tmp_path / "mine" / "kept.txt" / "below")
    assert {path.name: path.read_text() for path in tmp_path.rglob("*.txt")} == {"kept.txt": "old"}


def test_an_empty_folder_is_filled(tmp_path):
    write_files({"a.txt": "new", "src/b.txt": "ä"}, tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "src" / "b.txt").read_bytes() == "ä".encode()
