"""What a mesh hides of places on it: rays through its triangles, thousands of them in a few milliseconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

AnyFloats = npt.NDArray[np.floating]
Whole = npt.NDArray[np.signedinteger]

COVER = 2.5  # mm by which something must be nearer than a place to cover it: its own surroundings do not


def covered(mesh: AnyFloats, corners: Whole, places: AnyFloats) -> npt.NDArray[np.bool_]:
    """[N]: whether a triangle that faces the viewer lies before a place.

    Args:
        mesh: [V, 3] vertices in a picture: x to the right, y up, in any unit, and their depth, mm, above 0.
        corners: [3, F] of the triangles, counterclockwise as seen from outside.
        places: [N, 3] in the same picture.
    """
    x, y, depth = np.ascontiguousarray(mesh.T)
    mark_x, mark_y = places[:, 0], places[:, 1]
    (x0, x1, x2), (y0, y1, y2) = x.take(corners), y.take(corners)  # [F] each
    near = np.flatnonzero((x1 - x0) * (y2 - y0) > (x2 - x0) * (y1 - y0))
    corners = corners.take(near, axis=1)
    xs, ys = x.take(corners), y.take(corners)
    low, high = ys.min(0), ys.max(0)
    order = mark_x.argsort()
    first = mark_x[order].searchsorted(xs.min(0), "left")
    count = mark_x[order].searchsorted(xs.max(0), "right") - first
    triangle = np.arange(len(near)).repeat(count)  # each with all places between its left and right end
    mark = order[np.arange(len(triangle)) + (first - count.cumsum() + count).repeat(count)]
    there = (low[triangle] <= mark_y[mark]) & (mark_y[mark] <= high[triangle])
    triangle, mark = triangle[there], mark[there]
    share = _barycentric(xs[:, triangle], ys[:, triangle], mark_x[mark], mark_y[mark])
    nearness = (share / depth.take(corners[:, triangle])).sum(0)  # 1 / depth is linear in the picture
    before = (share >= 0).all(0) & (nearness * (places[mark, 2] - COVER) > 1)
    result = np.zeros(len(places), bool)
    result[mark[before]] = True
    return result


def _barycentric(xs: AnyFloats, ys: AnyFloats, x: AnyFloats, y: AnyFloats) -> npt.NDArray[np.float64]:
    """Weights [3, N] of the corners (xs, ys) [3, N] in places (x, y) [N]; none that is a number where a triangle is a
    line."""
    dx, dy = xs.astype(np.float64) - x, ys.astype(np.float64) - y
    parts = np.stack([dx[j] * dy[k] - dx[k] * dy[j] for j, k in ((1, 2), (2, 0), (0, 1))])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(parts / parts.sum(0))
