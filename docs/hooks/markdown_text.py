"""Markdown of plain text and docstrings, shared by the hooks."""

from __future__ import annotations

import re

CODE = re.compile(r"(``.+?``|`[^`]+`)", re.S)


def cell(content: str) -> str:
    """Return text for a table cell."""
    return escaped(" ".join(content.split())) or "&nbsp;"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table of Markdown cells."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(content: str) -> str:
    """Escape Markdown outside of code, so that formulas are shown literally."""
    parts = CODE.split(content)
    return "".join(f"`{part.strip('`')}`" if index % 2 else literal(part) for index, part in enumerate(parts))


def literal(content: str) -> str:
    """Escape Markdown and HTML."""
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        content = content.replace(sign, name)
    return re.sub(r"([\\*_\[\]{}#])", r"\\\1", content)
