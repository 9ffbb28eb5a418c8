"""Models of the JSON files that an evaluation writes: built when writing, validated when read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from enface.errors import DataError
from enface_tools.evaluate.direction import Direction, range_text

FORMAT = 3
Weights = Literal["average", "plain"]
"""The running average of a network's weights, or the weights themselves."""
T = TypeVar("T")


class FileModel(BaseModel):
    """A part of a file. Numbers that are undefined are None."""

    model_config = ConfigDict(strict=True)

    def dump(self) -> dict[str, Any]:
        """Plain data, without the keys that were never set."""
        return self.model_dump(exclude_unset=True)


class Estimate(FileModel):
    """A mean and its 95 % interval."""

    mean: float | None
    low: float | None
    high: float | None


class MetricInfo(FileModel):
    """Properties of a metric.

    Attributes:
        unit: Unit of its numbers; empty for a pure number.
        card: Implementation, version, weights' digest, data range.
        gallery: True for identification rates over a gallery, such as rank-1.
        networks: Pretrained networks that the metric uses.
    """

    higher_is_better: bool
    ideal: float | None = None
    bounds: list[float | None] | None = None
    unit: str = ""
    card: dict[str, str] = {}
    gallery: bool = False
    networks: list[str] = []

    @property
    def direction(self) -> Direction:
        """Direction in which values are better."""
        return Direction(self.higher_is_better, self.ideal)

    @property
    def range(self) -> str:
        """Range and unit of its numbers, as ``0 to 100 (dB)``."""
        return range_text(self.bounds, self.unit)


class Measured(Estimate):
    """A metric over images.

    Attributes:
        images, identities: Images that have a number, and the people they show.
        baselines: Means of the baselines, by name.
        distances: For a metric with an ideal value, mean distances to it: of ``output`` and of each baseline. The mean
            of values below and above the ideal may be ideal, although none of them is.
    """

    images: int = 0
    identities: int = 0
    baselines: dict[str, float | None] = {}
    distances: dict[str, float | None] = {}

    def compared(self, name: str = "output") -> float | None:
        """The number of the output or of a baseline to compare with others: a mean distance if there is an ideal."""
        if self.distances:
            return self.distances.get(name)
        return self.mean if name == "output" else self.baselines.get(name)


class MetricSummary(MetricInfo, Measured):
    """A metric over all images.

    Attributes:
        gains: Output minus baseline, paired image by image, by name of the baseline; of distances to the ideal value,
            if there is one.
    """

    gains: dict[str, Estimate] = {}


class SetMetricSummary(MetricInfo):
    """A metric of the whole set, such as FID: one number without an interval."""

    value: float | None
    baselines: dict[str, float | None] = {}


class GroupSummary(FileModel):
    """Metrics over the images with one value of a label, or over one region of the images that have it."""

    images: int
    metrics: dict[str, Measured]


class TwoLabelTable(FileModel):
    """Numbers of the output for each pair of values of two labels.

    Attributes:
        metrics: Means: for each metric a list of rows.
        images, identities: Images that have a number, and the people they show, likewise.
        distances: For metrics with an ideal value, mean distances to it, likewise.
    """

    rows: list[str]
    columns: list[str]
    metrics: dict[str, list[list[float | None]]]
    images: dict[str, list[list[int]]] = {}
    identities: dict[str, list[list[int]]] = {}
    distances: dict[str, list[list[float | None]]] = {}

    @model_validator(mode="after")
    def _has_every_cell(self) -> TwoLabelTable:
        kinds: list[Mapping[str, Sequence[Sequence[object]]]] = [self.metrics, self.distances]
        kinds += [self.images, self.identities]
        for name, table in (item for tables in kinds for item in tables.items()):
            if [len(row) for row in table] != [len(self.columns)] * len(self.rows):
                raise ValueError(f"{name} is not a table of {len(self.rows)} x {len(self.columns)}")
        return self


class CheckpointInfo(FileModel):
    """The evaluated checkpoint: its file's stem, and the weights taken from it."""

    file: str
    weights: Weights


class SelfPairs(FileModel):
    """The pairs of a split whose source is their target: their number, and True if they are measured."""

    count: int
    measured: bool

    @property
    def sentence(self) -> str:
        """The number of pairs, and whether they count."""
        pairs = "1 pair whose source is its" if self.count == 1 else f"{self.count} pairs whose source is their"
        verb = "is" if self.count == 1 else "are"
        if self.measured:
            return f"{pairs} target {verb} among the images; copying is perfect there (self_pairs)."
        return f"{pairs} target {verb} left out (evaluation.self_pairs: true, or --self-pairs, measures such pairs)."


