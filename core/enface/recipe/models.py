"""The recipe's models: what keys there are, of what type and range, with what defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from enface.plugin.schema import ScheduleSpec

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*$")]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Whole = Annotated[int, Ge(0)]
SchedulableNumber = float | ScheduleSpec
Value = int | float | str
Where = dict[str, Value | list[Value]]
Role = Literal["source", "target", "partner"]


NOT_TRAINING = {"name", "log", "metrics", "evaluation"}
"""Keys that may differ when a run goes on: training does not depend on them."""


class Model(BaseModel):
    """A map with known keys only."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Spec(BaseModel):
    """A map naming a component: ``use`` and, beside the model's own keys, that component's parameters."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    use: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """The component's own parameters."""
        return dict(self.model_extra or {})


class SplitModel(Model):
    """Which rows train, validate and test, by the values of a column in natural order.

    A whole number takes that many values, a fraction that share of them, a list those named
    (``"001-054"`` is a range). ``test`` is all the rest unless given. Rows that do not satisfy ``where`` are in
    no part.
    """

    by: str = "identity"
    where: Where = Field(default_factory=dict)
    train: Whole | Share | list[str | int] = 0.8
    val: Whole | Share | list[str | int] = 0
    test: Whole | Share | list[str | int] | None = None


class DataModel(Spec):
    """The dataset, the size of its images, and the split.

    Images are packed at ``load_size``, which leaves room to crop; whatever is not cropped at random is cropped in
    the middle. It is ``size`` unless given.

    ``pack`` is the address of a pack made before, a folder or a URL: nothing is packed then, and ``use`` need only
    be given for what the dataset knows of its pairs, splits and mirrored labels.
    """

    pack: Annotated[str, Field(min_length=1)] | None = None
    size: Annotated[int, Ge(8), Le(2048)] = 96
    load_size: Annotated[int, Ge(8), Le(2048)] | None = None
    split: SplitModel = Field(default_factory=SplitModel)
    on_error: Literal["raise", "skip"] = "raise"

    @model_validator(mode="after")
    def _loads_at_least_its_size(self) -> DataModel:
        if self.load_size is not None and self.load_size < self.size:
            raise ValueError(f"load_size {self.load_size} is smaller than size {self.size}")
        return self

    @property
    def local_pack(self) -> Path | None:
        """The folder that ``pack`` names, where it is the path of one."""
        return None if self.pack is None or "://" in self.pack or "::" in self.pack else Path(self.pack)

    @property
    def packed_size(self) -> int:
        """Height and width of the images in the pack."""
        return self.load_size or self.size


class PairRule(Model):
    """How the second image of a pair is drawn for a source: among rows that agree in the columns ``same``, lie
    one step away in the column ``adjacent``, and satisfy ``where``; with ``chance``, else any row of the split.
    """

    same: list[str] = Field(default_factory=list)
    where: Where = Field(default_factory=dict)
    adjacent: str | None = None
    chance: Share = 1.0


class PairsModel(Model):
    """Which rows may be sources, and how target and partner are drawn for one."""

    source: PairRule = Field(default_factory=PairRule)
    target: PairRule = Field(default_factory=lambda: PairRule(same=["identity"]))
    partner: PairRule | None = None

    @field_validator("source")
    @classmethod
    def _source_has_only_where(cls, rule: PairRule) -> PairRule:
        if rule.same or rule.adjacent:
            raise ValueError("a source has only 'where'")
        return rule


class DrawModel(Model):
    """Which images of a pair are changed at random. Those in ``share`` share one draw, the others have their own."""

    images: list[Role] = Field(["source", "partner"], min_length=1)
    share: list[Role] = Field(default_factory=list)

    @model_validator(mode="after")
    def _shared_are_changed(self) -> DrawModel:
        unknown = [role for role in self.share if role not in self.images]
        if unknown:
            raise ValueError(f"share names {unknown[0]!r}, which is not among images ({', '.join(self.images)})")
        return self


class ShiftModel(DrawModel):
    """Move by up to ``by`` pixels each way, repeating the edge."""

    by: Count


