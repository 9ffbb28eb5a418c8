"""Parts of the images, named without a recipe: masks that need no more than a target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from enface.errors import EnfaceError, RecipeError, WeightsError
from enface.plugin.catalog import Catalog
from enface.plugin.components import DataInfo, Mask
from enface.recipe.files import Text, apply_overrides
from enface.train.build import requested_arguments
from enface_tools.pairs.metrics import checked

SETS = "regions."


class TargetRegions:
    """Weights of each region, from targets alone.

    Args:
        masks: By the region's name; each asks for ``target`` and, if it likes, ``step``.
        about: Text that changes when other weights would be given.
    """

    def __init__(self, masks: Mapping[str, Mask], about: str) -> None:
        self._masks, self.about = masks, about

    def __call__(self, target: Tensor) -> dict[str, Tensor]:
        """Weights (N or 1, 1, H, W) >= 0 of each region, for targets (N, 3, H, W) in [0, 1].

        Raises:
            EnfaceError: when a mask cannot weigh these images.
        """
        found = {}
        for name, mask in self._masks.items():
            given = {"target": 2 * target - 1, "step": 0}
            weights: Tensor = mask.to(target.device)(
                **{key: given[key] for key in requested_arguments(mask.forward) if key in given}
            )
            if weights.dim() != 4 or weights.shape[1] != 1 or weights.shape[-2:] != target.shape[-2:]:
                raise EnfaceError(
                    f"regions.{name}: gives weights {tuple(weights.shape)} for images {tuple(target.shape)}; its mask "
                    "needs square images, perhaps"
                )
            found[name] = weights
        return found


def build_regions(
    catalog: Catalog, overrides: Sequence[str], size: tuple[int, int]
) -> tuple[TargetRegions | None, dict[str, str]]:
    """The regions that ``regions.NAME.KEY=VALUE`` define, and for those that cannot be had, why not.

    Raises:
        RecipeError: naming the region, key or value that is wrong.
    """
    text = Text()
    config = apply_overrides(DictConfig({"regions": {}}), overrides, text)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    masks: dict[str, Mask] = {}
    missing: dict[str, str] = {}
    for name, params in plain["regions"].items():
        if not isinstance(params, dict):
            raise text.error([(("regions", name), "must be set by keys, as regions.NAME.use=MASK")])
        try:
            masks[name] = _mask(catalog, name, dict(params), min(size), text)
        except WeightsError as error:
            missing[f"region {name}"] = str(error)
    return TargetRegions(masks, json.dumps(plain, sort_keys=True)) if masks else None, missing


def _mask(catalog: Catalog, name: str, params: dict[str, Any], size: int, text: Text) -> Mask:
    use = str(params.pop("use", name))
    params = checked(catalog, "mask", name, use, params, text)
    try:
        mask = catalog.build("mask", use, params, DataInfo(size))
    except EnfaceError as error:
        raise type(error)(f"regions.{name}: {error}") from error
    assert isinstance(mask, Mask)
    needed = {key for key, item in requested_arguments(mask.forward).items() if item.default is item.empty}
    if needed - {"target", "step"}:
        raise RecipeError(
            f"regions.{name}: mask {use} asks for {', '.join(sorted(needed))}; folders give no more than a target"
        )
    return mask.eval()
