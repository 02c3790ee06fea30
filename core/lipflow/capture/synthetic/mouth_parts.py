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
_UPPER_SPAN = (0.10, 0.97)  # of the upper lid that carries lashes, from the inner corner
_SINGLES = 7  # of the separate lashes that stand on the upper lid
_LASH_WIDTH = 0.62  # mm at the root
_LINE = 0.6  # mm of the dark line of roots
_OPEN, _SHUT = 0.55, 0.2  # distance of the lids in the eyeball's radius: lashes up; lashes down
_HANGING = -0.45  # the upper lashes' lift while the eye is shut
_OUTWARDS = 0.78  # what of a lash's reach goes away from the eyeball
_ORBIT = 26.0  # mm around the eyeball's centre: its lids
_BEFORE = 1.0  # mm by which lashes pass before a fold of the lid


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
class LashArcs:
    """The lines along the lids on which lashes grow: skin vertices, inner corner first."""

    upper: IntArray
    lower: IntArray


Roots = tuple[IntArray, IntArray, FloatArray]  # first skin vertex, second one, share of the second


@dataclass(frozen=True, eq=False)
class Lashes:
    """One eye's lashes: n upper ones that share a ribbon, then m separate ones, the first of them on the upper lid."""

    upper: Roots  # [n + 1] the ribbon's edge
    feet: Roots  # [2 m] of the separate lashes, in pairs
    reach: FloatArray  # [n + m] mm
    lean: FloatArray  # [n + m] sideways, away from the nose; relative to the reach
    lift: FloatArray  # [n + m] up along the eyeball while the eye is open; relative to the reach


def lash_arcs(skin: FloatArray, loop: IntArray) -> LashArcs:
    """Split the loop of lash roots around an eye at its corners."""
    inner = int(np.abs(skin[loop, 0]).argmin())
    ring = np.roll(loop, -inner)
    outer = int(np.abs(skin[ring, 0]).argmax())
    one, other = ring[: outer + 1], np.r_[ring[outer:], ring[:1]][::-1]
    return LashArcs(one, other) if skin[one, 1].mean() > skin[other, 1].mean() else LashArcs(other, one)


def grow_lashes(
    skin: FloatArray, arcs: LashArcs, eye: FloatArray, length: float, generator: np.random.Generator
) -> Lashes:
    """Draw where and how one eye's lashes grow: fine, in small tufts, each of a length and a bend of its own.

    Args:
        skin: [S, 3] mm at rest, eyes open.
        eye: [3] mm, the eyeball's centre.
        length: relative.
    """
    n, m = parts.LASH_UPPER, parts.LASH_LOWER
    tufts = np.full(_SINGLES + 1, (n - _SINGLES) // (_SINGLES + 1))
    tufts[generator.permutation(len(tufts))[: n - _SINGLES - int(tufts.sum())]] += 1
    for _ in range(3):
        a, b = generator.choice(len(tufts), 2, replace=False)
        if tufts[a] > 1 and tufts[b] < 3:
            tufts[a], tufts[b] = tufts[a] - 1, tufts[b] + 1
    # between two tufts the ribbon goes on bare, and a separate lash stands there
    bare = np.zeros(n, bool)
    bare[(np.cumsum(tufts) + np.arange(len(tufts)))[:-1]] = True
    start, stop = _UPPER_SPAN
    whole = float(np.linalg.norm(np.diff(skin[arcs.upper], axis=0), axis=1).sum())
    width = np.where(bare, 0.0, _LASH_WIDTH / whole * generator.uniform(0.8, 1.25, n))
    gaps = generator.uniform(0.7, 1.3, _SINGLES)
    width[bare] = (stop - start - width.sum()) * gaps / gaps.sum()
    edge = start + np.r_[0.0, np.cumsum(width)]
    edge[-1] = stop
    middle = 0.5 * (edge[:-1] + edge[1:])

    single = middle[bare] + width[bare] * generator.uniform(-0.18, 0.18, _SINGLES)
    low = np.linspace(0.25, 0.93, m - _SINGLES)
    low = low + generator.uniform(-0.3, 0.3, m - _SINGLES) * (low[1] - low[0])
    foot = np.r_[single, low]
    half = 0.5 * _LASH_WIDTH / whole
    pairs = np.stack([foot - half, foot + half], 1)
    upper_feet = _along(skin, arcs.upper, pairs[:_SINGLES].ravel())
    lower_feet = _along(skin, arcs.lower, pairs[_SINGLES:].ravel())

    at = np.r_[middle, foot]
    s = (at - start) / (stop - start)
    above = np.arange(n + m) < n + _SINGLES
    varied = generator.uniform(0.78, 1.1, n + m) * np.where(generator.random(n + m) < 0.15, 0.7, 1.0)
    long = 3.5 + 3.1 * np.sin(np.pi * np.clip(0.25 + 0.62 * s, 0, 1)) ** 2
    reach = np.where(above, long, 1.7 + 0.7 * np.clip(s, 0, 1)) * varied * length
    reach[:n][bare] = _LINE
    tuft = np.repeat(np.arange(len(tufts), dtype=np.int64), tufts)
    apart = np.zeros(n + m)
    apart[:n][~bare] = generator.uniform(-0.1, 0.22, len(tufts))[tuft] * (np.arange(len(tuft)) - _middles(tuft))
    lean = np.where(above, 0.45 * s - 0.17, 0.36 * s - 0.14) + apart + generator.normal(0, 0.05, n + m)
    first, second, share = (np.concatenate(both) for both in zip(upper_feet, lower_feet))
    ribbon, feet = _along(skin, arcs.upper, edge), (first, second, share)
    low_lift, high_lift = _clear_of_lid(skin, _lash_roots(skin, ribbon, feet), eye)
    lift = np.clip(np.where(above, 0.55, -0.6), low_lift, high_lift) + generator.normal(0, 0.07, n + m)
    return Lashes(
        ribbon,
        feet,
        reach.astype(np.float32),
        lean.astype(np.float32),
        lift.astype(np.float32),
    )


def _clear_of_lid(
    skin: FloatArray, roots: FloatArray, eye: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The lowest and the highest lift [k] at which lashes from ``roots`` [k, 3] pass before the lids' folds."""
    out, up = _lid_frame(roots, eye)
    side = np.cross(up, out)
    way = skin[np.linalg.norm(skin - eye, axis=1) < _ORBIT][None] - roots[:, None]
    ahead, above, beside = (np.einsum("kij,kj->ki", way, axis) for axis in (out, up, side))
    near = (np.abs(beside) < 1.5) & (np.abs(above) > 0.4) & (np.abs(above) < 6) & (ahead > 0)
    limit = np.where(near, _OUTWARDS * np.abs(above) / (ahead + _BEFORE), np.inf)
    return (
        np.clip(-np.where(above < 0, limit, np.inf).min(1), -0.6, -0.1),
        np.clip(np.where(above > 0, limit, np.inf).min(1), 0.1, 0.6),
    )


def _middles(tuft: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each lash, given its tuft's number [k] in order, the middle position of that tuft [k]."""
    count = np.bincount(tuft)
    return (np.cumsum(count) - 0.5 * (count + 1))[tuft]


def _along(
    skin: FloatArray, arc: IntArray, fractions: npt.NDArray[np.float64]
) -> tuple[IntArray, IntArray, FloatArray]:
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(skin[arc], axis=0), axis=1))]
    at = np.clip(np.interp(fractions * way[-1], way, np.arange(len(arc))), 0, len(arc) - 1 - 1e-6)
    low = at.astype(int)
    return arc[low], arc[low + 1], (at - low).astype(np.float32)


