"""The skin's paint: two pigments, flush zones, freckles, moles, pores and lips, as functions of the place on the head.

All places are in the canonical frame: millimetres from the point between the eyes of the rig's average head (x to the
viewer's right, y up, z forwards, 62 mm between the pupils). Every identity shares it, so that a zone lies on the same
feature whatever the identity's shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.identity import Style
from lipflow.capture.synthetic.noise import fbm, value_noise, worley

FloatArray = npt.NDArray[np.float32]

# Absorbance of a unit of melanin and of haemoglobin for red, green and blue.
MELANIN = np.array([0.36, 0.62, 0.93], dtype=np.float32)
HAEMOGLOBIN = np.array([0.10, 0.42, 0.385], dtype=np.float32)
DERMIS = 0.80  # reflectance under the pigments


@dataclass(frozen=True, eq=False)
class Surface:
    """What a bake knows of N samples; all parts of the head use it."""

    albedo: FloatArray  # [N, 3] linear
    height: FloatArray  # [N] mm above the mesh
    specular: FloatArray  # [N] strength of the reflection, 1 = skin's usual
    roughness: FloatArray  # [N] of the broad lobe


@dataclass(frozen=True, eq=False)
class SkinSamples:
    """Samples on the skin."""

    place: FloatArray  # [N, 3] canonical frame, mm
    lips: FloatArray  # [N] 1 on the vermilion
    mouth_inside: FloatArray  # [N] 1 behind the lips
    eyelids: FloatArray  # [N] 1 at the lid margins
    ears: FloatArray  # [N] 1 on the ears


@dataclass(frozen=True, eq=False)
class Zones:
    """Soft regions of the face, each [N] about in [0, 1]."""

    front: FloatArray
    cheeks: FloatArray
    nose: FloatArray
    forehead: FloatArray
    chin: FloatArray
    eye_hollow: FloatArray  # the whole orbit
    under_eye: FloatArray
    muzzle: FloatArray  # around the mouth
    lips: FloatArray
    mouth_inside: FloatArray
    ears: FloatArray


def smoothstep(start: float, stop: float, x: FloatArray) -> FloatArray:
    """0 at ``start``, 1 at ``stop`` (which may be the smaller), smooth between."""
    t = np.clip((x - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: FloatArray, centre: float, width: float) -> FloatArray:
    """A Gaussian bell of standard deviation ``width``."""
    return np.exp(-0.5 * ((x - centre) / width) ** 2)


def zones(samples: SkinSamples) -> Zones:
    """The regions of the face, from the place alone."""
    x, y, z = samples.place.T
    side = np.abs(x)
    front = smoothstep(-50, -20, z)
    return Zones(
        front=front,
        cheeks=np.exp(-(((side - 41) / 20) ** 2) - ((y + 33) / 18) ** 2) * front,
        nose=np.exp(-((x / 14) ** 2) - ((y + 35) / 13) ** 2) * smoothstep(8, 28, z),
        forehead=np.exp(-((x / 48) ** 2) - ((y - 46) / 24) ** 2) * front,
        chin=np.exp(-((x / 18) ** 2) - ((y + 100) / 13) ** 2) * front,
        eye_hollow=np.exp(-(np.hypot((side - 31) / 20, (y - 2) / 13) ** 4)) * front,
        under_eye=np.exp(-(((side - 27) / 13) ** 2) - ((y + 14 + 0.12 * (side - 27)) / 5.5) ** 2) * front,
        muzzle=np.exp(-((x / 30) ** 2) - ((y + 72) / 26) ** 2) * front,
        lips=smoothstep(0.18, 0.82, samples.lips + 0.10 * fbm(samples.place, 1 / 3.0, 11, 2)),
        mouth_inside=smoothstep(0.35, 0.9, samples.mouth_inside),
        ears=smoothstep(0.2, 0.8, samples.ears),
    )


def pigment(haemoglobin: FloatArray, melanin: FloatArray) -> FloatArray:
    """Albedo [N, 3] of skin with these concentrations [N] (Beer's law over the dermis)."""
    absorbed = melanin[:, None] * MELANIN + haemoglobin[:, None] * HAEMOGLOBIN
    return (DERMIS * np.exp(-absorbed)).astype(np.float32)


def blood(samples: SkinSamples, zone: Zones, style: Style, seed: int) -> FloatArray:
    """Haemoglobin [N]: the flush zones, mottled at three scales."""
    p = samples.place
    mottle = 0.26 * fbm(p, 1 / 30, seed, 3) + 0.32 * fbm(p, 1 / 9, seed + 20, 3) + 0.38 * fbm(p, 1 / 2.2, seed + 40, 3)
    flush = 0.50 * zone.cheeks + 0.75 * zone.nose + 0.55 * zone.ears + 0.30 * zone.eye_hollow + 0.22 * zone.chin
    flush = flush - 0.12 * zone.forehead + 0.35 * zone.under_eye
    # Widened vessels: fine red threads beside the nose and on the cheeks.
    thread = np.abs(fbm(p, 1 / 3.5, seed + 50, 3))
    vessels = smoothstep(0.05, 0.0, thread) * np.clip(zone.cheeks + zone.nose - 0.25, 0, 1)
    amount = style.haemoglobin * (1 + flush + 0.85 * mottle + 0.35 * vessels * (0.4 + style.age))
    lips = style.haemoglobin * (1.35 + 1.2 * style.lip_gloss + 0.55 * fbm(p, 1 / 6, seed + 21, 3)) + 0.2
    return np.maximum(amount * (1 - zone.lips) + lips * zone.lips, 0.05)


def tan(samples: SkinSamples, zone: Zones, style: Style, seed: int) -> FloatArray:
    """Melanin [N]: shade over the face, sun spots, freckles and moles."""
    p = samples.place
    shade = (
        0.16 * fbm(p, 1 / 35, seed + 60, 3) + 0.14 * fbm(p, 1 / 8, seed + 61, 3) + 0.10 * fbm(p, 1 / 1.6, seed + 62, 3)
    )
    shade = shade + 0.20 * zone.under_eye + 0.12 * zone.eye_hollow + 0.10 * zone.forehead + 0.06 * zone.muzzle
    shade = shade + 0.10 * zone.lips
    amount = style.melanin * (1 + shade)
    sunny = np.clip(1.1 * zone.cheeks + zone.nose + 0.35 * zone.forehead + 0.08, 0, 1)
    for cell, size, strength in ((3.1, 0.30, 1.0), (1.9, 0.34, 0.6)):
        distance, chance = worley(p + 0.35 * cell * _jitter(p, cell, seed + 70), 1 / cell, seed + 80 + int(10 * cell))
        spot = smoothstep(size, 0.35 * size, distance) * (chance > 0.45) * (0.4 + chance)
        amount = amount + style.freckles * strength * 0.55 * (0.35 + style.melanin) * spot * sunny
    distance, chance = worley(p, 1 / 26, seed + 90)
    mole = smoothstep(0.062, 0.026, distance) * (chance > 0.62)
    age_spot_distance, age_spot_chance = worley(p, 1 / 15, seed + 95)
    age_spot = (
        smoothstep(0.22, 0.10, age_spot_distance) * (age_spot_chance > 0.7) * max(style.age - 0.35, 0) * zone.front
    )
    return amount + (0.9 * mole + 0.35 * age_spot) * (0.4 + style.melanin) * (1 - zone.lips)


def _jitter(p: FloatArray, cell: float, seed: int) -> FloatArray:
    """A smooth displacement [N, 3] that makes round cells irregular."""
    return np.stack([value_noise(p, 1.3 / cell, seed + k) for k in range(3)], axis=1)


def paint_skin(samples: SkinSamples, style: Style, seed: int) -> tuple[Surface, Zones]:
    """Skin, lips and the lining of the mouth, without hair and wrinkles."""
    p, zone = samples.place, zones(samples)
    albedo = pigment(blood(samples, zone, style, seed), tan(samples, zone, style, seed))
    pore_distance, pore_chance = worley(p, 1 / 1.15, seed + 100)
    pores = smoothstep(0.42, 0.08, pore_distance) * (0.4 + 0.6 * pore_chance)
    pores = pores * np.clip(0.25 + 0.9 * zone.nose + 0.65 * zone.cheeks + 0.3 * zone.forehead, 0, 1) * (1 - zone.lips)
    grain = fbm(p, 1 / 0.7, seed + 110, 2)
    albedo = albedo * (1 - 0.20 * pores + 0.06 * grain)[:, None]

    # Lips: creases run from the seam outwards; the rim of the vermilion is a little paler than the skin around.
    x, y, z = p.T
    along = np.stack([x / 1.1 + 0.4 * fbm(p, 1 / 5, seed + 120, 2), y / 9, z / 9], axis=1)
    crease = smoothstep(0.05, 0.75, fbm(along, 1.0, seed + 121, 2)) * zone.lips
    rim = bump(samples.lips, 0.12, 0.09) * zone.front * (1 - zone.mouth_inside)
    albedo = albedo * (1 - 0.20 * crease)[:, None] * (1 + 0.03 * rim)[:, None]
    # Behind the lips the mucosa goes on: moist and redder, so that a closed mouth shows no dark seam.
    depth = np.clip((14 - z) / 45, 0, 1)
    mucosa = np.array([0.40, 0.115, 0.10], dtype=np.float32) * (1 - 0.55 * depth)[:, None]
    albedo = albedo + zone.mouth_inside[:, None] * (mucosa - albedo)
    # Lid margins: pinker, with the dark line of the lash roots above (the upper lid's is the stronger).
    margin = smoothstep(0.45, 0.95, samples.eyelids)
    albedo = albedo * np.exp(-margin[:, None] * np.array([0.16, 0.28, 0.26], dtype=np.float32))

    height = 0.042 * fbm(p, 1 / 1.9, seed + 40, 3) + 0.024 * grain - 0.075 * pores - 0.13 * crease
    height = height * (1 - 0.7 * zone.mouth_inside)
    oily = 0.50 * zone.nose + 0.16 * zone.forehead + 0.12 * zone.chin + 0.08 * zone.cheeks
    patchy = 0.24 * fbm(p, 1 / 12, seed + 130, 3) + 0.40 * fbm(p, 1 / 1.5, seed + 131, 2)
    specular = (0.52 + oily + patchy - 0.25 * zone.under_eye) * (1 - 0.6 * pores)
    specular = specular * (1 - 0.45 * smoothstep(-105, -125, y))  # the neck is matt
    specular = specular * (1 - zone.lips) + zone.lips * (0.30 + 1.2 * style.lip_gloss) * (1 + 0.7 * grain)
    specular = specular + 0.9 * zone.mouth_inside
    roughness = 0.50 - 0.08 * oily + 0.05 * fbm(p, 1 / 4, seed + 132, 2) - 0.16 * zone.lips - 0.16 * zone.mouth_inside
    surface = Surface(
        albedo=np.clip(albedo, 0.004, 0.95).astype(np.float32),
        height=height.astype(np.float32),
        specular=np.clip(specular, 0.05, 2.5).astype(np.float32),
        roughness=np.clip(roughness, 0.18, 0.75).astype(np.float32),
    )
    return surface, zone
