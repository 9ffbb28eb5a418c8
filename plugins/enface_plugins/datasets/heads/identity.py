"""Identities: all random traits of a person, drawn from a seed and the person's number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
"""Linear RGB in [0, 1]."""

BeardStyle = Literal["none", "stubble", "full", "goatee", "moustache"]

# sRGB anchors from the lightest to the darkest skin; people lie between neighbours.
_SKIN = ((242, 205, 180), (232, 186, 154), (214, 160, 122), (186, 128, 90), (146, 94, 64), (104, 66, 46), (76, 48, 35))
_DARK_HAIR = ((30, 26, 25), (42, 31, 25), (58, 40, 29))
_ANY_HAIR = (*_DARK_HAIR, (78, 52, 34), (112, 78, 48), (160, 122, 76), (196, 162, 112), (126, 60, 30))
_GREY_HAIR = ((120, 118, 116), (170, 168, 165), (205, 203, 200))
_DARK_EYES = ((48, 29, 17), (66, 41, 23), (84, 54, 30))
_ANY_EYES = (*_DARK_EYES, (110, 82, 46), (92, 104, 66), (88, 118, 136), (74, 108, 150), (112, 122, 126))
_FRAMES = ((18, 18, 20), (24, 22, 22), (70, 42, 26), (120, 30, 34), (40, 52, 96), (150, 150, 156), (176, 140, 76))


@dataclass(frozen=True)
class Hair:
    """A hair style, with lengths in centimetres on a head of average size.

    Attributes:
        front: Height of the hairline above the eyes at the middle of the forehead.
        temple: Additional height of the hairline at the temples.
        crown: Baldness of the top, from 0 (full hair) to 1 (only a ring of hair).
        nape: Height of the lower end of the hair at the back, relative to the eyes.
        volume: Thickness of the hair on top.
        sides: Thickness at the sides.
        long: True if it falls over the ears and beside the neck.
        parting: Sideways shift of the parting, in [-1, 1].
        wave: Height of the locks, from 0 (smooth) to 1.
        curl: 0 for straight strands, 1 for curls.
        peak: Depth of the hairline's dip in the middle of the forehead.
        sweep: Degree to which long hair is swept from the middle to the sides.
    """

    front: float
    temple: float
    crown: float
    nape: float
    volume: float
    sides: float
    long: bool
    parting: float
    wave: float
    curl: float
    peak: float
    sweep: float


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses: half sizes of a lens and radius of the rim, in centimetres."""

    width: float
    height: float
    radius: float
    roundness: float
    colour: Colour


@dataclass(frozen=True)
class Identity:
    """One person.

    Attributes:
        phenotype: anny's phenotype parameters, each in [0, 1].
        draws: Standard normal numbers, one for each local shape change.
        eye_distance: Distance between the centres of the eyes in centimetres.
        brow: Offsets (height, arch, thickness) of the brows in centimetres, and their darkness in [0, 1].
    """

    phenotype: Mapping[str, float]
    draws: npt.NDArray[np.float32]
    eye_distance: float
    skin: Colour
    flush: float
    freckles: float
    lips: Colour
    iris: Colour
    hair_colour: Colour
    brow_colour: Colour
    brow: tuple[float, float, float, float]
    hair: Hair
    beard: BeardStyle
    beard_density: float
    glasses: Glasses | None
    noise: float


def draw_identity(seed: int, index: int) -> Identity:
    """Draw person ``index`` of population ``seed``, independent of the population's size."""
    rng = np.random.default_rng([seed, index])
    masculine = bool(rng.random() < 0.55)
    age = float(np.clip(rng.beta(1.2, 1.8) * 0.36 + 0.62, 0.62, 0.97))
    ancestry = rng.dirichlet((0.55, 0.55, 0.75))
    phenotype = _phenotype(rng, masculine, age, ancestry)
    tone = float(np.clip(ancestry @ (0.86, 0.32, 0.1) + rng.normal(0, 0.1), 0, 1))
    skin = _jitter(rng, _between(_SKIN, tone), 0.04)
    grey = rng.random() < max(0.0, (age - 0.74) * 2.5)
    hair_colour = _hair_colour(rng, tone, bool(grey))
    eyes = _DARK_EYES if tone > 0.3 else _ANY_EYES
    beard, density = _beard(rng, masculine)
    return Identity(
        phenotype=phenotype,
        draws=rng.standard_normal(512).astype(np.float32),
        eye_distance=float(np.clip(rng.normal(6.15, 0.2), 5.7, 6.6)),
        skin=skin,
        flush=float(rng.uniform(0.3, 1.0)),
        freckles=float(rng.uniform(0.4, 1.0)) if tone < 0.3 and rng.random() < 0.2 else 0.0,
        lips=_lips(rng, skin, masculine),
        iris=_jitter(rng, linear(eyes[rng.integers(len(eyes))]), 0.15),
        hair_colour=hair_colour,
        brow_colour=_mix(hair_colour, linear(_DARK_HAIR[1]), 0.45),
        brow=_brow(rng, masculine),
        hair=_hair(rng, masculine, age, tone),
        beard=beard,
        beard_density=density,
        glasses=_glasses(rng) if rng.random() < 0.25 else None,
        noise=float(rng.uniform(0, 100)),
    )


