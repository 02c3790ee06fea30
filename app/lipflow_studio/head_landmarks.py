"""The landmarks on the head in three dimensions: where they are, which the viewer sees, and what the keypoint camera
makes of a place that one was dragged to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow_studio.covering import covered
from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.orbit import Orbit


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
        seen = (vertices - np.float32(orbit.eye)) @ np.float32(np.column_stack([*orbit.axes, -orbit.backward]))
        seen[:, 2] = np.maximum(seen[:, 2], 1.0)
        seen[:, :2] /= seen[:, 2:]
        return covered(seen, self._corners, seen[self._ids])

    def keypoints(self, places: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Where the keypoint camera sees places [N, 3]: [N, 2]."""
        seen = places @ self._projection[:, :3].T + self._projection[:, 3]
        return np.asarray(seen[:, :2] / seen[:, 2:])

    def placed(self, keypoints: FloatArray, vertices: FloatArray) -> npt.NDArray[np.float64]:
        """The places that the keypoint camera sees at ``keypoints``, as far from it as the mesh's landmarks are."""
        depth = self.on_face(vertices) @ self._projection[2, :3] + self._projection[2, 3]
        seen = np.column_stack([keypoints, np.ones(len(keypoints))]) * depth[:, None]
        return np.asarray(np.linalg.solve(self._projection[:, :3], (seen - self._projection[:, 3]).T).T)


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
