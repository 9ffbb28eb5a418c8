"""The seed's training loop, written plainly from its published description: the reference for the trainer.

One PyTorch module in the default memory format, both branches always computed, torch's default Adam, and images opened
one by one with Pillow in two worker processes. The recipes in ``recipes/seed`` describe the same training for enface.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as transforms

POSES, LIGHTS = 9, 20
LOAD, SIZE = 100, 96
IDENTITY, REST = 240, 80
Kind = Literal["disentangle", "only_l1", "mask_l1"]


def boundary() -> npt.NDArray[np.float64]:
    """Return a mask (96, 96): 5 on two lines, 1 elsewhere."""
    mask = np.ones((SIZE, SIZE))
    mask[20:80:59, 20:80] = 5
    return mask


def conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its BatchNorm."""
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]


class Stage(nn.Module):
    """A convolution of stride 2 and a residual block."""

    def __init__(self, inputs: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.down = nn.Sequential(*conv(inputs, wide, 2), nn.ELU())
        self.body = nn.Sequential(*conv(wide, narrow), nn.ELU(), *conv(narrow, wide))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, wide, H/2, W/2)."""
        residual = self.down(image)
        return functional.elu(residual + self.body(residual))


class Network(nn.Module):
    """Encoder, heads and decoder at width 1: 6.3 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(3, 64, 1, bias=False)
        self.stem = nn.Sequential(*conv(3, 64), nn.ELU(), *conv(64, 64))
        self.stages = nn.Sequential(Stage(64, 64, 128), Stage(128, 96, 192), Stage(192, 128, 256), Stage(256, 160, 320))
        self.read = nn.Conv2d(REST, POSES + LIGHTS, 6)
        layers: list[nn.Module] = []
        inputs = IDENTITY
        for number, widths in enumerate(((160, 256), (256, 128, 192), (192, 96, 128), (128, 64, 64), (64, 32))):
            for place, outputs in enumerate(widths):
                stride = 2 if number and place == 0 else 1
                up = nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, output_padding=stride - 1, bias=False)
                layers += [up, nn.BatchNorm2d(outputs), nn.ELU()]
                inputs = outputs
        self.decoder = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, 3, 3, 1, 1), nn.Tanh())

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the identity code (N, 240, 6, 6), pose logits (N, 9) and light logits (N, 20)."""
        code = self.stages(functional.elu(self.shortcut(image) + self.stem(image)))
        logits = self.read(code[:, IDENTITY:]).flatten(1)
        return code[:, :IDENTITY], logits[:, :POSES], logits[:, POSES:]

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the output (N, 3, 96, 96) and the codes and logits of both branches."""
        one, two = self.encode(first), self.encode(second)
        return self.decoder(one[0]), one, two

    def freeze_encoder(self) -> None:
        """Freeze everything except the decoder."""
        for part in (self.shortcut, self.stem, self.stages, self.read):
            part.requires_grad_(False)


def contrastive(a: Tensor, b: Tensor, same: Tensor, margin: float = 2) -> Tensor:
    """Return the contrastive loss: pull equal pairs together, push others apart by a margin (Hadsell et al., 2006)."""
    distance = functional.pairwise_distance(a.flatten(1), b.flatten(1))
    return (same * distance.square() + (1 - same) * (margin - distance).clamp(min=0).square()).mean()


class Faces(Dataset[tuple[Any, ...]]):
    """Pairs of images from files ``IDENTITY_POSE_LIGHT.png``, opened on demand."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))
        self.labels = [tuple(map(int, path.stem.split("_"))) for path in self.files]
        self.frontal: dict[int, list[Path]] = {}
        for path, (person, pose, _) in zip(self.files, self.labels, strict=True):
            if pose == POSES // 2:
                self.frontal.setdefault(person, []).append(path)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        person, pose, light = self.labels[index]
        other = random.randrange(len(self))
        flags = [float(a == b) for a, b in zip(self.labels[index], self.labels[other], strict=True)]
        target = load_image(random.choice(self.frontal[person]), crop=False)
        return load_image(self.files[index]), load_image(self.files[other]), target, pose, light, *flags


def load_image(path: Path, crop: bool = True) -> Tensor:
    """Return an image (3, 96, 96) in [-1, 1], cropped at random, or in the middle without ``crop``."""
    image = Image.open(path).convert("RGB").resize((LOAD, LOAD))
    room = LOAD - SIZE
    top, left = (random.randint(0, room), random.randint(0, room)) if crop else (room // 2, room // 2)
    cropped = image.crop((left, top, left + SIZE, top + SIZE))
    return transforms.normalize(transforms.to_tensor(cropped), [0.5] * 3, [0.5] * 3)


def write_faces(folder: Path, people: int) -> Path:
    """Write images of smoothed noise, which cost a network and a decoder as much as faces do; return the folder."""
    rng = np.random.default_rng(0)
    for person in range(people):
        for pose in range(POSES):
            for light in range(LIGHTS):
                small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
                small.resize((LOAD, LOAD)).save(folder / f"{person:03d}_{pose}_{light:02d}.png")
    return folder


def batches(folder: Path, batch: int, workers: int = 2) -> Iterator[list[Tensor]]:
    """Yield batches indefinitely."""
    loader = DataLoader(Faces(folder), batch, shuffle=True, num_workers=workers, drop_last=True)
    while True:
        yield from loader


class Loop:
    """Steps of one of the documented runs.

    Args:
        kind: The run.
        data: Batches; reading one is part of a step.
    """

    def __init__(self, kind: Kind, data: Iterator[list[Tensor]]) -> None:
        self.kind, self.data = kind, data
        self.mask = torch.from_numpy(boundary()).float()
        self.network = Network()
        if kind == "mask_l1":
            self.network.freeze_encoder()
        learning = [item for item in self.network.parameters() if item.requires_grad]
        self.optimizer = torch.optim.Adam(learning, lr=1e-4, betas=(0.7, 0.999))

    def __call__(self) -> dict[str, float]:
        """Take one step; return the losses, read back as numbers, as such loops do."""
        first, second, target, pose, light, same_identity, same_pose, same_light = next(self.data)
        output, one, two = self.network(first, second)
        if self.kind == "mask_l1":
            losses = {"recon": functional.l1_loss(self.mask * output, self.mask * target)}
        else:
            losses = {"recon": functional.l1_loss(output, target)}
        if self.kind == "disentangle":
            flags = (same_identity, same_pose, same_light)
            for name, a, b, same in zip(("identity", "pose", "light"), one, two, flags, strict=True):
                losses[f"con_{name}"] = contrastive(a, b, same.float())
            losses["class_pose"] = functional.cross_entropy(one[1], pose)
            losses["class_light"] = functional.cross_entropy(one[2], light)
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}
