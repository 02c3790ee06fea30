"""Hair that is painted, not modelled: brows of single hairs, a cropped scalp with an irregular edge, stubble."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.identity import Style
from lipflow.capture.synthetic.noise import fbm, value_noise, worley
from lipflow.capture.synthetic.skin import SkinSamples, Surface, Zones, bump, smoothstep

FloatArray = npt.NDArray[np.float32]

_BROW_PROFILE = np.array([0.75, 1.0, 0.95, 0.62, 0.22])  # half the brow's height at its five points, relative
# The hairline in the canonical frame: its height (mm, for a style with 70 mm in front) at an azimuth about the head's
# vertical axis (degrees: 0 in front, 90 at the ear, 180 behind).
_HAIRLINE_AZIMUTH = np.array(
    [0, 18, 30, 40, 52, 62, 70, 76, 82, 90, 95, 100, 112, 119, 126, 145, 180], dtype=np.float32
)
_HAIRLINE_HEIGHT = np.array(
    [70, 71, 71, 62, 45, 28, 12, -4, -20, -22, -12, -2, -2, -20, -48, -62, -66], dtype=np.float32
)
_AXIS_Z = -62.0  # of the vertical axis
_CROWN = np.array([0.0, 0.86, -0.51], dtype=np.float32)  # whence the hair grows, seen from the head's middle
_MIDDLE = np.array([0.0, 25.0, -65.0], dtype=np.float32)


@numba.njit(cache=True, nogil=True)
def _stroke_coverage(points: Any, strokes: Any, widths: Any, blur: float, out: Any) -> None:
    """Coverage of points [N, 2] by bent hairs: ``strokes`` [H, 3, 2] (root, middle, tip), half ``widths`` [H].

    A hair thins to a third at its tip. Coverages of crossing hairs multiply as transparencies do.
    """
    for h in range(strokes.shape[0]):
        reach = widths[h] + blur
        left = min(strokes[h, 0, 0], strokes[h, 1, 0], strokes[h, 2, 0]) - reach
        right = max(strokes[h, 0, 0], strokes[h, 1, 0], strokes[h, 2, 0]) + reach
        low = min(strokes[h, 0, 1], strokes[h, 1, 1], strokes[h, 2, 1]) - reach
        high = max(strokes[h, 0, 1], strokes[h, 1, 1], strokes[h, 2, 1]) + reach
        for n in range(points.shape[0]):
            px, py = points[n, 0], points[n, 1]
            if px < left or px > right or py < low or py > high:
                continue
            best = 1e9
            for part in range(2):
                x0, y0 = strokes[h, part, 0], strokes[h, part, 1]
                dx, dy = strokes[h, part + 1, 0] - x0, strokes[h, part + 1, 1] - y0
                t = ((px - x0) * dx + (py - y0) * dy) / (dx * dx + dy * dy + 1e-9)
                t = min(max(t, 0.0), 1.0)
                d = np.sqrt((px - x0 - t * dx) ** 2 + (py - y0 - t * dy) ** 2)
                width = widths[h] * (1.0 - 0.67 * (0.5 * part + 0.5 * t) ** 2)
                best = min(best, d - width)
            cover = min(max(0.5 - best / blur, 0.0), 1.0)
            out[n] = 1.0 - (1.0 - out[n]) * (1.0 - cover)


def _brow_hairs(style: Style, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Hairs of one brow, [H, 3, 2] mm, and half their widths [H]: fanned up at the nose, laid outwards further on."""
    spine, count = np.asarray(style.brow_shape), int(125 * style.brow_thickness)
    length = np.r_[0, np.cumsum(np.hypot(*np.diff(spine, axis=0).T))]
    at = np.clip(generator.beta(1.15, 1.35, count), 0.0, 0.995) * length[-1]
    x, y = np.interp(at, length, spine[:, 0]), np.interp(at, length, spine[:, 1])
    ahead = np.minimum(at + 1.5, length[-1])
    tangent = np.stack([np.interp(ahead, length, spine[:, 0]) - x, np.interp(ahead, length, spine[:, 1]) - y], axis=1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    offset = np.clip(generator.normal(0, 0.42, count), -1, 1) * np.interp(at, length, _BROW_PROFILE)
    offset *= style.brow_thickness
    u = at / length[-1]
    # Upright at the nose; hairs of the lower edge sweep up, those of the upper edge sweep down to meet them.
    lean = np.radians(72 * (1 - np.clip(u / 0.28, 0, 1)) ** 0.8 + 14 - 9.0 * offset + generator.normal(0, 9, count))
    lean = np.clip(lean, np.radians(-28), np.radians(95))
    direction = np.cos(lean)[:, None] * tangent + np.sin(lean)[:, None] * normal
    reach = generator.uniform(4.5, 8.0, count) * (1.05 - 0.35 * u)
    root = np.stack([x, y], axis=1) + normal * offset[:, None] - direction * (0.4 * reach)[:, None]
    bend = (np.cos(0.7 * lean)[:, None] * tangent + np.sin(0.7 * lean)[:, None] * normal) * (0.5 * reach)[:, None]
    middle = root + direction * (0.5 * reach)[:, None]
    strokes = np.stack([root, middle, middle + bend], axis=1)
    return strokes.astype(np.float32), generator.uniform(0.055, 0.12, count).astype(np.float32)


def brow_coverage(place: FloatArray, style: Style, seed: int, blur: float) -> FloatArray:
    """How much of each sample [N] at ``place`` [N, 3] the brows' hairs cover; ``blur`` mm softens their edges."""
    out = np.zeros(len(place), dtype=np.float32)
    for side in (1, -1):
        generator = np.random.default_rng([seed, 17, side + 1])
        strokes, widths = _brow_hairs(style, generator)
        near = np.flatnonzero(
            (place[:, 0] * side > 3)
            & (place[:, 0] * side < 66)
            & (place[:, 1] > 4)
            & (place[:, 1] < 40)
            & (place[:, 2] > -30)
        )
        points = np.stack([place[near, 0] * side, place[near, 1]], axis=1).astype(np.float32)
        cover = np.zeros(len(near), dtype=np.float32)
        _stroke_coverage(points, strokes, widths, blur, cover)
        out[near] = cover
    return out


def hairline_distance(place: FloatArray, zone: Zones, style: Style, seed: int) -> FloatArray:
    """Signed distance (mm, about) to the hairline for each sample [N]: positive inside the hair."""
    x, y, z = place.T
    azimuth = np.degrees(np.arctan2(np.abs(x), z - _AXIS_Z)).astype(np.float32)
    height = np.interp(azimuth, _HAIRLINE_AZIMUTH, _HAIRLINE_HEIGHT) + (style.hairline - 70) * bump(azimuth, 0, 34)
    # Receding temples come with age; the edge wanders on three scales.
    height = height + 9 * style.age * bump(azimuth, 38, 9)
    wander = 6.5 * fbm(place, 1 / 34, seed + 140, 2) + 4.5 * fbm(place, 1 / 9, seed + 141, 2)
    slope = np.gradient(_HAIRLINE_HEIGHT, _HAIRLINE_AZIMUTH * 1.45)
    steepness = np.sqrt(1 + np.interp(azimuth, _HAIRLINE_AZIMUTH, slope) ** 2)
    return ((y - height) / steepness + wander - 25 * zone.ears).astype(np.float32)


def _strand_noise(place: FloatArray, seed: int) -> FloatArray:
    """Noise [N] within [-1, 1] drawn out along the hair, which grows from the crown over the head."""
    d = place - _MIDDLE
    d = d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-6)
    polar = np.arccos(np.clip(d @ _CROWN, -1, 1))
    side = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    around = np.arctan2(d @ side, d @ np.cross(_CROWN, side)) + 0.05 * value_noise(place, 1 / 22, seed + 153)
    around = around + 0.022 * value_noise(place, 1 / 6, seed + 154)
    ring = 95 * np.sin(np.clip(polar, 0.15, None))
    flow = np.stack([np.cos(around) * ring / 0.9, np.sin(around) * ring / 0.9, 95 * polar / 6.5], axis=1)
    fine = np.stack([np.cos(around) * ring / 0.42, np.sin(around) * ring / 0.42, 95 * polar / 4.0], axis=1)
    return 0.55 * fbm(flow, 1.0, seed + 150, 2) + 0.45 * value_noise(fine, 1.0, seed + 151)


