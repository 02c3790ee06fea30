"""The texture atlas: flip-free unwrapping of discs, and the places of the islands in the unit square.

A disc with a convex outline and positive weights has a unique harmonic map without flips (Tutte 1963, Floater 2003).
Dividing the weights by the local stretch (Yoshizawa, Belyaev and Seidel 2004) evens the texel density out, here towards
a wanted density a vertex: the front of the face gets the texels, the nape does not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import spsolve

from lipflow.capture.synthetic.mesh_ops import boundary_loops

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slot:
    """An island's rectangle in the atlas."""

    left: float
    bottom: float
    width: float
    height: float

    def place(self, uv: Array, *, inset: float = 0.004) -> Array:
        """Map the unit square into the slot, a gutter of ``inset`` free on all sides."""
        size = np.array([self.width, self.height]) - 2 * inset
        return np.array([self.left, self.bottom]) + inset + uv * size


SLOTS: dict[str, Slot] = {
    "skin": Slot(0.0, 0.16, 1.0, 0.84),
    "eye_left": Slot(0.0, 0.0, 0.16, 0.16),
    "eye_right": Slot(0.16, 0.0, 0.16, 0.16),
    "mouth_bag": Slot(0.32, 0.0, 0.16, 0.16),
    "tongue": Slot(0.48, 0.0, 0.12, 0.16),
    "teeth": Slot(0.60, 0.04, 0.36, 0.12),
    "gums_upper": Slot(0.60, 0.02, 0.36, 0.02),
    "gums_lower": Slot(0.60, 0.0, 0.36, 0.02),
    "lashes_left": Slot(0.96, 0.0, 0.02, 0.16),
    "lashes_right": Slot(0.98, 0.0, 0.02, 0.16),
}


def superellipse(fractions: Array, power: float) -> Array:
    """Points at fractions [N] of the way round, clockwise from the top, of a strictly convex outline in [0, 1]²."""
    angle = np.pi / 2 - np.linspace(0, 2 * np.pi, 20001)
    c, s = np.cos(angle), np.sin(angle)
    outline = np.stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)], 1)
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    at = np.interp(fractions * way[-1], way, angle[0] - angle)
    c, s = np.cos(np.pi / 2 - at), np.sin(np.pi / 2 - at)
    round_ = np.stack([np.sign(c) * np.abs(c) ** (2 / power), np.sign(s) * np.abs(s) ** (2 / power)], 1)
    return 0.5 + 0.5 * round_


def magnify(uv: Array, power: float, strength: float) -> Array:
    """Enlarge the middle of a superellipse in [0, 1]², its outline staying where it is.

    Along each ray from the middle, r -> r (1 + k) / (1 + k r): lengths grow by 1 + k in the middle.
    """
    d = 2 * uv - 1
    r = (np.abs(d) ** power).sum(1) ** (1 / power)
    return 0.5 + 0.5 * d * ((1 + strength) / (1 + strength * r))[:, None]


def unwrap_disc(
    points: Array, faces: Index, outline: Index, outline_uv: Array, density: Array, *, rounds: int = 1
) -> Array:
    """Flip-free texture coordinates [N, 2] of a disc, its holes spanned by one helper vertex each.

    Args:
        points: [N, 3] mm; faces: [F, 3] ids; outline: the vertex ids of the outer boundary, in order.
        outline_uv: [len(outline), 2] on a strictly convex curve.
        density: [N] wanted relative texel density (length in the atlas for a length on the skin).
        rounds: how often the weights are corrected; more than two starve narrow places.
    """
    outer = set(outline.tolist())
    surface = len(faces)
    holes = [loop for loop in boundary_loops(faces.tolist()) if not outer & set(loop)]
    for loop in holes:
        hub = len(points)
        points = np.vstack([points, points[loop].mean(0)])
        density = np.r_[density, density[loop].mean() * 0.5]
        fan = [[b, a, hub] for a, b in zip(loop, [*loop[1:], loop[0]])]
        faces = np.vstack([faces, fan])
    n, skin = len(points), len(points) - len(holes)
    weights = _mean_value_weights(points, faces)
    free = np.ones(n, bool)
    free[outline] = False
    uv = _harmonic(weights, free, outline, outline_uv, n)
    for _ in range(rounds):
        stretch = _stretch(points, faces[:surface], uv, density)
        stretch[skin:] = 0.7  # draws the holes together: they need no texels
        weights = sparse.csr_matrix(weights @ sparse.diags(stretch**-0.6))
        uv = _harmonic(weights, free, outline, outline_uv, n)
    return uv[:skin]


def _harmonic(weights: sparse.csr_matrix, free: npt.NDArray[np.bool_], outline: Index, at: Array, n: int) -> Array:
    normal = sparse.diags(1 / np.asarray(weights.sum(1)).ravel()) @ weights
    system = (sparse.identity(n) - normal).tocsr()
    uv = np.zeros((n, 2))
    uv[outline] = at
    uv[free] = spsolve(system[free][:, free].tocsc(), -(system[free] @ uv))
    return uv


def _mean_value_weights(points: Array, faces: Index) -> sparse.csr_matrix:
    """Floater's mean value coordinates on the surface: positive, so no triangle can flip."""
    entries: dict[tuple[int, int], float] = defaultdict(float)
    for k in range(3):
        i, j, h = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = points[j] - points[i], points[h] - points[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = (a * b).sum(1) / np.maximum(la * lb, 1e-12)
        tangent = np.tan(np.arccos(np.clip(cosine, -0.999, 0.999)) / 2)
        for p, q, w in ((i, j, tangent / np.maximum(la, 1e-6)), (i, h, tangent / np.maximum(lb, 1e-6))):
            for x, y, value in zip(p.tolist(), q.tolist(), w.tolist()):
                entries[x, y] += value
    keys = np.asarray(list(entries))
    return sparse.csr_matrix((list(entries.values()), (keys[:, 0], keys[:, 1])), (len(points), len(points)))


def _stretch(points: Array, faces: Index, uv: Array, density: Array) -> Array:
    """How much each vertex's triangles are undersampled against the wanted density [N]."""
    p, q = points[faces], uv[faces]
    d = q[:, 1:] - q[:, :1]
    area2 = d[:, 0, 0] * d[:, 1, 1] - d[:, 0, 1] * d[:, 1, 0]
    e = p[:, 1:] - p[:, :1]
    safe = np.sign(area2) * np.maximum(np.abs(area2), 1e-14)
    ds = (e[:, 0] * d[:, 1, 1, None] - e[:, 1] * d[:, 0, 1, None]) / safe[:, None]
    dt = (e[:, 1] * d[:, 0, 0, None] - e[:, 0] * d[:, 1, 0, None]) / safe[:, None]
    wanted = density[faces].mean(1)
    square = 0.5 * ((ds**2).sum(1) + (dt**2).sum(1)) * wanted**2
    area = np.linalg.norm(np.cross(e[:, 0], e[:, 1]), axis=1) * wanted**2
    total, weighted = np.zeros(len(points)), np.zeros(len(points))
    for k in range(3):
        np.add.at(total, faces[:, k], area)
        np.add.at(weighted, faces[:, k], area * square)
    stretch = np.sqrt(weighted / np.maximum(total, 1e-12))
    return np.clip(stretch / np.median(stretch), 0.02, 50)