def lash_surface(skin: FloatArray, lashes: Lashes, eye: FloatArray, radius: float) -> FloatArray:
    """Points of one eye's lashes in the order of ``parts.lash_grid``; they stand on the posed lids.

    Args:
        skin: [S, 3] mm, posed.
        eye: [3] mm, the eyeball's centre.
        radius: mm, the eyeball's.
    """
    n, m = parts.LASH_UPPER, parts.LASH_LOWER
    upper, feet = _place(skin, lashes.upper), _place(skin, lashes.feet).reshape(m, 2, 3)
    root = _lash_roots(skin, lashes.upper, lashes.feet)
    out, up = _lid_frame(root, eye)
    # A closing lid turns its lashes down with it: they stand out from under its edge, not up along the lid.
    gap = np.linalg.norm(upper[n // 2] - feet[_SINGLES + (m - _SINGLES) // 2].mean(0)) / radius
    shut = np.clip((_OPEN - gap) / (_OPEN - _SHUT), 0, 1)
    above = np.arange(n + m) < n + _SINGLES
    down = np.where(above, shut * shut * (3 - 2 * shut), 0.0)
    lift = lashes.lift + down * (_HANGING + 0.4 * lashes.lean - lashes.lift)
    side = np.array([np.sign(eye[0]), 0.0, 0.0])
    tips = root + lashes.reach[:, None] * (_OUTWARDS * out + lift[:, None] * up + lashes.lean[:, None] * side)
    near = upper + _LINE * _lid_frame(upper, eye)[0]
    separate = np.concatenate([feet, tips[n:, None]], 1).reshape(-1, 3)
    return np.concatenate([upper, near, tips[:n], separate]).astype(np.float32)


def _lash_roots(skin: FloatArray, ribbon: Roots, feet: Roots) -> FloatArray:
    """Where each lash leaves the lid, [n + m, 3]."""
    edge = _place(skin, ribbon)
    return np.concatenate([0.5 * (edge[:-1] + edge[1:]), _place(skin, feet).reshape(-1, 2, 3).mean(1)])


def _place(skin: FloatArray, roots: Roots) -> FloatArray:
    a, b, share = roots
    return (skin[a] + share[:, None] * (skin[b] - skin[a])).astype(np.float32)


def _lid_frame(points: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions out of the eyeball and up along it at points on the lids, [n, 3] each."""
    out = points - centre
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0]) - out[:, 1:2] * out
    return out, up / np.linalg.norm(up, axis=1, keepdims=True)
