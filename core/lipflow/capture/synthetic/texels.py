"""Where each texel lies on the mesh: triangle and barycentric coordinates, found once per topology and size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from lipflow.mesh import Topology

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_BORDER = 6  # texels painted beyond an island's edge, so that bilinear lookups and halved images never mix in black


@dataclass(frozen=True, eq=False)
class TexelMap:
    """The N covered texels of a T×T texture, row by row (row 0 at v = 1), and the border copied from them."""

    size: int  # T
    texel: npt.NDArray[np.int64]  # [N] row · T + column
    triangle: IntArray  # [N] id of the face
    barycentric: FloatArray  # [N, 3] weights of the face's corners
    border: npt.NDArray[np.int64]  # [M] texels just outside the islands
    border_source: npt.NDArray[np.int64]  # [M] the nearest covered texel, as a position in ``texel``

    @staticmethod
    def build(topology: Topology, size: int) -> TexelMap:
        """Rasterise the texture coordinates of ``topology`` at texel centres (the convention of Topology)."""
        triangle = np.full((size, size), -1, dtype=np.int32)
        barycentric = np.zeros((size, size, 3), dtype=np.float32)
        corners = topology.uv[topology.uv_faces].astype(np.float64)
        corners = np.stack([corners[..., 0] * size - 0.5, (1 - corners[..., 1]) * size - 0.5], axis=-1)
        _rasterise(corners, triangle, barycentric)
        covered = triangle >= 0
        distance, nearest = distance_transform_edt(~covered, return_indices=True)
        texel = np.flatnonzero(covered)
        position = np.full(size * size, -1, dtype=np.int64)
        position[texel] = np.arange(len(texel))
        border = np.flatnonzero((distance > 0) & (distance <= _BORDER))
        source = position[(nearest[0] * size + nearest[1]).ravel()[border]]
        return TexelMap(size, texel, triangle.ravel()[texel], barycentric.reshape(-1, 3)[texel], border, source)

    @cached_property
    def valid(self) -> npt.NDArray[np.bool_]:
        """[T, T] true where the texture carries a value: islands and their border."""
        mask = np.zeros(self.size * self.size, dtype=bool)
        mask[self.texel] = True
        mask[self.border] = True
        return mask.reshape(self.size, self.size)

    def interpolate(self, values: npt.NDArray[Any], faces: IntArray) -> FloatArray:
        """Values of the vertices [V] or [V, C] at the covered texels, [N] or [N, C]."""
        corners = np.asarray(values, dtype=np.float32)[faces[self.triangle]]
        return np.einsum("nk,nk...->n...", self.barycentric, corners)

    def image(self, values: FloatArray) -> FloatArray:
        """Values at the covered texels [N] or [N, C] as an image [T, T] or [T, T, C], borders filled, zero outside."""
        out = np.zeros((self.size * self.size, *values.shape[1:]), dtype=np.float32)
        out[self.texel] = values
        out[self.border] = values[self.border_source]
        return out.reshape(self.size, self.size, *values.shape[1:])


@numba.njit(cache=True, nogil=True)
def _rasterise(corners: Any, triangle: Any, barycentric: Any) -> None:
    """Mark the texel centres inside each triangle [F, 3, 2] (columns, rows); either winding."""
    size = triangle.shape[0]
    for f in range(corners.shape[0]):
        x0, y0 = corners[f, 0]
        x1, y1 = corners[f, 1]
        x2, y2 = corners[f, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2)))), min(size - 1, int(np.floor(max(x0, x1, x2))))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2)))), min(size - 1, int(np.floor(max(y0, y1, y2))))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) / area
                b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) / area
                c = 1.0 - a - b
                if a >= -1e-9 and b >= -1e-9 and c >= -1e-9:
                    triangle[row, column] = f
                    barycentric[row, column, 0] = a
                    barycentric[row, column, 1] = b
                    barycentric[row, column, 2] = c
