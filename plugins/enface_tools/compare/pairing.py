"""Images that two groups share, the numbers of each run on them, and the runs that are pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import IMAGE, compared_values, image_keys, image_labels, mean_over, values_of

EXAMPLES = 5
Design = Literal["crossed", "paired", "replicated"]
"""Relation of the runs of two groups: ``crossed`` with the same people, ``paired`` also by the weights they start from,
``replicated`` with other people for each seed."""


@dataclass(frozen=True)
class Pairing:
    """Measurements of two groups on the N images they share. All tables have the same N rows, one per image.

    Attributes:
        about: ``key``, ``target_key``, ``identity`` and the labels of each image, as text.
        design: Relation of the runs.
        seeds: (N,) number of runs of each group that have an image.
        control, group: (N, K) values averaged over runs, one column per quantity; NaN if a run has none.
        difference: (N, K) group minus control, of values or of distances to the ideal.
        control_runs, group_runs: The compared numbers of each run, (N, K). Run i of both is a pair, except in a
            ``crossed`` design.
        control_seeds, group_seeds: Seeds of these runs; empty without recipes.
        only: Number of images in one group only: ``control``, ``group``.
        partial: Number of images in both groups that some run lacks.
        examples: Some keys of these images.
        image: The columns that identify an image.
    """

    about: pd.DataFrame
    design: Design
    seeds: npt.NDArray[np.int64]
    control: pd.DataFrame
    group: pd.DataFrame
    difference: pd.DataFrame
    control_runs: list[pd.DataFrame]
    group_runs: list[pd.DataFrame]
    control_seeds: list[int]
    group_seeds: list[int]
    only: dict[str, int]
    partial: int
    examples: dict[str, list[str]]
    image: list[str]

    @property
    def identities(self) -> int:
        """Number of identities that the images show."""
        return int(self.about["identity"].nunique())

    @property
    def has_seeds(self) -> bool:
        """True if both groups have several runs, so that the difference can be told from that of two trainings."""
        return min(len(self.control_runs), len(self.group_runs)) > 1


def pair(control: Group, group: Group, quantities: Sequence[Quantity]) -> Pairing:
    """Pair two groups image by image.

    Raises:
        DataError: if an evaluation lists an image twice, or no image is in both groups.
    """
    design, sides = _matched(control, group)
    members = [member for side in sides for member in side]
    image = _identifying(sides)
    values = [[_indexed(values_of(member, quantities), image) for member in side] for side in sides]
    compared = [[_indexed(compared_values(member, quantities), image) for member in side] for side in sides]
    index = _shared(compared, design)
    if not len(index):
        raise DataError(_nothing_in_common(control, group))
    # An image without a number in one run has none in the others, so that all runs are compared on the same images.
    values, compared = ([[frame.reindex(index) for frame in side] for side in runs] for runs in (values, compared))
    usable = _usable(compared, design)
    values, compared = (
        [[frame.where(there) for frame, there in zip(side, usable, strict=False)] for side in runs]
        for runs in (values, compared)
    )
    means = [mean_over(side) for side in values]
    images = [[_images(member, image) for member in side] for side in sides]
    only = {"control": _unshared(*images), "group": _unshared(*reversed(images))}
    everywhere = {one for side in images for keys in side for one in keys}
    about = pd.concat([image_labels(member) for member in members])
    about = about.drop_duplicates(image).set_index(image).reindex(index).reset_index()
    present = [pd.Series(1, index=keys).reindex(index, fill_value=0) for keys in images[1]]
    return Pairing(
        about=about[[*IMAGE, "identity", *about.columns.difference([*IMAGE, "identity"], sort=False)]],
        design=design,
        seeds=np.sum([one.to_numpy() for one in present], axis=0),
        control=means[0].reset_index(drop=True),
        group=means[1].reset_index(drop=True),
        difference=(mean_over(compared[1]) - mean_over(compared[0])).reset_index(drop=True),
        control_runs=[frame.reset_index(drop=True) for frame in compared[0]],
        group_runs=[frame.reset_index(drop=True) for frame in compared[1]],
        control_seeds=_seeds(sides[0]),
        group_seeds=_seeds(sides[1]),
        only={side: len(keys) for side, keys in only.items()},
        partial=len(everywhere.difference(index, *only.values())),
        examples={side: [_key(one) for one in keys[:EXAMPLES]] for side, keys in only.items()},
        image=image,
    )


def _matched(control: Group, group: Group) -> tuple[Design, list[list[Member]]]:
    """Return the design, and the runs of both groups; in pairs if the design has pairs."""
    sides = [control.members, group.members]
    if any(_own_people(side) for side in sides):
        common = [seed for seed in control.by_seed if seed in group.by_seed]
        if common:
            return "replicated", [[side.by_seed[seed] for seed in common] for side in (control, group)]
    partners = [[other for other in sides[0] if other.origins & member.origins] for member in sides[1]]
    # A start that several runs of a group share does not tell which of them belong together.
    chosen = [members[0].results.folder for members in partners if len(members) == 1]
    if len(chosen) == len(sides[0]) == len(sides[1]) == len(set(chosen)):
        return "paired", [[members[0] for members in partners], sides[1]]
    return "crossed", sides


def _identifying(sides: Sequence[Sequence[Member]]) -> list[str]:
    """The columns that identify an image: its key alone if the target depends on the seed, else also the target's."""
    keys = [[image_keys(member) for member in side] for side in sides]
    if any(one.get_level_values("key").has_duplicates for side in keys for one in side):
        return IMAGE
    images = [{image for one in side for image in one} for side in keys]
    return ["key"] if any(len({key for key, _ in side}) < len(side) for side in images) else IMAGE


