"""Building networks, terms and phases from a checked recipe; requests for unknown names are refused here."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from enface.data.pairs import ROLES
from enface.errors import RecipeError, WeightsError
from enface.plugin.components import (
    AdversarialLoss,
    Augmentation,
    CriticLoss,
    DataInfo,
    Discriminator,
    Generator,
    Loss,
    Mask,
    Schedule,
)
from enface.plugin.schema import ScheduleSpec, closest, requested_arguments
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import DiscriminatorModel, OptimizerModel, StageModel, TermModel
from enface.recipe.optimizers import group_options, optimizer_builder
from enface.training.engine import Engine, reseed
from enface.training.masks import build_mask, check_weights
from enface.training.phases import Phase, Player
from enface.training.step import Step
from enface.training.terms import MaskUse, Term

ENCODED = "encoded_"
"""Prefix of a column with the codes of a role's images, in place of the images."""


def build_generator(loaded: LoadedRecipe, data: DataInfo) -> Generator:
    """Return the recipe's generator, initialised from the recipe's seed."""
    recipe = loaded.recipe
    reseed(recipe.seed, 0)
    try:
        generator = loaded.catalog.build("generator", recipe.generator.use, recipe.generator.params, data)
    except RecipeError as error:
        raise RecipeError(f"{loaded.place(('generator',))}: {error}") from error
    assert isinstance(generator, Generator)
    return generator


