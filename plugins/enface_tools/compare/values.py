"""Numbers of evaluations as tables: one row per image, one column per quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.groups import Member
from enface_tools.compare.quantities import Quantity

IMAGE = ["key", "target_key"]


def image_keys(member: Member) -> pd.MultiIndex:
    """Return (key, target_key) of each row of ``images.csv`` as text; a missing target key is the image's own."""
    images = member.results.images
    key = images["key"].astype(str)
    target = images["target_key"].astype(str) if "target_key" in images else key
    return pd.MultiIndex.from_arrays([key, target], names=IMAGE)


def compared_values(member: Member, quantities: Sequence[Quantity]) -> pd.DataFrame:
    """Return the compared numbers of a run: values, or distances to the ideal."""
    frame = values_of(member, quantities)
    for quantity in quantities:
        if quantity.direction.ideal is not None:
            frame[quantity.name] = (frame[quantity.name] - quantity.direction.ideal).abs()
    return frame


def mean_over(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return each image's mean over the frames that have a number; all have the same rows."""
    return frames[0] if len(frames) == 1 else pd.concat(frames).groupby(level=frames[0].index.names, sort=False).mean()


def image_labels(member: Member) -> pd.DataFrame:
    """Return ``key``, ``target_key``, ``identity`` and the labels of each image, as text."""
    about = member.results.about
    about = about[[name for name in about.columns if name not in IMAGE]].apply(_text)
    return pd.concat([image_keys(member).to_frame(index=False), about], axis=1)


def _text(column: pd.Series[Any]) -> pd.Series[str]:
    """Labels as text, empty if missing. A float column of whole numbers (it has gaps) gives 15, not 15.0."""
    whole = pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 == 0).all())
    return column.map(lambda value: "" if pd.isna(value) else str(int(value)) if whole else str(value)).astype(object)


def values_of(member: Member, quantities: Sequence[Quantity]) -> pd.DataFrame:
    """Return a run's numbers, indexed by (key, target_key); NaN if not finite.

    Raises:
        DataError: if the evaluation lists an image twice.
    """
    columns = [quantity.name for quantity in quantities]
    values = member.results.numbers[columns].apply(pd.to_numeric, errors="coerce")
    values = values.astype(np.float64).set_axis(image_keys(member), axis=0)
    if values.index.has_duplicates:
        key, target = values.index[values.index.duplicated()][0]
        raise DataError(
            f"{member.results.folder / 'images.csv'}: image {key!r} with target {target!r} is listed twice, so it "
            "cannot be paired; evaluate again"
        )
    finite: pd.DataFrame = values.replace([np.inf, -np.inf], np.nan)
    return finite
