"""Contact by rule: lids that lie on the eyeball and meet, lips that meet without a gap.

Face units are linear and know nothing of each other; sums of them open gaps and cut through the eyeball. Here the two
margins of an opening are compared column by column, and the neighbourhood of each margin moves by what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from lipflow.capture.synthetic.parts import eye_radius

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.int64]

LIP_SOFTNESS = 0.6  # mm: a smaller gap beside a wider one is drawn together, smoothly
LIPS_STICK = (1.5, 4.5)  # mm
TEETH_CLEARANCE = 2.6  # mm from the teeth's front to the lips' margin
LID_REACH, LIP_REACH = 11.0, 11.0  # mm along the skin over which a correction fades
LID_CLEARANCE = (0.35, 1.1)  # mm over the eyeball: the least, and the most that is kept from the rest pose
SEAL = 0.02  # mm over the eyeball where the skin ends behind the lids


@dataclass(frozen=True, eq=False)
class Opening:
    """An opening of the face between an upper and a lower margin, both from -x to +x."""

    upper: Index  # [u] margin vertices
    lower: Index  # [l]
    region: Index  # [n] vertices that move with a margin, the margins among them
    weight_upper: Array  # [n] how much each follows the upper margin
    weight_lower: Array  # [n]

    @staticmethod
    def around(points: Array, faces: Index, loop: Index, reach: float) -> Opening:
        """Split a closed loop at its two corners and weigh the skin around it by the distance along the surface."""
        first, last = int(points[loop, 0].argmin()), int(points[loop, 0].argmax())
        ring = np.roll(loop, -first)
        turn = (last - first) % len(loop)
        one, other = ring[: turn + 1], np.r_[ring[turn:], ring[:1]][::-1]
        if points[one, 1].mean() < points[other, 1].mean():
            one, other = other, one
        ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        length = np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1)
        graph = sparse.csr_matrix((length, (ends[:, 0], ends[:, 1])), (len(points), len(points)))
        far = reach * 1.001
        d_upper = dijkstra(graph, directed=False, indices=one, min_only=True, limit=far)
        d_lower = dijkstra(graph, directed=False, indices=other, min_only=True, limit=far)
        region = np.nonzero(np.minimum(d_upper, d_lower) < reach)[0]
        du, dl = np.minimum(d_upper[region], far), np.minimum(d_lower[region], far)
        # a vertex belongs to the nearer margin; near the corners, to both in part
        share = np.clip(0.5 + (dl - du) / 2.0, 0, 1)
        share = np.where(du == 0, 1.0, np.where(dl == 0, 0.0, share))  # the margins themselves meet exactly
        fade_u, fade_l = np.clip(1 - du / reach, 0, 1) ** 1.5, np.clip(1 - dl / reach, 0, 1) ** 1.5
        return Opening(one, other, region, share * fade_u, (1 - share) * fade_l)

    def shift(self, column: Array, at: Array, upper: Array, lower: Array) -> Array:
        """Spread the columns' corrections [c] to the region [n]; ``at`` [n] is each vertex's place among columns."""
        return self.weight_upper * np.interp(at, column, upper) + self.weight_lower * np.interp(at, column, lower)


def lip_gap(points: Array, lips: Opening) -> tuple[Array, Array]:
    """Columns (x, mm) across the mouth and the lips' gap there (mm, negative where they overlap)."""
    x, y = points[:, 0], points[:, 1]
    column = np.linspace(x[lips.upper].min(), x[lips.upper].max(), 41)
    up, low = lips.upper[np.argsort(x[lips.upper])], lips.lower[np.argsort(x[lips.lower])]
    return column, np.interp(column, x[up], y[up]) - np.interp(column, x[low], y[low])


