"""Measures networks during a run on validation images, and at its end also on test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from enface.errors import RecipeError
from enface.plugin.hooks import Validation
from enface.training.run import Run
from enface_tools.evaluate.evaluator import Evaluator


class RunValidator:
    """The validator of a run.

    The evaluator of the test split is built at the start, too, so that a recipe whose result could not be measured is
    refused before it is trained.

    Attributes:
        measured: Names of the metrics that :meth:`validate` returns; empty without validation images.
        unavailable: Reasons why the other metrics cannot be computed, by name.
        val: Measures on validation images; None without them.
        test: Measures the trained network.

    Raises:
        RecipeError: if the recipe leaves the test people closed and has no validation people.
    """

    def __init__(self, run: Run) -> None:
        has_validation = bool(len(run.rows["val"]) and run.recipe.metrics)
        if run.recipe.evaluation.split == "val" and not has_validation:
            raise RecipeError("evaluation.split: val needs validation images; set data.split.val and metrics")
        self.val = Evaluator(run, "val") if has_validation else None
        self.test = Evaluator(run)
        self.measured: Sequence[str] = tuple(self.val.metrics) if self.val is not None else ()
        self.unavailable: Mapping[str, str] = self.test.unavailable

    def validate(self, network: nn.Module) -> Mapping[str, Validation]:
        """Measure a network on the validation split; return each metric by name."""
        assert self.val is not None
        return self.val.validate(network)
