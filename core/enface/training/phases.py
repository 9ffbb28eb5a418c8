"""Players, which are trained networks, and the phases in which each is updated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from enface.plugin.components import Augmentation, Schedule
from enface.recipe.optimizers import training_mode
from enface.training.engine import Engine
from enface.training.terms import Term


class Player:
    """A trained network with its optimizer, learning rate and gradient clipping.

    Args:
        columns: For a critic, the columns that its ``forward`` requests beside the image: argument -> column.
        augment: For a critic, the augmentation of its images.
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
        assert self.parameters, f"{name} has no trainable parameter"
        self.optimizer = optimizer(self.parameters)
        training_mode(self.optimizer)
        self._finished = False
        self.scaler = engine.scaler()

    def require_gradients(self, required: bool) -> None:
        """Turn gradients of the parameters on or off."""
        for parameter in self.parameters:
            parameter.requires_grad_(required)

    def update(self, step: int) -> None:
        """Take one optimizer step with the accumulated gradients."""
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
        return hasattr(self.optimizer, "eval") and not self._finished

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
        self._finished = True

    @torch.no_grad()
    def load_parameters(self, values: Sequence[Tensor]) -> None:
        """Copy tensors into the trained parameters."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player on its terms.

    Attributes:
        every: The player is updated every ``every`` steps, counted from ``start_at``.
    """

    player: Player
    terms: Sequence[Term]
    label: str
    every: int = 1
    start_at: int = 0

    def at(self, step: int) -> Phase:
        """Return the phase with only the terms that are active at a step; none if the player is not updated."""
        since = step - self.start_at
        if since < 0 or since % self.every:
            return replace(self, terms=())
        return replace(self, terms=tuple(term for term in self.terms if term.active(step, since // self.every)))

    @property
    def requests(self) -> set[str]:
        """The names that its terms request."""
        return {name for term in self.terms for name in term.requests}


class FiniteCheck:
    """Checks scalars for NaN and infinity without making the host wait for the device.

    Args:
        values: Scalars by name.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self._names = list(values)
        self._flags = torch.isfinite(torch.stack([value.detach() for value in values.values()]))
        self._ready: torch.cuda.Event | None = None
        if self._flags.is_cuda:
            flags = torch.empty_like(self._flags, device="cpu", pin_memory=True)
            self._flags = flags.copy_(self._flags, non_blocking=True)
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record()

    def bad(self) -> list[str]:
        """Return the names of non-finite scalars; wait for the device if necessary."""
        if self._ready is not None:
            self._ready.synchronize()
        return [name for name, good in zip(self._names, self._flags.tolist(), strict=True) if not good]
