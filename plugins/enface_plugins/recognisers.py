"""Networks that know people, as their users bring them."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface import WeightsError


def load_torchscript(file: Path) -> nn.Module:
    """A user's network from a TorchScript file. Raises WeightsError when it is missing or none."""
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file; a recogniser as TorchScript is needed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It points to torch.export, whose files can run what they hold.
            return torch.jit.load(str(file), map_location="cpu")
    except Exception as error:  # Of many kinds.
        raise WeightsError(
            f"{file}: is no TorchScript file; torch.jit.trace(model.eval(), example).save(FILE) writes one"
        ) from error


def resizing(given: int, wanted: int) -> Tensor | None:
    """The matrix (wanted, given) that resizes a column of pixels, None when there is nothing to resize."""
    if given == wanted:
        return None
    columns = torch.eye(given)[None, None]
    return functional.interpolate(columns, (wanted, given), mode="bilinear", antialias=True)[0, 0]
