"""Images that two groups share, and the difference of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import IMAGE, image_keys, image_labels, mean_compared, mean_over, mean_values

EXAMPLES = 5
# Runs of the control and of the group; each side is averaged before the difference is taken.
MatchedRuns = tuple[Sequence[Member], Sequence[Member]]


@dataclass(frozen=True)
class Pairing:
    """Measurements of two groups on the N images they share. All tables have the same N rows, one per image.

    Attributes:
        about: ``key``, ``target_key``, ``identity`` and the labels of each image, as text.
        seeds: (N,) number of differences averaged for an image.
        control, group: (N, K) values, one column per quantity; NaN if either side has none.
        difference: (N, K) group minus control, of values or of distances to the ideal.
        by_seed: ``difference`` of each matched seed.
        matched: Seeds of both groups, each compared with itself; empty if each side was averaged first.
        only: Number of images in one group only: ``control``, ``group``.
        examples: Some keys of these images.
        image: The columns that identify an image.
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

    @property
    def identities(self) -> int:
        """Number of identities that the images show."""
        return int(self.about["identity"].nunique())


def pair(control: Group, group: Group, quantities: Sequence[Quantity]) -> Pairing:
    """Pair two groups image by image.

    Raises:
        DataError: if an evaluation lists an image twice, or no image is in both groups.
    """
    matched = [seed for seed in control.by_seed if seed in group.by_seed]
    run_pairs: list[MatchedRuns] = [([control.by_seed[seed]], [group.by_seed[seed]]) for seed in matched]
    run_pairs = run_pairs or [(control.members, group.members)]
    frames = [_difference(runs, quantities) for runs in run_pairs]
    controls, groups, differences = (list(side) for side in zip(*frames, strict=True))
    if not any(len(frame) for frame in differences):
        raise DataError(_nothing_in_common(control, group, run_pairs[0]))
    # The target of a source may depend on the seed; it is one image all the same.
    members = [member for runs in run_pairs for side in runs for member in side]
    image = ["key"] if all(member.results.images["key"].is_unique for member in members) else IMAGE
    difference = mean_over(differences, image)
    index = difference.index
    about = pd.concat([image_labels(first[0]) for first, _ in run_pairs])
    about = about.drop_duplicates(image).set_index(image).reindex(index).reset_index()
    only = {"control": _unshared(run_pairs, 0), "group": _unshared(run_pairs, 1)}
    return Pairing(
        about=about[[*IMAGE, "identity", *about.columns.difference([*IMAGE, "identity"], sort=False)]],
        seeds=pd.concat(differences).groupby(level=image, sort=False).size().reindex(index).to_numpy(),
        control=mean_over(controls, image).reset_index(drop=True),
        group=mean_over(groups, image).reset_index(drop=True),
        difference=difference.reset_index(drop=True),
        by_seed={
            seed: mean_over([frame], image).reindex(index).reset_index(drop=True)
            for seed, frame in zip(matched, differences, strict=False)
        },
        matched=matched,
        only={side: len(images) for side, images in only.items()},
        examples={side: [key for key, _ in images[:EXAMPLES]] for side, images in only.items()},
        image=image,
    )


def _difference(runs: MatchedRuns, quantities: Sequence[Quantity]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Values of the control and of the group and their difference, on the images that both have."""
    control, group = (mean_values(side, quantities) for side in runs)
    compared_control, compared_group = (mean_compared(side, quantities) for side in runs)
    common = compared_control.index.intersection(compared_group.index, sort=False)
    difference = compared_group.loc[common] - compared_control.loc[common]
    finite = difference.notna()
    return control.loc[common].where(finite), group.loc[common].where(finite), difference


def _unshared(run_pairs: Sequence[MatchedRuns], side: int) -> list[tuple[str, str]]:
    """The images of one side that its counterpart lacks."""
    unshared: dict[tuple[str, str], None] = {}
    for runs in run_pairs:
        other = {image for member in runs[1 - side] for image in image_keys(member)}
        for member in runs[side]:
            unshared.update((image, None) for image in image_keys(member) if image not in other)
    return list(unshared)


def _nothing_in_common(control: Group, group: Group, runs: MatchedRuns) -> str:
    examples = []
    for side in runs:
        images = [f"{key!r} with target {target!r}" for key, target in image_keys(side[0])[:3]]
        examples.append(f"{side[0].results.folder} has {', '.join(images) or 'none'}")
    return f"{control.name} and {group.name} have no image in common, by key and target's key: {'; '.join(examples)}"
