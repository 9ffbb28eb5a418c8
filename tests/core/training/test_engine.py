"""What the recipe says of the arithmetic is what torch is told."""

from __future__ import annotations

import pytest
import torch

from enface.recipe.models import EngineModel
from enface.training.engine import Engine


@pytest.fixture
def flags():
    """torch's own, put back afterwards."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("words", [{}, {"tf32": True}, {"tf32": False}])
def test_float32_is_float32_unless_tf32_is_asked_for(flags, words):
    wanted = words.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not wanted
    Engine(EngineModel(device="cpu", **words))
    assert torch.backends.cuda.matmul.allow_tf32 is wanted
    assert torch.backends.cudnn.allow_tf32 is wanted
