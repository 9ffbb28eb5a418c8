"""A wheel and an sdist build, and the wheel runs without the source tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("core", "plugins", "recipes", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


def run(*command: object, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and an sdist, built from a copy of the tree."""
    pytest.importorskip("build", reason="build is not installed")
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    tree.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PARTS:
        source = ROOT / name
        shutil.copytree(source, tree / name, ignore=ignore) if source.is_dir() else shutil.copy(source, tree / name)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", ".", folder=tree)
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The environment of a process that sees the wheel, not the source tree."""
    root = tmp_path_factory.mktemp("wheel")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target")
    run(*pip, root, wheel, folder=root)
    return {"PYTHONPATH": str(root)}


def test_the_sdist_has_the_recipes(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"recipes/quickstart.yaml", "recipes/seed/ladder.yaml", "setup.py"} <= names


def test_the_wheel_knows_its_recipes_by_name_and_copies_them(installed, tmp_path):
    where = run(sys.executable, "-c", "import enface; print(enface.__file__)", folder=tmp_path, **installed)
    assert where.startswith(installed["PYTHONPATH"])
    enface = (sys.executable, "-m", "enface")
    listed = run(*enface, "recipes", folder=tmp_path, **installed)
    names = {line.split()[0] for line in listed.splitlines()}
    recipes = ROOT / "recipes"
    assert names == {path.relative_to(recipes).with_suffix("").as_posix() for path in recipes.rglob("*.yaml")}
    run(*enface, "recipes", "seed/same_weights", "--out", "mine", folder=tmp_path, **installed)
    copied = {path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*.yaml")}
    assert copied == {"seed/same_weights.yaml", "seed/base.yaml"}
    assert "quickstart: ok" in run(*enface, "check", "quickstart", folder=tmp_path, **installed)


def test_the_wheel_trains_reports_and_writes_packages(installed, tmp_path):
    pytest.importorskip("anny", reason="synthetic heads need: pip install enface[synthetic]")
    enface = (sys.executable, "-m", "enface")
    run(*enface, "run", "tiny", folder=tmp_path, **installed)
    (page,) = tmp_path.glob("runs/tiny/*/report/index.html")
    assert "ssim" in page.read_text(encoding="utf-8")
    summary = json.loads((page.parents[1] / "evaluation" / "summary.json").read_text(encoding="utf-8"))
    assert summary["split"] == "test"
    run(*enface, "new", "loss", "glow", folder=tmp_path, **installed)
    assert list(tmp_path.glob("*/pyproject.toml"))


# ---------------------------------------------------------------------- Docker and conda


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_image_installs_the_versions_of_the_project():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim$", docker, re.M)
    assert f"Programming Language :: Python :: {python}" in project()["classifiers"]
    for name in ("torch", "torchvision"):
        (requirement,) = [item for item in project()["dependencies"] if re.match(rf"{name}\W", item)]
        assert f'"{requirement}"' in docker
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", docker, re.M)
    assert set(extras.split(",")) <= project()["optional-dependencies"].keys()


def test_the_image_gets_all_that_a_build_needs_and_nothing_else():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", docker, re.M) for name in line.split()}
    assert copied == set(PARTS)
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore


def test_the_conda_environment_has_a_supported_python_and_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == project()["name"]
    python, *_, from_pip = environment["dependencies"]
    supported = [line.rpartition(" ")[2] for line in project()["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert python.startswith(f"python{project()['requires-python']}")
    assert {f"3.{minor}" for minor in range(20) if f"3.{minor}" in SpecifierSet(python.removeprefix("python"))} == set(
        supported
    )
    (item,) = from_pip["pip"]
    (extras,) = re.fullmatch(r"--editable \.\[(.*)\]", item).groups()
    assert set(extras.split(",")) <= project()["optional-dependencies"].keys()