class FlipModel(DrawModel):
    """LabelFlip left and right with ``chance``.

    ``mirror`` says what that does to labels: ``negate`` the number, or a map from value to value. A dataset may
    know it; where it does not, it must be given (``{}`` when no label knows left from right).
    """

    images: list[Role] = Field(["source", "target", "partner"], min_length=1)
    share: list[Role] = Field(["source", "target", "partner"])
    chance: Share = 0.5
    mirror: dict[str, Literal["negate"] | dict[Value, Value]] | None = Field(None, validate_default=True)

    @field_validator("mirror")
    @classmethod
    def _says_what_is_mirrored(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(
                "must say how labels change, for this dataset does not know: {pose: negate}, or {} when no label "
                "tells left from right"
            )
        return value


class AugmentModel(Model):
    """Changes to the images of a batch in training; none unless given.

    ``sharpen`` is no random one: by how much the difference of every target to its own blur is added to it
    (unsharp mask), for a network that gives less than it is asked for.
    """

    crop: DrawModel | None = None
    shift: ShiftModel | None = None
    flip: FlipModel | None = None
    sharpen: Annotated[float, Gt(0), Le(4)] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _false_is_none(cls, value: Any) -> Any:
        return None if value is False else value


class GroupModel(Spec):
    """A parameter group: its learning rate relative to the optimizer's, and options that replace the optimizer's.

    A parameter belongs to the first group whose ``parts`` (of the generator) and ``ndim`` (number of dimensions) it
    has; one that belongs to none keeps the optimizer's options.
    """

    parts: list[str] = Field(default_factory=list)
    ndim: list[Annotated[int, Ge(0), Le(5)]] = Field(default_factory=list)
    lr_scale: Annotated[float, Ge(0)] = 1.0

    @model_validator(mode="after")
    def _selects(self) -> GroupModel:
        if not self.parts and not self.ndim:
            raise ValueError("selects nothing; give 'parts' or 'ndim'")
        return self


class OptimizerModel(Spec):
    """An optimizer, of torch.optim by its name in lower case or a component, with its options."""

    use: str = "adam"
    lr: SchedulableNumber = 1e-4
    groups: dict[Name, GroupModel] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_empty_groups(self, serialize: Any) -> dict[str, Any]:
        # A recipe without groups keeps its digest.
        plain: dict[str, Any] = serialize(self)
        return plain if self.groups else {key: value for key, value in plain.items() if key != "groups"}


class TermModel(Spec):
    """One weighted loss. ``inputs`` maps the loss's argument names to the names it gets instead.

    It counts from step ``start_at`` on, and then at every ``every``-th update of its player, ``every`` times as
    heavy (lazy regularisation). ``side: critic`` makes an ordinary loss ``against`` a discriminator one that the
    discriminator minimises.
    """

    weight: SchedulableNumber = 1.0
    critic_weight: SchedulableNumber = 1.0
    mask: str | None = None
    mask_on: Literal["error", "images"] = "error"
    against: str | None = None
    side: Literal["generator", "critic"] = "generator"
    every: Count = 1
    start_at: Whole = 0
    inputs: dict[str, str] = Field(default_factory=dict)


class DiscriminatorModel(Spec):
    """A critic and its optimizer.

    It learns from step ``start_at`` on, and then at every ``every``-th step. ``augment`` is what happens to the
    images it is shown; ``inputs`` maps arguments of its ``forward`` to columns of the batch.
    """

    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)
    every: Count = 1
    start_at: Whole = 0
    augment: Spec | None = None
    inputs: dict[str, str] = Field(default_factory=dict)


class StartModel(Model):
    """Weights a stage starts from: a stage of this run that was trained before it, another run, or a checkpoint.

    ``run`` is a run directory, or a folder of them, whose newest is meant; without it ``stage`` is one of this
    run's own. ``step`` counts in ``stage`` where that is given, else from the start of the run; without it the
    last checkpoint is meant. Of the generator all is loaded, or the ``parts`` named. ``partial`` loads what fits
    and leaves the rest as it was. ``average`` takes the running average.
    """

    run: str | None = None
    stage: str | None = None
    step: Count | None = None
    checkpoint: str | None = None
    parts: list[str] = Field(default_factory=list)
    partial: bool = False
    average: bool = False

    @model_validator(mode="after")
    def _says_where(self) -> StartModel:
        if self.checkpoint is not None and (self.run, self.stage, self.step) != (None, None, None):
            raise ValueError("checkpoint names one file; leave out run, stage and step")
        if self.checkpoint is None and self.run is None and self.stage is None:
            raise ValueError("name a run, a stage of this run, or a checkpoint")
        return self


# The tags are in brackets, as pydantic's own names of a union's branches are; they are no part of a key's path.
Start = Annotated[
    Annotated[Literal["previous", "scratch"], Tag("[word]")] | Annotated[StartModel, Tag("[map]")],
    Discriminator(lambda value: "[map]" if isinstance(value, dict | StartModel) else "[word]"),
]


