"""Colours, computed per sample rather than per vertex, so that iris, lips, brows and hairline are sharp.

Positions are in centimetres on the mean head (see :mod:`.model`), so they follow every face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enface_plugins.datasets.heads import noise
from enface_plugins.datasets.heads.identity import Colour, Identity
from enface_plugins.datasets.heads.model import EYE, GLASSES, HAIR, MOUTH, SKIN, Floats

REGION_NAMES = ("background", "skin", "hair", "brows", "eyes", "lips", "glasses")
BACKGROUND, SKIN_REGION, HAIR_REGION, BROWS, EYES, LIPS, GLASSES_REGION = range(7)

_EYE_X, _IRIS, _PUPIL = 3.134, 0.62, 0.25


@dataclass
class Paint:
    """Surface properties of N samples.

    Attributes:
        albedo: (N, 3) linear RGB.
        gloss: (N,) strength of the highlight.
        sharpness: (N,) Blinn-Phong exponent.
        normal: (N, 3) unit normals, perturbed by strands of hair.
        region: (N,) index into ``REGION_NAMES``.
    """

    albedo: Floats
    gloss: Floats
    sharpness: Floats
    normal: Floats
    region: npt.NDArray[np.uint8]


def paint(person: Identity, material: npt.NDArray[np.uint8], place: Floats, normal: Floats) -> Paint:
    """Compute the surface properties of samples.

    Args:
        person: Owner of the head.
        material: (N,) materials.
        place: (N, 3) positions on the mean head; for hair and glasses, on the person's head.
        normal: (N, 3) unit normals.
    """
    count = len(place)
    out = Paint(
        albedo=np.zeros((count, 3), np.float32),
        gloss=np.full(count, 0.05, np.float32),
        sharpness=np.full(count, 18, np.float32),
        normal=normal.copy(),
        region=np.full(count, SKIN_REGION, np.uint8),
    )
    for kind, colour in ((SKIN, _skin), (MOUTH, _mouth), (EYE, _eye), (HAIR, _hair), (GLASSES, _glasses)):
        where = np.flatnonzero(material == kind)
        if len(where):
            colour(person, place[where], where, out)
    return out


def beard_density(place: Floats, person: Identity) -> Floats:
    """Density of the beard at positions (N, 3) on the mean head: (N,) in [0, 1]."""
    if person.beard == "none":
        return np.zeros(len(place), np.float32)
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    ragged = 0.18 * noise.smooth(place, 3.0, person.noise)
    cheek = np.interp(x, [0, 2.4, 3.0, 4.5, 6.0, 6.8, 7.6], [-5.4, -5.7, -6.9, -5.6, -3.6, -1.2, -0.5])
    full = np.minimum(cheek - y, y + 12.6) + ragged
    full = np.minimum(full, z + 6.0)
    moustache = np.minimum.reduce([2.9 - x - 0.35 * np.maximum(-6 - y, 0), -5.5 - y, y + 7.5]) + ragged
    chin = np.minimum.reduce([2.6 - x, -6.2 - y, y + 12.6]) + ragged
    shape = {"moustache": moustache, "goatee": np.maximum(moustache, chin)}.get(person.beard, full)
    return np.asarray(person.beard_density * noise.step(-0.2, 0.9, shape) * noise.step(-4.5, -1.5, z), np.float32)


def _skin(person: Identity, place: Floats, where: npt.NDArray[np.intp], out: Paint) -> None:
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    face = noise.step(-2, 1, z)
    colour = np.asarray(person.skin, np.float32) * (1 + 0.04 * noise.smooth(place, 1.3, person.noise))[:, None]
    flush = noise.bump(np.hypot(x - 4.2, y + 3.8), 2.2) + 0.8 * noise.bump(np.hypot(x, y + 3.9), 1.1)
    flush += 0.5 * noise.step(7.3, 8.2, x)
    colour *= 1 - person.flush * flush[:, None] * np.asarray((0.02, 0.2, 0.17), np.float32)
    hollow = noise.bump(np.hypot((x - 2.9) / 1.6, y + 0.9), 0.8) * face
    colour *= 1 - hollow[:, None] * np.asarray((0.12, 0.18, 0.14), np.float32)
    if person.freckles:
        spots = noise.step(0.75, 1.0, noise.smooth(place, 9.0, person.noise + 5)) * noise.step(-6, -3, y) * face
        colour *= 1 - person.freckles * (spots * noise.step(3, -1, y))[:, None] * np.asarray(
            (0.3, 0.45, 0.5), np.float32
        )
    _blend(colour, person.hair_colour, 0.9 * beard_density(place, person), place, person)
    lashes = _lashes(x, y, place)
    colour *= (1 - 0.75 * lashes)[:, None]
    lips = _lip_cover(x, y, z)
    colour += lips[:, None] * (np.asarray(person.lips, np.float32) - colour)
    brows = _brow_cover(x, y, z, person, place)
    colour += brows[:, None] * (np.asarray(person.brow_colour, np.float32) - colour)
    out.albedo[where] = colour
    out.gloss[where] = 0.045 + 0.05 * lips + 0.02 * noise.bump(x, 1.6) * face
    region = out.region[where]
    region[lips > 0.5] = LIPS
    region[brows > 0.35] = BROWS
    out.region[where] = region


def _blend(colour: Floats, hair: Colour, amount: Floats, place: Floats, person: Identity) -> None:
    """Blend short hair of ``amount`` over the skin, in place."""
    if person.beard != "none":
        strands = 1 + 0.25 * noise.smooth(place, 8.0, person.noise + 9)
        target = 0.75 * np.asarray(hair, np.float32) * strands[:, None]
        colour += np.clip(amount, 0, 1)[:, None] * (target - colour)


def _lashes(x: Floats, y: Floats, place: Floats) -> Floats:
    distance = np.sqrt((x - _EYE_X) ** 2 + y**2 + place[:, 2] ** 2)
    rim = noise.step(1.86, 1.66, distance) * noise.step(0.2, 0.7, place[:, 2])
    return np.asarray(rim * (0.35 + 0.65 * noise.step(-0.35, 0.1, y)), np.float32)


def _lip_cover(x: Floats, y: Floats, z: Floats) -> Floats:
    across = np.clip(1 - (x / 2.6) ** 2, 0, 1)
    top = -7.35 + 0.88 * across**0.75 - 0.16 * noise.bump(x, 0.4)
    bottom = -7.4 - 1.2 * across**0.7
    inside = np.minimum(np.minimum(top - y, y - bottom), (2.6 - x) * 2)
    return noise.step(-0.05, 0.13, inside) * noise.step(-0.5, 0.5, z)


def _brow_cover(x: Floats, y: Floats, z: Floats, person: Identity, place: Floats) -> Floats:
    height, arch, thick, dark = person.brow
    along = np.clip((x - 1.2) / 4.0, 0, 1)
    middle = 1.85 + height + arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.2) - 0.55 * along**2
    half = thick * (1 - 0.62 * along) * (0.75 + 0.25 * noise.step(0, 0.25, along))
    hairs = 0.05 * noise.smooth(place, 9.0, person.noise)
    cover = noise.step(-0.12, 0.12, half - np.abs(y - middle) + hairs)
    return cover * noise.step(1.0, 1.5, x) * noise.step(5.35, 4.9, x) * noise.step(-2.5, -1.0, z) * np.float32(dark)


def _mouth(person: Identity, place: Floats, where: npt.NDArray[np.intp], out: Paint) -> None:
    out.albedo[where] = np.asarray(person.lips, np.float32) * 0.5
    out.region[where] = LIPS


def _eye(person: Identity, place: Floats, where: npt.NDArray[np.intp], out: Paint) -> None:
    x = np.abs(place[:, 0]) - _EYE_X
    radius = np.hypot(x, place[:, 1] + 0.08)
    turn = np.arctan2(place[:, 1] + 0.08, x)
    white = np.asarray((0.68, 0.63, 0.60), np.float32) * (1 - 0.25 * noise.step(0.9, 1.5, radius))[:, None]
    fibre = 1 + 0.2 * np.sin(17 * turn + person.noise) + 0.5 * noise.step(0.5, 0.25, radius)
    iris = np.asarray(person.iris, np.float32) * fibre[:, None] * (1 - 0.6 * noise.step(0.48, 0.62, radius))[:, None]
    inside = noise.step(_IRIS + 0.06, _IRIS - 0.04, radius)[:, None]
    colour = white + inside * (iris - white)
    colour *= 1 - 0.97 * noise.step(_PUPIL + 0.04, _PUPIL - 0.04, radius)[:, None]
    out.albedo[where] = colour
    # A wet, curved surface: a flash is one small, bright point.
    out.gloss[where] = 0.9
    out.sharpness[where] = 900
    out.region[where] = EYES


def _hair(person: Identity, place: Floats, where: npt.NDArray[np.intp], out: Paint) -> None:
    # Strands run down from the crown, so they vary around the head and hardly along it.
    azimuth = np.arctan2(place[:, 0], place[:, 2] + 7.0)
    bend = azimuth + 0.06 * person.hair.wave * noise.smooth(place, 0.8, person.noise)
    coarse, fine = np.sin(31 * bend + person.noise), np.sin(83 * bend + 2 * person.noise + 0.4 * place[:, 1])
    strands = (1 - person.hair.curl) * (0.6 * coarse + 0.4 * fine)
    strands += person.hair.curl * noise.smooth(place, 5.0, person.noise)
    out.albedo[where] = np.asarray(person.hair_colour, np.float32) * (1 + 0.28 * strands)[:, None]
    sideways = np.stack([np.cos(azimuth), np.zeros_like(azimuth), -np.sin(azimuth)], axis=1)
    normal = out.normal[where] + 0.22 * strands[:, None] * sideways
    out.normal[where] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    out.gloss[where] = 0.06
    out.sharpness[where] = 12
    out.region[where] = HAIR_REGION


def _glasses(person: Identity, place: Floats, where: npt.NDArray[np.intp], out: Paint) -> None:
    assert person.glasses is not None
    out.albedo[where] = person.glasses.colour
    out.gloss[where] = 0.35
    out.sharpness[where] = 50
    out.region[where] = GLASSES_REGION
