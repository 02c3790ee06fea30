"""The landmarks on the head in three dimensions: where they are, which the viewer sees, and what the keypoint camera
makes of a place that one was dragged to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.orbit import Orbit

AnyFloats = npt.NDArray[np.floating]

COVER = 2.5  # mm by which something must be nearer than a landmark to cover it: its own surroundings do not


class HeadLandmarks:
    """Of one avatar. Places are [L, 3] mm in the head frame, keypoints [L, 2] in [0, 1]."""

    def __init__(self, info: AvatarInfo) -> None:
        self.names = info.landmarks.names
        self._ids = info.landmarks.index
        self._projection = info.keypoint_projection.astype(np.float64)
        self._corners = np.ascontiguousarray(info.topology.faces.T)
        self._last: tuple[FloatArray, Orbit, npt.NDArray[np.bool_]] | None = None  # a mesh, a camera and what it sees

    def on_face(self, vertices: FloatArray) -> FloatArray:
        """The landmarks of a mesh [V, 3]."""
        return vertices.take(self._ids, axis=0)

    def visible(self, vertices: FloatArray, orbit: Orbit) -> npt.NDArray[np.bool_]:
        """[L]: whether the viewer sees it: no other part of the mesh is before it. The last answer is kept."""
        if self._last is None or self._last[0] is not vertices or self._last[1] != orbit:
            self._last = vertices, orbit, ~self._covered(vertices, orbit)
        return self._last[2]

    def _covered(self, vertices: FloatArray, orbit: Orbit) -> npt.NDArray[np.bool_]:
        """[L]: a ray to each, through all triangles that face the viewer and have it inside their box."""
        seen = (vertices - np.float32(orbit.eye)) @ np.float32(np.column_stack([*orbit.axes, -orbit.backward]))
        depth = np.maximum(seen[:, 2], 1.0)
        x, y = seen[:, 0] / depth, seen[:, 1] / depth
        mark_x, mark_y = x[self._ids], y[self._ids]
        (x0, x1, x2), (y0, y1, y2) = x.take(self._corners), y.take(self._corners)  # [F] each
        near = np.flatnonzero((x1 - x0) * (y2 - y0) > (x2 - x0) * (y1 - y0))
        corners = self._corners.take(near, axis=1)
        xs, ys = x.take(corners), y.take(corners)
        low, high = ys.min(0), ys.max(0)
        order = mark_x.argsort()
        first = mark_x[order].searchsorted(xs.min(0), "left")
        count = mark_x[order].searchsorted(xs.max(0), "right") - first
        triangle = np.arange(len(near)).repeat(count)  # each with all landmarks between its left and right end
        mark = order[np.arange(len(triangle)) + (first - count.cumsum() + count).repeat(count)]
        there = (low[triangle] <= mark_y[mark]) & (mark_y[mark] <= high[triangle])
        triangle, mark = triangle[there], mark[there]
        share = _barycentric(xs[:, triangle], ys[:, triangle], mark_x[mark], mark_y[mark])
        nearness = (share / depth.take(corners[:, triangle])).sum(0)  # 1 / depth is linear in the picture
        before = (share >= 0).all(0) & (nearness * (depth[self._ids][mark] - COVER) > 1)
        result = np.zeros(len(self._ids), bool)
        result[mark[before]] = True
        return result

    def keypoints(self, places: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Where the keypoint camera sees places [N, 3]: [N, 2]."""
        seen = places @ self._projection[:, :3].T + self._projection[:, 3]
        return np.asarray(seen[:, :2] / seen[:, 2:])

    def placed(self, keypoints: FloatArray, vertices: FloatArray) -> npt.NDArray[np.float64]:
        """The places that the keypoint camera sees at ``keypoints``, as far from it as the mesh's landmarks are."""
        depth = self.on_face(vertices) @ self._projection[2, :3] + self._projection[2, 3]
        seen = np.column_stack([keypoints, np.ones(len(keypoints))]) * depth[:, None]
        return np.asarray(np.linalg.solve(self._projection[:, :3], (seen - self._projection[:, 3]).T).T)


def _barycentric(xs: AnyFloats, ys: AnyFloats, x: AnyFloats, y: AnyFloats) -> npt.NDArray[np.float64]:
    """Weights [3, N] of the corners (xs, ys) [3, N] in places (x, y) [N]; none that is a number where a triangle is a
    line."""
    dx, dy = xs.astype(np.float64) - x, ys.astype(np.float64) - y
    parts = np.stack([dx[j] * dy[k] - dx[k] * dy[j] for j, k in ((1, 2), (2, 0), (0, 1))])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(parts / parts.sum(0))


@dataclass(frozen=True, eq=False)
class PointsDrag:
    """Landmarks that are being dragged: each moves in the plane of the picture, at its own depth."""

    gesture: str  # what its edits have in common
    places: dict[int, npt.NDArray[np.float64]]  # [3] mm, where each was
    mirrored: frozenset[int]  # of them, those that move as in a mirror
    camera: Orbit
    mm_a_pixel: float  # at the depth of the one under the pointer

    def moved(self, right: float, down: float) -> dict[int, npt.NDArray[np.float64]]:
        """Where a pointer that went so many pixels takes them, [3] mm each."""
        x, y = self.camera.axes
        by = self.mm_a_pixel * (right * x - down * y)
        return {i: place + (by * [-1, 1, 1] if i in self.mirrored else by) for i, place in self.places.items()}
