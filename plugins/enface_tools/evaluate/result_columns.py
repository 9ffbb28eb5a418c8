"""The columns of an evaluation's tables."""

from __future__ import annotations

import pandas as pd

TEXT_COLUMNS = ("key", "target_key", "identity")
AGAIN = ".1"
"""What a metric's column is called after its name where a label has that already; pandas would call it so, too."""


def column_of(images: pd.DataFrame, metric: str) -> str:
    """The column of ``images.csv`` that holds a metric's numbers; empty when there is none.

    A metric may be called as a label is, as ``identity`` is; its column is then ``NAME.1``.
    """
    again = f"{metric}{AGAIN}"
    if again in images:
        return again
    return metric if metric in images and metric not in TEXT_COLUMNS else ""
