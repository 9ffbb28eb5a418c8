"""Models of ``comparison.json``: built when writing, validated when read back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from enface.errors import DataError
from enface_tools.compare.pairing import Design
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.models import CheckpointInfo, Estimate, FileModel, parse
from enface_tools.evaluate.statistics import Outcome

FORMAT: Literal[2] = 2
COMPARISON = "comparison.json"


class ChangeEntry(FileModel):
    """A recipe key that differs from the control's.

    Attributes:
        before, after: Values of the control and of the group, ``from`` and ``to`` in the file; None if absent.
        training: False for keys that do not affect training.
    """

    key: str
    before: Any = Field(alias="from")
    after: Any = Field(alias="to")
    training: bool


class RunEntry(FileModel):
    """An evaluation of a group.

    Attributes:
        directory, evaluation, report: Relative to the folder of the comparison, if possible.
        pictures: True if the evaluation wrote pictures.
    """

    directory: str
    evaluation: str
    seed: int | None
    split: str | None
    step: int | None
    checkpoint: CheckpointInfo | None
    images: int
    identities: int
    pictures: bool
    report: str | None


class SkippedRunEntry(FileModel):
    """A run that is not used."""

    directory: str
    reason: str


class GroupMeanEntry(Estimate):
    """A quantity over all images and seeds of a group.

    Attributes:
        by_seed: Mean of each seed.
        seed_sd: Standard deviation of these means (n - 1); None for a single run.
    """

    images: int
    by_seed: dict[str, float | None]
    seed_sd: float | None


class GroupSetEntry(FileModel):
    """A set metric over the runs of a group."""

    mean: float | None
    by_seed: dict[str, float | None]
    seed_sd: float | None


class GroupEntry(FileModel):
    """A group.

    Attributes:
        left_out: Runs that are not used.
        caveats: Caveats of the runs' own evaluations.
    """

    name: str
    kind: Literal["run", "pairs"]
    runs: list[RunEntry]
    seeds: list[int]
    left_out: list[SkippedRunEntry]
    changes: list[ChangeEntry]
    means: dict[str, GroupMeanEntry]
    sets: dict[str, GroupSetEntry]
    caveats: list[str]


class QuantityEntry(FileModel):
    """A metric, or a metric on a region."""

    metric: str
    region: str | None
    higher_is_better: bool
    ideal: float | None
    direction: str
    card: dict[str, str]

    @property
    def preference(self) -> Direction:
        """Direction of better values."""
        return Direction(self.higher_is_better, self.ideal)


class SeedsEntry(FileModel):
    """Runs of both groups that are compared, by seed; in a paired or replicated design in pairs."""

    control: list[int]
    group: list[int]


class ImageExamplesEntry(FileModel):
    """Keys of some images in one group only."""

    control_only: list[str]
    group_only: list[str]


class ImagesEntry(FileModel):
    """Numbers of images in both groups, and in one only."""

    common: int
    control_only: int
    group_only: int
    examples: ImageExamplesEntry


class ResultEntry(FileModel):
    """A quantity of the group compared with the control.

    Attributes:
        images: Images with a number on both sides.
        missing: Shared images without one.
        compared: Values, or distances to the ideal value.
        difference: Group minus control.
        gain: The same, positive if the group is better.
        control_seed_sd, group_seed_sd: Standard deviation (n - 1) of the runs' means; None for a single run.
        detectable: Smallest difference that is detected with the file's ``power``, before adjustment.
        margin: Largest difference that does not matter; None without one.
        p_equivalent: Of two one-sided tests against a difference beyond the margin, adjusted.
        rank_biserial, d_z: Effect sizes, positive if the group is better; None inside a subset.
    """

    images: int
    missing: int
    identities: int
    control_mean: float | None
    group_mean: float | None
    compared: Literal["value", "distance"]
    difference: Estimate
    gain: Estimate
    control_seed_sd: float | None
    group_seed_sd: float | None
    p: float | None
    p_adjusted: float | None
    detectable: float | None
    margin: float | None
    p_equivalent: float | None
    rank_biserial: float | None
    d_z: float | None
    outcome: Outcome


class SetResultEntry(FileModel):
    """A set metric of the group beside the control's."""

    control: float | None
    group: float | None
    difference: float | None
    gain: float | None


class SubsetEntry(FileModel):
    """Results on the images with one value of a label."""

    column: str
    value: str
    images: int
    identities: int
    results: dict[str, ResultEntry]


class VerdictEntry(FileModel):
    """A result as a sentence."""

    test: str
    outcome: Outcome
    text: str


class ClaimEntry(FileModel):
    """The claim that was registered before training, and its test."""

    text: str
    registered: str
    outcome: Literal["confirmed", "not confirmed", "untested"]
    reason: str
    p: float | None


class SkippedQuantityEntry(FileModel):
    """A quantity that is not compared."""

    test: str
    reason: str


class GroupComparisonEntry(FileModel):
    """A group compared with the control.

    Attributes:
        group: Index into ``groups``.
        about: Subject of the verdicts if they do not hold for the recipe, such as ``this training``; else empty.
        images_file: Table of the shared images.
    """

    group: int
    design: Design
    about: str
    seeds: SeedsEntry
    images: ImagesEntry
    identities: int
    images_file: str
    results: dict[str, ResultEntry]
    sets: dict[str, SetResultEntry]
    by: list[SubsetEntry]
    verdicts: list[VerdictEntry]
    claim: ClaimEntry | None
    left_out: list[SkippedQuantityEntry]
    caveats: list[str]


class ComparisonFile(FileModel):
    """``comparison.json``.

    Attributes:
        groups: The control is the first.
        tests: Quantities compared image by image, by name.
        sets: Set metrics, by name.
        by_columns: Labels whose values are compared separately.
        comparisons: One for each group but the control.
        caveats: Sentences to read before the numbers.
    """

    format: Literal[2]
    confidence: float
    alpha: float
    power: float
    groups: list[GroupEntry] = Field(min_length=1)
    tests: dict[str, QuantityEntry]
    sets: dict[str, QuantityEntry]
    by_columns: list[str]
    comparisons: list[GroupComparisonEntry]
    caveats: list[str]

    def dump(self) -> dict[str, Any]:
        """Return plain data."""
        return self.model_dump(by_alias=True)

    @model_validator(mode="after")
    def _refers_to_known_names(self) -> ComparisonFile:
        for item in self.comparisons:
            if not 0 < item.group < len(self.groups):
                raise ValueError(f"comparisons: there is no group {item.group}")
            results = [item.results, *(subset.results for subset in item.by)]
            unknown = [name for names in results for name in names if name not in self.tests]
            unknown += [name for name in item.sets if name not in self.sets]
            if unknown:
                raise ValueError(f"comparisons: {unknown[0]!r} is neither in tests nor in sets")
        return self


def read_comparison(folder: Path) -> ComparisonFile:
    """Read ``comparison.json``.

    Raises:
        DataError: if it is missing or damaged.
    """
    path = folder / COMPARISON
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or damaged ({error}); make it with enface compare") from error
    return parse(text, ComparisonFile, str(path), "make it again with enface compare")


def number(value: float | None) -> float | None:
    """Return a number as JSON can hold it: None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None
