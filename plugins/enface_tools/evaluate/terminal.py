"""Text for the terminal: tables that never break a word, wrapped sentences, durations. Elsewhere the text is plain."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GAP = 2
"""Spaces between two columns."""
MIN_PROSE = 24
"""Least width of a column of sentences."""
FILE_WIDTH = 10_000
"""Width of lines that are not for a terminal."""


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    drop: Sequence[str] = (),
    left: Sequence[str] = (),
    prose: bool = False,
) -> str:
    """Return the text of a table that fits the terminal without breaking a word.

    Empty columns are left out, and on a narrow terminal others until it fits. If it still does not, each row becomes a
    paragraph. In a file or a pipe the table is as wide as its cells, without colours.

    Args:
        heads: Heads of the columns.
        rows: Cells; rich's ``Text`` for coloured ones. Control characters are written out.
        drop: Heads of columns to leave out on a narrow terminal, the least important first.
        left: Heads of further columns of words, which are aligned left as the first one is.
        prose: The last column holds sentences, which are wrapped between words, if it is shown.
    """
    console = _console()
    width = terminal_width()
    cells = [[_text(cell) for cell in row] for row in rows]
    columns = [index for index in range(len(heads)) if not index or any(row[index].plain for row in cells)]
    for name in (*drop, None):
        wraps = prose and columns[-1] == len(heads) - 1
        if width is None or _width(heads, cells, columns, wraps) <= width:
            return _aligned(console, heads, cells, columns, left=left, prose=wraps)
        if name is not None and heads.index(name) in columns:
            columns.remove(heads.index(name))
    return _paragraphs(console, heads, cells, width or 0)


def terminal_width() -> int | None:
    """Columns of the terminal; None if the output goes elsewhere."""
    console = _console()
    return console.width if console.is_terminal else None


def styled(text: str, style: str) -> Text:
    """Return a cell in a colour, or text to render with :func:`rendered`."""
    from rich.text import Text

    return Text(escaped(text), style)


def rendered(*parts: str | Text) -> str:
    """Return a line of several parts, with colours on a terminal."""
    from rich.text import Text

    return _render(_console(), Text.assemble(*map(_text, parts)))


def wrapped(text: str, indent: str = "") -> str:
    """Wrap a sentence between words at the width of the terminal; further lines get the indent."""
    width = terminal_width()
    if width is None:
        return text
    return textwrap.fill(
        text, width, replace_whitespace=False, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def escaped(text: str) -> str:
    """Return text with control characters written out, so that it cannot affect the terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _console() -> Console:
    from rich.console import Console

    # Without a colour system, rich writes no bold text either.
    console = Console(color_system=None) if os.environ.get("NO_COLOR") else Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def _text(cell: str | Text) -> Text:
    from rich.text import Text

    return Text(escaped(cell)) if isinstance(cell, str) else cell


def _width(heads: Sequence[str], rows: Sequence[Sequence[Text]], columns: Sequence[int], prose: bool) -> int:
    widths = [max([len(heads[index]), *(row[index].cell_len for row in rows)]) for index in columns]
    if prose:
        words = [len(word) for row in rows for word in row[columns[-1]].plain.split()]
        widths[-1] = max(min(widths[-1], MIN_PROSE), *words, 0)
    return sum(widths) + GAP * (len(columns) - 1)


def _aligned(
    console: Console,
    heads: Sequence[str],
    rows: Sequence[Sequence[Text]],
    columns: Sequence[int],
    *,
    left: Sequence[str],
    prose: bool,
) -> str:
    from rich.table import Table

    words = {heads[0], *left}
    item = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for index in columns:
        wraps = prose and index == columns[-1]
        item.add_column(
            _text(heads[index]), justify="left" if wraps or heads[index] in words else "right", no_wrap=not wraps
        )
    for row in rows:
        item.add_row(*(row[index] for index in columns))
    return _render(console, item)


def _paragraphs(console: Console, heads: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> str:
    """The first head; then each row as a line with its first cell, and indented ``head value`` pairs, never broken."""
    from rich.text import Text

    lines = [Text(heads[0], "bold")] if heads[0] else []
    for first, *others in rows:
        lines.append(first)
        line = Text()
        for head, cell in zip(heads[1:], others, strict=True):
            if not cell.plain:
                continue
            pair = Text.assemble(f"  {head} " if head else "  ", cell)
            if line.plain and line.cell_len + pair.cell_len > width:
                lines.append(line)
                line = Text()
            line.append_text(pair)
        lines.append(line)
    return "\n".join(_render(console, line) for line in lines)


def _render(console: Console, item: object) -> str:
    with console.capture() as captured:
        console.print(item)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
