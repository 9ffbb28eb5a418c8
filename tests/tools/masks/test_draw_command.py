"""``enface masks draw``: the command, and its page driven by a browser."""

from __future__ import annotations

import json
import re
import signal
from urllib.parse import urlsplit

import numpy as np
import pytest

SIZE = 32


@pytest.fixture
def draw(shell, recipe, until):
    """Start the command on the toy faces: (process, address of the page)."""

    def call(*options):
        child = shell.start("masks", "draw", recipe({}), "--out", "m.npy", "--faces", 3, "--no-browser", *options)
        until(lambda: "http://" in child.out or not child.process.is_alive())
        return child, re.search(r"http://\S+", child.out)[0]

    return call


class Hand:
    """Mouse and keyboard on a page; records its console messages, errors and requests."""

    def __init__(self, page):
        self.page, self.complaints, self.requested = page, [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))

    def open(self, address):
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")
        self.area = self.page.locator("#canvas").bounding_box()

    def at(self, row, column):
        scale = self.area["width"] / SIZE
        return self.area["x"] + (column + 0.5) * scale, self.area["y"] + (row + 0.5) * scale

    def click(self, row, column):
        self.page.mouse.click(*self.at(row, column))

    def drag(self, *points):
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point))
        self.page.mouse.up()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, name):
        return self.page.locator(f"#{name}").inner_text()

    def push(self, name):
        self.page.locator(f"#{name}").click()

    def saves(self, name="save"):
        with self.page.expect_response("**/save") as answer:
            self.push(name)
        self.page.locator("#status", has_not_text="Saving").wait_for(state="attached")
        return answer.value.status


@pytest.fixture
def hand(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield Hand(page)
    page.close()


def marked(folder, name="m.npy"):
    values = np.load(folder / name)
    return {(row, column) for row, column in np.argwhere(values.reshape(SIZE, SIZE, -1)[..., 0] > 1).tolist()}


def test_clicked_pixels_are_saved(draw, hand, tmp_path):
    child, address = draw()
    hand.open(address)
    assert "Face 1 of 3" in hand.text("place")
    # A line of three clicks; the third is undone and repeated elsewhere.
    hand.click(4, 4)
    hand.click(4, 9)
    hand.click(20, 9)
    hand.press("Control+z")
    hand.click(9, 14)
    line = {(4, column) for column in range(4, 10)} | {(4 + step, 9 + step) for step in range(6)}
    assert f"{len(line)} on this face" in hand.text("here")
    # A new line is not joined to the previous one.
    hand.press("Escape")
    hand.click(28, 2)
    hand.press("Control+z", "Control+Shift+Z")
    line.add((28, 2))
    # The second face without joined clicks, one pixel twice; then a drag erases.
    hand.press("ArrowRight")
    assert "Face 2 of 3" in hand.text("place")
    hand.page.locator("#join").uncheck()
    hand.click(4, 4)
    hand.click(30, 30)
    hand.drag((20, 20), (20, 23), (22, 23))
    hand.page.locator("#erase").check()
    hand.drag((20, 21), (20, 22))
    second = {(4, 4), (30, 30), (20, 20), (20, 23), (21, 23), (22, 23)}
    both = line | second
    share = 100 * len(both) / SIZE**2
    assert (hand.text("count"), hand.text("count-of")) == (str(len(both)), f"of 1,024 pixels marked ({share:.1f} %)")
    assert hand.text("status") == "Not saved yet."
    assert hand.saves() == 200
    assert str(tmp_path / "m.npy") in hand.text("status")
    assert marked(tmp_path) == both
    annotations = json.loads((tmp_path / "m.marks.json").read_text())["marks"]
    assert [{tuple(point) for point in points} for points in annotations.values()] == [line, second]
    # A wider brush, by keyboard alone; then save and close.
    hand.press("ArrowRight")
    hand.page.locator("#draw").check()
    hand.page.locator("#width").fill("3")
    hand.page.locator("#surface").focus()
    hand.press(*["Shift+ArrowUp"] * 2, "Shift+ArrowLeft", "Space")
    wide = {(row, column) for row in (13, 14, 15) for column in (14, 15, 16)}
    assert hand.saves("save-close") == 200
    hand.page.wait_for_selector("#end")
    assert child.wait(20) == 0
    assert marked(tmp_path) == both | wide
    assert "mask: m.npy" in child.out
    assert not hand.complaints
    assert {urlsplit(url).hostname for url in hand.requested if not url.startswith("data:")} == {"127.0.0.1"}


def test_annotations_are_resumed_and_cleared(draw, hand, tmp_path):
    child, address = draw()
    hand.open(address)
    hand.click(1, 1)
    hand.saves("save-close")
    assert child.wait(20) == 0
    content = json.loads((tmp_path / "m.marks.json").read_text())
    content["marks"]["someone else"] = [[9, 9]]
    (tmp_path / "m.marks.json").write_text(json.dumps(content))

    child, address = draw("--inside", 3)
    assert "annotations of 1 of the 3 faces" in child.out
    assert "annotations of 1 images not shown on the page: someone else" in child.out
    hand.open(address)
    assert hand.text("count") == "2"
    hand.push("clear")
    hand.press("ArrowRight")
    hand.click(5, 5)
    hand.saves("save-close")
    assert child.wait(20) == 0
    assert marked(tmp_path) == {(9, 9), (5, 5)}
    assert np.load(tmp_path / "m.npy").max() == 3
    assert not hand.complaints


def test_leaving_with_unsaved_annotations_warns(draw, hand):
    _, address = draw()
    hand.open(address)
    dialogs = []
    hand.page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
    hand.page.reload()
    assert not dialogs
    hand.page.wait_for_selector("body[data-ready]")
    hand.click(3, 3)
    hand.page.reload()
    assert dialogs == ["beforeunload"]


def test_annotations_can_be_downloaded_after_the_command_ended(draw, hand, tmp_path):
    child, address = draw()
    hand.open(address)
    hand.click(3, 3)
    child.signal(signal.SIGINT)
    assert child.wait(20) == 130
    hand.push("save")
    hand.page.wait_for_selector("#rescue:visible")
    assert "has ended" in hand.text("status")
    with hand.page.expect_download() as download:
        hand.push("rescue")
    assert download.value.suggested_filename == "m.marks.json"
    download.value.save_as(tmp_path / "m.marks.json")
    child, address = draw()
    assert "annotations of 1 of the 3 faces" in child.out


def test_stopping_before_saving_is_reported(draw, tmp_path):
    child, _ = draw()
    child.signal(signal.SIGINT)
    assert child.wait(20) == 130
    assert "nothing was saved" in child.out
    assert "Traceback" not in child.out
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "m.png"], "must end in .npy"),
        (["--out", "m.npy", "--inside", 1], "--inside 1 must be above --outside 1"),
        (["--out", "m.npy", "--width", 0], "--width"),
    ],
)
def test_invalid_options_are_refused(enface, recipe, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    outcome = enface("masks", "draw", recipe({}), "--no-browser", *options)
    assert outcome.code == 2
    assert says in outcome.err


def test_a_mask_without_annotations_is_not_replaced(enface, recipe, tmp_path):
    np.save(tmp_path / "m.npy", np.ones((SIZE, SIZE)))
    outcome = enface("masks", "draw", recipe({}), "--no-browser", "--out", tmp_path / "m.npy")
    assert outcome.code == 2
    assert "annotations (m.marks.json) do not; name another --out" in outcome.err
