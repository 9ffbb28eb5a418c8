"""Pictures of every evaluated image: source, output, target and error map, as sprites."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import resize

from enface_tools.evaluate.grid import Pixels, grid, shown, to_pixels
from enface_tools.evaluate.models import LargePictures, PictureIndex
from enface_tools.evaluate.results import PICTURES

TILE, ROWS, MAX_LARGE = 96, 64, 100
LOSSLESS: dict[str, Any] = {"format": "WEBP", "lossless": True, "method": 0, "quality": 50}
"""Arguments of Pillow: lossy compression would alter the artifacts that the pictures are to show."""
MAX_ERROR = 0.5
"""The error shown in the last colour of the error map, in [0, 1]."""


class PictureWriter:
    """Writes sprites of source, output, target and error map, batch by batch.

    ``pictures/NNN-ROLE.webp`` holds up to 64 tiles below each other, with the pixels that are measured; a file of one
    role is smaller, because targets repeat. Tiles are square; other images have black borders. Images larger than a
    tile are reduced to it, which removes fine patterns; up to 100 of them, evenly spread, are also written at full
    size. ``pictures.json`` is the index.

    Args:
        total: Number of images to come.
        sources: True if there are source images.
    """

    def __init__(self, folder: Path, total: int, *, sources: bool = True) -> None:
        self._folder, self._names = folder, ("source",) * sources + ("output", "target", "error")
        self._large = set(np.linspace(0, max(total - 1, 0), min(total, MAX_LARGE)).round().astype(int).tolist())
        self._rows: list[list[Pixels]] = []
        self._files: dict[str, list[str]] = {name: [] for name in self._names}
        self._large_files: dict[str, str] = {}
        self._tile = self._size = self._count = 0
        shutil.rmtree(folder / "pictures", ignore_errors=True)
        (folder / PICTURES).unlink(missing_ok=True)

    def add(self, images: Mapping[str, Tensor]) -> None:
        """Add a batch: ``output``, ``target`` and, with ``sources``, ``source``, (N, C, H, W) in [0, 1]."""
        batch = {name: image.detach().float().cpu() for name, image in images.items()}
        batch["error"] = error_map(batch["output"], batch["target"])
        batch = {name: squared(shown(image)) for name, image in batch.items()}
        self._size = batch["target"].shape[-1]
        self._tile = min(self._size, TILE)
        tiles = [to_pixels(resize(batch[name], [self._tile, self._tile], antialias=True)) for name in self._names]
        for index, row in enumerate(zip(*tiles, strict=True)):
            self._rows.append(list(row))
            if self._tile < self._size and self._count in self._large:
                self._large_files[str(self._count)] = name = f"large-{self._count:05d}.webp"
                self._write([[to_pixels(batch[role][index : index + 1])[0] for role in self._names]], name)
            self._count += 1
            if len(self._rows) == ROWS:
                self._flush()

    def close(self) -> None:
        """Write the last sprite and the index."""
        if self._rows:
            self._flush()
        index = PictureIndex(
            tile=self._tile,
            rows=ROWS,
            files=self._files,
            images=self._count,
            large=LargePictures(size=self._size, files=self._large_files),
        )
        (self._folder / PICTURES).write_text(json.dumps(index.dump()))

    def _flush(self) -> None:
        for place, (role, files) in enumerate(self._files.items()):
            files.append(name := f"{len(files):03d}-{role}.webp")
            self._write([[row[place]] for row in self._rows], name)
        self._rows = []

    def _write(self, rows: Sequence[Sequence[Pixels]], name: str) -> None:
        (self._folder / "pictures").mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid(rows)).save(self._folder / "pictures" / name, **LOSSLESS)


def squared(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in the middle of black squares (N, C, S, S)."""
    height, width = images.shape[-2:]
    down, across = max(width - height, 0), max(height - width, 0)
    return pad(images, [across // 2, across - across // 2, down // 2, down - down // 2])


def error_map(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of each pixel, coloured from black (0) to pale yellow (0.5 and above).

    Args:
        output: (N, C, H, W) in [0, 1], as ``target``; the result is (N, 3, H, W).
    """
    error = ((output - target).abs().mean(1) / MAX_ERROR).clamp(0, 1)
    colours = torch.from_numpy(matplotlib.colormaps["inferno"](np.arange(256))[:, :3]).float()
    return colours[(error * 255).round().long()].permute(0, 3, 1, 2)
