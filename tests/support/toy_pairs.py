"""Image pairs in every layout that ``enface init`` recognises, drawn in microseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 40
POSES = (-30, 0, 30)
CAMERAS = ("130", "051", "041")


def face(person: int, pose: int = 0, light: int = 0) -> Image.Image:
    """An oval with eyes that move with the pose and brighten with the light."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    image = np.full((SIDE, SIDE, 3), 30.0)
    image[(x / (0.5 + 0.03 * (person % 5))) ** 2 + (y / 0.8) ** 2 < 1] = np.random.default_rng(person).uniform(
        60, 200, 3
    ) * (0.7 + 0.3 * light)
    image[(np.abs(np.abs(x - pose / 90) - 0.2) < 0.07) & (np.abs(y + 0.2) < 0.07)] = 240
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _pairs(people: int) -> list[tuple[str, Image.Image, Image.Image]]:
    """Two pairs of each person: name, source and target."""
    return [
        (f"{person:03}_{number}.png", face(person, pose), face(person))
        for person in range(people)
        for number, pose in enumerate((-30, 30))
    ]


def _beside(source: Image.Image, target: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * SIDE, SIDE))
    both.paste(source, (0, 0))
    both.paste(target, (SIDE, 0))
    return both


def source_target(root: Path, people: int = 8) -> None:
    """``source/`` and ``target/``."""
    for name, source, target in _pairs(people):
        _save(source, root / "source" / name)
        _save(target, root / "target" / name)


def a_b(root: Path, people: int = 8) -> None:
    """``A/`` and ``B/``."""
    for name, source, target in _pairs(people):
        _save(source, root / "A" / name)
        _save(target, root / "B" / name)


def side_by_side(root: Path, people: int = 8) -> None:
    """Source and target in one image."""
    for name, source, target in _pairs(people):
        _save(_beside(source, target), root / name)


def _split(person: int, people: int) -> str:
    return "test" if person >= people - 2 else "val" if person >= people - 4 else "train"


def side_by_side_splits(root: Path, people: int = 8) -> None:
    """The layout of pix2pix: ``train/``, ``val/`` and ``test/`` with both images in one."""
    for name, source, target in _pairs(people):
        _save(_beside(source, target), root / _split(int(name[:3]), people) / name)


def train_a_b(root: Path, people: int = 8) -> None:
    """The layout of joliGEN: ``trainA/``, ``trainB/``, ``testA/`` and ``testB/``."""
    for name, source, target in _pairs(people):
        split = "test" if int(name[:3]) >= people - 2 else "train"
        _save(source, root / f"{split}A" / name)
        _save(target, root / f"{split}B" / name)


def source_target_splits(root: Path, people: int = 8) -> None:
    """``train/source/``, ``train/target/``, and the same in ``val/`` and ``test/``."""
    for name, source, target in _pairs(people):
        split = _split(int(name[:3]), people)
        _save(source, root / split / "source" / name)
        _save(target, root / split / "target" / name)


def labelled(root: Path, people: int = 8) -> None:
    """Names with person, pose and light."""
    for person in range(people):
        for pose in POSES:
            for light in range(2):
                _save(face(person, pose, light), root / f"{person:03}_yaw{pose:+04}_light{light}.png")


def multipie(root: Path, people: int = 8) -> None:
    """The names of Multi-PIE."""
    for person in range(people):
        for camera, pose in zip(CAMERAS, POSES, strict=True):
            _save(face(person, pose), root / f"{person + 1:03}_01_01_{camera}_07.png")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    writer.__name__: writer
    for writer in (
        *(source_target, a_b, side_by_side, side_by_side_splits, train_a_b, source_target_splits),
        *(labelled, multipie),
    )
}
