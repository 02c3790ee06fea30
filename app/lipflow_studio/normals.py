"""Directions of a mesh's surface at its vertices, quick enough to follow a fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipflow.mesh import FloatArray, IntArray


class VertexNormals:
    """Knows which triangles meet at which vertex, so that a mesh takes a sum and no search."""

    def __init__(self, faces: IntArray, vertex_count: int, chosen: npt.NDArray[np.integer] | None = None) -> None:
        """
        Args:
            faces: [F, 3] vertex ids, counter-clockwise seen from outside.
            chosen: [N] the vertices that are asked for; without, all of them.
        """
        from scipy import sparse  # slow to import: the studio shows its first face before

        rows = faces.T.reshape(-1)
        columns = np.tile(np.arange(len(faces)), 3)
        gather = sparse.csr_matrix((np.ones(rows.size, np.float32), (rows, columns)), (vertex_count, len(faces)))
        if chosen is not None:
            gather = gather[chosen]
            used = np.unique(gather.indices)
            gather, faces = gather[:, used], faces[used]
        self._gather = gather
        self._corners = np.ascontiguousarray(faces.T)

    def __call__(self, vertices: FloatArray) -> FloatArray:
        """Unit normals [V or N, 3] of the mesh [V, 3], outwards; larger triangles count more."""
        a = vertices.take(self._corners[0], axis=0)
        e = vertices.take(self._corners[1], axis=0) - a
        f = vertices.take(self._corners[2], axis=0) - a
        cross = np.empty_like(a)  # np.cross takes three times as long
        for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
            cross[:, i] = e[:, j] * f[:, k] - e[:, k] * f[:, j]
        total: FloatArray = self._gather @ cross
        total /= np.maximum(np.sqrt(np.einsum("vc,vc->v", total, total)), 1e-12)[:, None]
        return total
