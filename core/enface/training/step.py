"""One training step: a phase for each player, with the values that its terms request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from enface.errors import NonFiniteLossError, RecipeError
from enface.plugin.components import Loss, Schedule
from enface.training.engine import Engine, reseed
from enface.training.phases import FiniteCheck, Phase, Player
from enface.training.terms import Named, Term


@dataclass
class Step:
    """One training step of a stage: the phases of critics, then that of the generator.

    Networks compute only what active terms request, and all phases share the generator's forward pass. With
    ``accumulate`` above 1 the critics see a first pass without gradients, so that only one part is in memory.
    """

    engine: Engine
    generator: Player
    provides: Mapping[str, tuple[str, ...]]
    critics: Mapping[str, Player]
    phases: Sequence[Phase]
    seed: tuple[int, int] = (0, 0)
    stop: Schedule | None = None

    def active(self, step: int) -> list[Phase]:
        """Return the phases with active terms at a step."""
        return [phase for phase in (phase.at(step) for phase in self.phases) if phase.terms]

    def wants(self, phases: Sequence[Phase]) -> frozenset[str]:
        """Return the names that phases request from the generator."""
        wants = {name for phase in phases for name in phase.requests if name in self.provides}
        # A critic always sees the output, even if no term requests it by name.
        if any(term.against is not None for phase in phases for term in phase.terms):
            wants.add("output")
        return frozenset(wants)

    def columns(self, phases: Sequence[Phase]) -> list[str]:
        """Return the batch columns that phases need."""
        requested = {name for phase in phases for name in phase.requests if not _is_judged(name)}
        requested |= {column for name in self.wants(phases) for column in self.provides[name]}
        critics = {term.against for phase in phases for term in phase.terms if term.against is not None}
        requested |= {column for name in critics for column in self.critics[name].columns.values()}
        if critics:
            requested.add("target")
        return sorted(requested - set(self.provides) - {"step"})

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses with state, by ``TERM``; those of a critic's further scales by ``TERM.1``, ``TERM.2`` ..."""
        terms = [term for phase in self.phases for term in phase.terms]
        numbered = [(term.name, number, loss) for term in terms for number, loss in enumerate(term.losses)]
        return {f"{name}.{number}" if number else name: loss for name, number, loss in numbered if loss.stateful}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules that follow a metric, by the quantity they set; ``stop`` ends the stage."""
        players = [self.generator, *self.critics.values()]
        schedules = {f"lr/{player.name}": player.lr for player in players}
        schedules |= {f"weight/{phase.label}{term.name}": term.weight for phase in self.phases for term in phase.terms}
        schedules |= {"stop": self.stop} if self.stop is not None else {}
        return {name: schedule for name, schedule in schedules.items() if schedule.metric is not None}

    def __call__(self, step: int, parts: Sequence[Callable[[], dict[str, Tensor]]]) -> dict[str, Tensor]:
        """Update all players on one batch.

        Args:
            step: Completed steps of the stage.
            parts: Functions that return the batch's columns, each an equal part of the batch.

        Returns:
            Scalars on the device: ``term/NAME``, unweighted, and ``weighted/NAME``, times the weight. The larger weight
            of a lazy term makes up for the updates without it, so it is not in them: means over updates are comparable.

        Raises NonFiniteLossError if a term is NaN or infinite; names it, and no weight has changed.
        """
        if self.generator.call is not self.generator.module:
            # Outputs of earlier CUDA graphs may be overwritten from here on.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        values: dict[str, Tensor] = {}
        scenes: list[Named] = []
        phases = self.active(step)
        wants = self.wants(phases)
        has_critics = any(phase.player is not self.generator for phase in phases)
        if len(parts) == 1:
            scenes = [self.named_values(step, wants, 0, parts[0])]
        elif has_critics:
            with torch.no_grad(), buffers_restored(self.generator.module):
                scenes = [self.named_values(step, wants, number, part) for number, part in enumerate(parts)]
        for phase in phases:
            is_critic = phase.player is not self.generator
            if is_critic:
                views: Iterable[Named] = (detached(scene) for scene in scenes)
            elif len(parts) == 1:
                views = scenes
            else:
                views = (self.named_values(step, wants, number, part) for number, part in enumerate(parts))
            self._learn(phase, step, views, len(parts), values)
        return values

    def named_values(
        self, step: int, wants: frozenset[str], number: int, part: Callable[[], dict[str, Tensor]]
    ) -> Named:
        """Return the columns of part ``number`` of a batch, and the values that the generator computes of it."""
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
        self.train_only(player)
        player.optimizer.zero_grad(set_to_none=True)
        checks = []
        signs: list[Tensor] = []
        for scene in self._with_mean_state(phase, scenes, parts):
            judged = self.with_critics(phase, scene)
            signs += _signs(player, judged)
            losses = self._values(phase, judged)
            checks.append(FiniteCheck(losses))
            objective = torch.zeros((), device=self.engine.device)
            for term in phase.terms:
                loss = losses[term.name]
                objective = objective + term.weight_at(step) * loss / parts
                for kind, value in (("term", loss), ("weighted", term.weight(step) * loss)):
                    key = f"{kind}/{phase.label}{term.name}"
                    values[key] = values.get(key, torch.zeros_like(value)) + value.detach() / parts
            if not objective.requires_grad:
                names = ", ".join(term.name for term in phase.terms)
                raise RecipeError(
                    f"no term ({names}) reaches a trained part of {player.name}; freeze less, or add a term"
                )
            player.scaler.scale(objective).backward()  # type: ignore[no-untyped-call]
        # Checked only now, so that the host waits while the device runs the backward pass.
        self.refuse_non_finite(phase, checks)
        self.engine.average_gradients(player.parameters)
        player.update(step)
        if player.augment is not None and signs:
            player.augment.observe(self.engine.average({"sign": torch.stack(signs).mean()})["sign"])

    def _with_mean_state(self, phase: Phase, scenes: Iterable[Named], parts: int) -> Iterator[Named]:
        """Yield the parts' values; every part starts from the same state of the losses, whose mean change is kept.

        So a running average takes one step an update, whatever ``accumulate`` and the number of processes.
        """
        losses = nn.ModuleList(loss for term in phase.terms for loss in term.losses if loss.stateful)
        if not losses or parts * self.engine.processes == 1:
            yield from scenes
            return
        before = [buffer.clone() for buffer in losses.buffers()]
        changes = [torch.zeros_like(buffer, dtype=torch.float64) for buffer in before]
        for scene in scenes:
            for buffer, old in zip(losses.buffers(), before, strict=True):
                buffer.copy_(old)
            yield scene
            for change, buffer, old in zip(changes, losses.buffers(), before, strict=True):
                change += buffer.detach().double() - old.double()
        self.engine.average_tensors(changes)
        for change, buffer, old in zip(changes, losses.buffers(), before, strict=True):
            buffer.copy_(old.double() + change / parts)

    def train_only(self, player: Player) -> None:
        """Turn off gradients of all other critics."""
        for critic in self.critics.values():
            critic.require_gradients(critic is player)

    def _values(self, phase: Phase, judged: Mapping[str | None, Named]) -> dict[str, Tensor]:
        with torch.autocast(self.engine.device.type, enabled=False):
            return {term.name: term(judged[term.against]) for term in phase.terms}

    def with_critics(self, phase: Phase, scene: Named) -> dict[str | None, Named]:
        """Return the named values for the terms against each critic (None: no critic), with what it provides."""
        judged: dict[str | None, Named] = {None: scene}
        for name, critic in self.critics.items():
            terms = [term for term in phase.terms if term.against == name]
            if terms:
                judged[name] = {**scene, **self._judge(critic, terms, scene)}
        return judged

    def _judge(self, critic: Player, terms: Sequence[Term], scene: Named) -> dict[str, Any]:
        """Return the values that terms request of a critic for target and output."""
        requested = {wanted for term in terms for wanted in term.requests}
        # A term that compares each target with its own output would otherwise compare the augmentations, too.
        one_draw = any(term.loss is not None and term.loss.paired for term in terms)
        devices = [self.engine.device] if self.engine.device.type == "cuda" else []
        extra = {argument: scene[column] for argument, column in critic.columns.items()}
        # In float32 and not compiled, because its results are differentiated twice.
        provided: dict[str, Any] = {"judge": lambda image: critic.module(image, **extra)}
        for side, name in (("real", "target"), ("fake", "output")):
            wanted = {item.removeprefix(f"{side}_") for item in requested if item.startswith(f"{side}_")}
            if not wanted:
                continue
            image = scene[name]
            if critic.augment is not None:
                # The target's draw is undone, so that the output draws the same random numbers.
                with torch.random.fork_rng(devices, enabled=one_draw and side == "real"):
                    image = critic.augment(image.float())
            provided[f"{side}_image"] = image
            if wanted - {"image"}:
                with self.engine.autocast():
                    results = critic.call(image, **extra)
                provided |= {f"{side}_{item}": value for item, value in results.items()}
        return provided

    def refuse_non_finite(self, phase: Phase, checks: Sequence[FiniteCheck]) -> None:
        """Abort before the update if any loss is non-finite; one all-reduce per phase."""
        bad = sorted({name for check in checks for name in check.bad()})
        if self.engine.any(bool(bad)):
            on_all_ranks = {name for names in self.engine.broadcast(self.engine.gather(bad)) for name in names}
            named = ", ".join(f"{phase.label}{name}" for name in sorted(on_all_ranks))
            raise NonFiniteLossError(f"term {named} became NaN or infinite")


def _signs(player: Player, judged: Mapping[str | None, Named]) -> list[Tensor]:
    """Return the mean sign of a critic's logits of real images, if its augmentation adapts to it."""
    logits = judged.get(player.name, {}).get("real_logits")
    if logits is None or player.augment is None or not player.augment.adaptive:
        return []
    scales = logits if isinstance(logits, tuple) else (logits,)
    return [torch.stack([scale.detach().float().sign().mean() for scale in scales]).mean()]


def _is_judged(name: str) -> bool:
    return name.startswith(("real_", "fake_")) or name == "judge"


def detached(scene: Named) -> Named:
    """Return the values with a detached output, through which no gradient reaches the generator."""
    return {**scene, "output": scene["output"].detach()} if "output" in scene else scene


@contextmanager
def buffers_restored(module: nn.Module) -> Iterator[None]:
    """Restore running statistics afterwards."""
    kept = [buffer.clone() for buffer in module.buffers()]
    yield
    with torch.no_grad():
        for buffer, value in zip(module.buffers(), kept, strict=True):
            buffer.copy_(value)
