"""``enface audit``: the command, its files, its page and its exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

TOY = str(Path(__file__).parents[2] / "support" / "toy_faces.py")
HOSTILE = '<img src=x onerror="document.title=1">'
# Toy faces under hostile names; the first image of person 0 is also the one of the last person.
FAULTY = """
import importlib.util
spec = importlib.util.spec_from_file_location("toy", {toy!r})
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
NAME = {hostile!r}

class Faulty(toy.ToyFaces):
    '''Toy faces with faults planted.

    Args:
        identities: How many people.
    '''
    def __init__(self, *, identities: int = 5):
        super().__init__(identities=identities, lights=1)
    def rows(self):
        return [{{**row, "key": row["key"] + " " + NAME, "mark": NAME if row["identity"] == "000" else "b"}}
                for row in super().rows()]
    def image(self, row):
        row = dict(row, key=row["key"].split()[0])
        if row["key"] == "004_-30_00":
            row = dict(row, identity="000")
        return super().image(row)
"""


@pytest.fixture
def faulty(recipe, plugin):
    """A recipe whose data has a duplicate across splits and names that a page must not take for HTML."""
    path = plugin(FAULTY.format(toy=TOY, hostile=HOSTILE), brings="Faulty")
    return recipe(
        {"plugins": [path], "data": {"use": "faulty", "size": 32, "split": {"train": 3, "val": 1, "test": 1}}}
    )


@pytest.fixture
def audit(enface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        outcome = enface("audit", *arguments)
        assert "Traceback" not in outcome.out + outcome.err
        return outcome

    return call


def test_it_prints_a_row_for_each_check_and_writes_three_files(audit, recipe, tmp_path):
    outcome = audit(recipe({}))
    assert outcome.code == 0, outcome.err
    lines = [line.split()[:3] for line in outcome.out.splitlines()]
    for check in ("unreadable", "identity_leak", "duplicates", "missing_frontals", "misaligned", "exposure", "labels"):
        assert any(line[0] == check for line in lines if line), outcome.out
    assert outcome.out.splitlines()[-1] == "audit: audits/toy/index.html"
    assert sorted(path.name for path in (tmp_path / "audits" / "toy").iterdir()) == [
        "audit.json",
        "index.html",
        "suspects.csv",
    ]


def test_json_is_the_files_and_nothing_else_is_printed(audit, faulty, tmp_path):
    outcome = audit(faulty, "--json", "--out", tmp_path / "out")
    assert outcome.code == 0
    printed = json.loads(outcome.out)
    assert printed == json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    (check,) = [check for check in printed["checks"] if check["check"] == "duplicates"]
    assert (check["severity"], check["count"], check["counts"]) == ("error", 1, {"error": 1})
    (suspect,) = check["suspects"]
    assert {suspect["identity"], suspect["other_identity"]} == {"000", "004"}
    assert {suspect["split"], suspect["other_split"]} == {"train", "test"}
    assert suspect["value"] == 0
    assert printed["splits"]["train"] == {"images": 15, "identities": 3}
    assert printed["labels"]["light"]["values"]["0"] == {"train": 15, "val": 5, "test": 5}


def test_suspects_are_a_table(audit, faulty, tmp_path):
    audit(faulty, "--out", tmp_path / "out")
    with (tmp_path / "out" / "suspects.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    (line,) = [line for line in lines if line["check"] == "duplicates"]
    assert line["severity"] == "error"
    assert {line["key"], line["other_key"]} == {f"000_-30_00 {HOSTILE}", f"004_-30_00 {HOSTILE}"}


def test_names_and_labels_are_text_on_the_page(audit, faulty, tmp_path):
    audit(faulty, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=&#34;document.title=1&#34;&gt;") >= 3
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert page.count("data:image/webp;base64,") >= 2


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("error", 1),
        ("warning", 1),
        ("duplicates", 1),
        ("labels,duplicates", 1),
        ("identity_leak", 0),
        ("misaligned,exposure", 0),
    ],
)
def test_fail_on(audit, faulty, names, code):
    outcome = audit(faulty, "--fail-on", names)
    assert outcome.code == code
    assert ("duplicates" in outcome.err) == (code == 1)
    assert Path("audits/toy/index.html").is_file(), "the page is written all the same"


def test_fail_on_an_unknown_name_is_refused_before_any_work(audit, recipe):
    outcome = audit(recipe({}), "--fail-on", "duplicate")
    assert outcome.code == 2
    assert "no severity or check 'duplicate'; did you mean 'duplicates'?" in outcome.err
    assert not Path("audits").exists()


def test_unreadable_images_are_reported_though_the_recipe_stops_at_them(audit, recipe):
    outcome = audit(recipe({"data": {"broken": "002_+15_01"}}), "--json", "--fail-on", "unreadable")
    assert outcome.code == 1
    check = json.loads(outcome.out)["checks"][0]
    assert (check["check"], check["severity"], check["count"]) == ("unreadable", "error", 1)
    assert "002_+15_01 cannot be read" in check["suspects"][0]["detail"]
    outcome = audit(recipe({"data": {"broken": "002_+15_01", "on_error": "skip"}}), "--json")
    assert json.loads(outcome.out)["checks"][0]["severity"] == "warning"


def test_a_missing_frontal_and_a_leak_that_training_would_refuse_are_reported(audit, recipe):
    path = recipe({"data": {"skip_frontal": "002", "split": {"by": "light", "train": [0], "val": 0, "test": [1]}}})
    outcome = audit(path, "--json")
    assert outcome.code == 0
    checks = {check["check"]: check for check in json.loads(outcome.out)["checks"]}
    assert (checks["identity_leak"]["severity"], checks["identity_leak"]["count"]) == ("error", 6)
    assert "identity 002 in train" in checks["missing_frontals"]["suspects"][0]["detail"]


def test_an_audit_is_replaced_and_nothing_else_ever(audit, recipe, tmp_path):
    path = recipe({})
    assert audit(path, "--out", tmp_path / "out").code == 0
    assert audit(path, "--out", tmp_path / "out").code == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("mine")
    outcome = audit(path, "--out", other)
    assert outcome.code == 2
    assert f"{other} holds other files and no audit" in outcome.err
    assert (other / "index.html").read_text() == "mine"


def test_a_folder_that_is_a_file(audit, recipe, tmp_path):
    (tmp_path / "file").write_text("mine")
    outcome = audit(recipe({}), "--out", tmp_path / "file")
    assert outcome.code == 2
    assert f"{tmp_path / 'file'} is not a folder" in outcome.err
    outcome = audit(recipe({}), "--out", tmp_path / "file" / "deeper")
    assert outcome.code == 2
    assert "file/deeper" in outcome.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pairs": {"target": {"same": ["identity"], "where": {"yaw": 0}}}}, "pairs.target: no column 'yaw'"),
        ({"pairs": {"source": {"where": {"yaw": 0}}}}, "pairs.source: no column 'yaw'"),
        ({"data": {"split": {"by": "session"}}}, "data.split.by: no column 'session'"),
        ({"data": {"split": {"train": 40}}}, "data.split.train: requests 40"),
    ],
)
def test_rules_that_do_not_fit_the_data(audit, recipe, content, message):
    outcome = audit(recipe(content))
    assert outcome.code == 2
    assert message in outcome.err


def test_a_run_directory_is_as_good_as_its_recipe(audit, enface, recipe, tmp_path):
    path = recipe({"stages": {"main": {"steps": 1}}, "metrics": []})
    assert enface("run", path, "--runs", tmp_path / "runs").code == 0
    (run,) = (tmp_path / "runs" / "toy").iterdir()
    assert audit(run).code == 0


def test_the_python_api_has_a_table(faulty):
    from enface_tools.audit.audit import audit

    table = audit(str(faulty), overrides=["name=other"]).table()
    (suspect,) = table[table["check"] == "duplicates"].to_dict("records")
    assert (suspect["severity"], suspect["split"], suspect["other_split"], suspect["value"]) == (
        *("error", "train", "test", 0),
    )
    assert {suspect["identity"], suspect["other_identity"]} == {"000", "004"}


def test_the_python_api_takes_a_loaded_recipe_and_shows_its_checks(recipe):
    from enface.recipe.load import load_recipe
    from enface_tools.audit.audit import audit
    from enface_tools.audit.checks import CHECKS

    loaded = load_recipe(recipe({"data": {"broken": "002_+15_01"}}))
    result = audit(loaded)
    assert [finding.severity for finding in result.findings if finding.check == "unreadable"] == ["error"]
    assert loaded.recipe.data.on_error == "raise"
    assert result._repr_html_().count("<tr") == 1 + len(CHECKS)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_phone_and_shows_names_as_text(audit, faulty, tmp_path, browser, width):
    audit(faulty, "--out", tmp_path / "out")
    page = browser.new_page(viewport={"width": width, "height": 800})
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto((tmp_path / "out" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title() == "toy \u00b7 enface audit"
    assert HOSTILE in page.locator("#duplicates figcaption").first.inner_text()
    loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    page.wait_for_function(loaded)
    assert page.evaluate("document.images.length") >= 2
    assert messages == []
    page.close()
