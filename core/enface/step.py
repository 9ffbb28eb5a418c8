"""One training step: names, terms, and a phase for each player."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface.components import Schedule
from enface.engine import Engine, reseed
from enface.errors import NonFiniteLossError, RecipeError

Named = Mapping[str, Any]
"""What a term may ask for, by name: tensors, tuples of tensors, and ``step``."""


@dataclass(frozen=True)
class MaskUse:
    """A mask as a term uses it: on the error map, or on output and target before the loss sees them."""

    name: str
    mask: nn.Module
    arguments: Mapping[str, str]
    on: Literal["error", "images"]

    def __call__(self, names: Named) -> Tensor:
        weights = self.mask(**{argument: _as_float(names[name]) for argument, name in self.arguments.items()})
        assert isinstance(weights, Tensor)
        return weights


@dataclass(frozen=True)
class Term:
    """One weighted loss: a side of it (``forward`` or ``critic``), what that asks for, its mask and weight."""

    name: str
    function: Callable[..., Tensor]
    arguments: Mapping[str, str]
    weight: Schedule
    mask: MaskUse | None = None
    against: str | None = None

    @property
    def asks(self) -> set[str]:
        """The names it needs."""
        return {*self.arguments.values(), *(self.mask.arguments.values() if self.mask else ())}

    def __call__(self, names: Named) -> Tensor:
        """The mean of the masked map, unweighted: a scalar."""
        arguments = {argument: _as_float(names[name]) for argument, name in self.arguments.items()}
        scales = [argument for argument, value in arguments.items() if self._is_scales(argument, value)]
        if not scales:
            return self._value(names, arguments)
        # A critic that judges at several scales: the loss of each, averaged.
        per_scale = zip(*(arguments[argument] for argument in scales), strict=True)
        values = [self._value(names, {**arguments, **dict(zip(scales, one, strict=True))}) for one in per_scale]
        return torch.stack(values).mean()

    def _is_scales(self, argument: str, value: Any) -> bool:
        return isinstance(value, tuple) and self.arguments[argument].endswith("_logits")

    def _value(self, names: Named, arguments: dict[str, Any]) -> Tensor:
        if self.mask is None:
            return self.function(**arguments).mean()
        weights = self.mask(names)
        if self.mask.on == "images":
            masked = {argument for argument, name in self.arguments.items() if name in ("output", "target")}
            arguments = {key: value * weights if key in masked else value for key, value in arguments.items()}
            return self.function(**arguments).mean()
        error = self.function(**arguments)
        if error.dim() != 4:
            raise RecipeError(
                f"term {self.name!r} gives one number an image, so mask {self.mask.name!r} cannot weigh its error; "
                "use mask_on: images, or no mask"
            )
        if error.shape[-2:] != weights.shape[-2:]:
            weights = functional.interpolate(weights, error.shape[-2:], mode="area")
        return (error * weights).mean()


class Player:
    """A network that learns: its optimizer, learning rate and gradient clipping.

    Args:
        columns: For a critic, what its ``forward`` asks for beside the image.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        engine: Engine,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        lr: Schedule,
        clip: float | None = None,
        columns: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.module = module
        self.call = engine.compiled(module)
        self.columns = columns
        self.lr = lr
        self.clip = clip
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        assert self.parameters, f"{name} has nothing to learn"
        self.optimizer = optimizer(self.parameters)
        self.scaler = engine.scaler()

    def learning(self, learns: bool) -> None:
        """Turn gradients of its parameters on or off."""
        for parameter in self.parameters:
            parameter.requires_grad_(learns)

    def update(self, step: int) -> None:
        """One optimizer step with the gradients that lie ready."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step)
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player, for its terms."""

    player: Player
    terms: Sequence[Term]
    label: str

    @property
    def asks(self) -> set[str]:
        """Every name its terms need."""
        return {name for term in self.terms for name in term.asks}


