"""Eight fixed wrinkle maps and how strongly an expression draws each.

A frame's wrinkles are a weighted sum of the maps, so that a frame costs no noise. The maps are creases in [0, 1]: the
shader darkens them a little and bends the normal along them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic.noise import fbm
from lipflow.capture.synthetic.skin import SkinSamples, Zones, bump, smoothstep
from lipflow.capture.synthetic.units import UNIT_INDEX

FloatArray = npt.NDArray[np.float32]

WRINKLES: tuple[str, ...] = (
    "forehead", "glabella", "crows_feet_left", "crows_feet_right",
    "nasolabial_left", "nasolabial_right", "nose", "chin",
)  # fmt: skip
DEPTH = np.array([0.55, 0.60, 0.45, 0.45, 0.65, 0.65, 0.40, 0.55], dtype=np.float32)  # mm at weight 1

# Which units draw which map, and how strongly.
_DRAWN_BY: dict[str, dict[str, float]] = {
    "forehead": {"browInnerUp": 0.75, "browOuterUpLeft": 0.3, "browOuterUpRight": 0.3},
    "glabella": {"browDownLeft": 0.5, "browDownRight": 0.5, "noseSneerLeft": 0.1, "noseSneerRight": 0.1},
    "crows_feet_left": {"eyeSquintLeft": 0.55, "cheekSquintLeft": 0.5, "mouthSmileLeft": 0.3, "eyeBlinkLeft": 0.1},
    "crows_feet_right": {"eyeSquintRight": 0.55, "cheekSquintRight": 0.5, "mouthSmileRight": 0.3, "eyeBlinkRight": 0.1},
    "nasolabial_left": {
        "mouthSmileLeft": 0.85,
        "noseSneerLeft": 0.5,
        "mouthUpperUpLeft": 0.35,
        "mouthStretchLeft": 0.3,
    },
    "nasolabial_right": {
        "mouthSmileRight": 0.85,
        "noseSneerRight": 0.5,
        "mouthUpperUpRight": 0.35,
        "mouthStretchRight": 0.3,
    },
    "nose": {"noseSneerLeft": 0.6, "noseSneerRight": 0.6, "browDownLeft": 0.1, "browDownRight": 0.1},
    "chin": {
        "mouthShrugLower": 0.9,
        "mouthFrownLeft": 0.25,
        "mouthFrownRight": 0.25,
        "mouthPucker": 0.35,
        "mouthRollLower": 0.3,
    },
}
# What age leaves on a resting face.
_AT_REST = np.array([0.30, 0.28, 0.30, 0.30, 0.55, 0.55, 0.05, 0.10], dtype=np.float32)


# The fold from the wing of the nose round the corner of the mouth: mm beside and above the middle of the eyes.
_NASOLABIAL = ((15.5, -33.0), (21.0, -43.0), (28.0, -57.0), (33.5, -69.0), (34.5, -77.0))


def _mixing() -> FloatArray:
    mixing = np.zeros((len(WRINKLES), len(UNIT_INDEX)), dtype=np.float32)
    for row, name in enumerate(WRINKLES):
        for unit, weight in _DRAWN_BY[name].items():
            mixing[row, UNIT_INDEX[unit]] = weight
    return mixing


_MIXING = _mixing()


def wrinkle_weights(units: npt.ArrayLike, age: float, gain: float = 1.0) -> FloatArray:
    """Strength of each map [8] for an expression [52]; ``gain`` is the hidden factor that scales them."""
    drawn = _MIXING @ np.asarray(units, dtype=np.float32)
    return np.clip(
        0.08 + age * _AT_REST * 1.2 + (0.75 + 0.5 * age) * gain * np.clip(drawn, 0, None) ** 1.2, 0, 1.8
    ).astype(np.float32)


def _line_distance(points: FloatArray, line: tuple[tuple[float, float], ...]) -> tuple[FloatArray, FloatArray]:
    """Distance to a polyline and the share of its length at the nearest point, for points [N, 2]."""
    corners = np.asarray(line, dtype=np.float32)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    distance, along = np.full(len(points), np.inf, dtype=np.float32), np.zeros(len(points), dtype=np.float32)
    passed = 0.0
    for a, b, length in zip(corners[:-1], corners[1:], lengths):
        t = np.clip((points - a) @ (b - a) / length**2, 0, 1)
        d = np.linalg.norm(points - a - t[:, None] * (b - a), axis=1)
        nearer = d < distance
        distance = np.where(nearer, d, distance)
        along = np.where(nearer, passed + t * length, along)
        passed += length
    return distance.astype(np.float32), (along / passed).astype(np.float32)


def paint_wrinkles(samples: SkinSamples, zone: Zones, seed: int) -> FloatArray:
    """The crease maps at the samples, [N, 8], in the order of WRINKLES."""
    p = samples.place
    x, y, _ = p.T
    side = np.abs(x)
    wobble = fbm(p, 1 / 17, seed + 170, 2)
    broken = 0.62 + 0.75 * fbm(p, 1 / 15, seed + 171, 3)
    fine = fbm(p, 1 / 5, seed + 172, 2)
    out = np.zeros((len(p), len(WRINKLES)), dtype=np.float32)

    # Forehead: four or five lines that follow the brow's arch, broken in places.
    phase = (y + 3.8 * wobble - 0.0035 * x**2 + 0.6 * fine) * (2 * np.pi / 8.6)
    lines = np.clip(np.cos(phase), 0, 1) ** 5
    out[:, 0] = (
        lines
        * np.clip(broken, 0, 1)
        * smoothstep(27, 34, y - 0.0015 * x**2)
        * smoothstep(66, 56, y)
        * bump(x, 0, 25)
        * zone.front
    )

    # Glabella: the two elevens, leaning outwards above.
    eleven = np.abs(side - (5.2 + 0.10 * (y - 16) + 1.0 * wobble))
    out[:, 1] = bump(eleven, 0, 0.95) * bump(y, 17, 6.5) * zone.front * np.clip(0.6 + broken, 0, 1)
    out[:, 1] += 0.5 * bump(x, 0, 7) * bump(y + 0.5 * wobble, 4.5, 1.0) * zone.front  # the crease at the nose's root

    # Crow's feet: a fan from the outer canthus, and two lines under the eye.
    dx, dy = side - 47, y + 0.5
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx + 5)
    fan = np.clip(np.cos(angle * 10 + 2.0 * wobble + 0.6), 0, 1) ** 5
    feet = (
        fan * smoothstep(2, 8, radius) * smoothstep(26, 12, radius) * smoothstep(1.15, 0.7, np.abs(angle)) * (dx > -3)
    )
    for offset, strength in ((12.5, 0.6), (17.5, 0.35)):
        lower = bump(np.hypot((side - 30) / 1.45, y - 4) - offset + 0.9 * wobble, 0, 0.8)
        feet = feet + strength * lower * smoothstep(-3, -8, y) * bump(side, 33, 10)
    feet = feet * zone.front * np.clip(0.4 + broken, 0, 1)
    out[:, 2], out[:, 3] = feet * (x > 0), feet * (x < 0)

    # Nasolabial folds: broad and soft, sharper in their middle.
    front = np.stack([side + 0.9 * wobble, y], axis=1)
    distance, along = _line_distance(front, _NASOLABIAL)
    fold = (
        (0.65 * bump(distance, 0, 4.2) + 0.35 * bump(distance, 0, 1.7))
        * smoothstep(0, 0.16, along)
        * smoothstep(1, 0.66, along)
    )
    fold = fold * zone.front
    out[:, 4], out[:, 5] = fold * (x > 0), fold * (x < 0)

    # Bunny lines: slanting on both sides of the bridge.
    bunny = np.clip(np.cos((y + 0.75 * side + 1.5 * wobble) * (2 * np.pi / 5.0)), 0, 1) ** 4
    out[:, 6] = bunny * bump(side, 8, 4.5) * bump(y, -7, 8) * zone.front

    # Chin: pebbled, with the crease under the lower lip.
    pebbles = np.clip(fbm(p, 1 / 4.2, seed + 174, 2) * 1.9, 0, 1)
    out[:, 7] = (
        0.75 * pebbles * zone.chin + 0.6 * bump(y + 0.004 * x**2 + wobble, -87.5, 1.7) * bump(x, 0, 15) * zone.front
    )

    still = (1 - zone.lips) * (1 - zone.mouth_inside)
    return np.clip(out * still[:, None], 0, 1)
