"""One training step: names, terms, and a phase for each player."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from enface.errors import NonFiniteLossError, RecipeError
from enface.plugin.components import Loss, Schedule
from enface.train.engine import Engine, reseed
from enface.train.phases import FiniteCheck, Phase, Player
from enface.train.terms import Named, Term, averaged


@dataclass(frozen=True)
class TermPreview:
    """A term as it is on one batch.

    Attributes:
        value: Its mean, unweighted.
        shape: Of its map; of the first scale's, where there are several.
        gradient: The norm of what the value sends into the output, d value / d output over the whole batch; None
            where it does not depend on the output, and for a critic's term.
    """

    phase: Phase
    term: Term
    value: float
    shape: tuple[int, ...]
    gradient: float | None


@dataclass
class Step:
    """One training step of a stage: every critic's phase, then the generator's.

    Each player's networks run only for what the terms ask for that count at the step, and the generator's pass is
    shared by all phases (with ``accumulate`` above 1 the critics see a first pass without gradients, to keep one
    part in memory).
    """

    engine: Engine
    generator: Player
    provides: Mapping[str, tuple[str, ...]]
    critics: Mapping[str, Player]
    phases: Sequence[Phase]
    seed: tuple[int, int] = (0, 0)

    def active(self, step: int) -> list[Phase]:
        """The phases that have something to do at a step."""
        return [phase for phase in (phase.at(step) for phase in self.phases) if phase.terms]

    def wants(self, phases: Sequence[Phase]) -> frozenset[str]:
        """What the generator is asked for."""
        wants = {name for phase in phases for name in phase.asks if name in self.provides}
        # A critic is shown the output whatever its terms ask for by name.
        if any(term.against is not None for phase in phases for term in phase.terms):
            wants.add("output")
        return frozenset(wants)

    def columns(self, phases: Sequence[Phase]) -> list[str]:
        """The batch's columns that are needed."""
        asked = {name for phase in phases for name in phase.asks if not _is_judged(name)}
        asked |= {column for name in self.wants(phases) for column in self.provides[name]}
        critics = {term.against for phase in phases for term in phase.terms if term.against is not None}
        asked |= {column for name in critics for column in self.critics[name].columns.values()}
        if critics:
            asked.add("target")
        return sorted(asked - set(self.provides) - {"step"})

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses whose state changes, by their terms' names."""
        found = {term.name: term.loss for phase in self.phases for term in phase.terms if term.loss is not None}
        return {name: loss for name, loss in found.items() if loss.stateful}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules that follow a metric, by what they are of."""
        players = [self.generator, *self.critics.values()]
        found = {f"lr/{player.name}": player.lr for player in players}
        found |= {f"weight/{phase.label}{term.name}": term.weight for phase in self.phases for term in phase.terms}
        return {name: schedule for name, schedule in found.items() if schedule.metric is not None}

    def __call__(self, step: int, parts: Sequence[Callable[[], dict[str, Tensor]]]) -> dict[str, Tensor]:
        """Learn from one batch.

        Args:
            step: Steps of the stage already done.
            parts: Make the batch's columns, each an equal part of it.

        Returns:
            Scalars on the device: ``term/NAME`` as the loss gave it and ``weighted/NAME`` in the objective.

        Raises:
            NonFiniteLossError: naming the term, before any weight changed.
        """
        if self.generator.call is not self.generator.module:
            # What CUDA graphs gave before may now be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        values: dict[str, Tensor] = {}
        scenes: list[Named] = []
        phases = self.active(step)
        wants = self.wants(phases)
        has_critics = any(phase.player is not self.generator for phase in phases)
        if len(parts) == 1:
            scenes = [self._scene(step, wants, 0, parts[0])]
        elif has_critics:
            with torch.no_grad(), _buffers_kept(self.generator.module):
                scenes = [self._scene(step, wants, number, part) for number, part in enumerate(parts)]
        for phase in phases:
            is_critic = phase.player is not self.generator
            if is_critic:
                views: Iterable[Named] = (_detached(scene) for scene in scenes)
            elif len(parts) == 1:
                views = scenes
            else:
                views = (self._scene(step, wants, number, part) for number, part in enumerate(parts))
            self._learn(phase, step, views, len(parts), values)
        return values

    def preview(self, step: int, part: Callable[[], dict[str, Tensor]]) -> list[TermPreview]:
        """Every term on one batch, also those that do not count yet; nobody learns, and no statistic changes.

        Args:
            step: Steps of the stage already done.
            part: Makes the batch's columns.

        Raises:
            NonFiniteLossError: naming a term that counts at the step.
        """
        critics = self.critics.values()
        augments = [critic.augment for critic in critics if critic.augment is not None]
        with ExitStack() as kept:
            if self.generator.call is not self.generator.module:
                # Compiling takes minutes, for one batch.
                kept.enter_context(torch.compiler.set_stance("force_eager"))
            for module in (self.generator.module, *(critic.module for critic in critics), *augments):
                kept.enter_context(_buffers_kept(module))
            for loss in self.losses.values():
                kept.enter_context(_buffers_kept(loss))
            scene = self._scene(step, self.wants(self.phases), 0, part)
            return [glance for phase in self.phases for glance in self._glances(phase, step, scene)]

    def _glances(self, phase: Phase, step: int, scene: Named) -> Iterator[TermPreview]:
        is_critic = phase.player is not self.generator
        self._let_learn(phase.player)
        judged = self._judged(phase, _detached(scene) if is_critic else scene)
        with torch.autocast(self.engine.device.type, enabled=False):
            maps = {term.name: term.maps(judged[term.against]) for term in phase.terms}
        values = {name: averaged(found) for name, found in maps.items()}
        counting = {term.name: values[term.name] for term in phase.at(step).terms}
        if counting:
            self._refuse_non_finite(phase, [FiniteCheck(counting)])
        for term in phase.terms:
            value = values[term.name]
            gradient = None if is_critic else self._gradient(value, scene.get("output"))
            yield TermPreview(phase, term, float(value.detach()), tuple(maps[term.name][0].shape), gradient)

    def _gradient(self, value: Tensor, output: Tensor | None) -> float | None:
        if output is None or not (output.requires_grad and value.requires_grad):
            return None
        # Scaled as in training, for an output in half precision would round a mean's gradient to 0.
        scaler = self.generator.scaler
        (found,) = torch.autograd.grad(scaler.scale(value), output, retain_graph=True, allow_unused=True)
        return None if found is None else float(found.float().norm()) / scaler.get_scale()

    def _scene(self, step: int, wants: frozenset[str], number: int, part: Callable[[], dict[str, Tensor]]) -> Named:
        reseed(*self.seed, step, self.engine.rank, number)
        batch = part()
        columns = {column for name in wants for column in self.provides[name]}
        outputs: dict[str, Tensor] = {}
        if wants:
            with self.engine.autocast():
                outputs = self.generator.call(wants, **{name: batch[name] for name in sorted(columns)})
        return {**batch, **outputs, "step": step}

    def _learn(self, phase: Phase, step: int, scenes: Iterable[Named], parts: int, values: dict[str, Tensor]) -> None:
        player = phase.player
        self._let_learn(player)
        player.optimizer.zero_grad(set_to_none=True)
        seen = []
        for scene in scenes:
            found = self._values(phase, scene)
            seen.append(FiniteCheck(found))
            objective = torch.zeros((), device=self.engine.device)
            for term in phase.terms:
                weighted = term.weight_at(step) * found[term.name]
                objective = objective + weighted / parts
                for kind, value in (("term", found[term.name]), ("weighted", weighted)):
                    key = f"{kind}/{phase.label}{term.name}"
                    values[key] = values.get(key, torch.zeros_like(value)) + value.detach() / parts
            if not objective.requires_grad:
                names = ", ".join(term.name for term in phase.terms)
                raise RecipeError(
                    f"no term ({names}) reaches a part of {player.name} that learns; freeze less, or add one"
                )
            player.scaler.scale(objective).backward()  # type: ignore[no-untyped-call]
        # Only now, when the device has the backward pass to do while the host waits for an answer.
        self._refuse_non_finite(phase, seen)
        self.engine.average_gradients(player.parameters)
        player.update(step)

    def _let_learn(self, player: Player) -> None:
        for critic in self.critics.values():
            critic.learning(critic is player)

    def _values(self, phase: Phase, scene: Named) -> dict[str, Tensor]:
        judged = self._judged(phase, scene)
        with torch.autocast(self.engine.device.type, enabled=False):
            return {term.name: term(judged[term.against]) for term in phase.terms}

    def _judged(self, phase: Phase, scene: Named) -> dict[str | None, Named]:
        """A scene, for the terms against each critic with what that says of it."""
        judged: dict[str | None, Named] = {None: scene}
        for name, critic in self.critics.items():
            terms = [term for term in phase.terms if term.against == name]
            if terms:
                asked = {wanted for term in terms for wanted in term.asks}
                judged[name] = {**scene, **self._judge(critic, asked, scene)}
                if critic is phase.player:
                    self._observe(critic, judged[name])
        return judged

    def _judge(self, critic: Player, asked: set[str], scene: Named) -> dict[str, Any]:
        """What a critic says of target and output, as far as it is asked for."""
        extra = {argument: scene[column] for argument, column in critic.columns.items()}
        # In float32 and uncompiled: what is asked of it is differentiated twice.
        found: dict[str, Any] = {"judge": lambda image: critic.module(image, **extra)}
        for side, name in (("real", "target"), ("fake", "output")):
            wanted = {item.removeprefix(f"{side}_") for item in asked if item.startswith(f"{side}_")}
            if not wanted:
                continue
            image = scene[name]
            if critic.augment is not None:
                image = critic.augment(image.float())
            found[f"{side}_image"] = image
            if wanted - {"image"}:
                with self.engine.autocast():
                    verdict = critic.call(image, **extra)
                found |= {f"{side}_{item}": value for item, value in verdict.items()}
        return found

    def _observe(self, critic: Player, judged: Named) -> None:
        """Tell an adaptive augmentation how sure the critic is of real images."""
        if critic.augment is None or not critic.augment.adaptive or "real_logits" not in judged:
            return
        logits = judged["real_logits"]
        scales = logits if isinstance(logits, tuple) else (logits,)
        sign = torch.stack([scale.detach().float().sign().mean() for scale in scales]).mean()
        critic.augment.observe(self.engine.average({"sign": sign})["sign"])

    def _refuse_non_finite(self, phase: Phase, seen: Sequence[FiniteCheck]) -> None:
        # What lets a run stop before its weights are spoilt; of several processes all hear of it, once a phase.
        bad = sorted({name for finite in seen for name in finite.bad()})
        if self.engine.any(bool(bad)):
            found = {name for theirs in self.engine.share(self.engine.gather(bad)) for name in theirs}
            named = ", ".join(f"{phase.label}{name}" for name in sorted(found))
            raise NonFiniteLossError(f"term {named} became NaN or infinite")


def _is_judged(name: str) -> bool:
    return name.startswith(("real_", "fake_")) or name == "judge"


def _detached(scene: Named) -> Named:
    """A scene whose output teaches the generator nothing."""
    return {**scene, "output": scene["output"].detach()} if "output" in scene else scene


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo what a pass does to running statistics, so that a preview leaves no trace."""
    kept = [buffer.clone() for buffer in module.buffers()]
    yield
    with torch.no_grad():
        for buffer, value in zip(module.buffers(), kept, strict=True):
            buffer.copy_(value)
