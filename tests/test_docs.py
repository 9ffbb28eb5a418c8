"""What the README and the docs show works as written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from enface.loading import load_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def test_the_ten_line_loss_is_ten_lines_and_the_one_that_is_tested():
    (shown,) = blocks(ROOT / "README.md", "python")
    assert shown == (ROOT / "tests/support/cauchy.py").read_text(encoding="utf-8")
    assert len(shown.splitlines()) == 10


def test_the_ten_line_loss_trains(enface, recipe, tmp_path):
    plugin = ROOT / "tests/support/cauchy.py"
    toy = ROOT / "tests/support/toy_faces.py"
    terms = {"l1": False, "cauchy": {"weight": 1, "scale": 0.2}}
    mine = recipe({"name": "mine", "plugins": [str(plugin), str(toy)], "stages": {"main": {"terms": terms}}})
    outcome = enface("run", mine, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (log,) = (tmp_path / "runs").glob("*/*/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    values = [entry["values"]["term/cauchy"] for entry in entries if entry["event"] == "step"]
    assert values[-1] < values[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_whole_recipes_in_the_docs_are_valid(page, tmp_path):
    for number, text in enumerate(blocks(page, "yaml")):
        if "extends:" not in text:
            continue
        text = re.sub(r"extends: (?:recipes/)?(\S+)", rf"extends: {ROOT}/recipes/\1", text)
        text = text.replace("cauchy.py", str(ROOT / "tests/support/cauchy.py"))
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        load_recipe(path)


# A base.yaml is a parent only: it has no stages of its own.
RECIPES = [path for path in sorted((ROOT / "recipes").rglob("*.yaml")) if path.stem != "base"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_house_is_valid(path):
    load_recipe(path)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