@dataclass
class Step:
    """One training step of a stage: every critic's phase, then the generator's.

    Each player's networks run only for what the terms ask for, and the generator's pass is shared by all phases
    (with ``accumulate`` above 1 the critics see a first pass without gradients, to keep one part in memory).
    """

    engine: Engine
    generator: Player
    provides: Mapping[str, tuple[str, ...]]
    critics: Mapping[str, Player]
    phases: Sequence[Phase]
    seed: tuple[int, int] = (0, 0)
    wants: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        wants = {name for phase in self.phases for name in phase.asks if name in self.provides}
        if self.critics:
            wants.add("output")
        self.wants = frozenset(wants)

    @property
    def columns(self) -> list[str]:
        """The batch's columns it needs."""
        asked = {name for phase in self.phases for name in phase.asks if not _is_judged(name)}
        asked |= {column for name in self.wants for column in self.provides[name]}
        asked |= {column for critic in self.critics.values() for column in critic.columns}
        if self.critics:
            asked.add("target")
        return sorted(asked - set(self.provides) - {"step"})

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
        values: dict[str, Tensor] = {}
        scenes: list[Named] = []
        if len(parts) == 1:
            scenes = [self._scene(step, 0, parts[0])]
        elif self.critics:
            with torch.no_grad(), _buffers_kept(self.generator.module):
                scenes = [self._scene(step, number, part) for number, part in enumerate(parts)]
        for phase in self.phases:
            is_critic = phase.player is not self.generator
            if is_critic:
                views: Iterable[Named] = ({**scene, "output": scene["output"].detach()} for scene in scenes)
            elif len(parts) == 1:
                views = scenes
            else:
                views = (self._scene(step, number, part) for number, part in enumerate(parts))
            self._learn(phase, step, views, len(parts), values)
        return values

    def _scene(self, step: int, number: int, part: Callable[[], dict[str, Tensor]]) -> Named:
        reseed(*self.seed, step, self.engine.rank, number)
        batch = part()
        columns = {column for name in self.wants for column in self.provides[name]}
        outputs: dict[str, Tensor] = {}
        if self.wants:
            with self.engine.autocast():
                outputs = self.generator.call(self.wants, **{name: batch[name] for name in sorted(columns)})
        return {**batch, **outputs, "step": step}

    def _learn(self, phase: Phase, step: int, scenes: Iterable[Named], parts: int, values: dict[str, Tensor]) -> None:
        player = phase.player
        for other in self.critics.values():
            other.learning(other is player)
        player.optimizer.zero_grad(set_to_none=True)
        for scene in scenes:
            found = self._values(phase, scene)
            self._refuse_non_finite(phase, found)
            objective = torch.zeros((), device=self.engine.device)
            for term in phase.terms:
                weighted = term.weight(step) * found[term.name]
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
        self.engine.average_gradients(player.parameters)
        player.update(step)

    def _values(self, phase: Phase, scene: Named) -> dict[str, Tensor]:
        judged: dict[str | None, Named] = {None: scene}
        for name, critic in self.critics.items():
            terms = [term for term in phase.terms if term.against == name]
            if terms:
                asked = {wanted for term in terms for wanted in term.asks}
                judged[name] = {**scene, **self._judge(critic, asked, scene)}
        with torch.autocast(self.engine.device.type, enabled=False):
            return {term.name: term(judged[term.against]) for term in phase.terms}

    def _judge(self, critic: Player, asked: set[str], scene: Named) -> dict[str, Any]:
        found: dict[str, Any] = {}
        extra = {name: scene[name] for name in critic.columns}
        for side, image in (("real", "target"), ("fake", "output")):
            if any(name.startswith(f"{side}_") for name in asked):
                with self.engine.autocast():
                    verdict = critic.call(scene[image], **extra)
                found |= {f"{side}_{name}": value for name, value in verdict.items()}
        return found

    def _refuse_non_finite(self, phase: Phase, found: Mapping[str, Tensor]) -> None:
        # One read back from the device a phase; it is what lets a run stop before its weights are spoilt.
        finite = torch.isfinite(torch.stack([value.detach() for value in found.values()]))
        if self.engine.any(not bool(finite.all())):
            bad = [name for name, good in zip(found, finite.tolist(), strict=True) if not good]
            named = ", ".join(f"{phase.label}{name}" for name in bad) or "of another process"
            raise NonFiniteLossError(f"term {named} became NaN or infinite")


def _is_judged(name: str) -> bool:
    return name.startswith(("real_", "fake_"))


def _as_float(value: Any) -> Any:
    """Floating tensors in float32, as losses see them; all else unchanged."""
    if isinstance(value, tuple):
        return tuple(_as_float(item) for item in value)
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo what a pass does to running statistics, so that a preview leaves no trace."""
    kept = [buffer.clone() for buffer in module.buffers()]
    yield
    with torch.no_grad():
        for buffer, value in zip(module.buffers(), kept, strict=True):
            buffer.copy_(value)
