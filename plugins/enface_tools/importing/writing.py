"""A recipe as YAML with comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

ORDER = (
    *("name", "seed", "data", "augment", "generator", "stages", "metrics", "engine", "log"),
    *("use", "root", "layout", "source", "target", "source_side", "size", "load_size", "fit"),
    *("steps", "batch", "accumulate", "ema", "optimizer", "discriminators", "terms", "lr", "betas"),
)
"""Keys in the order of the documentation; others follow as they were set."""
WIDTH = 110
"""Longest line, in characters; longer maps are written as blocks, longer comments are folded."""


def recipe_text(recipe: Mapping[str, Any], comments: Mapping[tuple[str, ...], str], head: Sequence[str]) -> str:
    """Return a recipe as YAML.

    Args:
        comments: Comment of a key, by its path; one that fits stands behind the key, a longer one above it.
        head: Comment at the top, a paragraph each.
    """
    lines = [line for paragraph in head for line in _comment(paragraph, 0)]
    return "\n".join([*lines, *_block(recipe, comments, ())]) + "\n"


def _block(values: Mapping[str, Any], comments: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * len(path)
    for key in sorted(values, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER)):
        value, here = values[key], (*path, key)
        comment = comments.get(here, "")
        comment = "" if comment == key else comment
        commented_below = any(other[: len(here)] == here and other != here for other in comments)
        flow = f"{indent}{_flow(key)}: {_flow(value)}"
        nested = isinstance(value, Mapping) and bool(value)
        as_block = nested and (commented_below or len(flow) > WIDTH or len(path) < 1)
        line = f"{indent}{_flow(key)}:" if as_block else flow
        if comment and len(line) + len(comment) + 4 <= WIDTH:
            yield f"{line}  # {comment}"
        else:
            yield from _comment(comment, len(indent)) if comment else ()
            yield line
        if as_block:
            yield from _block(value, comments, here)


def _comment(text: str, indent: int) -> list[str]:
    return [f"{' ' * indent}# {line}" for line in textwrap.wrap(text, WIDTH - indent - 2)]


class _Dumper(yaml.SafeDumper):
    """Writes equal lists in full, instead of a reference to the first."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
