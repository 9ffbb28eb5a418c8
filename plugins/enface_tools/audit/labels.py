"""Unreadable images, and the distribution of labels over the splits."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from enface.data.images import natural_key
from enface_tools.audit.findings import ID_COLUMNS, AuditedData, Finding, Suspect

MAX_VALUES = 40
RARE = 0.2
RARE_MIN_MEDIAN = 5


@dataclass(frozen=True)
class LabelDistribution:
    """Number of images with each value of a label, in each part.

    Attributes:
        values: In natural order; empty if there are more than 40.
        counts: For each value, the number of images in each part.
        different: Number of different values.
    """

    column: str
    values: list[str]
    counts: list[dict[str, int]]
    different: int


def distributions(data: AuditedData) -> list[LabelDistribution]:
    """Return the distribution of every label."""
    return [_distribution(data, str(name)) for name in data.table if name not in ID_COLUMNS]


def _distribution(data: AuditedData, column: str) -> LabelDistribution:
    # A series, not a frame: a hostile column may have any name.
    texts = data.table[column].map(str)
    counts = {name: texts.iloc[rows].value_counts() for name, rows in data.parts.items()}
    present = {str(value) for in_part in counts.values() for value in in_part.index}
    # Numbers are sorted by value: -45 comes before 0.
    numeric = data.table[column].dtype.kind in "iuf"
    values = sorted(present, key=float if numeric else natural_key)
    if len(values) > MAX_VALUES:
        return LabelDistribution(column, [], [], len(values))
    table = [{name: int(in_part.get(value, 0)) for name, in_part in counts.items()} for value in values]
    return LabelDistribution(column, values, table, len(values))


def labels(data: AuditedData) -> Finding:
    """Find label values that are tested but never trained on, and values that are rare in training.

    Columns with more than 40 values count as numbers, not labels, and are skipped. So is the column of the split,
    whose values differ by design. A value is rare if it has less than a fifth of the images that the column's median
    value has in training, and that median is at least 5.

    Severity: *warning* for a value that is only tested, *note* for a rare one. A suspect's ``value`` is the number
    of images with that label in the reported part.
    """
    suspects = []
    for label in distributions(data):
        if label.column == data.recipe.data.split.by:
            continue
        trained = pd.Series([count["train"] for count in label.counts], dtype="int64")
        median = float(trained[trained > 0].median()) if (trained > 0).any() else 0.0
        for value, count in zip(label.values, label.counts, strict=True):
            name = f"{label.column}={value}"
            if not count["train"]:
                for part in ("val", "test"):
                    if count.get(part):
                        detail = f"{name} is in {part} ({_images(count[part])}) and never in train"
                        row = _first_row(data, label.column, value, part)
                        suspects.append(Suspect("warning", row, detail, None, float(count[part])))
            elif median >= RARE_MIN_MEDIAN and count["train"] < RARE * median:
                detail = f"{name} is on {_images(count['train'])} of train; the median value is on {median:.0f}"
                row = _first_row(data, label.column, value, "train")
                suspects.append(Suspect("note", row, detail, None, float(count["train"])))
    return Finding("labels", "values tested and never trained, or rare", suspects)


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def _first_row(data: AuditedData, column: str, value: str, part: str) -> int:
    rows = data.parts[part]
    return int(rows[(data.table[column].iloc[rows].map(str) == value).to_numpy()][0])


def unreadable(data: AuditedData) -> Finding:
    """Find images that are not in the pack because they cannot be read.

    Severity: *error* if the recipe stops at them (``data.on_error: raise``), else *warning*.
    """
    severity = "error" if data.stops_at_unreadable else "warning"
    return Finding(
        "unreadable",
        "images that cannot be read",
        [Suspect(severity, None, message) for message in data.skipped],
        "The recipe stops at them; data.on_error=skip skips them." if data.stops_at_unreadable else "",
    )
