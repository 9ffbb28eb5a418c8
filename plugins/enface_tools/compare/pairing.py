"""The images two groups share, and each image's difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import IMAGE, averaged, keys, known, mean_over, numbers

EXAMPLES = 5
# Runs of the control and of the group whose numbers are averaged before the difference is taken.
Couple = tuple[Sequence[Member], Sequence[Member]]


@dataclass(frozen=True)
class Pairing:
    """What two groups measured on the images they share; all tables have the same lines, a line an image.

    Attributes:
        about: ``key``, ``target_key``, ``identity`` and what else is known of an image, as text.
        seeds: (N,), over how many differences an image is averaged.
        control, group: Values, a column a quantity; NaN where either side has none.
        difference: Group minus control, of values or of distances to the ideal.
        by_seed: The same for each matched seed by itself.
        matched: Seeds of both, each compared with itself; empty where all of each side were averaged first.
        only: Images of one side only, counted: ``control``, ``group``.
        examples: Some of their keys.
        image: The columns that tell images apart.
    """

    about: pd.DataFrame
    seeds: npt.NDArray[np.int64]
    control: pd.DataFrame
    group: pd.DataFrame
    difference: pd.DataFrame
    by_seed: dict[int, pd.DataFrame]
    matched: list[int]
    only: dict[str, int]
    examples: dict[str, list[str]]
    image: list[str]


def pair(control: Group, group: Group, quantities: Sequence[Quantity]) -> Pairing:
    """Pair two groups image by image.

    Raises:
        DataError: when an image stands twice in an evaluation, or none is in both.
    """
    matched = [seed for seed in control.by_seed if seed in group.by_seed]
    couples: list[Couple] = [([control.by_seed[seed]], [group.by_seed[seed]]) for seed in matched]
    couples = couples or [(control.members, group.members)]
    differences = [_difference(couple, quantities) for couple in couples]
    controls, groups, gained = (list(frames) for frames in zip(*differences, strict=True))
    if not any(len(frame) for frame in gained):
        raise DataError(_nothing_in_common(control, group, couples[0]))
    # Which target a source gets may hang on the seed; it is one image all the same.
    members = [member for couple in couples for side in couple for member in side]
    image = ["key"] if all(member.results.images["key"].is_unique for member in members) else IMAGE
    difference = mean_over(gained, image)
    index = difference.index
    about = pd.concat([known(member) for member, *_ in (couple[0] for couple in couples)])
    about = about.drop_duplicates(image).set_index(image).reindex(index).reset_index()
    only = {"control": _only(couples, 0), "group": _only(couples, 1)}
    return Pairing(
        about=about[[*IMAGE, "identity", *about.columns.difference([*IMAGE, "identity"], sort=False)]],
        seeds=pd.concat(gained).groupby(level=image, sort=False).size().reindex(index).to_numpy(),
        control=mean_over(controls, image).reset_index(drop=True),
        group=mean_over(groups, image).reset_index(drop=True),
        difference=difference.reset_index(drop=True),
        by_seed={
            seed: mean_over([frame], image).reindex(index).reset_index(drop=True)
            for seed, frame in zip(matched, gained, strict=False)
        },
        matched=matched,
        only={name: len(images) for name, images in only.items()},
        examples={name: [key for key, _ in images[:EXAMPLES]] for name, images in only.items()},
        image=image,
    )


def _difference(couple: Couple, quantities: Sequence[Quantity]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Values of either side and their difference, on the images that both have."""
    first, second = (numbers(side, quantities) for side in couple)
    ours, theirs = (averaged(side, quantities) for side in couple)
    common = ours.index.intersection(theirs.index, sort=False)
    difference = theirs.loc[common] - ours.loc[common]
    there = difference.notna()
    return first.loc[common].where(there), second.loc[common].where(there), difference


def _only(couples: Sequence[Couple], place: int) -> list[tuple[str, str]]:
    """The images of one side that its counterpart lacks."""
    found: dict[tuple[str, str], None] = {}
    for couple in couples:
        theirs = {image for member in couple[1 - place] for image in keys(member)}
        for member in couple[place]:
            found.update((image, None) for image in keys(member) if image not in theirs)
    return list(found)


def _nothing_in_common(control: Group, group: Group, couple: Couple) -> str:
    said = []
    for side in couple:
        images = [f"{key!r} with target {target!r}" for key, target in keys(side[0])[:3]]
        said.append(f"{side[0].results.folder} has {', '.join(images) or 'none'}")
    return f"{control.name} and {group.name} have no image in common, by key and target's key: {'; '.join(said)}"
