"""Terms: weighted losses, their masks and their arguments."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface.errors import EnfaceError, PluginError, RecipeError
from enface.plugin.components import Loss, Schedule

Named = Mapping[str, Any]
"""Values that terms request by name: tensors, tuples of tensors, and ``step``."""


@dataclass(frozen=True)
class MaskUse:
    """The mask of a term, applied to the error map, or to output and target before the loss."""

    name: str
    mask: nn.Module
    arguments: Mapping[str, str]
    on: Literal["error", "images"]

    def __call__(self, names: Named) -> Tensor:
        arguments = {argument: as_float(names[name]) for argument, name in self.arguments.items()}
        weights = _called(self.mask, arguments, f"mask {self.name!r}")
        assert isinstance(weights, Tensor)
        return weights


@dataclass(frozen=True)
class Term:
    """One weighted loss: one of its functions (``forward`` or ``critic``), its arguments, mask and weight.

    Attributes:
        every: The term is active at every ``every``-th update of its player.
        start_at: First step of the stage at which it is active.
        loss: The module that ``function`` belongs to.
        further: Copies of a stateful loss, each with its own state, for a critic's scales after the first.
    """

    name: str
    function: Callable[..., Tensor]
    arguments: Mapping[str, str]
    weight: Schedule
    mask: MaskUse | None = None
    against: str | None = None
    every: int = 1
    start_at: int = 0
    loss: Loss | None = None
    further: Sequence[Loss] = ()

    @property
    def losses(self) -> Sequence[Loss]:
        """The loss and its copies for further scales."""
        return (*((self.loss,) if self.loss is not None else ()), *self.further)

    def active(self, step: int, update: int) -> bool:
        """Return True if the term is active at a step, the ``update``-th update of its player."""
        return step >= self.start_at and update % self.every == 0

    def weight_at(self, step: int) -> float:
        """Return the weight, multiplied by ``every`` because the term is active that much less often."""
        return self.weight(step) * self.every

    @property
    def requests(self) -> set[str]:
        """The names that it requests."""
        return {*self.arguments.values(), *(self.mask.arguments.values() if self.mask else ())}

    def __call__(self, names: Named) -> Tensor:
        """Return the mean of the masked map, unweighted: a scalar."""
        return averaged(self.maps(names))

    def maps(self, names: Named) -> list[Tensor]:
        """Return the masked map; one map for each scale of a multi-scale critic.

        Raises PluginError if the loss fails or does not return a map; names the term. RecipeError: if the mask does not
        fit the map.
        """
        arguments = {argument: as_float(names[name]) for argument, name in self.arguments.items()}
        scales = [argument for argument, value in arguments.items() if self._is_scales(argument, value)]
        if not scales:
            return [self._masked(names, arguments)]
        per_scale = list(zip(*(arguments[argument] for argument in scales), strict=True))
        return [
            term._masked(names, {**arguments, **dict(zip(scales, one, strict=True))})
            for term, one in zip(self._for_scales(len(per_scale)), per_scale, strict=True)
        ]

    def _for_scales(self, count: int) -> list[Term]:
        """Return a term for each scale; those of a stateful loss differ in its state."""
        if self.loss is None or not self.loss.stateful:
            return [self] * count
        if count != len(self.losses):
            raise PluginError(
                f"discriminator {self.against!r} gives logits of {count} scales but has logit_scales = "
                f"{len(self.losses)}; set it to {count}, because the stateful loss of term {self.name!r} keeps a state "
                "for each scale"
            )
        further = (replace(self, function=getattr(loss, self.function.__name__)) for loss in self.further)
        return [self, *further]

    def _is_scales(self, argument: str, value: Any) -> bool:
        return isinstance(value, tuple) and self.arguments[argument].endswith("_logits")

    def _masked(self, names: Named, arguments: dict[str, Any]) -> Tensor:
        if self.mask is None:
            return self._map(arguments)
        weights = self.mask(names)
        if self.mask.on == "images":
            masked = {argument for argument, name in self.arguments.items() if name in ("output", "target")}
            arguments = {key: value * weights if key in masked else value for key, value in arguments.items()}
            return self._map(arguments)
        error = self._map(arguments)
        if error.dim() != 4:
            raise RecipeError(
                f"term {self.name!r} gives one number per image, so mask {self.mask.name!r} cannot weigh its error; "
                "use mask_on: images, or no mask"
            )
        if error.shape[-2:] != weights.shape[-2:]:
            weights = functional.interpolate(weights, error.shape[-2:], mode="area")
        return error * weights

    def _map(self, arguments: dict[str, Any]) -> Tensor:
        value = _called(self.function, arguments, f"the loss of term {self.name!r}")
        if isinstance(value, Tensor) and value.dim() in (1, 4):
            return value
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise PluginError(
            f"the loss of term {self.name!r} gives {given}; it must give a tensor, the map (N, C, H, W) or one number "
            "per image (N,), which the term then averages"
        )


def averaged(maps: Sequence[Tensor]) -> Tensor:
    """Return the mean of a map; for several scales, the mean of their means."""
    return maps[0].mean() if len(maps) == 1 else torch.stack([item.mean() for item in maps]).mean()


def as_float(value: Any) -> Any:
    """Convert floating-point tensors to float32, in which losses run; return other values unchanged."""
    if isinstance(value, tuple):
        return tuple(as_float(item) for item in value)
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _called(function: Callable[..., Any], arguments: Mapping[str, Any], who: str) -> Any:
    """Call a component; if it fails, name it and the line, because it may be a user's plugin."""
    try:
        return function(**arguments)
    except EnfaceError as error:
        raise type(error)(f"{who}: {error}") from error
    except Exception as error:
        raise PluginError(f"{who} fails with {type(error).__name__}: {error} ({_line_of(error)})") from error


def _line_of(error: Exception) -> str:
    """Return the deepest line in the component's own file, the first called file outside torch."""
    inside = os.path.dirname(torch.__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(inside)]
    own = frames[min(1, len(frames) - 1)].filename
    line = [frame.lineno for frame in frames if frame.filename == own][-1]
    return f"{own}, line {line}"