class Summary(FileModel):
    """``summary.json``.

    Attributes:
        by: Label -> value -> metrics.
        by_two: ``"LABEL x LABEL"`` -> means.
        self_pairs: None for images of another system without sources.
        interval: Kind of the intervals.
        unavailable: Metric -> reason.
        caveats: Sentences to read before the numbers.
    """

    kind: Literal["run", "pairs"]
    name: str
    split: str | None = None
    self_pairs: SelfPairs | None = None
    step: int | None = None
    checkpoint: CheckpointInfo | None = None
    format: int
    metrics: dict[str, MetricSummary]
    sets: dict[str, SetMetricSummary] = {}
    regions: dict[str, GroupSummary] = {}
    by: dict[str, dict[str, GroupSummary]] = {}
    by_two: dict[str, TwoLabelTable] = {}
    images: int
    identities: int
    interval: str
    unavailable: dict[str, str] = {}
    caveats: list[str]

    @model_validator(mode="before")
    @classmethod
    def _is_of_this_format(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise ValueError("it was written by another version of enface")
        return content

    @property
    def all_metrics(self) -> dict[str, MetricInfo]:
        """Metrics over images, then set metrics."""
        return {**self.metrics, **self.sets}

    @property
    def numbers(self) -> dict[str, float | None]:
        """Mean of each metric and number of each set metric; None if it is undefined (no region, too few images)."""
        means = {name: item.mean for name, item in self.metrics.items()}
        return means | {name: item.value for name, item in self.sets.items()}

    @property
    def means(self) -> dict[str, float]:
        """:attr:`numbers` without undefined ones."""
        return {name: value for name, value in self.numbers.items() if value is not None}


class StageMetric(Estimate):
    """A metric at the end of a stage.

    Attributes:
        change: Since the stage it started from, paired image by image, of distances to the ideal value if there is one;
            None without such a stage.
    """

    change: Estimate | None = None


class StageSummary(FileModel):
    """A stage in ``stages.json``.

    Attributes:
        after: The stage it started from; None if it started from scratch or another run.
        weights: The measured weights; None in files of before.
        caveat: A sentence if it started from other weights of that stage than those that were measured; else empty.
    """

    step: int
    after: str | None = None
    weights: Weights | None = None
    caveat: str = ""
    metrics: dict[str, StageMetric]


class CheckpointSummary(FileModel):
    """A checkpoint in ``checkpoints.json``."""

    step: int
    file: str
    weights: Weights
    metrics: dict[str, Estimate]

    @classmethod
    def of(cls, summary: Summary) -> CheckpointSummary:
        """An evaluation as a row among checkpoints."""
        about, metrics = summary.checkpoint, summary.metrics
        return cls(
            step=summary.step or 0,
            file=about.file if about else "",
            weights=about.weights if about else "plain",
            metrics={name: Estimate(mean=item.mean, low=item.low, high=item.high) for name, item in metrics.items()},
        )


class LargePictures(FileModel):
    """Pictures at full size.

    Attributes:
        size: Of one image, in pixels.
        files: Index of an image -> its file.
    """

    size: int
    files: dict[str, str]


class PictureIndex(FileModel):
    """``pictures.json``: sprites with the tiles of many images below each other.

    Attributes:
        tile: Size of a tile in pixels.
        rows: Tiles of a full sprite.
        files: The sprites of each role, from ``source``, ``output``, ``target`` and ``error``; a large picture has
            the roles side by side in this order.
    """

    tile: int
    rows: int
    files: dict[str, list[str]]
    images: int
    large: LargePictures

    @model_validator(mode="after")
    def _has_as_many_sprites_of_every_role(self) -> PictureIndex:
        if len({len(files) for files in self.files.values()}) > 1:
            raise ValueError("files: roles have different numbers of sprites")
        return self


class LayerShares(FileModel):
    """Mean share of each layer in the outputs of some images, or in one region of them.

    Attributes:
        images: Images that have a number.
        shares: Name of a layer -> share, in [0, 1]; the means sum to 1.
    """

    images: int
    shares: dict[str, Estimate]


class LayerGroup(FileModel):
    """Shares of all pixels, or of those in a region: of all images, and label -> value -> of the images with it."""

    all: LayerShares
    by: dict[str, dict[str, LayerShares]] = {}


class LayerSummary(FileModel):
    """``layers.json``: the layers that a generator blends into its output.

    Attributes:
        layers: Names of the images that it samples, and last ``painted``.
        rows: Names of the rows of ``layers.png``, a grid with a column for each image.
        longest_flow: Length in pixels of the flow that has the full colour; None without a flow.
        pixels: Shares of all pixels.
        regions: Name of a region -> shares of its pixels.
    """

    layers: list[str]
    rows: list[str]
    longest_flow: float | None
    pixels: LayerGroup
    regions: dict[str, LayerGroup] = {}

    @model_validator(mode="after")
    def _has_every_share(self) -> LayerSummary:
        for group in (self.pixels, *self.regions.values()):
            for item in (group.all, *(item for values in group.by.values() for item in values.values())):
                if list(item.shares) != self.layers:
                    raise ValueError(f"shares of {', '.join(item.shares)} are not those of {', '.join(self.layers)}")
        return self


def parse(text: str, kind: type[T], name: str, remedy: str = "evaluate again") -> T:
    """Validate the text of a JSON file.

    Args:
        kind: A model, or a dictionary of models.
        name: The file, for the message.
        remedy: End of the message.

    Raises:
        DataError: if it is not JSON or does not fit, naming file and key.
    """
    try:
        return TypeAdapter(kind).validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))))
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise DataError(f"{name} is damaged ({reason}); {remedy}")
