"""The paint of eyes, teeth, gums, tongue and lashes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.identity import Style
from lipflow.capture.synthetic.noise import fbm, value_noise
from lipflow.capture.synthetic.skin import Surface, bump, smoothstep

FloatArray = npt.NDArray[np.float32]

_PUPIL, _COLLARETTE = 0.36, 0.55  # shares of the iris's radius
_SCLERA = np.array([0.64, 0.585, 0.535], dtype=np.float32)
_ENAMEL = np.array([0.80, 0.735, 0.645], dtype=np.float32)
_GUM = np.array([0.42, 0.15, 0.14], dtype=np.float32)
_TONGUE = np.array([0.40, 0.145, 0.13], dtype=np.float32)


def _surface(
    albedo: FloatArray, height: FloatArray, specular: FloatArray | float, roughness: FloatArray | float
) -> Surface:
    n = len(albedo)
    return Surface(
        np.clip(albedo, 0.004, 0.95).astype(np.float32),
        np.asarray(height, dtype=np.float32),
        np.broadcast_to(np.asarray(specular, dtype=np.float32), n).copy(),
        np.broadcast_to(np.asarray(roughness, dtype=np.float32), n).copy(),
    )


def paint_eye(direction: FloatArray, radius: float, nose_side: float, style: Style, seed: int) -> Surface:
    """Iris, pupil, limbus and sclera.

    Args:
        direction: [N, 3] from the eyeball's centre, +z = the optical axis.
        radius: of the eyeball, mm (the iris has a radius of 6 mm).
        nose_side: +1 or -1, the sign of x on the side of the nose.
    """
    d = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    polar = np.arccos(np.clip(d[:, 2], -1, 1))
    around = np.arctan2(d[:, 1], d[:, 0])
    rim = np.arcsin(min(6.0 / radius, 0.9))
    u = polar / rim
    ring = np.stack([np.cos(around), np.sin(around)], axis=1)

    # Iris: radial fibres of two widths, a paler ruff round the pupil, crypts, and a dark outer ring.
    coarse = fbm(np.c_[5.5 * ring, 1.6 * u].astype(np.float32), 1.0, seed + 200, 2)
    fibres = fbm(np.c_[17 * ring, 1.5 * u].astype(np.float32), 1.0, seed + 201, 2)
    crypts = smoothstep(0.15, 0.5, value_noise(np.c_[8 * ring, 5 * u].astype(np.float32), 1.0, seed + 202))
    colour = np.asarray(style.iris_colour, dtype=np.float32)
    warm = np.array([1.55, 1.05, 0.62], dtype=np.float32)
    wave = 0.05 * fbm(np.c_[3 * ring, 0 * u].astype(np.float32), 1.0, seed + 203, 2)
    ruff = smoothstep(_COLLARETTE + 0.09, _COLLARETTE - 0.12, u + wave)
    iris = (
        colour * (1 + 0.45 * coarse + 0.75 * fibres)[:, None] * (1 - 0.35 * crypts * smoothstep(0.5, 0.6, u))[:, None]
    )
    iris = iris * (1 + ruff[:, None] * (warm - 1) * 0.75) * (1 + 0.25 * bump(u, _COLLARETTE, 0.05))[:, None]
    iris = iris * (1 - 0.80 * smoothstep(0.78, 1.0, u))[:, None]
    pupil = smoothstep(_PUPIL + 0.035, _PUPIL - 0.02, u + 0.4 * wave)
    iris = iris * (1 - pupil)[:, None] + 0.004 * pupil[:, None]

    # Sclera: off-white, pinker towards the corners, veined from the sides inwards.
    bloodshot = smoothstep(0.55, 1.25, polar)
    threads = np.abs(fbm(d * np.array([1, 1.9, 1], dtype=np.float32), 3.6, seed + 204, 4))
    veins = smoothstep(0.045, 0.0, threads) * bloodshot * 0.8
    corner = smoothstep(0.75, 1.2, polar) * smoothstep(0.2, 0.9, d[:, 0] * nose_side)
    tint = 0.32 * bloodshot + 0.55 * veins + 0.9 * corner
    sclera = _SCLERA * np.exp(-tint[:, None] * np.array([0.06, 0.42, 0.44], dtype=np.float32))
    sclera = sclera * (1 + 0.03 * fbm(d, 6.0, seed + 205, 2))[:, None]
    cover = smoothstep(1.07, 0.93, u)[:, None]
    albedo = sclera + cover * (iris - sclera)
    return _surface(albedo, np.zeros(len(d), np.float32), 1.3, 0.16)


def paint_teeth(cell: FloatArray, lower: npt.NDArray[np.bool_], style: Style, seed: int) -> Surface:
    """Twelve crowns a jaw, apart from one another and each a little different.

    Args:
        cell: [N, 2] place within the teeth's island: a grid of 6 teeth (from the midline) by 4 (jaw and side), where
            each crown's edge is in the middle of its cell and its neck on the rim.
        lower: [N] true on the lower jaw.
    """
    tooth = np.floor(cell)
    local = (cell - tooth - 0.5) / 0.46
    number = tooth[:, 0]
    reach = np.hypot(local[:, 0], local[:, 1] + 0.15 * (1 - np.hypot(local[:, 0], local[:, 1])))
    neck = np.clip(reach, 0, 1)
    each = np.c_[tooth, np.full(len(cell), 0.5)].astype(np.float32)
    shade = value_noise(each + 0.37, 1.0, seed + 210)
    place = np.c_[local * 2.5 + 7 * tooth, np.zeros(len(cell))].astype(np.float32)
    # Translucent bluish edges, yellower necks, canines a shade darker; a warm shade where crowns touch.
    albedo = (
        np.broadcast_to(_ENAMEL, (len(cell), 3)) * (1 + 0.05 * shade + 0.04 * fbm(place, 1.0, seed + 211, 3))[:, None]
    )
    yellow = (
        (0.35 + 0.5 * style.age) * smoothstep(0.45, 1.0, neck)
        + 0.22 * (number == 2)
        + 0.10 * (number > 2)
        + 0.08 * lower
    )
    albedo = albedo * np.exp(-yellow[:, None] * np.array([0.05, 0.13, 0.30], dtype=np.float32))
    edge = smoothstep(0.26, 0.05, neck) * (number < 3)
    albedo = albedo * (1 - edge[:, None] * np.array([0.22, 0.17, 0.10], dtype=np.float32))
    labial = local[:, 1] > 0
    contact = smoothstep(0.82, 1.0, np.abs(local[:, 0])) * np.where(labial, 1.0, 0.7)
    albedo = albedo * np.exp(-contact[:, None] * np.array([0.20, 0.36, 0.42], dtype=np.float32))
    albedo = albedo * np.where(labial, 1.0, 0.8)[:, None] * (1 - 0.05 * number)[:, None]
    ridges = 0.05 * np.cos(local[:, 0] * 7) + 0.03 * fbm(place, 2.2, seed + 212, 2)
    return _surface(albedo, ridges, 1.5, 0.26)


def paint_gums(place: FloatArray, seed: int) -> Surface:
    """Pink, stippled, paler where the gum is stretched over a root."""
    stipple = fbm(place, 1 / 1.4, seed + 220, 2)
    patch = fbm(place, 1 / 6, seed + 221, 2)
    albedo = _GUM * (1 + 0.22 * patch + 0.10 * stipple)[:, None]
    return _surface(albedo, 0.05 * stipple, 1.4, 0.30)


def paint_tongue(place: FloatArray, seed: int) -> Surface:
    """Papillae, a pale coat along the back's middle, a groove."""
    x = place[:, 0]
    papillae = fbm(place, 1 / 1.0, seed + 230, 2)
    coat = bump(x, 0, 9) * np.clip(0.5 + 0.6 * fbm(place, 1 / 5, seed + 231, 3), 0, 1)
    groove = bump(x, 0, 0.9)
    albedo = _TONGUE * (1 + 0.28 * papillae)[:, None] * (1 - 0.18 * groove)[:, None]
    albedo = albedo + 0.30 * coat[:, None] * (np.array([0.50, 0.27, 0.24], dtype=np.float32) - albedo)
    return _surface(albedo, 0.14 * papillae - 0.30 * groove, 1.1, 0.36)


def paint_lashes(from_root: FloatArray, skin: FloatArray, style: Style) -> Surface:
    """Darker than the head's hair at the roots; towards the tips the lid shows between the hairs of a clump.

    Args:
        from_root: [N] 0 at the lid to 1 at the tip.
        skin: [3] colour of the lid.
    """
    hair = 0.45 * np.asarray(style.hair_colour, dtype=np.float32) + 0.004
    through = 0.36 * smoothstep(0.25, 1.0, from_root)[:, None]
    return _surface(hair + through * (skin - hair), np.zeros(len(from_root), np.float32), 0.1, 0.55)
