"""The numbers of evaluations as tables: lines are images, columns are quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.groups import Member
from enface_tools.compare.quantities import Quantity

IMAGE = ["key", "target_key"]


def keys(member: Member) -> pd.MultiIndex:
    """(key, target_key) of each line of ``images.csv``, as text; a target without a key has its image's."""
    images = member.results.images
    key = images["key"].astype(str)
    target = images["target_key"].astype(str) if "target_key" in images else key
    return pd.MultiIndex.from_arrays([key, target], names=IMAGE)


def numbers(members: Sequence[Member], quantities: Sequence[Quantity]) -> pd.DataFrame:
    """Values, averaged over runs image by image; lines are (key, target_key).

    Raises:
        DataError: when an image stands twice.
    """
    return mean_over([_finite(member, quantities) for member in members], IMAGE)


def averaged(members: Sequence[Member], quantities: Sequence[Quantity]) -> pd.DataFrame:
    """What is compared, values or distances to the ideal, averaged likewise."""
    frames = [_finite(member, quantities) for member in members]
    for frame in frames:
        for quantity in quantities:
            if quantity.direction.ideal is not None:
                frame[quantity.name] = (frame[quantity.name] - quantity.direction.ideal).abs()
    return mean_over(frames, IMAGE)


def mean_over(frames: Sequence[pd.DataFrame], image: Sequence[str]) -> pd.DataFrame:
    """The mean of each image over frames, in the order in which images first appear."""
    return pd.concat(frames).groupby(level=list(image), sort=False).mean()


def known(member: Member) -> pd.DataFrame:
    """What is known of each image but its numbers, as text: ``key``, ``target_key``, identity, pose, ..."""
    about = member.results.about
    about = about[[name for name in about.columns if name not in IMAGE]].apply(_text)
    return pd.concat([keys(member).to_frame(index=False), about], axis=1)


def _text(column: pd.Series[Any]) -> pd.Series[str]:
    """A label as text, empty where there is none. A gap in a column of whole numbers makes no 15.0 of a 15."""
    whole = pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 == 0).all())
    return column.map(lambda value: "" if pd.isna(value) else str(int(value)) if whole else str(value)).astype(object)


def _finite(member: Member, quantities: Sequence[Quantity]) -> pd.DataFrame:
    """An evaluation's numbers; those that are not finite are none."""
    found = member.results.numbers[[quantity.name for quantity in quantities]].apply(pd.to_numeric, errors="coerce")
    found = found.astype(np.float64).set_axis(keys(member), axis=0)
    if found.index.has_duplicates:
        key, target = found.index[found.index.duplicated()][0]
        raise DataError(
            f"{member.results.folder / 'images.csv'}: image {key!r} with target {target!r} stands there twice, "
            "so it cannot be paired"
        )
    there: pd.DataFrame = found.replace([np.inf, -np.inf], np.nan)
    return there
