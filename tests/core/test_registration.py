"""Registration: a head is found on another head that shares no vertex with it."""

from __future__ import annotations

import numpy as np
import pytest

from lipflow.capture.synthetic.head import Expression, HeadRig
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.template import head_template
from lipflow.checks import InputError
from lipflow.registration import RegistrationConfig, Similarity, Surface, compressed, register


@pytest.fixture(scope="module")
def rig() -> HeadRig:
    return HeadRig.load()


def remeshed(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface under another mesh: its vertices are the old triangles' centres, its triangles fans around what
    were vertices, every third of them split at a point of its own. No old vertex is left. Open rims shrink a little.
    """
    centres = vertices[faces].mean(1)
    after: dict[int, dict[int, tuple[int, int]]] = {}  # around each vertex: corner -> (next corner, face)
    for face, corners in enumerate(faces.tolist()):
        for k in range(3):
            after.setdefault(corners[k], {})[corners[(k + 1) % 3]] = (corners[(k + 2) % 3], face)
    triangles = []
    for steps in after.values():
        start = corner = next(iter(steps))
        ring = []
        while corner in steps and len(ring) < len(steps):
            corner, face = steps[corner]
            ring.append(face)
        if corner == start and len(ring) == len(steps):
            triangles += [(ring[0], ring[i], ring[i + 1]) for i in range(1, len(ring) - 1)]
    result = np.array(triangles)
    split = result[::3]
    extra = np.arange(len(split)) + len(centres)
    a, b, c = split.T
    halves = np.concatenate([np.stack(corners, 1) for corners in ((a, b, extra), (b, c, extra), (c, a, extra))])
    kept = np.delete(result, np.s_[::3], axis=0)
    return np.concatenate([centres, centres[split].mean(1)]), np.concatenate([kept, halves])


def test_landmarks_are_found_on_another_face_of_another_mesh_size_and_place(rig: HeadRig) -> None:
    template, poses = head_template(rig, rig.neutral(make_identity(0)))
    expression = Expression.of(jawOpen=0.45, browInnerUp=0.4, mouthSmile=0.3)
    head = rig.pose(rig.neutral(make_identity(3)), expression)[rig.slices["skin"]].astype(np.float64)
    head += 1.5 * np.sin(head[:, ::-1] / 23)  # mm: what no mode of the rig does
    tilt = np.radians(11)
    turn = np.array([[np.cos(tilt), np.sin(tilt), 0], [-np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    moved = Similarity(1.13, turn, np.array([12.0, -40.0, 300.0]))(head)
    outside = np.isin(rig.skin_faces, template.active).all(1)
    target = Surface(*remeshed(moved, rig.skin_faces[outside]))
    config = RegistrationConfig(iterations=20, poses=tuple(poses[:2]))
    found = register(template, target, config)
    ids = rig.landmarks.index
    error = np.linalg.norm(found.points.at(target.vertices)[ids] - moved[ids], axis=1)
    group = {name: float(error[list(members)].mean()) for name, members in rig.landmarks.groups.items()}
    assert error.mean() < 3, group  # smooth cheeks and forehead leave jaw and brows room to slide
    assert max(group["nose"], group["lips"]) < 1.5, group
    assert group["lids"] < 3, group
    by_similarity = np.linalg.norm(found.similarity(template.mean[ids]) - moved[ids], axis=1)
    assert error.mean() < 0.5 * by_similarity.mean()


def test_closest_points_are_those_of_a_dense_search() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(20, 3))
    faces = rng.permutation(20)[:18].reshape(6, 3)
    surface = Surface(vertices, faces)
    points = rng.normal(size=(40, 3))
    spots, distance, _ = surface.closest(points)
    grid = np.array([(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]) / 60
    dense = np.concatenate([grid @ vertices[face] for face in faces])
    expected = np.linalg.norm(points[:, None] - dense, axis=-1).min(1)
    np.testing.assert_allclose(distance, np.linalg.norm(spots.at(vertices) - points, axis=1))
    assert (spots.weights >= 0).all()
    np.testing.assert_allclose(spots.weights.sum(1), 1)
    assert (distance <= expected + 1e-9).all()
    np.testing.assert_allclose(distance, expected, atol=0.05)


def test_a_surface_that_faces_away_is_no_partner() -> None:
    surface = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    above = np.array([[0.2, 0.2, 1.0]])
    assert surface.closest(above, np.array([[0.0, 0.0, 1.0]]))[1] == pytest.approx(1.0)
    assert np.isinf(surface.closest(above, np.array([[0.0, 0.0, -1.0]]))[1])


def sheet_with_a_mouth(gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sheets of unit squares, ``gap`` apart, and a strip of triangles from the one's rim to the other's; which
    faces are the strip."""
    columns, rows = 12, 5
    x, y = np.meshgrid(np.arange(columns), np.arange(2 * rows))
    y = y + (y >= rows) * (gap - 1)
    vertices = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float)
    grid = np.arange(len(vertices)).reshape(2 * rows, columns)
    a, b, c, d = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, 1:].ravel(), grid[1:, :-1].ravel()
    strip = np.repeat(np.arange(2 * rows - 1) == rows - 1, columns - 1)
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return vertices, faces, np.tile(strip, 2)


def test_fillings_of_openings_are_found() -> None:
    vertices, faces, strip = sheet_with_a_mouth(gap=6.0)
    opened = Surface(vertices, faces).without_fillings()
    np.testing.assert_array_equal(opened.faces, faces[~strip])
    shut, faces, _ = sheet_with_a_mouth(gap=1.0)
    assert len(Surface(shut, faces).without_fillings().faces) == len(faces)


def test_rims_are_told_apart_by_the_side_of_their_surface() -> None:
    vertices, faces, _ = sheet_with_a_mouth(gap=6.0)
    opened = Surface(vertices, faces).without_fillings()
    point = np.array([[5.0, 5.0, 0.0]])  # nearer to the lower rim, at y = 4, than to the upper, at y = 10
    down, up = np.array([[0.0, -1.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    spot, distance = opened.closest_on_rim(point, down)
    assert spot[0, 1] == pytest.approx(4)
    assert distance == pytest.approx(1)
    spot, distance = opened.closest_on_rim(point, up)
    assert spot[0, 1] == pytest.approx(10)
    closed = Surface(np.eye(4)[:, :3], np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]))
    assert np.isinf(closed.closest_on_rim(point, up)[1])


def test_fewer_modes_say_nearly_the_same() -> None:
    rng = np.random.default_rng(1)
    modes = rng.normal(size=(3, 8, 3))
    all_modes = np.concatenate([modes, modes[:2] * 0.5 + modes[1:]])  # five modes, three of them independent
    spread = np.array([0.5, 1.0, 2.0, 0.3, 0.7])
    fewer, convert = compressed(all_modes, spread, np.arange(8), 3)
    weights = rng.normal(size=5) * spread
    np.testing.assert_allclose(np.tensordot(convert @ weights, fewer, 1), np.tensordot(weights, all_modes, 1))


def test_a_target_unlike_a_face_is_an_input_error(rig: HeadRig) -> None:
    template, _ = head_template(rig, rig.neutral(make_identity(0)))
    wall = Surface(np.array([[-90.0, -90, 0], [90, -90, 0], [0, 90, 0]]), np.array([[0, 2, 1]]))  # seen from behind
    with pytest.raises(InputError, match="registration: expected a target near the template"):
        register(template, wall, RegistrationConfig(iterations=2))
