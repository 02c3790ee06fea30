"""The landmarks on the head in three dimensions: where they are, which face the viewer, and what the keypoint camera
makes of a place that one was dragged to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.normals import VertexNormals
from lipflow_studio.orbit import Orbit

OUTWARD = 2.0  # how much the way out from the head's middle counts beside the normal: at lids and lips it is ragged


class HeadLandmarks:
    """Of one avatar. Places are [L, 3] mm in the head frame, keypoints [L, 2] in [0, 1]."""

    def __init__(self, info: AvatarInfo) -> None:
        self.names = info.landmarks.names
        self._ids = info.landmarks.index
        self._projection = info.keypoint_projection.astype(np.float64)
        self._normals = VertexNormals(info.topology.faces, info.topology.vertex_count, self._ids)

    def on_face(self, vertices: FloatArray) -> FloatArray:
        """The landmarks of a mesh [V, 3]."""
        return vertices.take(self._ids, axis=0)

    def facing(self, vertices: FloatArray, orbit: Orbit) -> npt.NDArray[np.bool_]:
        """[L]: whether that part of the head is turned to the viewer."""
        places = self.on_face(vertices)
        outward = places - vertices.mean(0)
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        direction = self._normals(vertices) + OUTWARD * outward
        return np.asarray(np.einsum("lc,lc->l", direction, orbit.eye - places) > 0)

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