def _seeds(members: Sequence[Member]) -> list[int]:
    return [member.seed for member in members if member.seed is not None]


def _own_people(members: Sequence[Member]) -> bool:
    people = {frozenset(member.results.images["identity"].astype(str)) for member in members}
    return len(people) > 1


def _indexed(frame: pd.DataFrame, image: Sequence[str]) -> pd.DataFrame:
    return frame.groupby(level=list(image), sort=False).mean()


def _shared(compared: Sequence[Sequence[pd.DataFrame]], design: Design) -> pd.Index:
    """The images that all runs have; in a replicated design those that both runs of a pair have."""
    controls, groups = compared
    if design == "replicated":
        shared = [
            first.index.intersection(second.index, sort=False) for first, second in zip(controls, groups, strict=True)
        ]
        index = shared[0]
        for other in shared[1:]:
            index = index.union(other, sort=False)
        return index
    index = controls[0].index
    for frame in [*controls[1:], *groups]:
        index = index.intersection(frame.index, sort=False)
    return index


def _usable(compared: Sequence[Sequence[pd.DataFrame]], design: Design) -> list[pd.DataFrame]:
    """For each run, True where all runs have a number; in a replicated design, where both runs of its pair have."""
    controls, groups = compared
    if design == "replicated":
        return [first.notna() & second.notna() for first, second in zip(controls, groups, strict=True)]
    everywhere = controls[0].notna()
    for frame in [*controls[1:], *groups]:
        everywhere &= frame.notna()
    return [everywhere] * max(len(controls), len(groups))


def _images(member: Member, image: Sequence[str]) -> pd.Index:
    keys = image_keys(member)
    return keys if list(image) == IMAGE else keys.get_level_values("key")


def _unshared(side: Sequence[pd.Index], others: Sequence[pd.Index]) -> list[Hashable]:
    """The images of one side that no run of the other side has."""
    anywhere = {image for images in others for image in images}
    return list(dict.fromkeys(image for images in side for image in images if image not in anywhere))


def _key(image: Hashable) -> str:
    return str(image[0] if isinstance(image, tuple) else image)


def _nothing_in_common(control: Group, group: Group) -> str:
    examples = []
    for side in (control, group):
        member = side.members[0]
        images = [f"{key!r} with target {target!r}" for key, target in image_keys(member)[:3]]
        examples.append(f"{member.results.folder} has {', '.join(images) or 'none'}")
    return f"{control.name} and {group.name} have no image in common, by key and target's key: {'; '.join(examples)}"
