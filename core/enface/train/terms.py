"""Terms: weighted losses, their masks, and what they are called with."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface.errors import EnfaceError, PluginError, RecipeError
from enface.plugin.components import Loss, Schedule

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
        arguments = {argument: as_float(names[name]) for argument, name in self.arguments.items()}
        weights = _called(self.mask, arguments, f"mask {self.name!r}")
        assert isinstance(weights, Tensor)
        return weights


@dataclass(frozen=True)
class Term:
    """One weighted loss: a side of it (``forward`` or ``critic``), what that asks for, its mask and weight.

    Attributes:
        every: It counts at every such update of its player.
        start_at: Steps of the stage before it counts.
        loss: The module ``function`` is of, for its state.
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

    def active(self, step: int, update: int) -> bool:
        """Whether it counts at a step, the ``update``-th of its player."""
        return step >= self.start_at and update % self.every == 0

    def weight_at(self, step: int) -> float:
        """Its weight, so much heavier as it comes more seldom."""
        return self.weight(step) * self.every

    @property
    def asks(self) -> set[str]:
        """The names it needs."""
        return {*self.arguments.values(), *(self.mask.arguments.values() if self.mask else ())}

    def __call__(self, names: Named) -> Tensor:
        """The mean of the masked map, unweighted: a scalar."""
        return averaged(self.maps(names))

    def maps(self, names: Named) -> list[Tensor]:
        """The masked map; for a critic that judges at several scales, one of each.

        Raises:
            PluginError: naming the term, when its loss fails or gives what is no map.
            RecipeError: when the mask cannot weigh the map.
        """
        arguments = {argument: as_float(names[name]) for argument, name in self.arguments.items()}
        scales = [argument for argument, value in arguments.items() if self._is_scales(argument, value)]
        if not scales:
            return [self._masked(names, arguments)]
        per_scale = zip(*(arguments[argument] for argument in scales), strict=True)
        return [self._masked(names, {**arguments, **dict(zip(scales, one, strict=True))}) for one in per_scale]

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
                f"term {self.name!r} gives one number an image, so mask {self.mask.name!r} cannot weigh its error; "
                "use mask_on: images, or no mask"
            )
        if error.shape[-2:] != weights.shape[-2:]:
            weights = functional.interpolate(weights, error.shape[-2:], mode="area")
        return error * weights

    def _map(self, arguments: dict[str, Any]) -> Tensor:
        found = _called(self.function, arguments, f"the loss of term {self.name!r}")
        if isinstance(found, Tensor) and found.dim() in (1, 4):
            return found
        given = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise PluginError(
            f"the loss of term {self.name!r} gives {given}; it must give a tensor, the map (N, C, H, W) or a number "
            "an image (N,), which the term then averages"
        )


def averaged(maps: Sequence[Tensor]) -> Tensor:
    """The mean of a map; of several scales, the mean of theirs."""
    return maps[0].mean() if len(maps) == 1 else torch.stack([found.mean() for found in maps]).mean()


def as_float(value: Any) -> Any:
    """Floating tensors in float32, as losses see them; all else unchanged."""
    if isinstance(value, tuple):
        return tuple(as_float(item) for item in value)
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _called(function: Callable[..., Any], arguments: Mapping[str, Any], who: str) -> Any:
    """What a component gives; when it fails, which one and in what line, for it is someone's plugin."""
    try:
        return function(**arguments)
    except EnfaceError as error:
        raise type(error)(f"{who}: {error}") from error
    except Exception as error:
        raise PluginError(f"{who} fails with {type(error).__name__}: {error} ({_line_of(error)})") from error


def _line_of(error: Exception) -> str:
    """The deepest line of the component's own file, which is the first one called that is not torch's."""
    inside = os.path.dirname(torch.__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(inside)]
    own = frames[min(1, len(frames) - 1)].filename
    line = [frame.lineno for frame in frames if frame.filename == own][-1]
    return f"{own}, line {line}"
