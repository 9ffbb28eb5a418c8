"""The recipe's models: keys, types, ranges and defaults."""

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
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from enface.plugin.bases import DataInfo
from enface.plugin.schema import ScheduleSpec

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*$")]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Whole = Annotated[int, Ge(0)]
SchedulableNumber = float | ScheduleSpec
Value = int | float | str
Where = dict[str, Value | list[Value]]
Role = Literal["source", "target", "partner"]
Fit = Literal["crop", "pad", "stretch"]
Side = Annotated[int, Ge(8), Le(2048)]
# The tags are in brackets, like pydantic's names of a union's branches, because they are not part of a key's path.
ImageSize = Annotated[
    Annotated[Side, Tag("[side]")] | Annotated[tuple[Side, Side], Tag("[sides]")],
    Discriminator(lambda value: "[sides]" if isinstance(value, list | tuple) else "[side]"),
]

NOT_TRAINING = {"name", "log", "metrics", "evaluation", "claim"}
"""Keys that training does not depend on; they may change when a run is resumed."""


def _without_false(value: Any) -> Any:
    """Remove the entries that a child recipe switched off with ``false``."""
    return {key: item for key, item in value.items() if item is not False} if isinstance(value, dict) else value


Switchable = BeforeValidator(_without_false)
"""Marks a map whose entries a child recipe can switch off with ``false``."""


class Model(BaseModel):
    """A map with known keys only."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Spec(BaseModel):
    """A map that names a component by ``use``; keys that are not the model's own are the component's parameters."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    use: str = ""

    @property
    def params(self) -> dict[str, Any]:
        """The component's own parameters."""
        return dict(self.model_extra or {})


class SplitModel(Model):
    """The rows for training, validation and test, by the values of a column in natural order.

    A whole number takes that many values, a fraction that share of them, a list the values it names
    (``"001-054"`` is a range). ``test`` defaults to all the rest. Rows that do not satisfy ``where`` are in no part.
    ``shuffle`` takes numbers and fractions in an order drawn by the recipe's seed, so each seed has other people.

    If the data names its splits, ``by`` is their column ``split``, and a number or fraction of ``val`` takes that many
    identities out of ``train``.
    """

    by: str = "identity"
    where: Where = Field(default_factory=dict)
    train: Whole | Share | list[str | int] = 0.8
    val: Whole | Share | list[str | int] = 0
    test: Whole | Share | list[str | int] | None = None
    shuffle: bool = False

    @model_serializer(mode="wrap")
    def _without_default(self, serialize: Any) -> dict[str, Any]:
        # A recipe that does not shuffle keeps its digest.
        plain: dict[str, Any] = serialize(self)
        return plain if self.shuffle else {key: value for key, value in plain.items() if key != "shuffle"}


class ChannelsModel(Model):
    """Number of planes of source and target images; partners have those of sources."""

    source: Annotated[int, Ge(1), Le(64)] = 3
    target: Annotated[int, Ge(1), Le(64)] = 3


class DataModel(Spec):
    """The dataset, the size and samples of its images, and the split.

    Images are packed at ``load_size`` (default: ``size``), which leaves room for crops; images that are not cropped
    at random are cropped in the middle. Both are a number of pixels, or ``[height, width]``.

    ``pack`` is the address of an existing pack, a folder or a URL. Nothing is packed then, and ``use`` is needed only
    for the pairs, splits and mirrored labels that the dataset declares.
    """

    pack: Annotated[str, Field(min_length=1)] | None = None
    size: ImageSize = 96
    load_size: ImageSize | None = None
    fit: Fit = "crop"
    fill: Share = 0.0
    channels: ChannelsModel = Field(default_factory=ChannelsModel)
    depth: Literal[8, 16] = 8
    split: SplitModel = Field(default_factory=SplitModel)
    on_error: Literal["raise", "skip"] = "raise"

    @model_validator(mode="after")
    def _loads_at_least_its_size(self) -> DataModel:
        if any(loaded < side for loaded, side in zip(self.packed_size, self.image_size, strict=True)):
            raise ValueError(f"load_size {self.load_size} is smaller than size {self.size}")
        return self

    @property
    def local_pack(self) -> Path | None:
        """The folder that ``pack`` names; None if it names an address."""
        return None if self.pack is None or "://" in self.pack or "::" in self.pack else Path(self.pack)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def packed_size(self) -> tuple[int, int]:
        """Height and width of the images in the pack."""
        size = self.load_size or self.size
        return (size, size) if isinstance(size, int) else size

    def info(self, size: tuple[int, int] | None = None, **known: Any) -> DataInfo:
        """Return facts for components, as far as they are ``known``; ``size`` is by default that of the images."""
        return DataInfo(size or self.image_size, channels=self.channels.model_dump(), depth=self.depth, **known)


class PairRule(Model):
    """Rule for drawing the second image: a row that agrees with the source in the columns ``same``, is one step away in
    the column ``adjacent``, and satisfies ``where``; with probability 1 - ``chance`` any row of the split.
    """

    same: list[str] = Field(default_factory=list)
    where: Where = Field(default_factory=dict)
    adjacent: str | None = None
    chance: Share = 1.0


