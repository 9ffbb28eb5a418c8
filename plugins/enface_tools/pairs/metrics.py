"""Which metrics are measured, and building them without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from enface.errors import EnfaceError, RecipeError, WeightsError
from enface.plugin.catalog import Catalog
from enface.plugin.components import DataInfo, Metric
from enface.plugin.schema import explain
from enface.recipe.files import Text, apply_overrides
from enface.recipe.models import Name

SECTIONS = {"metric": "metrics", "mask": "regions"}
"""What components of a kind are set under."""


@dataclass(frozen=True)
class Choice:
    """A metric and its parameters, as a recipe would write them.

    Attributes:
        asked: Whether it was asked for by name; of the usual ones some may not fit the images.
    """

    use: str
    params: Mapping[str, Any]
    asked: bool


@dataclass(frozen=True)
class Built:
    """The metrics that can be had.

    Attributes:
        unavailable: For the others, why not.
        networks: The pretrained networks that each looks through.
    """

    metrics: Mapping[str, Metric]
    unavailable: Mapping[str, str]
    networks: Mapping[str, tuple[str, ...]]


def choose(catalog: Catalog, names: Sequence[str] | None, overrides: Sequence[str]) -> dict[str, Choice]:
    """The metrics of these names, or the usual ones, with parameters set.

    Args:
        names: Recipe names; all metrics whose class says ``usual`` unless given.
        overrides: ``metrics.NAME.KEY=VALUE``, as a recipe takes them. A metric that is not among the names is
            added, so that ``metrics.lpips_vgg.use=lpips`` makes a second one of a kind.

    Raises:
        RecipeError: naming the metric, key or value that is wrong.
    """
    asked = usual(catalog) if names is None else list(names)
    for item in overrides:
        if not item.startswith("metrics."):
            raise RecipeError(
                f"--set {item}: there is no recipe here; metrics.NAME.KEY=VALUE and regions.NAME.KEY=VALUE can be set"
            )
    text = Text()
    config = DictConfig({"metrics": {name: {} for name in asked}})
    found: Any = OmegaConf.to_container(apply_overrides(config, overrides, text), resolve=True)
    chosen: dict[str, Choice] = {}
    for name, params in found["metrics"].items():
        if not isinstance(params, dict):
            raise text.error([(("metrics", name), "must be set by keys, as metrics.NAME.KEY=VALUE")])
        use = str(params.pop("use", name))
        by_name = names is not None or name not in asked
        chosen[name] = Choice(use, checked(catalog, "metric", name, use, params, text), by_name)
    if not chosen:
        raise RecipeError(f"no metric is asked for; known: {', '.join(catalog.names('metric'))}")
    return chosen


def usual(catalog: Catalog) -> list[str]:
    """The metrics that are measured when none is asked for."""
    return [name for name in catalog.names("metric") if _class(catalog, name).default]


def build(catalog: Catalog, chosen: Mapping[str, Choice], size: tuple[int, int]) -> Built:
    """The metrics, for images of this width and height.

    Metrics are told the smaller side, which is what must be large enough for them.

    Raises:
        EnfaceError: when one that was asked for does not fit the images, or none is left.
    """
    metrics: dict[str, Metric] = {}
    unavailable: dict[str, str] = {}
    for name, choice in chosen.items():
        try:
            metrics[name] = catalog.build("metric", choice.use, choice.params, DataInfo(min(size))).eval()
        except WeightsError as error:
            unavailable[name] = str(error)
        except EnfaceError as error:
            if choice.asked:
                raise type(error)(f"metric {name}: {error}") from error
            unavailable[name] = str(error)
    if not metrics:
        reasons = "\n  ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise EnfaceError(f"no metric can be measured:\n  {reasons}")
    networks = {name: _class(catalog, chosen[name].use).networks(chosen[name].params) for name in metrics}
    return Built(metrics, unavailable, networks)


def _class(catalog: Catalog, name: str) -> type[Metric]:
    component = catalog.get("metric", name).component
    assert issubclass(component, Metric)
    return component


def checked(catalog: Catalog, kind: str, name: str, use: str, params: Mapping[str, Any], text: Text) -> dict[str, Any]:
    """The parameters of one that was asked for, if they are the component's; paths in them made absolute.

    Args:
        kind: ``metric``, or ``mask`` for a region.

    Raises:
        RecipeError: naming what is wrong.
    """
    section = SECTIONS[kind]
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise RecipeError(f"{section}: {name!r} is no name; use letters, digits, _ and -") from None
    try:
        entry = catalog.get(kind, use)
    except RecipeError as error:
        raise RecipeError(f"{section}: {error}") from error
    if kind == "metric" and "mask" in params:
        raise text.error([((section, name, "mask"), "there are no masks here; masks are a recipe's")])
    try:
        model = entry.params.model_validate(dict(params))
    except ValidationError as error:
        complaints = (explain(item, [*entry.params.model_fields, "use"]) for item in error.errors())
        raise text.error(((section, name, *where), message) for where, message in complaints) from error
    values = {key: getattr(model, key) for key in model.model_fields_set}
    return {
        key: str(value.expanduser().resolve()) if isinstance(value, Path) else params[key]
        for key, value in values.items()
    }