def add_hair(surface: Surface, samples: SkinSamples, zone: Zones, style: Style, seed: int, texel: float) -> Surface:
    """The skin with brows, scalp hair and stubble; ``texel`` is the samples' spacing on the face in mm."""
    p = samples.place
    x, y, z = p.T
    hair = np.asarray(style.hair_colour, dtype=np.float32)
    albedo, height = surface.albedo.copy(), surface.height.copy()
    specular, roughness = surface.specular.copy(), surface.roughness.copy()

    # Scalp: near the edge only the strongest strands are left, so that the line dissolves into single hairs.
    inside = hairline_distance(p, zone, style, seed)
    strand = _strand_noise(p, seed)
    # the sides are cropped shorter than the top, down to a shadow
    side = smoothstep(40, 62, np.abs(x)) * smoothstep(75, 25, y)
    set_back = (inside - 5 * side).astype(np.float32)
    density = smoothstep(-9, 16, set_back) * (1 - 0.22 * side)
    shadow = smoothstep(-5, 12, set_back)
    roots = 0.34 + 0.46 * smoothstep(6, 30, inside) * (1 - 0.35 * side)  # no skin shines through dense hair
    above = (strand + 1.25 * density - 0.62).astype(np.float32)
    cover = smoothstep(-0.10, 0.22, above) * smoothstep(-9, -1, inside)
    cover = np.clip(0.62 * cover + roots * shadow, 0, 0.95)
    sheen = np.clip(1 + 0.75 * strand + 0.18 * fbm(p, 1 / 14, seed + 155, 2), 0.3, None)
    _lay(albedo, cover, hair * sheen[:, None])
    height += cover * (0.35 * strand + 0.15)
    specular += cover * (0.22 * np.clip(strand + 0.2, 0, 1) + 0.05 - specular)
    roughness += cover * (0.42 - roughness)

    # Brows: a faint shadow of roots under single hairs.
    brow = brow_coverage(p, style, seed, blur=max(0.16, 0.9 * texel))
    _lay(albedo, 0.92 * brow, 0.9 * hair * (1 + 0.5 * strand)[:, None])
    height += 0.15 * brow
    specular += brow * (0.2 - specular)

    # Stubble: hairs of half a millimetre seen through the skin, bluish where shaved.
    beard = smoothstep(-47, -54, y + 0.05 * np.abs(x)) * smoothstep(-38, -12, z + 0.5 * np.maximum(np.abs(x) - 45, 0))
    jaw = smoothstep(-30, -62, y) * smoothstep(-66, -40, z) * smoothstep(-128, -108, y)
    beard = np.maximum(beard * smoothstep(-125, -105, y), jaw)
    beard = beard * (1 - 0.85 * np.exp(-(((np.abs(x) - 44) / 17) ** 2) - ((y + 56) / 13) ** 2))
    beard = (
        beard
        * (1 - smoothstep(0.02, 0.3, samples.lips))
        * (1 - zone.mouth_inside)
        * (1 - 0.6 * bump(y, -84, 3) * bump(x, 10, 7))
    )
    beard = beard * (1 + 0.35 * fbm(p, 1 / 10, seed + 160, 2))
    distance, chance = worley(p, 1 / 0.72, seed + 161)
    dots = smoothstep(0.40, 0.14, distance) * (chance > 0.2)
    stubble = np.clip(style.stubble * beard * (0.25 + 0.50 * dots), 0, 0.85)
    _lay(albedo, stubble, (0.75 * hair + np.array([0.022, 0.024, 0.028], dtype=np.float32))[None])
    height += 0.05 * dots * stubble
    specular *= 1 - 0.35 * stubble
    return Surface(
        np.clip(albedo, 0.004, 0.95).astype(np.float32),
        height.astype(np.float32),
        np.clip(specular, 0.05, 2.5).astype(np.float32),
        np.clip(roughness, 0.18, 0.75).astype(np.float32),
    )


def _lay(albedo: FloatArray, cover: FloatArray, colour: FloatArray) -> None:
    """Lay ``colour`` over ``albedo`` in place, as opaque as ``cover`` [N]."""
    albedo += cover[:, None] * (colour - albedo)
