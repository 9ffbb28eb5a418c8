"""The mask of regions: weights per region, dilation, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from enface import DataInfo, RecipeError, Targets
from enface_plugins.masks.regions import Regions

NAMES = ("background", "skin", "glasses")


def data(regions: bool = True) -> DataInfo:
    maps = np.zeros((1, 6, 6), np.uint8) if regions else None
    targets = Targets(("a",), np.zeros((1, 3, 6, 6), np.uint8), maps, NAMES if regions else ())
    return DataInfo.square(6, {}, lambda count: targets)


def test_each_image_is_weighted_by_its_own_regions():
    maps = torch.tensor([[[0, 1], [2, 1]], [[2, 2], [0, 0]]])
    weights = Regions(weights={"skin": 2.0, "glasses": 7.0}, others=0.5, data=data())(maps)
    assert weights.tolist() == [[[[0.5, 2.0], [7.0, 2.0]]], [[[7.0, 7.0], [0.5, 0.5]]]]


def test_a_dilated_region_covers_both_sides_of_its_edge_and_the_largest_weight_counts():
    maps = torch.zeros(1, 1, 6, dtype=torch.int64)
    maps[..., 2], maps[..., 3:] = 2, 1
    weights = Regions(weights={"skin": 2.0, "glasses": 7.0}, grow=1, data=data())(maps)
    assert weights.flatten().tolist() == [1.0, 7.0, 7.0, 7.0, 2.0, 2.0]


def test_a_region_may_weigh_less_than_the_others_or_nothing():
    maps = torch.tensor([[[0, 1, 2]]])
    assert Regions(weights={"background": 0.0}, data=data())(maps).flatten().tolist() == [0.0, 1.0, 1.0]


def test_refusals():
    with pytest.raises(RecipeError, match="no region is called 'glases'; known: background, skin, glasses"):
        Regions(weights={"glases": 2.0}, data=data())
    with pytest.raises(RecipeError, match="no region maps"):
        Regions(weights={"skin": 2.0}, data=data(regions=False))
