"""New plugin packages: for every kind of component one that works, and names that cannot go wrong."""

from __future__ import annotations

import json
import os
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
from enface.plugin.components import KINDS
from enface.plugin.manager import load_plugins
from enface_tools.scaffold.files import name_component, new_files, write_files

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "core" / "enface"
TOY = ROOT / "tests" / "support" / "toy_faces.py"
INSTALLED = Catalog(load_plugins())


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a test imported from its folder would else count as an installed package to the next."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("enface_") and not name.startswith(("enface_plugins", "enface_file_")):
            del sys.modules[name]


def write(kind: str, given: str, folder: Path) -> Any:
    names = name_component(kind, given, INSTALLED)
    write_files(new_files(names), folder)
    return names


def call(*words: object, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each kind, in one folder."""
    top = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        write(kind, f"tried_{kind}", top / kind)
    return {kind: top / kind for kind in KINDS}


def sources(packages: dict[str, Path]) -> str:
    return os.pathsep.join(str(folder / "src") for folder in packages.values())


@pytest.fixture(scope="module")
def tested(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, str]]]:
    """What became of the tests of each package: (test, failure). One process runs all, for it waits for torch."""
    report = tmp_path_factory.mktemp("report") / "report.xml"
    folders = [folder / "tests" for folder in packages.values()]
    words = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", *folders)
    done = call("pytest", *words, folder=report.parent, PYTHONPATH=sources(packages), OMP_NUM_THREADS="1")
    assert report.is_file(), done.stdout + done.stderr
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in packages}
    for case in ElementTree.parse(report).iter("testcase"):
        kind = str(case.get("classname")).rpartition("test_tried_")[2]
        found[kind].append((str(case.get("name")), " ".join(item.text or item.tag for item in case)))
    return found


# ------------------------------------------------------------------ every kind


def test_every_kind_has_its_templates_and_they_are_installed():
    top = CORE / "templates" / "new"
    assert {path.name for path in top.iterdir() if path.is_dir()} == set(KINDS)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = declared["tool"]["setuptools"]["package-data"]["enface"]
    installed = {path for pattern in globs for path in CORE.glob(pattern) if path.is_file()}
    assert set(filter(Path.is_file, top.rglob("*"))) <= installed


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_and_hold_it_to_the_contract(tested, kind):
    assert [failure for _, failure in tested[kind] if failure] == []
    names = [name for name, _ in tested[kind]]
    assert names[0] == "test_it_keeps_the_contract"
    assert len(names) > 1, "a value worked out by hand"


@pytest.mark.parametrize("kind", KINDS)
def test_its_recipe_names_it_and_fits_together(packages, kind, enface, monkeypatch):
    monkeypatch.syspath_prepend(packages[kind] / "src")
    recipe = packages[kind] / "recipe.yaml"
    assert f"tried_{kind}" in recipe.read_text(encoding="utf-8").partition("data:")[2]
    outcome = enface("check", recipe, "--set", f"plugins=[enface_tried_{kind}]")
    assert outcome.code == 0, outcome.err
    # The same on data that is drawn in a moment, and with all that training would refuse.
    data = [] if kind == "dataset" else ["--set", "data.use=toy_faces"]
    outcome = enface("check", recipe, "--data", "--set", f"plugins=[enface_tried_{kind},{TOY}]", *data)
    assert outcome.code == 0, outcome.err


def test_a_recipe_without_its_package_is_refused(packages, enface):
    outcome = enface("check", packages["loss"] / "recipe.yaml")
    assert outcome.code == 2
    assert "no loss is called 'tried_loss'" in outcome.err


def test_what_is_written_is_formatted_and_typed(packages):
    pytest.importorskip("ruff")
    pytest.importorskip("mypy")
    top = packages["loss"].parent
    for words in (("check",), ("format", "--check")):
        done = call("ruff", *words, "--no-cache", ".", folder=top)
        assert done.returncode == 0, done.stdout + done.stderr
    # What torch and enface are is left out, which would take a minute to read.
    words = ("--strict", "--follow-imports=skip", "--ignore-missing-imports", "--no-warn-return-any")
    bases = ("--allow-subclassing-any", "--allow-untyped-decorators", "--cache-dir", top / ".mypy_cache")
    folders = [folder / part for folder in packages.values() for part in ("src", "tests")]
    done = call("mypy", *words, *bases, *folders, folder=top, MYPYPATH=sources(packages))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"in {3 * len(KINDS)} source files" in done.stdout


def test_an_installed_one_is_found_by_its_name_and_trains(tmp_path):
    pytest.importorskip("setuptools")
    names = write("loss", "SSIM2d", tmp_path / "made")
    words = ("install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site")
    done = call("pip", *words, tmp_path / "made", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    shorter = ("stages.main.steps=2", "log.every=1", "data.use=toy_faces", f"plugins=[{TOY}]")
    words = tuple(word for item in shorter for word in ("--set", item))
    done = call("enface", "run", "made/recipe.yaml", *words, folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (tmp_path / "runs").glob("*/*/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    values = [entry["values"][f"term/{names.name}"] for entry in entries if entry["event"] == "step"]
    assert len(values) == 2
    assert all(0 < value < 2 for value in values)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("given", "component", "name"),
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
def test_any_name_gives_a_package_whose_component_has_the_name_of_its_class(
    given, component, name, tmp_path, monkeypatch, enface
):
    names = write("loss", given, tmp_path)
    assert (names.component, names.name) == (component, name)
    assert snake_case(component) == name
    monkeypatch.syspath_prepend(tmp_path / "src")
    assert Catalog(load_plugins([names.module])).get("loss", name).component.__name__ == component
    outcome = enface("check", tmp_path / "recipe.yaml", "--set", f"plugins=[{names.module}]")
    assert outcome.code == 0, outcome.err
    assert f"terms: {name}" in outcome.out


def test_the_package_says_once_what_the_component_is():
    names = name_component("loss", "soft_edges", INSTALLED)
    files = new_files(names)
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
        ("loss", "2fast", "'2fast' is no name for a class"),
        ("loss", "soft-edges", "'soft-edges' is no name for a class"),
        ("loss", "../up", "'../up' is no name for a class"),
        ("loss", "", "'' is no name for a class"),
        ("loss", "kanté", "'kanté' is no name for a class"),
        ("loss", "__", "must have a letter first"),
        ("loss", "_2", "must have a letter first"),
        ("loss", "lambda", "word of Python itself"),
        ("loss", "Lambda", "word of Python itself"),
        ("loss", "none", "word of Python itself"),
        ("loss", "charbonnier", "a loss called 'charbonnier' is installed already, from"),
        ("loss", "Charbonnier", "a loss called 'charbonnier' is installed already, from"),
        ("loss", "plugins", "a package enface_plugins is installed already"),
        ("loss", "tensor", "'Tensor' means something else in src/enface_tensor/tensor.py"),
        ("generator", "encoder", "'Encoder' means something else in src/enface_encoder/encoder.py"),
        ("loss", "hookimpl", "'hookimpl' means something else in src/enface_hookimpl/__init__.py"),
        ("loss", "subject", "'Subject' means something else in tests/test_subject.py"),
    ],
)
def test_a_name_that_would_not_work_is_refused(kind, given, says):
    with pytest.raises(EnfaceError) as caught:
        new_files(name_component(kind, given, INSTALLED))
    assert says in str(caught.value)


# ------------------------------------------------------------------ files


def test_nothing_that_is_there_is_overwritten(tmp_path):
    files = {"a.txt": "new", "src/b.txt": "new"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("old")
    with pytest.raises(EnfaceError, match="holds files; nothing was written"):
        write_files(files, tmp_path / "mine")
    with pytest.raises(EnfaceError, match="is a file; nothing was written"):
        write_files(files, tmp_path / "mine" / "kept.txt")
    with pytest.raises(EnfaceError, match="cannot be written to"):
        write_files(files, tmp_path / "mine" / "kept.txt" / "below")
    assert {path.name: path.read_text() for path in tmp_path.rglob("*.txt")} == {"kept.txt": "old"}


def test_an_empty_folder_is_filled(tmp_path):
    write_files({"a.txt": "new", "src/b.txt": "ä"}, tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"
    assert (tmp_path / "src" / "b.txt").read_bytes() == "ä".encode()
