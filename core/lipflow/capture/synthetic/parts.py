"""The parts that the base mesh lacks or has only as helpers: eyeballs, crowns, gums, tongue and lashes.

Each part is a template: vertices in the base head's frame (mm), triangles facing outwards, texture coordinates in its
own unit square. Where a part moves, it moves by rule (rigid eye, jaw hinge, tongue spine, lid margin), not by targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

EYE_SECTORS = 20
EYE_RINGS = np.radians([7, 13, 19, 25, 31, 38, 48, 60, 75, 92, 112])
CORNEA_HEIGHT, CORNEA_ANGLE = 0.06, 0.42  # of the radius; radians

# Mesiodistal width, crown height and labiolingual depth in mm, from the midline outwards (textbook means).
_UPPER = ((8.4, 10.2, 6.0), (6.5, 9.0, 5.6), (7.5, 10.0, 7.2), (7.0, 8.4, 8.0), (6.8, 8.2, 8.0), (9.8, 7.4, 9.5))
_LOWER = ((5.3, 8.8, 5.4), (5.8, 9.0, 5.6), (6.8, 10.0, 6.8), (7.0, 8.4, 7.4), (7.0, 8.0, 7.8), (10.6, 7.4, 9.5))
_ARCH = {"upper": (28.0, 41.0), "lower": (25.6, 38.5)}  # half width and depth of the arch's ellipse, mm
# A crown's outline seen along its axis: mesial, three labial points, distal, lingual.
_OUTLINE = np.array([[-1.0, 0.2], [-0.70, 0.84], [0.0, 1.0], [0.70, 0.84], [1.0, 0.2], [0.0, -1.0]])
_LEVELS = np.array([-0.12, 0.42, 0.8, 0.97])  # from the gum (0) to the edge (1)
_WIDTHS = np.array([0.86, 0.99, 1.03, 0.98])  # crowns touch: no black between them
_BLADE = np.array([0.9, 1.0, 0.62, 0.26])  # incisors and canines taper to an edge
_MOLAR = np.array([0.88, 1.0, 0.98, 0.72])

TOOTH_COUNT, CROWN_VERTICES = 12, 25  # of one jaw
TONGUE_RINGS, TONGUE_SECTORS = 11, 12
LASH_UPPER, LASH_LOWER = 22, 18


@dataclass(frozen=True, eq=False)
class Template:
    """A part's mesh."""

    vertices: Array  # [n, 3]
    faces: Index  # [f, 3]
    uv: Array  # [n or more, 2] in the unit square
    uv_faces: Index  # [f, 3]


def eyeball() -> Template:
    """Unit directions of one eyeball, open at the back; the optical axis is +z."""
    around = 2 * np.pi * np.arange(EYE_SECTORS) / EYE_SECTORS
    directions, flat = [np.array([[0.0, 0.0, 1.0]])], [np.array([[0.5, 0.5]])]
    for polar in EYE_RINGS:
        ring = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)], 1)
        directions.append(np.c_[ring, np.full(EYE_SECTORS, np.cos(polar))])
        reach = 0.5 * (polar / EYE_RINGS[-1]) ** 0.72
        flat.append(0.5 + reach * np.stack([np.cos(around), np.sin(around)], 1))
    faces = _cap_and_tube(len(EYE_RINGS), EYE_SECTORS)
    return Template(np.concatenate(directions), faces, np.concatenate(flat), faces)