def linear(srgb: tuple[int, int, int]) -> Colour:
    """Convert an 8-bit sRGB colour to linear light in [0, 1]."""
    value = np.asarray(srgb) / 255
    out = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(out[0]), float(out[1]), float(out[2])


def _mix(first: Colour, second: Colour, amount: float) -> Colour:
    out = np.asarray(first) * (1 - amount) + np.asarray(second) * amount
    return float(out[0]), float(out[1]), float(out[2])


def _between(anchors: tuple[tuple[int, int, int], ...], position: float) -> Colour:
    low = min(int(position * (len(anchors) - 1)), len(anchors) - 2)
    return _mix(linear(anchors[low]), linear(anchors[low + 1]), position * (len(anchors) - 1) - low)


def _jitter(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    out = np.clip(np.asarray(colour) * np.exp(rng.normal(0, spread) + rng.normal(0, spread / 2, 3)), 0, 1)
    return float(out[0]), float(out[1]), float(out[2])


def _phenotype(
    rng: np.random.Generator, masculine: bool, age: float, ancestry: npt.NDArray[np.float64]
) -> dict[str, float]:
    gender = rng.uniform(0.0, 0.25) if masculine else rng.uniform(0.75, 1.0)
    values = {"gender": gender, "age": age, "height": 0.5, "proportions": rng.uniform(0.3, 0.9)}
    values |= {"muscle": rng.uniform(0.2, 0.8), "weight": np.clip(rng.normal(0.48, 0.2), 0.05, 0.95)}
    values |= dict(zip(("african", "asian", "caucasian"), ancestry, strict=True))
    return {name: float(value) for name, value in values.items()}


def _hair_colour(rng: np.random.Generator, tone: float, grey: bool) -> Colour:
    choices = _GREY_HAIR if grey else _DARK_HAIR if tone > 0.3 else _ANY_HAIR
    return _jitter(rng, linear(choices[rng.integers(len(choices))]), 0.03 if grey else 0.12)


def _lips(rng: np.random.Generator, skin: Colour, masculine: bool) -> Colour:
    natural = np.asarray(skin) * (0.76, 0.52, 0.51)
    painted = np.asarray(linear((168, 40, 52))) * rng.uniform(0.6, 1.1)
    amount = 0.0 if masculine else float(rng.uniform(0, 0.7)) * float(rng.random() < 0.6)
    return _jitter(rng, _mix(tuple(natural), tuple(painted), amount), 0.06)


def _brow(rng: np.random.Generator, masculine: bool) -> tuple[float, float, float, float]:
    thick = rng.normal(0.40 if masculine else 0.28, 0.06)
    arch = rng.normal(0.25 if masculine else 0.5, 0.15)
    return (float(rng.normal(0, 0.1)), float(arch), float(max(thick, 0.18)), float(rng.uniform(0.7, 0.95)))


def _beard(rng: np.random.Generator, masculine: bool) -> tuple[BeardStyle, float]:
    style: BeardStyle = ("stubble", "full", "goatee", "moustache")[rng.choice(4, p=(0.3, 0.35, 0.2, 0.15))]
    density = float(rng.uniform(0.35, 0.55) if style == "stubble" else rng.uniform(0.75, 0.95))
    return (style, density) if masculine and rng.random() < 0.38 else ("none", 0.0)


def _hair(rng: np.random.Generator, masculine: bool, age: float, tone: float) -> Hair:
    bald = masculine and rng.random() < 0.08 + max(0.0, age - 0.72) * 1.2
    long = bool(rng.random() < (0.05 if masculine else 0.65)) and not bald
    curl = float(np.clip(rng.beta(0.6, 1.6) + 0.9 * (tone - 0.45), 0, 1))
    volume = rng.uniform(0.3, 0.5) if bald else rng.uniform(0.4, 1.6) if masculine else rng.uniform(0.8, 1.8)
    sides = rng.uniform(0.25, 0.7) if masculine else rng.uniform(0.4, 1.1)
    if curl > 0.5 and not bald and rng.random() < 0.4:
        volume, sides = rng.uniform(1.4, 2.2), rng.uniform(1.0, 2.0)
    return Hair(
        front=float(rng.normal(6.6 if masculine else 6.2, 0.6)) + 1.2 * bald,
        temple=float(rng.uniform(0.3, 1.8) if masculine else rng.uniform(0.0, 0.8)),
        crown=float(rng.uniform(0.6, 1.0)) if bald else 0.0,
        nape=float(rng.uniform(-16, -9) if long else rng.uniform(-8, -5.5)),
        volume=float(volume),
        sides=float(sides),
        long=long,
        parting=float(rng.uniform(-1, 1)),
        wave=float(rng.uniform(0.1, 1.0)),
        curl=curl,
        peak=float(rng.uniform(-0.3, 0.7)),
        sweep=float(rng.uniform(0.0, 1.0)),
    )


def _glasses(rng: np.random.Generator) -> Glasses:
    colour = _FRAMES[rng.integers(len(_FRAMES))]
    return Glasses(
        width=float(rng.uniform(2.35, 2.75)),
        height=float(rng.uniform(1.5, 2.2)),
        radius=float(rng.uniform(0.11, 0.2)),
        roundness=float(rng.uniform(2.0, 4.0)),
        colour=linear(colour),
    )
