"""Building a recipe's metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from torch import Tensor

from enface.errors import EnfaceError, RecipeError, WeightsError
from enface.plugin.components import DataInfo, Mask
from enface.plugin.schema import requested_arguments
from enface.recipe.load import LoadedRecipe
from enface.training.masks import build_mask, check_weights
from enface_tools.evaluate.metrics import Metric


class MaskedMetric(Metric):
    """A metric over a part of every image, given by weights (1, 1, H, W)."""

    weights: Tensor

    def __init__(self, metric: Metric, mask: str, weights: Tensor) -> None:
        super().__init__()
        self._metric, self._mask = metric, mask
        self.register_buffer("weights", weights, persistent=False)

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        return self._metric.higher_is_better

    @property
    def ideal(self) -> float | None:  # type: ignore[override]
        return self._metric.ideal

    @property
    def bounds(self) -> tuple[float, float] | None:  # type: ignore[override]
        return self._metric.bounds

    @property
    def unit(self) -> str:  # type: ignore[override]
        return self._metric.unit

    @property
    def fallback_words(self) -> tuple[str, str]:
        return self._metric.fallback_words

    def fallback(self, image: Tensor) -> Tensor | None:
        return self._metric.fallback(image)

    @property
    def card(self) -> dict[str, str]:
        bits = hashlib.sha256(self.weights.cpu().numpy().tobytes()).hexdigest()[:16]
        return {**self._metric.card, "mask": self._mask, "mask_sha256": bits}

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self._metric.regional(output, target, self.weights)[:, 0]


def build_metrics(
    loaded: LoadedRecipe, data: DataInfo, optional: Collection[str] = ()
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Build the available metrics; for the others, return the reason.

    Args:
        optional: Metrics that may be skipped if they do not fit the data.

    Raises:
        RecipeError: if a metric cannot take its mask, or the mask does not fit the images.
    """
    metrics: dict[str, Metric] = {}
    missing: dict[str, str] = {}
    for name, spec in loaded.recipe.metrics.items():
        try:
            metric = loaded.catalog.build("metric", spec.use, spec.params, data).eval()
        except WeightsError as error:
            missing[name] = str(error)
            continue
        except EnfaceError as error:
            if name in optional:
                missing[name] = str(error)
                continue
            raise type(error)(f"{loaded.place(('metrics', name))}: {error}") from error
        if spec.mask is not None:
            if not metric.has_regional:
                place = loaded.place(("metrics", name, "mask"))
                raise RecipeError(
                    f"{place}: metric {spec.use} cannot measure a part of an image, so no mask can weigh it"
                )
            weights = static_weights(loaded, spec.mask, build_mask(loaded, spec.mask, data), data)
            if not bool(weights.any()):
                place = loaded.place(("masks", spec.mask))
                raise RecipeError(f"{place}: is 0 everywhere at its start, so metric {name} would measure nothing")
            metric = MaskedMetric(metric, spec.mask, weights)
        metrics[name] = metric
    return metrics, missing


def static_weights(loaded: LoadedRecipe, name: str, mask: Mask, data: DataInfo) -> Tensor:
    """Return the weights at step 0 of a mask that depends on the step alone, (1, 1, H, W).

    Raises RecipeError if the mask requests batch columns, or its weights do not fit the images.
    """
    asked = [
        item for item, parameter in requested_arguments(mask.forward).items() if parameter.default is parameter.empty
    ]
    if set(asked) - {"step"}:
        raise RecipeError(
            f"{loaded.place(('masks', name))}: differs from image to image (it requests {', '.join(asked)}); "
            "a mask that is the same for all images is needed here"
        )
    weights = mask(**dict.fromkeys(asked, 0))
    assert isinstance(weights, Tensor)
    check_weights(weights, data.size, loaded.place(("masks", name)))
    return weights
