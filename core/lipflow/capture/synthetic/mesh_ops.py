"""Mesh surgery as linear operators: what is done to the rest shape is done to every displacement alike.

A refined vertex is a row of weights over the vertices it came from (a sparse matrix), so that face units and identity
targets stay on the small base mesh and are refined by one product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

Points = npt.NDArray[np.float64]
Polygons = list[list[int]]


def neighbours(polygons: Iterable[Sequence[int]]) -> dict[int, set[int]]:
    """Vertex -> the vertices that share an edge with it."""
    found: dict[int, set[int]] = defaultdict(set)
    for polygon in polygons:
        for a, b in zip(polygon, [*polygon[1:], polygon[0]]):
            found[int(a)].add(int(b))
            found[int(b)].add(int(a))
    return found


def edge_loops(quads: npt.NDArray[np.int64], starts: Iterable[int], length: int) -> list[list[int]]:
    """Closed loops of ``length`` edges that go straight on at every regular vertex, through any of ``starts``."""
    around = neighbours(quads.tolist())
    beside: dict[int, set[int]] = defaultdict(set)
    for f, quad in enumerate(quads.tolist()):
        for i in quad:
            beside[i].add(f)
    found: dict[frozenset[int], list[int]] = {}
    for start in starts:
        for second in around[start]:
            loop = [start, second]
            while len(loop) <= length and len(around[loop[-1]]) == 4:
                shared = beside[loop[-2]] & beside[loop[-1]]
                turned = {i for f in shared for i in quads[f].tolist()}
                onward = around[loop[-1]] - turned
                if len(onward) != 1:
                    break
                following = onward.pop()
                if following == start:
                    if len(loop) == length:
                        found.setdefault(frozenset(loop), loop)
                    break
                loop.append(following)
    return list(found.values())


def offset_rings(quads: npt.NDArray[np.int64], loop: list[int], outside: int, count: int) -> dict[int, set[int]]:
    """The loop (0) and the rings beside it: positive towards the vertex ``outside``, negative until they end.

    ``outside`` is any vertex of the ring that gets number 1; ``count`` positive rings are made.
    """
    around = neighbours(quads.tolist())
    found = {0: set(loop)}
    beside = set().union(*(around[i] for i in loop)) - found[0]
    first = {outside}
    while grown := (set().union(*(around[i] for i in first)) & beside) - first:
        first |= grown
    found[1], found[-1] = first, beside - first
    for sign, limit in ((1, count), (-1, len(quads))):
        number = sign
        while abs(number) < limit:
            ring = set().union(*(around[i] for i in found[number])) - found[number] - found[number - sign]
            if not ring:
                break
            number += sign
            found[number] = ring
    return found


def ordered_loop(members: set[int], polygons: Iterable[Sequence[int]]) -> list[int]:
    """The one closed loop through ``members`` along the edges between them."""
    around = {i: sorted(n & members) for i, n in neighbours(polygons).items() if i in members}
    loop = [min(members)]
    while onward := [n for n in around[loop[-1]] if n not in loop[-2:] and n != loop[0]]:
        loop.append(onward[0])
    if len(loop) != len(members):
        raise ValueError(f"not one loop: {len(loop)} of {len(members)} vertices reached")
    return loop


def boundary_edges(polygons: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Directed edges with a polygon on their left only."""
    edges = {(int(a), int(b)) for p in polygons for a, b in zip(p, [*p[1:], p[0]])}
    return [(a, b) for a, b in edges if (b, a) not in edges]


def boundary_loops(polygons: Iterable[Sequence[int]]) -> list[list[int]]:
    """The boundary's loops in the direction of their polygons, the longest first."""
    following = dict(boundary_edges(polygons))
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (step := following.pop(loop[-1])) != start:
            loop.append(step)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def refine(
    quads: npt.NDArray[np.int64], count: int, inside: npt.NDArray[np.bool_]
) -> tuple[sparse.csr_matrix, Polygons]:
    """Catmull-Clark positions for all vertices, and a split into four for the quads ``inside`` only.

    Quads beside split ones take their new edge vertices in as further corners, so that no crack opens.
    Returns the operator [count + new, count] and the polygons; border vertices stay where they are.
    """
    edges: dict[tuple[int, int], int] = {}
    edge_faces: list[list[int]] = []
    face_edges = np.empty_like(quads)
    for f, quad in enumerate(quads):
        for k in range(4):
            a, b = int(quad[k]), int(quad[(k + 1) % 4])
            key = (min(a, b), max(a, b))
            if key not in edges:
                edges[key] = len(edge_faces)
                edge_faces.append([])
            edge_faces[edges[key]].append(f)
            face_edges[f, k] = edges[key]
    ends = np.asarray(list(edges))
    n_faces, n_edges = len(quads), len(ends)
    border = np.asarray([len(f) == 1 for f in edge_faces])

    faces_to = _matrix(np.repeat(np.arange(n_faces), 4), quads.ravel(), 0.25, (n_faces, count))
    ends_to = _matrix(np.repeat(np.arange(n_edges), 2), ends.ravel(), 0.5, (n_edges, count))
    sides = [(e, f) for e, faces in enumerate(edge_faces) for f in faces if not border[e]]
    edge_face = _matrix([e for e, _ in sides], [f for _, f in sides], 0.5, (n_edges, n_faces))
    edge_points = sparse.diags(np.where(border, 1.0, 0.5)) @ ends_to + 0.5 * edge_face @ faces_to

    vertex_face = _matrix(quads.ravel(), np.repeat(np.arange(n_faces), 4), 1.0, (count, n_faces))
    vertex_edge = _matrix(ends.ravel(), np.repeat(np.arange(n_edges), 2), 1.0, (count, n_edges))
    valence = np.maximum(np.asarray(vertex_edge.sum(1)).ravel(), 1)
    face_valence = np.maximum(np.asarray(vertex_face.sum(1)).ravel(), 1)
    fixed = np.ones(count, bool)
    fixed[np.unique(quads)] = False
    fixed[ends[border].ravel()] = True
    smooth = (
        sparse.diags(1 / (valence * face_valence)) @ vertex_face @ faces_to
        + sparse.diags(2 / valence**2) @ vertex_edge @ ends_to
        + sparse.diags((valence - 3) / valence)
    )
    vertex_points = sparse.diags((~fixed).astype(float)) @ smooth + sparse.diags(fixed.astype(float))

    split_edges = np.unique(face_edges[inside])
    edge_id = np.full(n_edges, -1)
    edge_id[split_edges] = count + np.arange(len(split_edges))
    face_id = count + len(split_edges) + np.cumsum(inside) - 1
    operator = sparse.vstack([vertex_points, edge_points.tocsr()[split_edges], faces_to[np.nonzero(inside)[0]]])
    polygons: Polygons = []
    for f, quad in enumerate(quads.tolist()):
        middle = edge_id[face_edges[f]].tolist()
        if inside[f]:
            polygons += [[quad[k], middle[k], int(face_id[f]), middle[k - 1]] for k in range(4)]
        else:
            polygons.append([i for k in range(4) for i in (quad[k], middle[k]) if i >= 0])
    return operator.tocsr(), polygons


