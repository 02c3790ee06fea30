"""The 136 facial landmarks: vertices on the skin, without the iris, in mirrored pairs.

jaw 31 · brows 28 · nose 17 · lids 28 · lips 32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# Points on one side of the face as (x, y) in mm in the head frame of the base mesh; the surface gives z.
_BROW_UPPER = ((11, 34.5), (17, 37.5), (24, 39.5), (31, 40.5), (38, 40.5), (45, 38), (51, 35))
_BROW_LOWER = ((11, 28.5), (17, 31), (24, 33), (31, 34), (38, 34.5), (45, 32.5), (50.5, 29))
_NOSE_SIDE = ((5.5, 12), (7.5, 0), (11, -10), (16, -18), (14.5, -25), (7, -27))
_JAW = np.array(
    [[0, -85, 123], [18, -84, 115], [33, -77, 97], [44, -67, 80], [51, -58, 66], [57, -46, 62], [63, -32, 58],
     [68, -15, 50], [70, 2, 48], [71, 16, 46.0]]
)  # fmt: skip
_NOSE_RIDGE = (22.0, 10.0, -1.0, -12.0, -28.0)


def place_landmarks(
    points: Array, faces: Index, loops: dict[str, list[int]], mirror: Index, ears: Array
) -> dict[str, npt.NDArray[Any]]:
    """Arrays ``landmark_ids`` [136], ``landmark_names`` [136] and ``landmark_mirror`` [136]."""
    ids: list[int] = []
    names: list[str] = []
    taken: set[int] = set()
    front = _front_vertices(points, faces)

    def add(name: str, vertex: int) -> None:
        ids.append(vertex)
        names.append(name)
        taken.add(vertex)

    def nearest(target: Array, *, among: Index, middle: bool = False) -> int:
        candidates = among[np.abs(points[among, 0]) < 0.01] if middle else among[points[among, 0] > 0.5]
        distance = np.linalg.norm(points[candidates][:, : len(target)] - target, axis=1)
        for i in np.argsort(distance):
            if int(candidates[i]) not in taken:
                return int(candidates[i])
        raise ValueError("no free vertex for a landmark")

    def pair(name: str, vertex: int) -> None:
        add(f"{name}.left", vertex)
        add(f"{name}.right", int(mirror[vertex]))

    cheek = np.nonzero((ears < 0.2) & (points[:, 1] < 30))[0]
    for number, target in enumerate(_jaw_curve()):
        if number == 0:
            add("jaw.0", nearest(target, among=front, middle=True))
        else:
            pair(f"jaw.{number}", nearest(target, among=cheek))
    for part, curve in (("upper", _BROW_UPPER), ("lower", _BROW_LOWER)):
        for number, target2 in enumerate(curve):
            pair(f"brow.{part}.{number}", nearest(np.asarray(target2, float), among=front))
    for number, height in enumerate(_NOSE_RIDGE):
        add(f"nose.ridge.{number}", nearest(np.array([0.0, height]), among=front, middle=True))
    for number, target2 in enumerate(_NOSE_SIDE):
        pair(f"nose.side.{number}", nearest(np.asarray(target2, float), among=front))
    for number, vertex in enumerate(_spaced(points, loops["lid_left"], 14)):
        pair(f"lid.{number}", vertex)
    for part, loop, count in (("outer", loops["lips_outer"], 18), ("inner", loops["lips_margin"], 14)):
        for vertex, label in _half_ring(points, loop, count):
            if abs(points[vertex, 0]) < 0.01:
                add(f"lips.{part}.{label}", vertex)
            else:
                pair(f"lips.{part}.{label}", vertex)
    if len(set(ids)) != 136 or len(set(names)) != 136:
        raise ValueError(f"landmarks are not 136 distinct vertices: {len(ids)} placed, {len(set(ids))} distinct")
    where = {vertex: position for position, vertex in enumerate(ids)}
    return {
        "landmark_ids": np.asarray(ids, np.int32),
        "landmark_names": np.asarray(names),
        "landmark_mirror": np.asarray([where[int(mirror[i])] for i in ids], np.int32),
    }


def _front_vertices(points: Array, faces: Index) -> Index:
    """Outer skin: vertices of the face that nothing of the head covers when seen from in front."""
    normals = np.zeros_like(points)
    cross = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    for k in range(3):
        np.add.at(normals, faces[:, k], cross)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    cell = np.floor(points[:, :2] / 3).astype(int)
    keys = (cell[:, 0] + 1000) * 4000 + cell[:, 1] + 1000
    nearest_z = np.full(keys.max() + 1, -np.inf)
    np.maximum.at(nearest_z, keys, points[:, 2])
    visible = points[:, 2] > nearest_z[keys] - 4
    return np.nonzero(visible & (normals[:, 2] > 0.05))[0]


def _jaw_curve() -> list[Array]:
    """16 points from the chin along the jaw's edge and up before the ear, on the +x side, evenly spaced, mm."""
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(_JAW, axis=0), axis=1))]
    at = np.linspace(0, way[-1], 16)
    return [np.array([np.interp(w, way, _JAW[:, k]) for k in range(3)]) for w in at]


def _spaced(points: Array, loop: list[int], count: int) -> list[int]:
    """``count`` loop vertices at even arc lengths, starting at the inner corner."""
    ring = np.asarray(loop)
    ring = np.roll(ring, -int(points[ring, 0].argmin()))
    if points[ring[len(ring) // 4], 1] < points[ring[-(len(ring) // 4)], 1]:
        ring = np.r_[ring[:1], ring[:0:-1]]
    closed = points[np.r_[ring, ring[:1]]]
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))]
    chosen = [int(np.abs(way[:-1] - way[-1] * k / count).argmin()) for k in range(count)]
    if len(set(chosen)) != count:
        raise ValueError("a loop is too coarse for its landmarks")
    return [int(ring[i]) for i in chosen]


def _half_ring(points: Array, loop: list[int], count: int) -> list[tuple[int, str]]:
    """Vertices on the +x half of a mirrored loop so that both halves together give ``count``, with labels."""
    ring = np.asarray(loop)
    tops = ring[np.abs(points[ring, 0]) < 0.01]
    top, bottom = int(tops[points[tops, 1].argmax()]), int(tops[points[tops, 1].argmin()])
    start = int(np.nonzero(ring == top)[0][0])
    ring = np.roll(ring, -start)
    if points[ring[1], 0] < 0:
        ring = np.r_[ring[:1], ring[:0:-1]]
    half = ring[: int(np.nonzero(ring == bottom)[0][0]) + 1]
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points[half], axis=0), axis=1))]
    steps = count // 2
    chosen = [int(half[np.abs(way - way[-1] * k / steps).argmin()]) for k in range(steps + 1)]
    return [(vertex, str(k)) for k, vertex in enumerate(chosen)]
