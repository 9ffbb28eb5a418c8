"""Tables and sentences for the terminal: no word is broken at any width, and files and NO_COLOR get plain text."""

from __future__ import annotations

import pytest

from enface.system.messages import duration
from enface_tools.evaluate.terminal import styled, table, wrapped

HEADS = ("metric", "better", "output", "verdict")
ROWS = [
    ("a_metric_with_a_long_name", "nearer 1", styled("0.1234 [0.1000, 0.2000]", "red"), "worse than both"),
    ("ssim", "higher", "0.5", "better"),
]


@pytest.fixture
def width(monkeypatch):
    """Make the standard output a terminal of a width."""

    def set_(columns):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)

    return set_


def test_in_a_file_a_table_is_as_wide_as_its_cells_and_plain(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert table(HEADS, ROWS, left=("better", "verdict")).split("\n") == [
        "metric                     better                     output  verdict",
        "a_metric_with_a_long_name  nearer 1  0.1234 [0.1000, 0.2000]  worse than both",
        "ssim                       higher                        0.5  better",
    ]


def test_on_a_terminal_cells_have_their_colours_unless_no_color_is_set(width, monkeypatch):
    width(120)
    coloured = table(HEADS, ROWS)
    assert "\x1b[31m0.1234 [0.1000, 0.2000]\x1b[0m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = table(HEADS, ROWS)
    assert "\x1b" not in plain
    assert plain.split("\n")[2].split() == ["ssim", "higher", "0.5", "better"]


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (77, ["metric", "better", "output", "verdict"]),
        (76, ["metric", "output", "verdict"]),
        (66, ["metric", "output"]),
    ],
)
def test_columns_are_dropped_until_the_table_fits(width, monkeypatch, columns, heads):
    # Widths of the columns: 25, 8, 23 and 15, with gaps of 2.
    width(columns)
    monkeypatch.setenv("NO_COLOR", "1")
    text = table(HEADS, ROWS, drop=("better", "verdict"))
    assert text.split("\n")[0].split() == heads
    assert len(text.split("\n")) == 3


def test_a_table_that_does_not_fit_becomes_paragraphs_of_whole_pairs(width, monkeypatch):
    width(40)
    monkeypatch.setenv("NO_COLOR", "1")
    assert table(HEADS, ROWS).split("\n") == [
        "metric",
        "a_metric_with_a_long_name",
        "  better nearer 1",
        "  output 0.1234 [0.1000, 0.2000]",
        "  verdict worse than both",
        "ssim",
        "  better higher  output 0.5",
        "  verdict better",
    ]


def test_a_column_of_sentences_is_wrapped_between_words(width, monkeypatch):
    width(50)
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [("leaks", "3", "the same picture lies in two splits, so that the number is too good")]
    assert table(("check", "suspects", ""), rows, prose=True).split("\n") == [
        "check  suspects",
        "leaks         3  the same picture lies in two",
        "                 splits, so that the number is too",
        "                 good",
    ]


def test_empty_columns_are_left_out():
    assert table(("a", "b", "c"), [("x", "", "1"), ("y", "", "")]) == "a  c\nx  1\ny"


def test_control_characters_are_written_out():
    assert "\\x1b[2J" in table(("a",), [("\x1b[2J",)])


def test_sentences_are_wrapped_on_a_terminal_only(width):
    text = "caveat: a path such as runs/quickstart/20261130-151452/report stays whole"
    assert wrapped(text, "  ") == text
    width(30)
    assert wrapped(text, "  ").split("\n") == [
        "caveat: a path such as",
        "  runs/quickstart/20261130-151452/report",
        "  stays whole",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (187, "3:07"), (3600, "1:00:00"), (-1, "0:00")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