class PairsModel(Model):
    """The rows that may be sources, and the rules for drawing their target and partner."""

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
    """The images of a pair that are changed at random. Those in ``share`` share one draw, each other has its own."""

    images: list[Role] = Field(["source", "partner"], min_length=1)
    share: list[Role] = Field(default_factory=list)

    @model_validator(mode="after")
    def _shared_are_changed(self) -> DrawModel:
        unknown = [role for role in self.share if role not in self.images]
        if unknown:
            raise ValueError(f"share names {unknown[0]!r}, which is not among images ({', '.join(self.images)})")
        return self


class ShiftModel(DrawModel):
    """Shift by up to ``by`` pixels in each direction; the edge is repeated."""

    by: Count


class FlipModel(DrawModel):
    """Flip left and right with probability ``chance``.

    ``mirror`` gives the labels of a flipped image by column: ``negate`` for numbers, or a map from value to value.
    It is required unless the dataset declares it; ``{}`` if no label depends on left and right.
    """

    images: list[Role] = Field(["source", "target", "partner"], min_length=1)
    share: list[Role] = Field(["source", "target", "partner"])
    chance: Share = 0.5
    mirror: dict[str, Literal["negate"] | dict[Value, Value]] | None = Field(None, validate_default=True)

    @field_validator("mirror")
    @classmethod
    def _is_given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError(
                "must say how labels change, because this dataset does not declare it: {pose: negate}, or {} if no "
                "label depends on left and right"
            )
        return value


class AugmentModel(Model):
    """Changes to the images of a batch in training; default: none.

    ``sharpen`` is not random: it adds that share of the difference between every target and its blur (unsharp mask).
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
    """Options of the parameters in some ``parts`` of the generator or with some numbers of dimensions (``ndim``).

    A parameter belongs to the first group that selects it; one of no group keeps the optimizer's options.
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
    """One weighted loss. ``inputs`` maps the loss's argument names to the names of other tensors.

    It is active from step ``start_at`` on, at every ``every``-th update of its network, with ``every`` times the
    weight (lazy regularisation). With ``side: critic``, the discriminator named by ``against`` minimises it.
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
    """A discriminator, updated from step ``start_at`` on at every ``every``-th step. ``augment`` changes its images;
    ``inputs`` maps arguments of its ``forward`` to columns of the batch.
    """

    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)
    every: Count = 1
    start_at: Whole = 0
    augment: Spec | None = None
    inputs: dict[str, str] = Field(default_factory=dict)


class StartModel(Model):
    """Initial weights of a stage: from an earlier stage of this run, another run, or a checkpoint.

    ``run`` is a run directory, or a folder whose newest run is used; without it ``stage`` is an earlier stage of this
    run. ``step`` (default: the last checkpoint) counts from the start of ``stage``, or of the run without ``stage``.
    ``partial`` loads the tensors that fit and keeps the others; ``average`` loads the running average.
    """

    run: str | None = None
    stage: str | None = None
    step: Count | None = None
    checkpoint: str | None = None
    parts: list[str] = Field(default_factory=list)
    partial: bool = False
    average: bool = False

    @model_validator(mode="after")
    def _names_one(self) -> StartModel:
        if self.checkpoint is not None and (self.run, self.stage, self.step) != (None, None, None):
            raise ValueError("checkpoint names one file; remove run, stage and step")
        if self.checkpoint is None and self.run is None and self.stage is None:
            raise ValueError("name a run, a stage of this run, or a checkpoint")
        return self


Start = Annotated[
    Annotated[Literal["previous", "scratch"], Tag("[word]")] | Annotated[StartModel, Tag("[map]")],
    Discriminator(lambda value: "[map]" if isinstance(value, dict | StartModel) else "[word]"),
]


class EmaModel(Model):
    """Running average of the weights and statistics, which samples and evaluation use; a number is its ``decay``.

    Until step ``start`` of the stage it follows the weights. With ``warmup`` the decay n updates later is at most
    (1 + n) / (10 + n), so that the first weights of a short stage do not dominate it.
    """

    decay: Annotated[float, Gt(0), Le(0.999999)]
    warmup: bool = True
    start: Whole = 0


def _decay_to_map(value: Any) -> Any:
    return {"decay": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class StopModel(Spec):
    """Early stopping: the stage ends once a schedule, by default ``patience``, is above 0.

    With ``restore: best`` it ends with the weights of its best validation.
    """

    use: str = "patience"
    restore: Literal["last", "best"] = "last"


class StageModel(Model):
    """A number of steps with its own terms, frozen parts and optimizers.

    By default it continues with the weights of the previous stage; ``start`` names others, and ``scratch`` are the
    initial weights of the run.

    ``batch`` is the number of images per optimizer step, over all processes; ``accumulate`` splits it into that many
    passes to save memory. ``cache_codes`` computes the features of a frozen encoder once per image.
    """

    steps: Count
    batch: Count = 32
    accumulate: Count = 1
    optimizer: OptimizerModel = Field(default_factory=OptimizerModel)
    terms: Annotated[dict[Name, TermModel], Field(min_length=1), Switchable]
    discriminators: Annotated[dict[Name, DiscriminatorModel], Switchable] = Field(default_factory=dict)
    start: Start = "previous"
    freeze: list[str] = Field(default_factory=list)
    cache_codes: bool = False
    clip: Annotated[float, Gt(0)] | None = None
    ema: Annotated[EmaModel | None, BeforeValidator(_decay_to_map, json_schema_input_type=float | EmaModel | None)] = (
        None
    )
    stop: StopModel | None = None

    def label(self, term: str) -> str:
        """Return a term as reports show it: ``l1``, or ``l1 (charbonnier)`` if its loss has another name."""
        name = term.rpartition(".")[2]
        return term if self.terms[name].use == name else f"{term} ({self.terms[name].use})"


class MetricModel(Spec):
    """A metric; with ``mask``, the mean of its map is weighted by one of the recipe's masks."""

    mask: str | None = None


