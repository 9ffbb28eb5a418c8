"""Measures networks during a run: on validation images while it trains, on test images at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from enface.training.run import Run
from enface_tools.evaluate.evaluator import Evaluator


class RunValidator:
    """The validator of a run.

    The evaluator of the test split is built at the start, too, so that a recipe whose result could not be measured is
    refused before it is trained.

    Attributes:
        measured: Names of the metrics that :meth:`validate` returns; empty without validation images.
        unavailable: Reasons why the other metrics cannot be computed, by name.
        test: Measures the trained network.
    """

    def __init__(self, run: Run) -> None:
        has_validation = bool(len(run.rows["val"]) and run.recipe.metrics)
        self._validation = Evaluator(run, "val") if has_validation else None
        self.test = Evaluator(run)
        self.measured: Sequence[str] = tuple(self._validation.metrics) if self._validation is not None else ()
        self.unavailable: Mapping[str, str] = self.test.unavailable

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Return metric means of a network on the validation split."""
        assert self._validation is not None
        return self._validation.means(network)

    def score(self, metric: str, value: float) -> float:
        """Return a number that is higher if ``value`` of a metric is better."""
        return self.test.metrics[metric].score(value)