def close_lips(points: Array, lips: Opening, *, always: bool = False) -> None:
    """Move the lips in place: overlaps are undone, and lips that part by little nowhere part at all.

    A mouth whose widest gap is below ``LIPS_STICK[0]`` mm is shut, one above ``LIPS_STICK[1]`` keeps its gaps but for
    the last fraction of a millimetre. ``always`` shuts any mouth.
    """
    column, gap = lip_gap(points, lips)
    positive = np.maximum(gap, 0)
    t = np.clip((positive.max() - LIPS_STICK[0]) / (LIPS_STICK[1] - LIPS_STICK[0]), 0, 1)
    apart = 0.0 if always else t * t * (3 - 2 * t)
    missing = apart * positive**2 / (positive + LIP_SOFTNESS) - gap
    at = points[lips.region, 0]
    points[lips.region, 1] += lips.shift(column, at, 0.5 * missing, -0.5 * missing)


def clear_teeth(points: Array, lips: Opening, upper: Array, lower: Array) -> None:
    """Move the lips in place until both margins pass at least ``TEETH_CLEARANCE`` in front of the teeth.

    Args:
        upper, lower: [c, 2] each arch's front as (x, z) in mm, from -x to +x.
    """
    x, z = points[:, 0], points[:, 2]
    column = np.linspace(x[lips.upper].min(), x[lips.upper].max(), 41)
    missing = []
    for margin, arch in ((lips.upper, upper), (lips.lower, lower)):
        order = margin[np.argsort(x[margin])]
        ahead = np.interp(column, x[order], z[order]) - np.interp(column, arch[:, 0], arch[:, 1])
        missing.append(np.maximum(TEETH_CLEARANCE - ahead, 0))
    points[lips.region, 2] += lips.shift(column, points[lips.region, 0], missing[0], missing[1])


@dataclass(frozen=True, eq=False)
class Eye:
    """One eyeball of one identity."""

    centre: Array  # [3] mm
    radius: float  # mm, without the cornea


def _angles(points: Array, eye: Eye) -> tuple[Array, Array, Array]:
    """Azimuth, elevation (radians) and distance (mm) from the eye's centre; both angles are 0 straight ahead."""
    d = points - eye.centre
    flat = np.hypot(d[:, 0], d[:, 2])
    return np.arctan2(d[:, 0], d[:, 2]), np.arctan2(d[:, 1], flat), np.hypot(flat, d[:, 1])


def lid_gap(points: Array, lids: Opening, eye: Eye) -> tuple[Array, Array]:
    """Columns (azimuth, radians) across the eye and the opening between the lids there (radians)."""
    a_up, e_up, _ = _angles(points[lids.upper], eye)
    a_low, e_low, _ = _angles(points[lids.lower], eye)
    up, low = np.argsort(a_up), np.argsort(a_low)
    column = np.linspace(max(a_up.min(), a_low.min()), min(a_up.max(), a_low.max()), 31)
    return column, np.interp(column, a_up[up], e_up[up]) - np.interp(column, a_low[low], e_low[low])


def rest_on_eye(
    points: Array, lids: Opening, eye: Eye, axis: Array, clearance: Array, sealed: npt.NDArray[np.bool_], closing: Array
) -> None:
    """Move the lids in place: the ``closing`` [31] (radians) first, then undo overlaps, then out of the eyeball.

    Args:
        axis: [3] where the eye looks, so that the cornea lifts the lid.
        clearance: [n] least distance of each of the region's vertices from the eyeball, mm.
        sealed: [n] the skin's edge behind the lids, which lies on the eyeball so that no gap shows beside it.
        closing: what a blink misses at each column; the upper lid takes four fifths of it.
    """
    azimuth, elevation, distance = _angles(points[lids.region], eye)
    column, gap = lid_gap(points, lids, eye)
    gap = gap - closing
    overlap = np.maximum(-gap, 0)
    upper, lower = -0.8 * closing + 0.5 * overlap, 0.2 * closing - 0.5 * overlap
    elevation = elevation + lids.shift(column, azimuth, upper, lower)
    flat = np.cos(elevation)
    direction = np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], 1)
    least = eye.radius * eye_radius(direction, axis) + clearance
    points[lids.region] = eye.centre + direction * np.where(sealed, least, np.maximum(distance, least))[:, None]
