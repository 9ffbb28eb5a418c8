"""What could not be read, and how labels are spread over the splits."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from enface.data.pairs import natural_order
from enface_tools.audit.findings import Finding, Subject, Suspect

MOST_VALUES = 40
RARE = 0.2
RARE_MEDIAN_LEAST = 5


@dataclass(frozen=True)
class Distribution:
    """How often each value of a label column occurs in each part.

    Attributes:
        values: In natural order.
        counts: For each value, the number of images in each part.
        different: How many values there are; above 40 they are not listed.
    """

    column: str
    values: list[str]
    counts: list[dict[str, int]]
    different: int


def distributions(subject: Subject) -> list[Distribution]:
    """Every label column's distribution, except ``key`` and ``identity``."""
    return [_distribution(subject, str(name)) for name in subject.table if name not in ("key", "identity")]


def _distribution(subject: Subject, column: str) -> Distribution:
    # A frame made of nothing but these: a hostile column may be called anything.
    texts = subject.table[column].map(str)
    counts = {name: texts.iloc[rows].value_counts() for name, rows in subject.parts.items()}
    present = {str(value) for found in counts.values() for value in found.index}
    # As numbers where they are numbers: -45 comes before 0.
    numbers = subject.table[column].dtype.kind in "iuf"
    values = sorted(present, key=float if numbers else natural_order)
    if len(values) > MOST_VALUES:
        return Distribution(column, [], [], len(values))
    table = [{name: int(found.get(value, 0)) for name, found in counts.items()} for value in values]
    return Distribution(column, values, table, len(values))


def labels(subject: Subject) -> Finding:
    """Label values that are tested and never trained on, and values that are very rare in training.

    Columns with more than 40 values are numbers rather than labels, and left out; so is the column that the split
    goes by, whose values are apart by design. Rare is a value with less than a fifth of the images that the
    column's median value has in training, where that is 5 at least.

    Severity: *warning* for a value that is only tested, *note* for a rare one. A suspect's ``value`` is the number
    of images with that label in the part spoken of.
    """
    suspects = []
    for found in distributions(subject):
        if found.column == subject.recipe.data.split.by:
            continue
        trained = pd.Series([count["train"] for count in found.counts], dtype="int64")
        usual = float(trained[trained > 0].median()) if (trained > 0).any() else 0.0
        for value, count in zip(found.values, found.counts, strict=True):
            name = f"{found.column}={value}"
            if not count["train"]:
                for part in ("val", "test"):
                    if count.get(part):
                        detail = f"{name} is in {part} ({_images(count[part])}) and never in train"
                        suspects.append(
                            Suspect(
                                "warning", _row(subject, found.column, value, part), detail, None, float(count[part])
                            )
                        )
            elif usual >= RARE_MEDIAN_LEAST and count["train"] < RARE * usual:
                detail = f"{name} is on {_images(count['train'])} of train, a usual value of that column on {usual:.0f}"
                suspects.append(
                    Suspect("note", _row(subject, found.column, value, "train"), detail, None, float(count["train"]))
                )
    return Finding("labels", "values tested and never trained, or rare", suspects)


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def _row(subject: Subject, column: str, value: str, part: str) -> int:
    rows = subject.parts[part]
    return int(rows[(subject.table[column].iloc[rows].map(str) == value).to_numpy()][0])


def unreadable(subject: Subject) -> Finding:
    """Images that the pack had to leave out, because they cannot be read.

    Severity: *error* where the recipe stops at them (``data.on_error: raise``), else *warning*.
    """
    severity = "error" if subject.skipped_stops else "warning"
    return Finding(
        "unreadable",
        "images that cannot be read",
        [Suspect(severity, None, said) for said in subject.skipped],
        "The recipe stops at them; data.on_error=skip leaves them out." if subject.skipped_stops else "",
    )
