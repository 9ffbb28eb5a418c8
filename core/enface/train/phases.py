"""Players: networks that learn, and the phases in which each does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from enface.plugin.components import Augmentation, Schedule
from enface.recipe.optimizers import training_mode
from enface.train.engine import Engine
from enface.train.terms import Term


class Player:
    """A network that learns: its optimizer, learning rate and gradient clipping.

    Args:
        columns: For a critic, what its ``forward`` asks for beside the image: argument -> column of the batch.
        augment: For a critic, what happens to the images it is shown.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        engine: Engine,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        lr: Schedule,
        clip: float | None = None,
        columns: Mapping[str, str] | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.name = name
        self.module = module
        self.call = engine.compiled(module)
        self.columns = columns or {}
        self.augment = augment
        self.lr = lr
        self.clip = clip
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        assert self.parameters, f"{name} has nothing to learn"
        self.optimizer = optimizer(self.parameters)
        training_mode(self.optimizer)
        self.scaler = engine.scaler()

    def learning(self, learns: bool) -> None:
        """Turn gradients of its parameters on or off."""
        for parameter in self.parameters:
            parameter.requires_grad_(learns)

    def update(self, step: int) -> None:
        """One optimizer step with the gradients that lie ready."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step) * group.get("lr_scale", 1.0)
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    @property
    def has_evaluation_weights(self) -> bool:
        """True while the weights to evaluate are not those being trained, as with schedule-free optimizers."""
        return hasattr(self.optimizer, "eval") and any(group["train_mode"] for group in self.optimizer.param_groups)

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """Put the weights to evaluate in place; afterwards the trained ones return bit by bit."""
        if not self.has_evaluation_weights:
            yield
            return
        trained = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer.eval()  # type: ignore[attr-defined]
        try:
            yield
        finally:
            self.optimizer.train()  # type: ignore[attr-defined]
            self.load_parameters(trained)

    def finish(self) -> None:
        """Put the weights to evaluate in place for good."""
        if self.has_evaluation_weights:
            self.optimizer.eval()  # type: ignore[attr-defined]

    @torch.no_grad()
    def load_parameters(self, values: Sequence[Tensor]) -> None:
        """Copy tensors into the trained parameters."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player, for its terms.

    Attributes:
        every: The player learns at every such step, counted from ``start_at``.
    """

    player: Player
    terms: Sequence[Term]
    label: str
    every: int = 1
    start_at: int = 0

    def at(self, step: int) -> Phase:
        """The phase with only the terms that count at a step; without any, it is left out."""
        since = step - self.start_at
        if since < 0 or since % self.every:
            return replace(self, terms=())
        return replace(self, terms=tuple(term for term in self.terms if term.active(step, since // self.every)))

    @property
    def asks(self) -> set[str]:
        """Every name its terms need."""
        return {name for term in self.terms for name in term.asks}


class FiniteCheck:
    """Which of some scalars are finite, on its way from the device without the host waiting for it.

    Args:
        values: Scalars by name.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._names = list(values)
        self._flags = torch.isfinite(torch.stack([value.detach() for value in values.values()]))
        self._there: torch.cuda.Event | None = None
        if self._flags.is_cuda:
            there = torch.empty_like(self._flags, device="cpu", pin_memory=True)
            self._flags = there.copy_(self._flags, non_blocking=True)
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record()

    def bad(self) -> list[str]:
        """The names of those that are not; waits until it is known."""
        if self._there is not None:
            self._there.synchronize()
        return [name for name, good in zip(self._names, self._flags.tolist(), strict=True) if not good]