def values_of(
    network: nn.Module, column: Callable[[str], Tensor], names: Iterable[str] = ("output",)
) -> dict[str, Tensor]:
    """Return values that a generator provides, computed from the columns that they need; images in [-1, 1]."""
    assert isinstance(network, Generator)
    wants = frozenset(names)
    needed = {item for name in wants for item in network.provides[name]}
    values: dict[str, Tensor] = network(wants, **{item: column(item) for item in sorted(needed)})
    return values


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode, and compute without gradients."""
    network.eval()
    with torch.no_grad():
        yield


@dataclass
class StageBuilder:
    """Builds the step of one stage.

    Args:
        columns: Names of the columns that a batch can have.
        masks: Masks built so far, by name; terms and stages share them, because building one may take seconds.
    """

    loaded: LoadedRecipe
    name: str
    generator: Generator
    data: DataInfo
    columns: Sequence[str]
    engine: Engine
    masks: dict[str, Mask] = field(default_factory=dict)

    @property
    def _stage(self) -> StageModel:
        return self.loaded.recipe.stages[self.name]

    def build(self) -> Step:
        """Return the step, and freeze the stage's frozen parts.

        Raises RecipeError if parts of the recipe do not fit together; names file and key.
        """
        stage, number = self._stage, list(self.loaded.recipe.stages).index(self.name)
        if stage.batch % (stage.accumulate * self.engine.processes):
            raise self._error(
                f"{stage.batch} images cannot be split evenly over {self.engine.processes} processes x "
                f"{stage.accumulate} parts",
                "batch",
            )
        self.freeze()
        reseed(self.loaded.recipe.seed, 1, number)
        critics = {name: self._critic(name) for name in stage.discriminators}
        player = Player(
            "generator",
            self.generator,
            self.engine,
            self._optimizer(stage.optimizer, "optimizer"),
            self._schedule(stage.optimizer.lr, "optimizer", "lr"),
            stage.clip,
        )
        if stage.ema is not None and player.has_evaluation_weights:
            raise self._error(f"{stage.optimizer.use} averages the weights, too; remove one of the two", "ema")
        own, of_critics = self._terms(critics)
        if not own:
            raise self._error("has no term for the generator", "terms")
        models = stage.discriminators
        phases = [
            Phase(critics[name], terms, f"{name}.", models[name].every, models[name].start_at)
            for name, terms in of_critics.items()
            if terms
        ]
        phases.append(Phase(player, own, ""))
        idle = [name for name, terms in of_critics.items() if not terms]
        if idle:
            raise self._error(
                "no term trains it; name it in the 'against' of an adversarial term", "discriminators", idle[0]
            )
        provides = self._provided_by_codes() if stage.cache_codes else self.generator.provides
        step = Step(self.engine, player, provides, critics, phases)
        step.seed = (self.loaded.recipe.seed, number)
        if stage.stop is not None:
            step.stop = self._schedule(ScheduleSpec(use=stage.stop.use, **stage.stop.params), "stop")
        self._check_columns(step)
        return step

    def freeze(self) -> None:
        """Put the generator in training mode, and its frozen parts in eval mode without gradients.

        Raises RecipeError if ``freeze`` names a part that the generator does not have.
        """
        self.generator.train()
        self.generator.requires_grad_(True)
        parts = self.generator.parts
        for index, name in enumerate(self._stage.freeze):
            if name not in parts:
                used = self.loaded.recipe.generator.use
                raise self._error(f"generator {used} has no part {name!r}{closest(name, parts)}", "freeze", index)
            parts[name].requires_grad_(False).eval()
        if not any(parameter.requires_grad for parameter in self.generator.parameters()):
            raise self._error("leaves no part of the generator to train", "freeze")

    def _provided_by_codes(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that the generator computes each name from, with codes in place of images."""
        used, part = self.loaded.recipe.generator.use, self.generator.encoder_part
        if not part:
            raise self._error(f"generator {used} has no encoder whose codes could be cached", "cache_codes")
        if part not in self._stage.freeze:
            raise self._error(f"codes change while {part!r} is trained; name it in 'freeze'", "cache_codes")
        return {
            name: tuple(f"{ENCODED}{column}" if column in ROLES else column for column in columns)
            for name, columns in self.generator.provides.items()
        }

    # ------------------------------------------------------------------ players

    def _critic(self, name: str) -> Player:
        model = self._stage.discriminators[name]
        try:
            module = self.loaded.catalog.build("discriminator", model.use, model.params, self.data)
        except (RecipeError, WeightsError) as error:
            raise self._error(str(error), "discriminators", name) from error
        assert isinstance(module, Discriminator)
        self._refuse_unknown_inputs(
            model.inputs,
            list(requested_arguments(module.forward))[1:],
            f"discriminator {model.use}",
            "discriminators",
            name,
        )
        columns = self._arguments(module.forward, model.inputs, self.columns, "discriminators", name, first=1)
        return Player(
            name,
            self.engine.place(module, twice=True).train(),
            self.engine,
            self._optimizer(model.optimizer, "discriminators", name, "optimizer"),
            self._schedule(model.optimizer.lr, "discriminators", name, "optimizer", "lr"),
            self._stage.clip,
            columns,
            self._augmentation(name, model),
        )

    def _augmentation(self, name: str, model: DiscriminatorModel) -> Augmentation | None:
        if model.augment is None:
            return None
        try:
            made = self.loaded.catalog.build("augmentation", model.augment.use, model.augment.params, self.data)
        except RecipeError as error:
            raise self._error(str(error), "discriminators", name, "augment") from error
        assert isinstance(made, Augmentation)
        return made.to(self.engine.device)

    def _optimizer(self, model: OptimizerModel, *path: str) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
        lr = self._schedule(model.lr, *path, "lr")

        def build(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
            groups = self._parameter_groups(parameters, model, *path)
            try:
                return optimizer_builder(self.loaded.catalog, model)(groups, lr(0))
            except (RecipeError, TypeError, ValueError) as error:
                raise self._error(str(error), *path) from error

        return build

    def _parameter_groups(
        self, parameters: list[nn.Parameter], model: OptimizerModel, *path: str
    ) -> list[dict[str, Any]]:
        """Divide parameters by the recipe's groups; those of no group come last."""
        rest, groups = list(parameters), []
        parts = self.generator.parts if path[0] == "optimizer" else {}
        for name, group in model.groups.items():
            for index, part in enumerate(group.parts):
                if part not in parts:
                    raise self._error(
                        f"there is no part {part!r}{closest(part, parts)}", *path, "groups", name, "parts", index
                    )
            of_parts = {id(item) for part in group.parts for item in parts[part].parameters()}
            chosen = [
                item
                for item in rest
                if (not group.parts or id(item) in of_parts) and (not group.ndim or item.dim() in group.ndim)
            ]
            if not chosen:
                raise self._error("selects no parameter that is trained and in no earlier group", *path, "groups", name)
            groups.append({"params": chosen, "lr_scale": group.lr_scale, **group_options(group.params)})
            chosen_ids = {id(item) for item in chosen}
            rest = [item for item in rest if id(item) not in chosen_ids]
        return [*groups, {"params": rest}] if rest else groups

    def _schedule(self, value: float | ScheduleSpec, *path: str) -> Schedule:
        try:
            schedule = self.loaded.catalog.schedule(value)
        except RecipeError as error:
            raise self._error(str(error), *path) from error
        assert isinstance(schedule, Schedule)
        self._check_schedule(schedule, *path)
        return schedule

    def _check_schedule(self, schedule: Schedule, *path: str) -> None:
        # An unbounded schedule has its largest value at the first or the last step.
        for step in (0, self._stage.steps - 1):
            try:
                value = schedule(step)
            except OverflowError:
                value = math.inf
            if not math.isfinite(value):
                raise self._error(
                    f"its value at step {step} of the stage's {self._stage.steps} overflows; "
                    "let it change less often, or by less",
                    *path,
                )

    # ------------------------------------------------------------------ terms

    def _terms(self, critics: Mapping[str, Player]) -> tuple[list[Term], dict[str, list[Term]]]:
        """Return the generator's terms and those of each critic."""
        own: list[Term] = []
        of_critics: dict[str, list[Term]] = {name: [] for name in critics}
        games: dict[str, str] = {}
        for name, model in self._stage.terms.items():
            losses = self._losses(name, model, critics)
            loss = losses[0]
            if not isinstance(loss, AdversarialLoss):
                critic_only = isinstance(loss, CriticLoss)
                if critic_only or model.side == "critic":
                    against = self._against(name, model, critics)
                    function = loss.critic if isinstance(loss, CriticLoss) else loss.forward
                    weight = self._schedule(model.weight, "terms", name, "weight")
                    of_critics[against].append(self._term(name, model, losses, function, weight, critics))
                    continue
            else:
                against = self._against(name, model, critics)
                if against in games:
                    raise self._error(
                        f"and term {games[against]!r} are two games against discriminator {against!r}; "
                        "give each a discriminator of its own",
                        "terms",
                        name,
                    )
                games[against] = name
                weight = self._schedule(model.critic_weight, "terms", name, "critic_weight")
                of_critics[against].append(self._term(name, model, losses, loss.critic, weight, critics, start_at=0))
            weight = self._schedule(model.weight, "terms", name, "weight")
            own.append(self._term(name, model, losses, loss.forward, weight, critics))
        return own, of_critics

    def _against(self, name: str, model: TermModel, critics: Mapping[str, Player]) -> str:
        if model.against is None:
            raise self._error(
                f"loss {model.use} needs a discriminator: name one of this stage, "
                f"'against: {next(iter(critics), 'NAME')}'",
                "terms",
                name,
            )
        return model.against

    def _losses(self, name: str, model: TermModel, critics: Mapping[str, Player]) -> Sequence[Loss]:
        """Return the loss; if it is stateful, one for each scale of its critic, so that scales share no state."""
        try:
            loss = self.loaded.catalog.build("loss", model.use, model.params, self.data)
        except (RecipeError, WeightsError) as error:
            raise self._error(str(error), "terms", name) from error
        assert isinstance(loss, Loss)
        loss = loss.to(self.engine.device)
        # A loss has no optimizer; its parameters stay fixed.
        loss.requires_grad_(False)
        critic = critics[model.against].module if loss.stateful and model.against is not None else None
        scales = critic.logit_scales if isinstance(critic, Discriminator) else 1
        return [loss, *(copy.deepcopy(loss) for _ in range(scales - 1))]

    def _term(
        self,
        name: str,
        model: TermModel,
        losses: Sequence[Loss],
        function: Callable[..., torch.Tensor],
        weight: Any,
        critics: Mapping[str, Player],
        start_at: int | None = None,
    ) -> Term:
        loss, *further = losses
        available = [*self.columns, *self.generator.provides, "step"]
        if model.against is not None:
            judge = critics[model.against].module
            assert isinstance(judge, Discriminator)
            available += [f"{side}_{item}" for side in ("real", "fake") for item in (*judge.provides, "image")]
            available.append("judge")
        sides = [loss.critic, loss.forward] if isinstance(loss, AdversarialLoss) else [function]
        requested = [argument for side in sides for argument in requested_arguments(side)]
        self._refuse_unknown_inputs(model.inputs, requested, f"loss {model.use}", "terms", name)
        arguments = self._arguments(function, model.inputs, available, "terms", name, hints=loss.hints)
        if model.mask and model.mask_on == "images" and not {"output", "target"} & set(arguments.values()):
            raise self._error("sees neither output nor target, so mask_on: images would change nothing", "terms", name)
        mask = self._mask(model) if model.mask else None
        start_at = model.start_at if start_at is None else start_at
        return Term(name, function, arguments, weight, mask, model.against, model.every, start_at, loss, further)

    def _refuse_unknown_inputs(self, inputs: Mapping[str, str], requested: Sequence[str], who: str, *path: str) -> None:
        for argument in inputs:
            if argument not in requested:
                raise self._error(f"{who} has no input {argument!r}{closest(argument, requested)}", *path, "inputs")

    def _mask(self, model: TermModel) -> MaskUse:
        assert model.mask is not None
        if model.mask not in self.masks:
            self.masks[model.mask] = build_mask(self.loaded, model.mask, self.data).to(self.engine.device)
        mask = self.masks[model.mask]
        arguments = self._arguments(mask.forward, {}, [*self.columns, "step"], "masks", model.mask)
        use = MaskUse(model.mask, mask, arguments, model.mask_on)
        if not set(arguments.values()) - {"step"}:
            self._check_mask(use)
        return use

    def _check_mask(self, use: MaskUse) -> None:
        check_weights(use({"step": 0}), self.data.size, self.loaded.place(("masks", use.name)))

    def _arguments(
        self,
        function: Callable[..., Any],
        inputs: Mapping[str, str],
        available: Sequence[str],
        *path: str,
        first: int = 0,
        hints: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, str]:
        """Return argument -> requested name, from the ``first`` argument on; those with a default are optional."""
        arguments = {}
        for argument, parameter in list(requested_arguments(function).items())[first:]:
            name = inputs.get(argument, argument)
            optional = parameter.default is not parameter.empty and argument not in inputs
            if optional and name not in available:
                continue
            self._require(name, available, *path, hint=hints.get(name, "a term's 'inputs' renames"))
            arguments[argument] = name
        return arguments

    def _require(self, name: str, available: Iterable[str], *path: str | int, hint: str) -> None:
        if name not in available:
            listed = ", ".join(sorted(available))
            raise self._error(f"requests {name!r}, which nothing provides; provided: {listed} ({hint})", *path)

    def _check_columns(self, step: Step) -> None:
        for name in sorted(step.wants(step.phases)):
            for column in self.generator.provides[name]:
                if column not in self.columns:
                    role = " (add 'pairs.partner')" if column == "partner" else ""
                    raise self._error(
                        f"{name!r} is computed from {column!r}, which the batch does not have{role}", "terms"
                    )

    def _error(self, message: str, *path: str | int) -> RecipeError:
        whole = path if path[:1] == ("masks",) else ("stages", self.name, *path)
        return RecipeError(f"{self.loaded.place(whole)}: {message}")
