"""The page on losses by purpose has every loss once, and no unknown loss, metric or recipe."""

from __future__ import annotations

import re
from pathlib import Path

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "researcher" / "losses.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]


def names(kind: str) -> set[str]:
    return {entry.name for entry in Catalog(load_plugins()) if entry.kind == kind}


def test_every_loss_has_one_row():
    listed = [row[0].strip("`") for row in ROWS]
    assert sorted(listed) == sorted(names("loss"))


def test_partners_are_losses_and_watched_numbers_are_metrics():
    components = names("loss") | names("metric") | names("discriminator")
    for loss, weight, _, watch in ROWS:
        mentioned = set(re.findall(r"`(\w+)`", weight + watch))
        assert mentioned <= components, (loss, mentioned - components)
        assert watch


def test_a_number_has_a_source_and_a_recipe_exists():
    for loss, weight, source, _ in ROWS:
        numbers = re.findall(r"\d", re.sub(r"`\w+`", "", weight))
        assert source or not numbers, loss
        for recipe in re.findall(r"`(recipes/[\w/]+\.yaml)`", source):
            assert (ROOT / recipe).is_file(), recipe