def eye_radius(directions: npt.NDArray[np.floating], axis: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Relative radius of an eyeball with its cornea at unit ``directions`` [..., 3], looking along ``axis`` [3]."""
    cosine = np.clip(directions @ axis, -1, 1)
    # (polar angle)^2 ≈ 2 (1 - cos): exact enough within the cornea, and cheap
    return 1 + CORNEA_HEIGHT * np.exp(-((2 * (1 - cosine)) ** 2) / CORNEA_ANGLE**4)


def teeth(jaw: str) -> Template:
    """Twelve crowns of one jaw. Frame: origin at the labial midline of the edges, x to the side, y up, z forward."""
    sizes = _UPPER if jaw == "upper" else _LOWER
    grow = 1.0 if jaw == "upper" else -1.0  # the direction from edge to gum
    half, depth = _ARCH[jaw]
    vertices: list[Array] = []
    uv: list[Array] = []
    faces: list[Index] = []
    for side in (1, -1):
        way = 0.0
        for number, (width, height, thick) in enumerate(sizes):
            centre, tangent = _arch_at(half, depth, way + width / 2)
            way += width
            normal = _outward(centre, tangent, depth)
            profile = _BLADE if number < 3 else _MOLAR
            crown = []
            for level, wide, deep in zip(_LEVELS, _WIDTHS, profile):
                # crowns lean: their edges stand on the arch, their necks a little behind it
                lean = -0.10 * height * (1 - level) if number < 3 else 0.0
                flat = _OUTLINE * [0.485 * width * wide, 0.5 * thick * deep]
                across, out = flat[:, 0], flat[:, 1] - 0.5 * thick * 0.8 + lean
                xz = centre + across[:, None] * tangent + out[:, None] * normal
                y = grow * height * (1 - level) + (0.4 * grow if number in (1,) else 0.0)
                crown.append(np.c_[xz[:, 0], np.full(len(xz), y), xz[:, 1]])
            tip = crown[-1].mean(0)
            tip[1] -= grow * height * (0.03 if number != 2 else 0.10)
            body = np.concatenate([[tip], *crown[::-1]])
            body[:, 0] *= side
            ring = _cap_and_tube(4, 6)
            inward = _signed_volume(body, ring) < 0
            ring = ring[:, ::-1] if inward else ring
            faces.append(ring + CROWN_VERTICES * len(vertices))
            vertices.append(body)
            row = (side < 0) + (0 if jaw == "upper" else 2)
            uv.append(_crown_uv(number, row, mirrored=not inward))
    tris = np.concatenate(faces)
    return Template(np.concatenate(vertices), tris, np.concatenate(uv), tris)


def _outward(point: Array, tangent: Array, depth: float) -> Array:
    """The arch's normal at ``point`` (x, z), away from the middle of the mouth."""
    normal = np.array([tangent[1], -tangent[0]])
    return normal if normal @ (point + np.array([0.0, depth])) > 0 else -normal


def _crown_uv(column: int, row: int, *, mirrored: bool) -> Array:
    """One crown as nested rounds in a cell of a 6 × 4 grid: its tip in the middle, its neck outside."""
    # the lingual point is one of six, but needs little room: the labial points get the larger arc
    angle = np.radians([180, 125, 90, 55, 0, 270])
    flat = [np.array([[0.0, -0.25]])]
    for reach in (0.2, 0.45, 0.72, 0.97):
        ring = reach * np.stack([np.cos(angle), np.sin(angle)], 1)
        flat.append(ring + np.array([0.0, -0.25 * (1 - reach)]))
    cell = np.concatenate(flat) * [-1 if mirrored else 1, 1]
    return (cell * 0.47 + 0.5 + [column, row]) / [6, 4]


def gums(jaw: str) -> Template:
    """A ridge under the crowns with a scalloped margin, in the frame of ``teeth``."""
    sizes = _UPPER if jaw == "upper" else _LOWER
    grow = 1.0 if jaw == "upper" else -1.0
    half, depth = _ARCH[jaw]
    ways, heights, thickness, dips = [0.0], [sizes[0][1]], [sizes[0][2]], [0.0]
    way = 0.0
    for width, height, thick in sizes:
        ways += [way + width / 2, way + width]
        heights += [height, height]
        thickness += [thick, thick]
        dips += [1.0, 0.0]
        way += width
    columns = []
    for w, height, thick, dip in zip(ways, heights, thickness, dips):
        centre, tangent = _arch_at(half, depth, w)
        normal = _outward(centre, tangent, depth)
        margin = height * (0.82 + 0.12 * dip)  # papillae reach between the crowns
        rows = [
            (-1.15 * thick, margin + 7.0),
            (-0.98 * thick, margin + 0.5),
            (-0.28 * thick if not dip else 0.10 * thick - 0.08 * height, margin),
            (0.15 * thick - 0.08 * height, margin + 2.0),
            (0.08 * thick - 0.12 * height, margin + 8.0),
        ]
        columns.append([[*(centre + out * normal), up * grow] for out, up in rows])
    one = np.asarray(columns)[..., [0, 2, 1]]
    both = np.concatenate([one[:0:-1] * [-1, 1, 1], one])
    n, m = both.shape[:2]
    vertices = both.reshape(-1, 3)
    flat = np.stack(np.meshgrid(np.arange(n) / (n - 1), np.arange(m) / (m - 1), indexing="ij"), -1).reshape(-1, 2)
    faces = _grid(n, m, close=False)
    # outwards is away from the ridge's own middle, column by column
    middle = np.repeat(both.mean(1) + np.array([0, 2.0 * grow, 0]), m, axis=0)
    outward = vertices[faces].mean(1) - middle[faces].mean(1)
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    faces = faces[:, ::-1] if (normals * outward).sum() < 0 else faces
    return Template(vertices, faces, flat, faces)


def tongue_grid() -> Template:
    """The tongue's connectivity and texture; its points come from ``tongue_surface``. The seam runs underneath."""
    vertices = tongue_surface(np.array([[0, 0, 0], [0, 4, 18], [0, 2, 38], [0, 0, 50.0]]), 20.0, 8.0)
    faces = _cap_and_tube(TONGUE_RINGS, TONGUE_SECTORS)
    # one more column of texture coordinates than of vertices; the tip is a row of its own
    columns = TONGUE_SECTORS + 1
    flat, uv_faces = [], []
    for row in range(TONGUE_RINGS + 1):
        for column in range(columns):
            flat.append([column / TONGUE_SECTORS, 1 - row / TONGUE_RINGS])
    for triangle in faces:
        sectors = [(int(i) - 1) % TONGUE_SECTORS for i in triangle if i > 0]
        wraps = max(sectors) - min(sectors) > 1
        corner = []
        for i in triangle:
            if i == 0:
                corner.append(TONGUE_SECTORS - 1 if wraps else min(sectors))
                continue
            row, sector = (int(i) - 1) // TONGUE_SECTORS + 1, (int(i) - 1) % TONGUE_SECTORS
            corner.append(row * columns + (TONGUE_SECTORS if wraps and sector == 0 else sector))
        uv_faces.append(corner)
    return Template(vertices, faces, np.asarray(flat), np.asarray(uv_faces))


def tongue_surface(spine: npt.NDArray[np.floating], width: float, thickness: float) -> Array:
    """Points [1 + rings·sectors, 3] around a cubic Bézier ``spine`` [4, 3] from root to tip; tip first, root last.

    ``width`` and ``thickness`` are half sizes in mm. Sector 0 is the underside's middle.
    """
    t = 1 - (np.arange(1, TONGUE_RINGS + 1) / TONGUE_RINGS) ** 1.3 * 1.0
    s = 1 - t
    basis = np.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3], 1)
    slope = np.stack([-3 * s**2, 3 * s**2 - 6 * s * t, 6 * s * t - 3 * t**2, 3 * t**2], 1)
    middle, along = basis @ spine, slope @ spine
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.array([1.0, 0.0, 0.0])
    up = np.cross(along, side)
    shrink = np.sqrt(np.clip(1 - t**3.2, 0, 1))
    wide = width * shrink * (0.82 + 0.18 * t)
    thick = thickness * shrink * (1.25 - 0.55 * t)
    angle = -np.pi / 2 + 2 * np.pi * np.arange(TONGUE_SECTORS) / TONGUE_SECTORS
    c, v = np.cos(angle), np.sin(angle)
    groove = -0.22 * np.exp(-((c / 0.3) ** 2)) * (v > 0)
    ring = (
        middle[:, None]
        + wide[:, None, None] * c[:, None] * side
        + thick[:, None, None] * (v + groove)[:, None] * up[:, None]
    )
    tip = spine[3] + 0.2 * (spine[3] - middle[0])
    return np.concatenate([[tip], ring.reshape(-1, 3)])