class EngineModel(Model):
    """Device and arithmetic. ``auto`` precision is bf16 on CUDA devices that support it, else float32.

    ``compile`` is a mode of ``torch.compile``, or true for its default; ``reduce-overhead`` replays CUDA graphs.
    ``tf32`` lets CUDA devices multiply float32 numbers with 10 bits of mantissa: faster, but less precise.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    tf32: bool = False
    channels_last: bool = True
    compile: bool | Literal["reduce-overhead", "max-autotune"] = False
    deterministic: bool = True
    sync_batchnorm: bool = True


class LogModel(Model):
    """Intervals of logging in steps; 0 is never.

    ``keep`` is the number of latest checkpoints to keep, in addition to each stage's last one and those at multiples
    of ``keep_every`` steps. ``best`` names a metric: the checkpoint with its best validation value is kept, too (this
    needs a ``val`` split).
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
    """Evaluation at the end of a run; ``split: val`` leaves the test people unseen.

    At most ``images`` source images are measured, spread evenly over people and labels. ``stages`` measures the
    network at the end of every stage, too; ``pictures`` keeps pictures of all images. ``regions`` are
    masks, over each of which metrics are measured, too, if they support it. ``self_pairs`` also measures pairs whose
    source is their target, which copying solves.
    """

    split: Literal["val", "test"] = "test"
    images: Count | None = None
    batch: Count | None = None
    stages: bool = True
    pictures: bool = True
    self_pairs: bool = False
    regions: Annotated[dict[Name, Spec], Switchable] = Field(default_factory=dict)


class ClaimModel(Model):
    """A claim that is registered before training: the recipe is ``better`` on a metric ``than`` another recipe.

    The gain is claimed to exceed ``by``, in the metric's unit, with at least ``seeds`` runs of each recipe.
    """

    better: str
    than: Name
    by: Annotated[float, Ge(0)] = 0.0
    seeds: Annotated[int, Ge(2)] = 3


class Recipe(Model):
    """A recipe, as saved in ``recipe.yaml`` of a run directory."""

    name: Name
    plugins: list[str] = Field(default_factory=list)
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    data: DataModel
    pairs: PairsModel = Field(default_factory=PairsModel)
    augment: AugmentModel = Field(default_factory=AugmentModel)
    generator: Spec
    masks: Annotated[dict[Name, Spec], Switchable] = Field(default_factory=dict)
    stages: Annotated[dict[Name, StageModel], Field(min_length=1), Switchable]
    metrics: dict[Name, MetricModel] = Field(default_factory=dict)
    engine: EngineModel = Field(default_factory=EngineModel)
    log: LogModel = Field(default_factory=lambda: LogModel.model_validate({}))
    evaluation: EvaluationModel = Field(default_factory=EvaluationModel)
    claim: ClaimModel | None = None

    @field_validator("metrics", mode="before")
    @classmethod
    def _names_to_specs(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {item: {} for item in value} if all(isinstance(item, str) for item in value) else value
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

    @model_validator(mode="after")
    def _measures_what_it_claims(self) -> Recipe:
        if self.claim is not None and self.claim.better.partition("@")[0] not in self.metrics:
            raise ValueError(f"claim.better: {self.claim.better!r} is not among the recipe's metrics")
        return self

    @property
    def total_steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages.values())

    def dump(self) -> dict[str, Any]:
        """Return the recipe as JSON values, including all defaults."""
        return self.model_dump(mode="json", by_alias=True)

    def training_digest(self, *, length: bool = True) -> str:
        """Return the digest of everything that training depends on: all but logging, metrics and evaluation.

        Without ``length`` it leaves out the steps of the last stage, which may grow when a run is resumed.
        """
        parts = {key: value for key, value in self.dump().items() if key not in NOT_TRAINING}
        if not length:
            del parts["stages"][list(self.stages)[-1]]["steps"]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a resolved recipe."""
    path.write_text(yaml.safe_dump(recipe.dump(), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _name_after_keys(specs: Mapping[str, Spec]) -> None:
    for key, spec in specs.items():
        spec.use = spec.use or key