class StageModel(Model):
    """A span of steps with its own terms, freezes and optimizers.

    It goes on with the weights of the stage before it, unless ``start`` says otherwise; ``scratch`` are those the
    first stage began with.

    ``batch`` is the number of images an optimizer step sees, over all processes; ``accumulate`` splits it into
    that many passes to save memory. ``cache_codes`` keeps what a frozen encoder gives of an image, to compute it once.
    """

    steps: Count
    batch: Count = 32
    accumulate: Count = 1
    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)
    terms: dict[Name, TermModel] = Field(min_length=1)
    discriminators: dict[Name, DiscriminatorModel] = Field(default_factory=dict)
    start: Start = "previous"
    freeze: list[str] = Field(default_factory=list)
    cache_codes: bool = False
    clip: Annotated[float, Gt(0)] | None = None
    ema: Annotated[float, Gt(0), Le(0.999999)] | None = None

    @field_validator("terms", "discriminators", mode="before")
    @classmethod
    def _drop_false(cls, value: Any) -> Any:
        return _without_false(value)


class MetricModel(Spec):
    """A metric; with ``mask`` its map's mean weighed by one of the recipe's masks."""

    mask: str | None = None


class EngineModel(Model):
    """How the arithmetic is done. ``auto`` precision is bf16 on CUDA devices that have it, else float32.

    ``compile`` is a mode of ``torch.compile``, or true for its usual one; ``reduce-overhead`` replays CUDA graphs.
    ``tf32`` lets CUDA devices multiply float32 numbers with 10 bits of mantissa: faster, no longer what float32 says.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    tf32: bool = False
    channels_last: bool = True
    compile: bool | Literal["reduce-overhead", "max-autotune"] = False
    deterministic: bool = True
    sync_batchnorm: bool = True


class LogModel(Model):
    """How often things are written, in steps; 0 is never.

    ``keep`` is how many of the latest checkpoints stay beside each stage's last one and those at every multiple of
    ``keep_every`` steps; ``best`` names the metric whose best validation value is kept as well (it needs a ``val``
    split).
    """

    every: Count = 20
    samples: Annotated[int, Ge(0)] = 200
    checkpoint: Annotated[int, Ge(0)] = 500
    keep: Count = 2
    keep_every: Whole = 0
    validate_: Annotated[int, Ge(0)] = Field(500, alias="validate")
    best: str | None = None
    observers: list[str] | None = None


class EvaluationModel(Model):
    """The test: at most ``images`` source images (evenly spread), resamples for the intervals, whether what every
    stage ended with is measured, too, and whether pictures of all images are kept. ``regions`` are masks: a metric
    that can is measured over each of them as well.
    """

    images: Count | None = None
    batch: Count | None = None
    bootstrap: Annotated[int, Ge(100)] = 1000
    stages: bool = True
    pictures: bool = True
    regions: dict[Name, Spec] = Field(default_factory=dict)

    @field_validator("regions", mode="before")
    @classmethod
    def _drop_false(cls, value: Any) -> Any:
        return _without_false(value)


class Recipe(Model):
    """A whole recipe, as ``recipe.yaml`` in a run directory holds it."""

    name: Name
    plugins: list[str] = Field(default_factory=list)
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    data: DataModel
    pairs: PairsModel = Field(default_factory=PairsModel)
    augment: AugmentModel = Field(default_factory=AugmentModel)
    generator: Spec
    masks: dict[Name, Spec] = Field(default_factory=dict)
    stages: dict[Name, StageModel] = Field(min_length=1)
    metrics: dict[Name, MetricModel] = Field(default_factory=dict)
    engine: EngineModel = Field(default_factory=EngineModel)
    log: LogModel = Field(default_factory=lambda: LogModel.model_validate({}))
    evaluation: EvaluationModel = Field(default_factory=EvaluationModel)

    @field_validator("metrics", mode="before")
    @classmethod
    def _names_to_specs(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {item: {} for item in value} if all(isinstance(item, str) for item in value) else value
        return _without_false(value)

    @field_validator("masks", "stages", mode="before")
    @classmethod
    def _drop_false(cls, value: Any) -> Any:
        return _without_false(value)

    @model_validator(mode="after")
    def _use_defaults_to_key(self) -> Recipe:
        for stage in self.stages.values():
            _name_after_keys(stage.terms)
            _name_after_keys(stage.discriminators)
        _name_after_keys(self.masks)
        _name_after_keys(self.metrics)
        _name_after_keys(self.evaluation.regions)
        return self

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages.values())

    def dump(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def training_digest(self) -> str:
        """Digest of what training depends on: all but logging, metrics and evaluation."""
        parts = {key: value for key, value in self.dump().items() if key not in NOT_TRAINING}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a resolved recipe."""
    path.write_text(yaml.safe_dump(recipe.dump(), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _without_false(value: Any) -> Any:
    """A map without the entries a child recipe switched off with ``false``."""
    return {key: item for key, item in value.items() if item is not False} if isinstance(value, dict) else value


def _name_after_keys(specs: Mapping[str, Spec]) -> None:
    for key, spec in specs.items():
        spec.use = spec.use or key
