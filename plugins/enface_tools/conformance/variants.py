"""Rules on images of another shape and of other planes, which a component of images takes or refuses by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from enface.errors import DataError, EnfaceError, WeightsError
from enface.plugin.components import Targets
from enface_tools.conformance.fixture import CLASSES, SIZE, Fixture
from enface_tools.conformance.rules import Rule, RuleViolation, Skipped, rule
from enface_tools.conformance.samples import is_field, is_image, sample_field, sample_input, smooth_images

TargetsOf = Callable[[int], Targets]


@dataclass(frozen=True)
class Variant:
    """Images to test a component with.

    Attributes:
        size: Height and width.
        source: Planes of source and partner.
        target: Planes of target and output.
    """

    size: tuple[int, int] = (SIZE, SIZE)
    source: int = 3
    target: int = 3

    @property
    def words(self) -> str:
        """Description for messages."""
        height, width = self.size
        if (self.source, self.target) == (3, 3):
            return f"images of {height} x {width} px"
        if self.source != self.target:
            return f"{_planes(self.source)} in the source and {_planes(self.target)} in the target"
        return f"images of {_planes(self.target)}"

    @property
    def numbers(self) -> set[str]:
        """Numbers of which a refusal names one."""
        planes = {str(number) for number in (self.source, self.target) if number != 3}
        return planes or {str(side) for side in self.size}

    def column(self, name: str, draw: int = 0) -> Any:
        """A batch's column; classes are below the smallest class count of any column."""
        if is_image(name):
            planes = self.source if name in ("source", "partner") else self.target
            return smooth_images(sum(map(ord, name)) + 1000 * draw, self.size, planes=planes)
        if is_field(name):
            return sample_field(name, draw, self.size)
        column = sample_input(name, draw, planes=self.target)
        if not isinstance(column, Tensor):
            return column
        if name.endswith("regions"):
            return interpolate(column[:, None].float(), self.size)[:, 0].to(column.dtype)
        return column if column.is_floating_point() else column % min(CLASSES.values())

    def build(self, fixture: Fixture, targets: TargetsOf | None = None) -> Any:
        """Build a component for such images; None if it refuses them by name, as it may.

        Raises:
            RuleViolation: when it refuses without naming a number that differs.
        """
        try:
            return fixture.build(self.size, targets, {"source": self.source, "target": self.target})
        except (WeightsError, DataError):
            raise
        except EnfaceError as error:
            if not any(number in str(error) for number in self.numbers):
                raise RuleViolation(f"it refuses {self.words}, but the error does not say so: {error}") from error
            return None


NOT_SQUARE = (Variant((64, 96)),)
PLANES = (Variant(source=1, target=1), Variant(source=4, target=4))
MIXED_PLANES = (*PLANES, Variant(source=1, target=3))
Check = Callable[[Fixture, Variant], None]


def variant_rules(check: Check, planes: tuple[Variant, ...] = PLANES) -> tuple[Rule, Rule]:
    """Make both rules from a check that builds a component for a variant and calls it."""

    @rule("not square")
    def not_square(fixture: Fixture) -> None:
        """It works with images of 64 x 96 px, or refuses them with an error that names the size."""
        _try(check, fixture, NOT_SQUARE)

    @rule("planes")
    def other_planes(fixture: Fixture) -> None:
        """It works with images of 1 and of 4 planes, or refuses them with an error that names the number."""
        _try(check, fixture, planes)

    return not_square, other_planes


def require_works(variant: Variant, works: bool, result: str) -> None:
    """Raise RuleViolation, with the result, if a component does not work for a variant."""
    if not works:
        raise RuleViolation(f"for {variant.words} {result}; handle them, or raise RecipeError when it is built")


def finite(value: Tensor) -> bool:
    """True if every number is finite."""
    return bool(torch.isfinite(value).all())


def _try(check: Check, fixture: Fixture, variants: tuple[Variant, ...]) -> None:
    for variant in variants:
        try:
            check(fixture, variant)
        except (Skipped, RuleViolation, WeightsError):
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            require_works(variant, False, f"it raises {type(error).__name__}: {reason}")


def _planes(number: int) -> str:
    return f"{number} plane{'s' if number > 1 else ''}"