def lash_grid() -> Template:
    """One eye's lashes: an upper ribbon that splits into clumps, and separate short lower lashes. Points follow later.

    Vertex order: upper base (n + 1), upper middle (n + 1), upper tips (n), lower lashes (3 each: two feet, a tip).
    """
    n, faces, flat = LASH_UPPER, [], []
    flat += [[k / n, 0.0] for k in range(n + 1)]
    flat += [[k / n, 0.25] for k in range(n + 1)]
    flat += [[(k + 0.5) / n, 0.6] for k in range(n)]
    for k in range(n):
        a, b, c, d, tip = k, k + 1, n + 1 + k, n + 2 + k, 2 * (n + 1) + k
        faces += [[a, b, d], [a, d, c], [c, d, tip]]
    start = 3 * n + 2
    for k in range(LASH_LOWER):
        i = start + 3 * k
        faces.append([i, i + 1, i + 2])
        flat += [[k / LASH_LOWER, 1.0], [(k + 0.8) / LASH_LOWER, 1.0], [(k + 0.4) / LASH_LOWER, 0.7]]
    tris = np.asarray(faces)
    uv = np.asarray(flat)[:, ::-1]
    # counter-clockwise in the atlas, so that the check for flips covers the lashes too
    a, b, c = uv[tris[:, 0]], uv[tris[:, 1]], uv[tris[:, 2]]
    flip = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    tris[flip] = tris[flip][:, ::-1]
    return Template(np.zeros((len(uv), 3)), tris, uv, tris)


