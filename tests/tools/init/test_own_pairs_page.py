"""The page "Train on your own pairs" works as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import toy_pairs

PAGE = Path(__file__).resolve().parents[3] / "docs" / "researcher" / "own-pairs.md"
TEXT = PAGE.read_text(encoding="utf-8")
FOLDERS = {
    "faces": toy_pairs.labelled,
    "portraits": toy_pairs.source_target,
    "seasons": toy_pairs.train_a_b,
    "facades": toy_pairs.side_by_side_splits,
    "multipie": toy_pairs.multipie,
}
SMALL = [
    *("data.size=32", "stages.pixels.steps=2", "stages.pixels.batch=2", "generator.width=0.125"),
    *("stages.pixels.terms.perceptual=false", "metrics=[mae,ssim]", "log.best=ssim", "log.validate=2", "log.samples=0"),
]


def shown() -> dict[str, str]:
    """The output of ``enface init FOLDER`` by folder."""
    blocks = re.findall(r"^```console\n(.*?)^```", TEXT, re.S | re.M)
    commands = [item for block in blocks for item in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.M)]
    return {command.split()[-1]: output for command, output in commands if command.startswith("enface init")}


def test_the_page_shows_every_layout():
    assert set(shown()) == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_output_of_init_is_the_one_on_the_page(enface, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toy_pairs, "SIDE", 128)
    FOLDERS[folder](tmp_path / folder, 40)
    assert enface("init", folder).out == shown()[folder]


def test_the_commands_in_the_text_work_in_their_order(enface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_pairs.labelled(tmp_path / "faces")
    toy_pairs.face(0).save(tmp_path / "photo.jpg")
    small = [item for change in SMALL for item in ("--set", change)]
    commands = [
        shlex.split(" ".join(text.split()))[1:]
        for text in re.findall(r"`(enface [^`]+\.\w[^`]*|enface \w+ runs[^`]+)`", TEXT)
    ]
    assert [command[0] for command in commands] == ["init", "check", "audit", "run", "compare", "apply"]
    assert enface("init", "faces").code == 0
    assert enface("run", "faces.yaml", *small).code == 0
    for command in commands:
        sets = small if command[0] in ("check", "run", "audit") else []
        outcome = enface(*command, *sets)
        assert outcome.code == 0, (command, outcome.err)
    assert list((tmp_path / "frontal").iterdir())


def test_the_tasks_on_the_page_have_the_losses_of_their_templates(enface, tmp_path, monkeypatch):
    from enface.recipe.load import load_recipe

    monkeypatch.chdir(tmp_path)
    toy_pairs.labelled(tmp_path / "faces")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", TEXT, re.M)
    assert [row[0] for row in rows] == ["frontalize", "translate", "restore"]
    for task, networks, losses in rows:
        enface("init", "faces", "--task", task, "--out", f"{task}.yaml")
        recipe = load_recipe(tmp_path / f"{task}.yaml").recipe
        (stage,) = recipe.stages.values()
        used = [recipe.generator.use, *(critic.use for critic in stage.discriminators.values())]
        assert re.findall(r"`(\w+)`", networks) == used
        assert re.findall(r"`(\w+)`", losses) == [term.use for term in stage.terms.values()]
