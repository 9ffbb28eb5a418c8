"""Patterns that find the person in the names of images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enface import DataError
from enface_plugins.datasets.splits import split_named

SEPARATORS = "/_-. "
GROUPED_SHARE = 0.5
"""Share of the names that must share their beginning with another name."""


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """Return a regular expression over names.

    Args:
        key: The recipe's key, for messages.

    Raises:
        DataError: if it is not a regular expression, or has no group ``identity``.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{key}: {pattern!r} is not a regular expression ({error})") from error
    if "identity" not in expression.groupindex:
        raise DataError(f"{key}: {pattern!r} has no group (?P<identity>...), which names the person")
    return expression


@dataclass(frozen=True)
class NameGroups:
    """Names that share beginnings, as the images of one person do.

    Attributes:
        pattern: A regular expression with a group ``identity``, which matches every name.
        groups: Number of different beginnings.
        example: Two names that share one.
    """

    pattern: str
    groups: int
    example: tuple[str, str]


def name_groups(names: Sequence[str]) -> NameGroups | None:
    """Return the groups of names that share a beginning; None if the names do not look grouped.

    A beginning ends at a separator (``/ _ - .`` or a space) or between the letters and digits at the end. The shortest
    that gives several groups is taken, because a person in two groups would make intervals too narrow. At least half
    of the names must share theirs.

    Args:
        names: Paths with forward slashes, without extension.
    """
    for pattern in _candidates(names):
        matches = [re.search(pattern, name) for name in names]
        people = [match["identity"] for match in matches if match is not None]
        if len(people) < len(names):
            continue
        counts = Counter(people)
        shared = sum(count for count in counts.values() if count > 1)
        if len(counts) < 2 or shared < GROUPED_SHARE * len(names) or all(map(split_named, counts)):
            continue
        person = next(person for person in people if counts[person] > 1)
        first, second = [name for name, other in zip(names, people, strict=True) if other == person][:2]
        return NameGroups(pattern, len(counts), (first, second))
    return None


def _candidates(names: Sequence[str]) -> Iterator[str]:
    """Patterns of the first part of a name, the first two, and so on; then of all up to the digits at the end."""
    separators = [item for item in SEPARATORS if any(item in name for name in names)]
    if separators:
        kind = "".join(re.escape(item) for item in separators)
        parts = [re.split(f"[{kind}]", name) for name in names]
        between = separators[0] if len(separators) == 1 else f"[{kind}]"
        # The separator between parts may be a space or a dot, which have to be escaped outside brackets.
        between = re.escape(between) if len(between) == 1 else between
        for count in range(1, min(map(len, parts))):
            digits = all(part.isdecimal() for items in parts for part in items[:count])
            word = r"\d+" if digits else f"[^{kind}]+"
            yield f"^(?P<identity>{between.join([word] * count)})"
    yield r"^(?P<identity>.*[^\W\d_])\d+$"