def _arch_at(half: float, depth: float, way: float) -> tuple[Array, Array]:
    """Point (x, z) and unit tangent at an arc length from the front of an ellipse's half; z is 0 at the front."""
    angle = np.linspace(0, np.pi / 2 * 1.1, 400)
    x, z = half * np.sin(angle), depth * (np.cos(angle) - 1)
    length = np.r_[0, np.cumsum(np.hypot(np.diff(x), np.diff(z)))]
    a = np.interp(way, length, angle)
    tangent = np.array([half * np.cos(a), -depth * np.sin(a)])
    return np.array([half * np.sin(a), depth * (np.cos(a) - 1)]), tangent / np.linalg.norm(tangent)


def _cap_and_tube(rings: int, sectors: int) -> Index:
    """Triangles of a pole (vertex 0) and ``rings`` rings of ``sectors`` vertices around it."""
    k = np.arange(sectors)
    following = (k + 1) % sectors
    faces = [np.stack([np.zeros_like(k), 1 + k, 1 + following], 1)]
    for ring in range(rings - 1):
        a, b = 1 + ring * sectors, 1 + (ring + 1) * sectors
        faces += [np.stack([a + k, b + k, b + following], 1), np.stack([a + k, b + following, a + following], 1)]
    return np.concatenate(faces)


def _grid(n: int, m: int, *, close: bool) -> Index:
    i, j = np.meshgrid(np.arange(n - 1 + close), np.arange(m - 1), indexing="ij")
    a = (i * m + j).ravel()
    b = ((i + 1) % n * m + j).ravel()
    return np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])


def _signed_volume(vertices: Array, faces: Index) -> float:
    local = vertices - vertices.mean(0)
    return float(np.einsum("ij,ij->", local[faces[:, 0]], np.cross(local[faces[:, 1]], local[faces[:, 2]])))
