"""Where the teeth, the tongue and the lashes of a subject are, and how they move: by rule, never by targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lipflow.capture.synthetic import parts
from lipflow.capture.synthetic.contact import Opening
from lipflow.capture.synthetic.units import UNIT_INDEX
from lipflow.mesh import FloatArray, IntArray

# The tongue's spine at rest, in mm from the lower front edge: root, rise, body, tip.
_SPINE = np.array([[0.0, -27.0, -66.0], [0.0, 1.0, -60.0], [0.0, 3.5, -30.0], [0.0, -5.5, -10.0]])
_TONGUE_WIDTH, _TONGUE_THICKNESS = 19.5, 6.5
_OVERBITE, _OVERJET = 1.6, 2.6  # mm by which the upper front edge passes below and ahead of the lower


@dataclass(frozen=True, eq=False)
class Jaw:
    """The jaw's hinge: an axis along x through ``pivot``."""

    pivot: FloatArray  # [3] mm
    angle: float  # radians at jawOpen = 1
    slides: dict[str, FloatArray]  # jawForward, jawLeft, jawRight -> [3] mm of the bone at 1

    def moved(self, shift: FloatArray) -> Jaw:
        return replace(self, pivot=(self.pivot + shift).astype(np.float32))

    def opened(self, points: FloatArray, amount: float) -> FloatArray:
        """Points [n, 3] turned with the bone; a rigid motion for every amount."""
        c, s = np.cos(self.angle * amount), np.sin(self.angle * amount)
        d = points - self.pivot
        turned = np.stack([d[:, 0], c * d[:, 1] - s * d[:, 2], s * d[:, 1] + c * d[:, 2]], 1)
        return (self.pivot + turned).astype(np.float32)


def rigid_motion(base: FloatArray, units: npt.NDArray[np.int16], teeth: IntArray) -> Jaw:
    """The hinge that best explains how jawOpen moves the base mesh's lower teeth, and the sideways slides."""
    p = base[teeth].astype(float)
    q = p + units[UNIT_INDEX["jawOpen"]][teeth] * 0.01
    a, b = p[:, 1:] - p[:, 1:].mean(0), q[:, 1:] - q[:, 1:].mean(0)
    angle = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s], [s, c]])
    pivot = np.linalg.solve(np.eye(2) - R, q[:, 1:].mean(0) - R @ p[:, 1:].mean(0))
    slides = {
        name: (units[UNIT_INDEX[name]][teeth].mean(0) * 0.01).astype(np.float32)
        for name in ("jawForward", "jawLeft", "jawRight")
    }
    return Jaw(np.array([0.0, *pivot], np.float32), float(angle), slides)


@dataclass(frozen=True, eq=False)
class Mouth:
    """The inside of one subject's mouth with the jaw closed."""

    upper: FloatArray  # [n, 3] upper teeth, then their gums
    lower: FloatArray  # [n, 3]
    spine: FloatArray  # [4, 3] the tongue's

    @staticmethod
    def fit(
        base: FloatArray, subject: FloatArray, helpers: dict[str, IntArray], skin: FloatArray, lips: Opening
    ) -> Mouth:
        """Size the arches by the subject's tooth bands, and put the front edges behind the lips' line."""
        line = np.concatenate([skin[lips.upper], skin[lips.lower]])
        middle = line[np.abs(line[:, 0] - line[:, 0].mean()) < 6]
        ids = np.concatenate([helpers["teeth_upper"], helpers["teeth_lower"]])
        wide = np.ptp(subject[ids, 0]) / np.ptp(base[ids, 0])
        deep = np.ptp(subject[ids, 2]) / np.ptp(base[ids, 2])
        scale = np.clip([wide, 0.5 * (wide + deep), deep], 0.85, 1.15)
        edge = np.array([middle[:, 0].mean(), middle[:, 1].mean() - 1.5, middle[:, 2].mean() - FRONT_DEPTH])
        arches = []
        for jaw, shift in (("upper", (0.0, -0.5 * _OVERBITE, 0.0)), ("lower", (0.0, 0.5 * _OVERBITE, -_OVERJET))):
            template = np.concatenate([parts.teeth(jaw).vertices, parts.gums(jaw).vertices])
            arches.append((template * scale + edge + shift).astype(np.float32))
        spine = _SPINE * scale + edge
        return Mouth(arches[0], arches[1], spine.astype(np.float32))

    def front(self, jaw: str) -> FloatArray:
        """The outermost front of one arch as points [c, 3] from -x to +x: no tooth is ahead of it further out."""
        teeth = (self.upper if jaw == "upper" else self.lower)[: parts.TOOTH_COUNT * parts.CROWN_VERTICES]
        middle = 0.5 * (teeth[:, 0].min() + teeth[:, 0].max())
        way, columns = np.abs(teeth[:, 0] - middle), np.linspace(0, 0.5 * np.ptp(teeth[:, 0]), 14)
        ahead = np.array([teeth[way >= c - 1e-3, 2].max() for c in columns])
        x = np.r_[middle - columns[:0:-1], middle + columns]
        z = np.r_[ahead[:0:-1], ahead]
        return np.stack([x, np.full(len(x), teeth[:, 1].mean()), z], 1).astype(np.float32)

    @staticmethod
    def bend(spine: FloatArray, tongue: tuple[float, float], out: float) -> FloatArray:
        """The spine with the tongue moved inside the mouth (forward, up) and put out."""
        forward, up = tongue
        bent = spine.copy()
        bent[2] += [0, 3.0 * up + 6.0 * out, 3.0 * forward + 24.0 * out]
        bent[3] += [0, 9.0 * up - 5.0 * out, 5.0 * forward - 3.0 * abs(up) + 34.0 * out]
        return bent

    @staticmethod
    def tongue(spine: FloatArray) -> FloatArray:
        return parts.tongue_surface(spine, _TONGUE_WIDTH, _TONGUE_THICKNESS).astype(np.float32)


