"""``enface check --data``: the contribution of each term to the objective, as a table and as JSON."""

from __future__ import annotations

import json
import re

import pytest

PATCH = {"use": "patch_gan", "width": 4, "layers": 1}
RAMP = {"use": "linear", "start": 0, "end": 0.1, "over": 50}


@pytest.fixture
def game(recipe):
    return recipe(
        {
            "stages": {
                "main": {"terms": {"l1": {"weight": 4}, "mse": {}}},
                "adversarial": {
                    "steps": 100,
                    "batch": 8,
                    "discriminators": {"patch": PATCH},
                    "terms": {
                        "l1": {},
                        "gan": {"use": "hinge", "against": "patch", "weight": RAMP},
                        "r1": {"against": "patch", "every": 4},
                    },
                },
            }
        }
    )


def untimed(out):
    """Return the output without measured times."""
    return re.sub(r"time: \S+ s per step on cpu; \S+ for", "time: ... for", out)


def cells(out, first):
    """Return the cells of the first table row that begins with ``first``; the output is not a terminal's."""
    line, *_ = [line for line in out.splitlines() if line.startswith(f"{first} ")]
    return line[len(first) :].split("  ")


def test_without_data_the_stages_are_listed(game, enface):
    outcome = enface("check", game)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    # 6 people, 5 poses, 2 lights; 3 planes and a region map of 32 x 32.
    assert lines[0] == "data: toy_faces, 60 images of 32 px, a pack of 0.2 MiB"
    assert [line for line in lines[1:] if not line.startswith("  ")] == [
        "main: 6 steps of 8, losses: l1, mse",
        "adversarial: 100 steps of 8, losses: l1, gan (hinge), r1",
        "toy: ok",
    ]


def test_with_data_the_terms_of_each_player_are_a_table(game, enface):
    outcome = enface("check", game, "--data")
    assert outcome.code == 0, outcome.err
    out = outcome.out
    assert "at initial weights, on 8 images in [-1, 1]\n" in out
    assert "images in [-1, 1]; a run continues from the final weights of stage main, which is not trained here" in out
    mse = [cell.strip() for cell in cells(out, "mse") if cell.strip()]
    assert mse[:2] == ["1", "per pixel"]
    assert mse[2] == mse[3], "a weight of 1"
    assert mse[4].endswith("%")
    shares = [cell.strip() for cell in cells(out[out.index("gradient") :], "mse") if cell.strip()]
    assert len(shares) == 6
    assert shares[0].endswith("%")
    assert shares[3] == "-", "it does not depend on the heads"
    generator_table, _, critic_table = out.rpartition("critic patch ")
    assert "gradient " in critic_table
    gan = cells(generator_table, "gan (hinge)")
    assert "0 -> 0.1" in "  ".join(gan)
    assert [cell.strip() for cell in gan if cell.strip()][-2:] == ["-", "-"]
    assert "gan (hinge): begins at step 1\n" in out
    assert "r1: applied once in 4 updates with 4 times the weight; the mean is shown\n" in critic_table
    assert "\x1b" not in out
    assert out.endswith("toy: ok\n")


def test_at_80_columns_no_cell_is_truncated(recipe, enface, monkeypatch):
    long = "the_class_of_the_identity_of_the_partner"
    terms = {
        "l1": {"weight": {"use": "linear", "start": 1234.5, "end": 0.000123, "over": 5}},
        long: {"use": "cross_entropy", "inputs": {"logits": "pose_logits", "labels": "pose_class"}, "weight": 100},
    }
    path = recipe({"stages": {"main": {"terms": terms}}})
    plain = enface("check", path, "--data").out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = enface("check", path, "--data").out
    assert "\x1b[1m" in shown, "bold, as in a terminal"
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    table = shown[shown.index("losses of generator") : shown.index("toy: ok")]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    for number in re.findall(r"\d[\d.e+-]*%?", plain[plain.index("losses of generator") : plain.index("toy: ok")]):
        assert number in table, number


def test_json_contains_all_measurements_and_nothing_else(game, enface):
    outcome = enface("check", game, "--data", "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["name"] == "toy"
    assert content["unavailable_metrics"] == {}
    assert list(content["stages"]) == ["main", "adversarial"]
    main = content["stages"]["main"]
    assert {key: main[key] for key in ("steps", "batch", "images", "weights", "note", "freeze")} == {
        "steps": 6,
        "batch": 8,
        "images": 8,
        "weights": "initial weights",
        "note": "",
        "freeze": [],
    }
    l1, mse = main["terms"]
    assert (l1["loss"], l1["player"], l1["unit"], l1["begins"]) == ("l1", "generator", "per pixel", 0)
    assert l1["weighted"] == pytest.approx(4 * l1["value"])
    assert l1["share"] + mse["share"] == pytest.approx(1)
    for place in ("output", "encoder", "decoder", "last layer", "all parameters"):
        assert l1["gradients"][place]["share"] + mse["gradients"][place]["share"] == pytest.approx(1)
    assert l1["gradients"]["heads"] is None
    assert {(term["player"], term["term"]) for term in content["stages"]["adversarial"]["terms"]} == {
        ("generator", "l1"),
        ("generator", "gan"),
        ("patch", "gan"),
        ("patch", "r1"),
    }


def test_json_without_data_lists_the_stages(game, enface):
    outcome = enface("check", game, "--json")
    main = json.loads(outcome.out)["stages"]["main"]
    assert {key: main[key] for key in ("steps", "batch", "freeze", "terms")} == {
        "steps": 6,
        "batch": 8,
        "freeze": [],
        "terms": [{"term": "l1", "loss": "l1"}, {"term": "mse", "loss": "mse"}],
    }


def test_messages_of_packing_are_not_part_of_the_json(recipe, enface):
    path = recipe({"data": {"broken": "002_-15_01", "on_error": "skip"}})
    outcome = enface("check", path, "--data", "--json")
    assert json.loads(outcome.out)["name"] == "toy"
    assert "skipped 1 unreadable images" in outcome.err


def test_checking_twice_prints_the_same_and_writes_no_file(game, enface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    first, second = (untimed(enface("check", game, "--data").out) for _ in range(2))
    assert first == second
    assert sorted(tmp_path.rglob("*")) == before
