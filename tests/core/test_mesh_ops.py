"""Mesh surgery: operators are affine, splits leave no cracks, cuts are clean."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lipflow.capture.synthetic.mesh_ops import (
    boundary_loops,
    edge_loops,
    offset_rings,
    ordered_loop,
    refine,
    slice_above,
    triangulate,
)
from lipflow.capture.synthetic.unwrap import magnify, superellipse, unwrap_disc

CUBE = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1, 1) for z in (-1, 1)])
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat n × n sheet of quads, counter-clockwise seen from +z."""
    y, x = np.mgrid[: n + 1, : n + 1]
    points = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float)
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    return points, np.stack([a, a + 1, a + n + 2, a + n + 1], 1)


def area(points: np.ndarray, triangles: np.ndarray) -> float:
    p = points[triangles]
    return float(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])[:, 2].sum() / 2)


def test_catmull_clark_of_a_cube() -> None:
    operator, polygons = refine(CUBE_QUADS, 8, np.ones(6, bool))
    points = operator @ CUBE
    assert len(points) == 8 + 12 + 6
    assert len(polygons) == 24
    # the textbook values: corners go to 5/9, edges to 3/4 of their midpoints
    np.testing.assert_allclose(np.abs(points[:8]), 5 / 9)
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), [[0, 0.75, 0.75]] * 12, atol=1e-12)
    np.testing.assert_allclose(operator.sum(1), 1)


def test_partial_split_leaves_no_crack() -> None:
    points, quads = grid(6)
    inside = np.zeros(len(quads), bool)
    inside[[14, 15, 20, 21]] = True
    operator, polygons = refine(quads, len(points), inside)
    fine = operator @ points
    triangles = triangulate(fine, polygons)
    edges = Counter(tuple(sorted(e)) for t in triangles.tolist() for e in zip(t, [*t[1:], t[0]]))
    assert max(edges.values()) == 2
    assert sum(n == 1 for n in edges.values()) == 24  # the sheet's own outline and nothing else
    assert area(fine, triangles) == pytest.approx(36)


@pytest.mark.parametrize("offset", [2.5, 2.9, 3.05, 3.0])
def test_cut_is_straight_and_keeps_the_area_above(offset: float) -> None:
    points, quads = grid(6)
    operator, polygons = slice_above(points, quads.tolist(), points[:, 1] + 0.1 * points[:, 0] - offset)
    cut = operator @ points
    np.testing.assert_allclose(operator.sum(1), 1)
    assert len(boundary_loops(polygons)) == 1
    used = np.unique(np.concatenate([np.asarray(p) for p in polygons]))
    assert (cut[used, 1] + 0.1 * cut[used, 0] - offset).min() > -1e-9
    assert area(cut, triangulate(cut, polygons)) == pytest.approx(36 - 6 * (offset - 0.3), abs=0.35)


def test_loops_and_rings_of_a_tube() -> None:
    around, along = 8, 6
    i, j = np.meshgrid(np.arange(along - 1), np.arange(around), indexing="ij")
    a, b = (i * around + j).ravel(), (i * around + (j + 1) % around).ravel()
    quads = np.stack([a, b, b + around, a + around], 1)
    loops = edge_loops(quads, [2 * around], around)
    assert [set(loop) for loop in loops] == [set(range(2 * around, 3 * around))]
    found = offset_rings(quads, loops[0], 3 * around, 3)
    assert {k: min(ring) // around for k, ring in found.items()} == {0: 2, 1: 3, 2: 4, 3: 5, -1: 1, -2: 0}
    assert set(ordered_loop(found[-1], quads.tolist())) == set(range(around, 2 * around))


def test_unwrapped_disc_keeps_its_sense_whatever_the_density() -> None:
    points, quads = grid(8)
    points[:, 2] = 6 * np.exp(-((points[:, 0] - 4) ** 2 + (points[:, 1] - 4) ** 2) / 3)  # a nose
    triangles = triangulate(points, quads.tolist())
    outline = np.asarray(boundary_loops(triangles.tolist())[0])
    at = superellipse(-np.arange(len(outline)) / len(outline) % 1, 4.0)
    for density in (np.ones(len(points)), 1 + points[:, 2]):
        uv = magnify(unwrap_disc(points, triangles, outline, at, density), 4.0, 0.8)
        assert uv.min() >= 0
        assert uv.max() <= 1
        p = uv[triangles]
        turn = np.cross(np.pad(p[:, 1] - p[:, 0], ((0, 0), (0, 1))), np.pad(p[:, 2] - p[:, 0], ((0, 0), (0, 1))))[:, 2]
        assert (turn > 0).all()