FRONT_DEPTH = 6.0  # mm from the lips' line back to the upper front edge


@dataclass(frozen=True, eq=False)
class LashRoots:
    """Where lashes grow: points along the lids as weighted pairs of skin vertices."""

    upper: tuple[IntArray, IntArray, FloatArray]  # [n + 1] first vertex, second vertex, share of the second
    lower: tuple[IntArray, IntArray, FloatArray]  # [2 m] the feet of the lower lashes, in pairs


def lash_roots(skin: FloatArray, loop: IntArray) -> LashRoots:
    """Even roots along both lids, inner corner first, free of the corners."""
    inner = int(np.abs(skin[loop, 0]).argmin())
    ring = np.roll(loop, -inner)
    outer = int(np.abs(skin[ring, 0]).argmax())
    one, other = ring[: outer + 1], np.r_[ring[outer:], ring[:1]][::-1]
    if skin[one, 1].mean() < skin[other, 1].mean():
        one, other = other, one
    n, m = parts.LASH_UPPER, parts.LASH_LOWER
    feet = np.linspace(0.22, 0.93, m)
    half = 0.009
    return LashRoots(
        _along(skin, one, np.linspace(0.10, 0.97, n + 1)),
        _along(skin, other, np.stack([feet - half, feet + half], 1).ravel()),
    )


def _along(
    skin: FloatArray, arc: IntArray, fractions: npt.NDArray[np.float64]
) -> tuple[IntArray, IntArray, FloatArray]:
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(skin[arc], axis=0), axis=1))]
    at = np.clip(np.interp(fractions * way[-1], way, np.arange(len(arc))), 0, len(arc) - 1 - 1e-6)
    low = at.astype(int)
    return arc[low], arc[low + 1], (at - low).astype(np.float32)


def lash_surface(skin: FloatArray, roots: LashRoots, centre: FloatArray, length: float) -> FloatArray:
    """Points of one eye's lashes in the order of ``parts.lash_grid``; they stand on the posed lids."""
    n, m = parts.LASH_UPPER, parts.LASH_LOWER

    def place(arc: tuple[IntArray, IntArray, FloatArray]) -> FloatArray:
        a, b, t = arc
        return skin[a] + t[:, None] * (skin[b] - skin[a])

    upper = place(roots.upper)
    out, up = _lid_frame(upper, centre)
    fan = np.linspace(-0.35, 0.55, n + 1)[:, None] * _side(upper, centre)
    s = np.linspace(0, 1, n + 1)
    long = (3.2 + 2.9 * np.sin(np.pi * np.clip(0.25 + 0.62 * s, 0, 1)) ** 2) * length
    near = upper + 0.45 * (0.90 * out + 0.25 * up + 0.3 * fan)
    tip_base, tip_out, tip_up = (0.5 * (x[:-1] + x[1:]) for x in (upper, out, up))
    reach = (0.5 * (long[:-1] + long[1:]) * (0.86 + 0.14 * np.cos(2.4 * np.arange(n))))[:, None]
    tips = tip_base + reach * (0.78 * tip_out + 0.55 * tip_up + 0.5 * (fan[:-1] + fan[1:]) * 0.5)

    feet = place(roots.lower).reshape(m, 2, 3)
    foot = feet.mean(1)
    low_out, low_up = _lid_frame(foot, centre)
    spread = np.linspace(-0.3, 0.5, m)[:, None] * _side(foot, centre)
    short = (1.5 + 0.4 * np.cos(3.1 * np.arange(m)))[:, None] * length
    low_tips = foot + short * (0.72 * low_out - 0.6 * low_up + 0.4 * spread)
    lower = np.concatenate([feet, low_tips[:, None]], 1).reshape(-1, 3)
    return np.concatenate([upper, near, tips, lower]).astype(np.float32)


def _lid_frame(points: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions out of the eyeball and up along it at points on the lids, [n, 3] each."""
    out = points - centre
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0]) - out[:, 1:2] * out
    return out, up / np.linalg.norm(up, axis=1, keepdims=True)


def _side(points: FloatArray, centre: FloatArray) -> FloatArray:
    """Away from the nose, as a unit direction for each point."""
    return np.broadcast_to(np.array([np.sign(centre[0]), 0.0, 0.0]), points.shape)