def slice_above(
    points: Points, polygons: Polygons, height: npt.NDArray[np.float64], *, snap: float = 0.3
) -> tuple[sparse.csr_matrix, Polygons]:
    """Cut the polygons where ``height`` [N] is zero and keep the side above it.

    Vertices near the cut move along an edge onto it instead of leaving slivers. Returns the operator
    [N + new, N] and the kept polygons.
    """
    count = len(points)
    level = height.astype(float).copy()
    rows: dict[int, tuple[int, int, float]] = {}
    best: dict[int, tuple[float, int]] = {}
    for a, around in neighbours(polygons).items():
        for b in around:
            if level[a] * level[b] < 0:
                t = level[a] / (level[a] - level[b])
                if t < snap and t < best.get(a, (2.0, 0))[0]:
                    best[a] = (float(t), b)
    for a, (t, b) in best.items():
        if b not in rows:  # two ends of one edge never both move
            rows[a] = (a, b, t)
    for a in rows:
        level[a] = 0.0
    new: dict[tuple[int, int], int] = {}
    kept: Polygons = []
    for polygon in polygons:
        out: list[int] = []
        for a, b in zip(polygon, [*polygon[1:], polygon[0]]):
            if level[a] >= 0:
                out.append(a)
            if level[a] * level[b] < 0:
                key = (min(a, b), max(a, b))
                if key not in new:
                    new[key] = count + len(new)
                    rows[new[key]] = (*key, float(level[key[0]] / (level[key[0]] - level[key[1]])))
                out.append(new[key])
        if len(out) >= 3 and max(level[i] if i < count else 0.0 for i in out) > 0:
            kept.append(out)
    total = count + len(new)
    same = np.asarray([i for i in range(count) if i not in rows])
    moved = sorted(rows)
    first, second, share = (np.asarray(x) for x in zip(*(rows[i] for i in moved)))
    operator = (
        _matrix(same, same, 1.0, (total, count))
        + _matrix(moved, first, 1 - share, (total, count))
        + _matrix(moved, second, share, (total, count))
    )
    return operator.tocsr(), kept


def triangulate(points: Points, polygons: Polygons) -> npt.NDArray[np.int64]:
    """Triangles of convex-ish polygons: quads along their shorter diagonal, larger ones ear by best-shaped ear."""
    triangles: list[list[int]] = []
    for polygon in polygons:
        rest = list(polygon)
        while len(rest) > 3:
            n = len(rest)
            quality = [_shape(points[[rest[k - 1], rest[k], rest[(k + 1) % n]]]) for k in range(n)]
            if n == 4:
                pairs = [min(quality[0], quality[2]), min(quality[1], quality[3])]
                k = 0 if pairs[0] >= pairs[1] else 1
            else:
                k = int(np.argmax(quality))
            triangles.append([rest[k - 1], rest[k], rest[(k + 1) % n]])
            del rest[k]
        triangles.append(rest)
    return np.asarray(triangles)


def _shape(triangle: Points) -> float:
    """1 for an equilateral triangle, 0 for a degenerate one."""
    a, b, c = triangle
    area = np.linalg.norm(np.cross(b - a, c - a))
    lengths = ((a - b) ** 2).sum() + ((b - c) ** 2).sum() + ((c - a) ** 2).sum()
    return float(area / max(lengths, 1e-12))


def _matrix(
    rows: npt.ArrayLike, columns: npt.ArrayLike, values: npt.ArrayLike, shape: tuple[int, int]
) -> sparse.csr_matrix:
    r = np.asarray(rows)
    return sparse.csr_matrix((np.broadcast_to(np.asarray(values, float), r.shape), (r, np.asarray(columns))), shape)
