"""Arithmetic settings of a recipe reach torch."""

from __future__ import annotations

import pytest
import torch

from enface.recipe.models import EngineModel
from enface.training.engine import Engine


@pytest.fixture
def flags():
    """Restore torch's flags afterwards."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("keys", [{}, {"tf32": True}, {"tf32": False}])
def test_tf32_is_off_unless_the_recipe_requests_it(flags, keys):
    expected = keys.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not expected
    Engine(EngineModel(device="cpu", **keys))
    assert torch.backends.cuda.matmul.allow_tf32 is expected
    assert torch.backends.cudnn.allow_tf32 is expected
