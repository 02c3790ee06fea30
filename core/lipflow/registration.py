"""Registration: bring a template head onto the surface of another head whose topology it does not share.

Three steps, each an iterated closest point search: a similarity (from several starts, the best one wins), the
template's own modes of shape and expression under a Gaussian prior, and a smooth displacement for what is left. What
is wanted of it are correspondences: points of the target's surface that can be found again in every frame of it.

Heads are given in millimetres and about upright: x to the viewer's right, y up, z out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from lipflow.checks import InputError
from lipflow.mesh import similarity_align, vertex_normals

Points = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_RIM_SAMPLES, _RIM_CANDIDATES = 3, 200  # points an edge of a rim is searched at, and how many of them are looked at
_CANDIDATES = 12  # triangles looked at for a closest point
_SLIDE = 0.1  # how much a distance along the surface counts
_AGREE = 0.4  # least cosine between the normals of points that may belong together
_RIM_AGREE = 0.2  # the same of the directions away from rims


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points on a mesh by their triangles: the same spots on every mesh of that topology."""

    corners: Index  # [N, 3] vertex ids
    weights: Points  # [N, 3] barycentric

    def at(self, vertices: npt.NDArray[np.floating]) -> Points:
        """Where the points are on a mesh [V, 3]."""
        return (vertices[self.corners] * self.weights[..., None]).sum(1)

    def __getitem__(self, chosen: Index) -> SurfacePoints:
        return SurfacePoints(self.corners[chosen], self.weights[chosen])


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles to search for closest points. Vertices that no triangle uses play no part."""

    vertices: Points  # [V, 3]
    faces: Index  # [F, 3]

    @cached_property
    def face_normals(self) -> Points:
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)
        return _unit(np.cross(b - a, c - a))

    @cached_property
    def normals(self) -> Points:
        """Unit normals of the vertices, [V, 3]."""
        return vertex_normals(self.vertices, self.faces)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.vertices[self.faces].mean(1))

    def closest(self, points: Points, normals: Points | None = None) -> tuple[SurfacePoints, Points, Index]:
        """The closest points of the surface to ``points`` [N, 3]: them, their distances [N] and triangles [N].

        With ``normals`` [N, 3] only triangles that face about the same way count; the distance is infinite where
        none of the nearest does.
        """
        count = min(_CANDIDATES, len(self.faces))
        near = self._tree.query(points, count)[1].reshape(len(points), count)
        corners = self.vertices[self.faces[near]]  # [N, C, 3, 3]
        weights = _closest_in_triangle(points[:, None], corners)
        distance = np.linalg.norm((corners * weights[..., None]).sum(2) - points[:, None], axis=-1)
        if normals is not None:
            distance = np.where((self.face_normals[near] * normals[:, None]).sum(-1) > _AGREE, distance, np.inf)
        best, row = distance.argmin(1), np.arange(len(points))
        face = near[row, best]
        return SurfacePoints(self.faces[face], weights[row, best]), distance[row, best], face

    def closest_on_rim(self, points: Points, inwards: Points) -> tuple[Points, Points]:
        """Closest points [N, 3] on rims whose surface lies in about the same direction as ``inwards`` [N, 3], and
        their distances [N]; infinite where none is."""
        spots, directions, tree = self._rim_samples
        if len(spots) == 0:
            return points, np.full(len(points), np.inf)
        distance, near = tree.query(points, min(_RIM_CANDIDATES, len(spots)))
        distance = np.where((directions[near] * inwards[:, None]).sum(-1) > _RIM_AGREE, distance, np.inf)
        best, row = distance.argmin(1), np.arange(len(points))
        return spots[near[row, best]], distance[row, best]

    @cached_property
    def _rim_samples(self) -> tuple[Points, Points, cKDTree]:
        """Points along the rims, the directions from there into the surface, and a tree to search them."""
        edges = _edges(self.faces)
        _, which, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
        lone = count[which.ravel()] == 1
        a, b = np.moveaxis(self.vertices[edges[lone]], 1, 0)
        third = self.vertices[np.tile(self.faces, (3, 1))[np.arange(len(edges)), _third(len(self.faces))][lone]]
        along = _unit(b - a)
        inwards = third - a
        inwards = _unit(inwards - (inwards * along).sum(-1, keepdims=True) * along)
        steps = (np.arange(_RIM_SAMPLES) / _RIM_SAMPLES)[:, None, None]
        spots = (a + steps * (b - a)).reshape(-1, 3)
        return spots, np.tile(inwards, (_RIM_SAMPLES, 1)), cKDTree(spots)

    def without_fillings(self, long: float = 2.5, least: float = 1.1) -> Surface:
        """This surface with its openings open.

        Tracked heads close mouth and eyes by a strip of triangles straight from rim to rim. Its edges across are far
        longer than what is usual (the median) at both of their ends: ``long`` times in the middle of an opening,
        from where the strip is followed over edges of ``least`` times to its corners. In a pose whose openings are
        shut there is nothing to find.
        """
        across = self._lengths_to_usual()
        fills = (across > long).sum(1) >= 2
        may = (across > least).sum(1) >= 2
        edges = np.sort(_edges(self.faces), axis=1)
        _, edge = np.unique(edges, axis=0, return_inverse=True)
        edge = edge.reshape(3, -1).T  # [F, 3] the edges of each triangle
        while True:
            reached = np.zeros(edge.max() + 1, bool)
            reached[edge[fills][across[fills] > least]] = True
            grown = fills | (may & (reached[edge] & (across > least)).any(1))
            if (grown == fills).all():
                return Surface(self.vertices, self.faces[~fills])
            fills = grown

    def _lengths_to_usual(self) -> Points:
        """[F, 3] length of each triangle's edges (0–1, 1–2, 2–0) over the larger median of edges at its two ends."""
        edges = _edges(self.faces)
        unique = np.unique(np.sort(edges, axis=1), axis=0)
        length = np.linalg.norm(self.vertices[unique[:, 0]] - self.vertices[unique[:, 1]], axis=1)
        ends, lengths = unique.T.ravel(), np.tile(length, 2)
        order = np.lexsort((lengths, ends))
        vertex, first, count = np.unique(ends[order], return_index=True, return_counts=True)
        usual = np.zeros(len(self.vertices))
        usual[vertex] = lengths[order][first + (count - 1) // 2]
        own = np.linalg.norm(self.vertices[edges[:, 0]] - self.vertices[edges[:, 1]], axis=1)
        ratio = own / np.maximum(usual[edges].max(1), 1e-9)
        return ratio.reshape(3, -1).T


@dataclass(frozen=True, eq=False)
class Template:
    """A head that can be bent: mean + weights · modes. Each weight is normally distributed, N(0, 1)."""

    mean: Points  # [V, 3] mm
    faces: Index  # [F, 3]
    modes: Points  # [M, V, 3] mm at a weight of 1
    active: Index  # [n] vertices that are compared with the target: the face, not the neck, hair or mouth's inside
    rim: Index  # [r] those of them that lie on the rims of openings (lids, inner lips)

    def bent(self, weights: Points) -> Points:
        """[M] -> [V, 3]."""
        return self.mean + np.tensordot(weights, self.modes, 1)

    @cached_property
    def on_rim(self) -> npt.NDArray[np.bool_]:
        """[n] which of the compared vertices lie on rims."""
        return np.isin(self.active, self.rim)

    @cached_property
    def _beside_rim(self) -> sparse.csr_matrix:
        """[n on rims, V] the mean over each rim vertex's compared neighbours that lie on no rim."""
        count = len(self.mean)
        graph = _graph(self.faces, count)
        beside = np.zeros(count)
        beside[self.active[~self.on_rim]] = 1
        picked = graph[self.active[self.on_rim]] @ sparse.diags(beside)
        return sparse.diags(1 / np.maximum(np.asarray(picked.sum(1)).ravel(), 1)) @ picked

    @cached_property
    def from_rim(self) -> Points:
        """[n on rims, 3] the directions from the rims into the surface: up from an upper lip, down from a lower one.

        They are the mean's: on a template bent too far lids cross, and would never find their way back.
        """
        return _unit(self._beside_rim @ self.mean - self.mean[self.active[self.on_rim]])


def compressed(modes: Points, spread: Points, active: Index, rank: int) -> tuple[Points, Points]:
    """The ``rank`` strongest directions of many modes [M, V, 3] whose weights are N(0, spread²), for ``active``.

    Returns new modes [rank, V, 3] whose weights are N(0, 1), and the matrix [rank, M] that brings old weights to new.
    """
    scaled = modes * spread[:, None, None]
    seen = scaled[:, active].reshape(len(modes), -1)
    vectors = np.linalg.eigh(seen @ seen.T)[1]
    kept = vectors[:, ::-1][:, :rank].T
    return np.tensordot(kept, scaled, 1), kept / spread


@dataclass(frozen=True)
class Similarity:
    """``scale · R x + t``."""

    scale: float
    R: Points  # [3, 3]
    t: Points  # [3]

    def __call__(self, points: npt.NDArray[np.floating]) -> Points:
        return self.scale * points @ self.R.T + self.t


@dataclass(frozen=True)
class RegistrationConfig:
    """How hard the template is bent. Distances are millimetres in the target's size."""

    iterations: int = 30  # of the modes' fit
    noise: tuple[float, float] = (6.0, 1.0)  # distance that counts as one standard deviation, first and last
    independent: float = 600.0  # the vertices count as this many independent measurements
    rim_share: float = 0.25  # of those, the rims' part
    stiffness: tuple[float, ...] = (100.0, 30.0, 10.0, 3.0)  # of the smooth displacement, step by step
    reach: float = 15.0  # the farthest point that may belong to a vertex in the last steps
    offsets: tuple[float, ...] = (-60.0, -30.0, 0.0, 30.0, 60.0)  # starts, upwards
    scales: tuple[float, ...] = (0.85, 1.0, 1.15)  # starts
    poses: tuple[Points, ...] = field(default_factory=tuple)  # further starts: weights [M] of the modes


@dataclass(frozen=True, eq=False)
class Registered:
    """A template on its target."""

    vertices: Points  # [V, 3] the template bent onto the target, in the target's frame
    points: SurfacePoints  # [V] the closest points of the target's surface
    distance: Points  # [V] from the modes' fit to the target, before the smooth displacement; mm
    similarity: Similarity
    weights: Points  # [M] of the modes


def register(template: Template, target: Surface, config: RegistrationConfig | None = None) -> Registered:
    """Find the template's vertices on the target.

    Raises:
        InputError: if not a fifth of the compared vertices find a point of the target.
    """
    config = RegistrationConfig() if config is None else config
    start = _start(template, target, config)
    poses = config.poses or (np.zeros(len(template.modes)),)
    fits = [_fit_modes(template, target, start, pose, config) for pose in poses]
    similarity, weights, _ = min(fits, key=lambda fit: fit[2])
    fitted = similarity(template.bent(weights))
    bent = _displace(template, fitted, similarity.R, target, config)
    apart = target.closest(fitted)[1]
    return Registered(bent, target.closest(bent)[0], apart, similarity, weights)


def _start(template: Template, target: Surface, config: RegistrationConfig) -> Similarity:
    """The similarity that fits best, of those found from several heights and sizes."""
    some = template.active[:: max(1, len(template.active) // 500)]
    ends = np.quantile(target.vertices[np.unique(target.faces)], [0.02, 0.5, 0.98], axis=0)
    own = np.quantile(template.mean[template.active], [0.02, 0.5, 0.98], axis=0)
    size = (ends[2, 0] - ends[0, 0]) / max(own[2, 0] - own[0, 0], 1e-9)
    source = Surface(template.mean, template.faces)
    found = []
    for scale in np.multiply(config.scales, size):
        for offset in config.offsets:
            middle, front = ends[1] - scale * own[1], ends[2, 2] - scale * own[2, 2]
            start = Similarity(float(scale), np.eye(3), np.array([middle[0], middle[1] + offset, front]))
            found.append(_similarity_icp(source, some, target, start))
    return min(found, key=lambda fit: fit[1])[0]


def _similarity_icp(
    source: Surface, some: Index, target: Surface, start: Similarity, iterations: int = 15
) -> tuple[Similarity, float]:
    """A similarity by iterated closest points, and the trimmed distance over its scale."""
    similarity, residual = start, np.inf
    points, normals = source.vertices[some], source.normals[some]
    for _ in range(iterations):
        moved = similarity(points)
        found, distance, _ = target.closest(moved, normals @ similarity.R.T)
        finite = np.isfinite(distance)
        if finite.sum() < len(some) / 5:
            return similarity, np.inf
        limit = np.quantile(distance[finite], 0.85)
        kept = distance <= limit
        # a vertex without a partner counts as one at the limit
        residual = float(np.minimum(distance, limit).mean() / similarity.scale)
        similarity = Similarity(*similarity_align(points[kept], found.at(target.vertices)[kept]))
    return similarity, residual


def _fit_modes(
    template: Template, target: Surface, similarity: Similarity, weights: Points, config: RegistrationConfig
) -> tuple[Similarity, Points, float]:
    """Similarity and modes' weights by iterated closest points, and the mean distance at the end."""
    active, share = template.active, _shares(template, config)
    modes = np.ascontiguousarray(np.moveaxis(template.modes[:, active], 0, 2))  # [n, 3, M]
    distance = np.zeros(len(active))
    for step in range(config.iterations):
        along = step / max(1, config.iterations - 1)
        noise = config.noise[0] ** (1 - along) * config.noise[1] ** along
        bent = template.bent(weights)
        wanted, planes, distance = _partners(template, target, similarity(bent), similarity.R, config)
        trust = share / (1 + (distance / (2 * noise)) ** 2) ** 2  # Geman and McClure: outliers fade
        similarity = _weighted_similarity(bent[active], wanted, trust)
        moved = similarity(bent[active])
        rows = (planes @ (similarity.scale * similarity.R) @ modes).reshape(-1, len(weights))
        residual = np.einsum("nij,nj->ni", planes, wanted - moved).reshape(-1) + rows @ weights
        scaled = rows * np.repeat(trust / noise**2, 3)[:, None]
        weights = np.linalg.solve(rows.T @ scaled + np.eye(len(weights)), scaled.T @ residual)
    return similarity, weights, float((share * np.minimum(distance, config.reach)).sum() / share.sum())


def _shares(template: Template, config: RegistrationConfig) -> Points:
    """How much each compared vertex counts, [n]; in all ``config.independent``."""
    on_rim = template.on_rim
    share = np.full(len(template.active), 1.0 / max(1, (~on_rim).sum()))
    if on_rim.any():
        share *= 1 - config.rim_share
        share[on_rim] = config.rim_share / on_rim.sum()
    return share * config.independent


def _partners(
    template: Template, target: Surface, moved: Points, R: Points, config: RegistrationConfig
) -> tuple[Points, Points, Points]:
    """Partners of the compared vertices of the template moved to [V, 3]: where they should be [n, 3], in which
    directions that counts [n, 3, 3], and how far it is [n] (infinite: nowhere).

    On the surface the distance along the normal counts in full; on rims all of it does.
    """
    points, normals = moved[template.active], Surface(moved, template.faces).normals[template.active]
    found, distance, face = target.closest(points, normals)
    wanted = np.where(np.isfinite(distance)[:, None], found.at(target.vertices), points)
    n = target.face_normals[face]
    planes = _SLIDE * np.eye(3) + (1 - _SLIDE) * n[:, :, None] * n[:, None, :]
    rim = np.flatnonzero(template.on_rim)
    if len(rim):
        spot, far = target.closest_on_rim(points[rim], template.from_rim @ R.T)
        near = far < config.reach
        wanted[rim[near]], distance[rim[near]], planes[rim[near]] = spot[near], far[near], np.eye(3)
    return wanted, planes, distance


def _weighted_similarity(points: Points, wanted: Points, trust: Points) -> Similarity:
    """The similarity that brings ``points`` to ``wanted``, each counting by ``trust``."""
    kept = trust > 0
    if kept.sum() < len(points) / 5:
        raise InputError("registration", expected="a target near the template", got=f"{kept.sum()} points in common")
    return Similarity(*similarity_align(points[kept], wanted[kept], trust[kept]))


def _displace(template: Template, fitted: Points, R: Points, target: Surface, config: RegistrationConfig) -> Points:
    """What the modes cannot do: a displacement that is smooth over the template's edges."""
    count = len(fitted)
    graph = _graph(template.faces, count)
    degree = np.maximum(np.asarray(graph.sum(1)).ravel(), 1)
    laplacian = sparse.eye(count) - sparse.diags(1 / degree) @ graph
    smooth = (laplacian.T @ laplacian).tocsc()
    bent = fitted
    for stiffness in config.stiffness:
        wanted, _, distance = _partners(template, target, bent, R, config)
        trust = np.zeros(count)
        trust[template.active] = np.where(distance < config.reach, 1 / (1 + (distance / config.reach) ** 2), 0.0)
        goal = np.zeros((count, 3))
        goal[template.active] = wanted - fitted[template.active]
        # a trace of pull to the modes' fit keeps what is not compared, and parts without a partner, in place
        system = smooth * stiffness + sparse.diags(trust + 1e-4)
        bent = fitted + splu(system.tocsc()).solve(trust[:, None] * goal)
    return bent


def _graph(faces: Index, count: int) -> sparse.csr_matrix:
    """[V, V] 1 between neighbours."""
    edges = _edges(faces)
    graph = sparse.csr_matrix((np.ones(len(edges)), edges.T), (count, count))
    return ((graph + graph.T) > 0).astype(float)


def _third(faces: int) -> Index:
    """For the edges as ``_edges`` orders them, the place of the corner opposite."""
    return np.repeat([2, 0, 1], faces)


def _edges(faces: npt.NDArray[np.integer]) -> Index:
    """[3F, 2]: first all edges 0–1, then 1–2, then 2–0."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)


def _unit(vectors: Points) -> Points:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _closest_in_triangle(points: Points, corners: Points) -> Points:
    """Barycentric weights [..., 3] of the closest points of triangles [..., 3, 3] to points [..., 3]."""
    a, b, c = np.moveaxis(corners, -2, 0)
    ab, ac, ap = b - a, c - a, points - a
    d11, d12, d22 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d1, d2 = (ab * ap).sum(-1), (ac * ap).sum(-1)
    area = np.maximum(d11 * d22 - d12 * d12, 1e-12)
    v, w = (d22 * d1 - d12 * d2) / area, (d11 * d2 - d12 * d1) / area
    best = np.stack([1 - v - w, v, w], -1)
    inside = (best >= 0).all(-1)
    least = np.where(inside, -1.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = corners[..., i, :], corners[..., j, :]
        along = ((points - p) * (q - p)).sum(-1) / np.maximum(((q - p) ** 2).sum(-1), 1e-12)
        along = np.clip(along, 0, 1)
        far = ((p + along[..., None] * (q - p) - points) ** 2).sum(-1)
        weights = np.zeros_like(best)
        weights[..., i], weights[..., j] = 1 - along, along
        closer = far < least
        best = np.where(closer[..., None], weights, best)
        least = np.where(closer, far, least)
    return best
