"""Topology, seams, landmarks and the similarity alignment."""

import json
import re

import numpy as np
import pytest
import trimesh
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lipflow.checks import InputError
from lipflow.mesh import Landmarks, Topology, similarity_align, unique_pairs, vertex_normals
from support.interpreter import longest_hold

TWO_TRIANGLES = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vt 0.5 0.5
f 1/1 2/2 3/3
f 1/5 3/3 4/4
"""


def test_obj_round_trip(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text(TWO_TRIANGLES)
    topology, vertices = Topology.from_obj(path)
    topology.save_obj(tmp_path / "again.obj", vertices)
    again, vertices_again = Topology.from_obj(tmp_path / "again.obj")
    np.testing.assert_array_equal(again.faces, topology.faces)
    np.testing.assert_array_equal(again.uv_faces, topology.uv_faces)
    np.testing.assert_allclose(vertices_again, vertices)


def test_quads_become_two_triangles(tmp_path):
    path = tmp_path / "quad.obj"
    path.write_text(TWO_TRIANGLES.split("f 1/1")[0] + "f 1/1 2/2 3/3 4/4\n")
    topology, _ = Topology.from_obj(path)
    assert topology.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_a_seam_is_split_once(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text(TWO_TRIANGLES)
    topology, _ = Topology.from_obj(path)
    split = topology.split
    assert len(split.vertex) == 5  # vertex 0 has two texture coordinates
    np.testing.assert_array_equal(split.vertex[split.faces], topology.faces)
    np.testing.assert_array_equal(split.uv[split.faces], topology.uv[topology.uv_faces])


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_each_pair_is_found_once_and_in_order(count):
    pairs = np.random.default_rng(0).integers(0, 60, (count, 2)).astype(np.int32)
    unique, inverse = unique_pairs(pairs)
    expected, which = np.unique(pairs, axis=0, return_inverse=True)
    np.testing.assert_array_equal(unique, expected)
    np.testing.assert_array_equal(inverse, which.reshape(-1))


def test_other_threads_go_on_while_pairs_are_sorted():
    """The window is one of them, and a mesh is split, and its edges found, whenever an avatar is opened."""
    pairs = np.random.default_rng(0).integers(0, 2**31 - 1, (10**6, 2)).astype(np.int32)
    assert min(longest_hold(lambda: unique_pairs(pairs)) for _ in range(3)) < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v 0 0 0\nf 1 1 1\n",
        "v 0 0\nvt 0 0\nf 1/1 1/1 1/1\n",
        "v a b c\n",
        TWO_TRIANGLES + "f 9/1 1/1 2/2\n",
        TWO_TRIANGLES + "f 99999999999/1 1/1 2/2\n",
    ],
)
def test_a_bad_obj_is_one_clear_line(tmp_path, text):
    path = tmp_path / "bad.obj"
    path.write_text(text)
    with pytest.raises(InputError, match="expected") as caught:
        Topology.from_obj(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("f 9/1 1/1 2/2\n", "expected vertices 1 to 4, got 9 in triangle 3"),
        ("f 1/1 2/2 3/7\n", "expected texture coordinates 1 to 5, got 7 in triangle 3"),
        ("f 1/1 2/2 0/3\n", "expected vertices 1 to 4, got 0 in triangle 3"),
        ("v 0 nan 1\n", "expected finite x y z, got [0.0, nan, 1.0] at vertex 5"),
        ("vt inf 0\n", "expected finite texture coordinates, got [inf, 0.0] as number 6"),
    ],
)
def test_a_bad_obj_says_where(tmp_path, added, told):
    path = tmp_path / "bad.obj"
    path.write_text(TWO_TRIANGLES + added)
    with pytest.raises(InputError, match=re.escape(told)):
        Topology.from_obj(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
@example(b"v 0 0 0\nv 1 0 0\nv 0 1\nvt 0 0\nf 1/1 2/1 3/1\n")  # a vertex of two numbers, after whole ones
def test_any_bytes_as_obj_load_or_raise_input_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("obj") / "fuzz.obj"
    path.write_bytes(TWO_TRIANGLES.encode() + data)
    try:
        topology, vertices = Topology.from_obj(path)
    except InputError:
        return
    assert topology.faces.max() < len(vertices)


def landmarks() -> Landmarks:
    return Landmarks((4, 7, 9), ("a", "b", "c"), {"lips": (0, 2), "nose": (1,)}, (2, 1, 0))


def test_landmarks_round_trip(tmp_path):
    landmarks().save(tmp_path / "landmarks.json")
    assert Landmarks.load(tmp_path / "landmarks.json", vertex_count=10) == landmarks()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 5000, "[]"], ids=["cut", "deep", "long number", "list"])
def test_landmarks_that_are_no_json_or_another_are_refused(tmp_path, text):
    (tmp_path / "landmarks.json").write_text(text)
    with pytest.raises(InputError, match=r"landmarks .*: expected"):
        Landmarks.load(tmp_path / "landmarks.json", vertex_count=10)


@pytest.mark.parametrize("field", ["ids", "names", "groups", "mirror"])
def test_landmarks_without_a_field_are_refused(tmp_path, field):
    body = landmarks().to_json()
    del body[field]
    (tmp_path / "landmarks.json").write_text(json.dumps(body))
    with pytest.raises(InputError, match="landmarks"):
        Landmarks.load(tmp_path / "landmarks.json", vertex_count=10)


def test_landmarks_of_a_larger_mesh_are_refused(tmp_path):
    landmarks().save(tmp_path / "landmarks.json")
    with pytest.raises(InputError, match="below 5"):
        Landmarks.load(tmp_path / "landmarks.json", vertex_count=5)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_infinite_ids_are_refused():
    with pytest.raises(InputError):
        Landmarks.from_json({**landmarks().to_json(), "ids": [1, 2, float("inf")]}, vertex_count=10)


@settings(max_examples=80, deadline=None)
@given(st.fixed_dictionaries({k: json_values for k in ("ids", "names", "groups", "mirror")}) | json_values)
def test_any_json_as_landmarks_loads_or_raises_input_error(body):
    try:
        marks = Landmarks.from_json(body, vertex_count=10)
    except InputError:
        return
    assert all(0 <= i < 10 for i in marks.ids)


def test_similarity_alignment_recovers_a_known_transform():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(40, 3))
    R, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    R *= np.sign(np.linalg.det(R))
    target = 1.7 * source @ R.T + np.array([3.0, -2.0, 9.0])
    scale, R_found, t = similarity_align(source, target)
    assert scale == pytest.approx(1.7)
    np.testing.assert_allclose(R_found, R, atol=1e-9)
    np.testing.assert_allclose(t, [3.0, -2.0, 9.0], atol=1e-9)


def test_similarity_alignment_counts_points_by_their_weights():
    rng = np.random.default_rng(2)
    source = rng.normal(size=(40, 3))
    target = 0.6 * source + [1.0, 2.0, 3.0]
    weights = np.repeat([2.0, 0.0], 20)
    target[20:] += rng.normal(size=(20, 3))
    scale, R, t = similarity_align(source, target, weights)
    assert scale == pytest.approx(0.6)
    np.testing.assert_allclose(R, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(t, [1.0, 2.0, 3.0], atol=1e-9)
    noisy = similarity_align(source, target)
    for found, same in zip(similarity_align(source, target, np.full(40, 0.3)), noisy):
        np.testing.assert_allclose(found, same, atol=1e-12)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_vertex_normals_point_outwards_and_count_triangles_by_their_area(precision):
    ball = trimesh.creation.icosphere(subdivisions=3, radius=70.0)
    vertices = np.vstack([ball.vertices, [[500.0, 0.0, 0.0]]]).astype(precision)  # the last one of no triangle
    normals = vertex_normals(vertices, ball.faces)
    assert normals.dtype == precision
    np.testing.assert_allclose((normals[:-1] * vertices[:-1]).sum(1), 70, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(normals[:-1], axis=1), 1, rtol=1e-6)
    assert not normals[-1].any()
    corner = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]], precision)  # areas 3/2 about z, 1/2 about x
    expected = np.array([1.0, 0.0, 3.0]) / np.sqrt(10)
    np.testing.assert_allclose(vertex_normals(corner, np.array([[0, 1, 2], [0, 2, 3]]))[0], expected, atol=1e-6)


def test_similarity_alignment_never_mirrors():
    source = np.random.default_rng(1).normal(size=(30, 3))
    _, R, _ = similarity_align(source, source * [-1, 1, 1])
    assert np.linalg.det(R) == pytest.approx(1.0)
