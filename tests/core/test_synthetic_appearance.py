"""The subject's paint and light: deterministic, view-dependent where it should be, and moved by the expression."""

from __future__ import annotations

import numpy as np
import pytest

from lipflow.capture.synthetic.appearance import Appearance, bake
from lipflow.capture.synthetic.expressions import POSES, SEGMENTS, units_of
from lipflow.capture.synthetic.head import Expression, HeadRig, Neutral, Part
from lipflow.capture.synthetic.identity import make_identity
from lipflow.capture.synthetic.noise import fbm, value_noise, worley
from lipflow.capture.synthetic.shading import Mood, ShadedFrame, Shader
from lipflow.capture.synthetic.shading_kernels import shadows
from lipflow.capture.synthetic.texels import TexelMap
from lipflow.capture.synthetic.wrinkles import WRINKLES, wrinkle_weights
from lipflow.mesh import Topology

SIZE = 48


@pytest.fixture(scope="module")
def rig() -> HeadRig:
    return HeadRig.load()


@pytest.fixture(scope="module")
def neutral(rig: HeadRig) -> Neutral:
    return rig.neutral(make_identity(0))


@pytest.fixture(scope="module")
def appearance(rig: HeadRig) -> Appearance:
    return bake(rig, make_identity(0), SIZE, 0)


@pytest.fixture(scope="module")
def shader(appearance: Appearance) -> Shader:
    return Shader(appearance, directions=16)


def shade(
    shader: Shader, rig: HeadRig, neutral: Neutral, pose: str = "neutral", mood: Mood | None = None
) -> ShadedFrame:
    units = units_of(pose)
    return shader.frame(rig.pose(neutral, Expression(units)), units, mood or Mood(), np.eye(3))


def test_noise_does_not_depend_on_the_order_or_number_of_points() -> None:
    points = np.random.default_rng(0).normal(size=(70_000, 3)).astype(np.float32) * 50
    order = np.random.default_rng(1).permutation(len(points))
    for noise in (lambda p: fbm(p, 0.3, 5), lambda p: worley(p, 0.2, 5)[0], lambda p: worley(p, 0.2, 5)[1]):
        whole = noise(points)
        assert np.array_equal(whole[order], noise(points[order]))
        assert np.array_equal(whole[:10], noise(points[:10]))


def test_noise_is_bounded_smooth_and_differs_by_seed() -> None:
    points = np.random.default_rng(0).uniform(-40, 40, (5000, 3)).astype(np.float32)
    values = value_noise(points, 0.2, 3)
    assert np.abs(values).max() <= 1
    assert np.abs(value_noise(points + np.float32(1e-3), 0.2, 3) - values).max() < 5e-3
    assert np.abs(value_noise(points, 0.2, 4) - values).mean() > 0.1
    distance, chance = worley(points, 0.2, 3)
    assert np.all((distance >= 0) & (distance < np.sqrt(3)))
    assert np.all((chance >= 0) & (chance < 1))


def test_texels_lie_where_the_texture_coordinates_say() -> None:
    faces = np.array([[0, 1, 2]], np.int32)
    uv = np.array([[0.1, 0.2], [0.9, 0.3], [0.4, 0.9]], np.float32)
    texels = TexelMap.build(Topology(faces, uv, faces, 3), 32)
    row, column = np.divmod(texels.texel, 32)
    seen = texels.interpolate(uv, faces)
    np.testing.assert_allclose(seen, np.stack([(column + 0.5) / 32, 1 - (row + 0.5) / 32], 1), atol=1e-5)
    a, b = uv[1] - uv[0], uv[2] - uv[0]
    assert len(texels.texel) == pytest.approx(0.5 * abs(a[0] * b[1] - a[1] * b[0]) * 32**2, rel=0.05)


def test_borders_carry_the_nearest_texel_and_the_rest_is_zero(appearance: Appearance) -> None:
    texels = appearance.texels
    image = texels.image(np.ones(len(texels.texel), np.float32))
    assert np.array_equal(image > 0, texels.valid)
    assert len(texels.border) > 0
    labels = texels.image(np.arange(1, len(texels.texel) + 1, dtype=np.float32)).ravel()
    rows, columns = np.divmod(texels.border, SIZE)
    source = texels.texel[labels[texels.border].astype(int) - 1]
    assert np.hypot(rows - source // SIZE, columns - source % SIZE).max() <= 6


def test_every_face_has_a_texel_or_a_border_beside_it(rig: HeadRig, appearance: Appearance) -> None:
    """Bilinear lookups anywhere on an island meet painted texels only."""
    corners = rig.topology.uv[rig.topology.uv_faces].reshape(-1, 2)
    column, row = corners[:, 0] * SIZE - 0.5, (1 - corners[:, 1]) * SIZE - 0.5
    for dx in (0, 1):
        for dy in (0, 1):
            c = np.clip(np.floor(column).astype(int) + dx, 0, SIZE - 1)
            r = np.clip(np.floor(row).astype(int) + dy, 0, SIZE - 1)
            assert appearance.texels.valid[r, c].all()


def test_paint_is_the_same_again_and_another_for_another_subject(rig: HeadRig, appearance: Appearance) -> None:
    again = bake(rig, make_identity(0), SIZE, 0)
    for name in ("albedo", "slope", "specular", "roughness", "creases", "flush"):
        assert np.array_equal(getattr(again, name), getattr(appearance, name))
    other = bake(rig, make_identity(2), SIZE, 2)
    skin = rig.part[rig.topology.faces[appearance.texels.triangle, 0]] == Part.SKIN
    assert other.albedo[skin].mean() < 0.8 * appearance.albedo[skin].mean()


def test_albedo_is_physical_and_the_parts_have_their_colours(rig: HeadRig, appearance: Appearance) -> None:
    assert np.all((appearance.albedo > 0) & (appearance.albedo < 0.96))
    part = rig.part[rig.topology.faces[appearance.texels.triangle, 0]]
    colour = {p: np.median(appearance.albedo[part == p], axis=0) for p in (Part.SKIN, Part.TEETH_UPPER, Part.TONGUE)}
    assert colour[Part.TONGUE][0] > 1.8 * colour[Part.TONGUE][1]
    assert colour[Part.TEETH_UPPER].min() > 0.25
    assert np.all(np.diff(colour[Part.SKIN]) < 0)  # red over green over blue


def test_reflections_depend_on_the_view_and_diffuse_light_does_not(
    shader: Shader, rig: HeadRig, neutral: Neutral
) -> None:
    frame = shade(shader, rig, neutral)
    before = frame.diffuse.copy()
    front, side = shader.view(frame, [0, 0, 1000]), shader.view(frame, [800, 0, 600])
    assert np.array_equal(frame.diffuse, before)
    assert np.abs(front - side).max() > 0.05
    at = shader.appearance.texels.texel
    diffuse = np.minimum(shader.lighting.exposure * frame.diffuse, 0.7)
    for view in (front, side):
        assert (view.reshape(-1, 3)[at] >= diffuse - 1e-5).all()
        assert view.max() <= 1


def test_wrinkles_follow_the_expression_on_its_side(shader: Shader, rig: HeadRig, neutral: Neutral) -> None:
    rest = wrinkle_weights(units_of("neutral"), 0.2)
    raised = wrinkle_weights(units_of("brows_up"), 0.2)
    left = wrinkle_weights(units_of("smirk_left"), 0.2)
    names = list(WRINKLES)
    assert raised[names.index("forehead")] > rest[names.index("forehead")] + 0.4
    assert left[names.index("nasolabial_left")] > left[names.index("nasolabial_right")] + 0.3
    # On the same mesh, the units alone change the skin where the forehead's map is.
    vertices = rig.pose(neutral, Expression())
    plain = shader.frame(vertices, units_of("neutral"), Mood(), np.eye(3))
    lined = shader.frame(vertices, units_of("brows_up"), Mood(), np.eye(3))
    changed = np.abs(lined.diffuse - plain.diffuse).sum(1)
    crease = shader.appearance.creases[:, names.index("forehead")]
    assert changed[crease > 0.5 * crease.max()].mean() > 5 * changed[crease < 1e-3].mean()


def test_hidden_factors_change_the_picture_and_not_the_landmarks(
    shader: Shader, rig: HeadRig, neutral: Neutral
) -> None:
    plain = shade(shader, rig, neutral).diffuse
    for mood in (Mood(flush_cheeks=2), Mood(flush_brow=2), Mood(tone=2), Mood(wrinkle_gain=2)):
        assert (
            np.abs(
                shade(shader, rig, neutral, "neutral" if mood.wrinkle_gain == 0 else "smile", mood).diffuse - plain
            ).max()
            > 0.01
        )
    blushing = shade(shader, rig, neutral, mood=Mood(flush_cheeks=2)).diffuse
    cheeks = shader.appearance.flush[:, 0] > 0.6
    ratio = (blushing[cheeks] / plain[cheeks]).mean(0)
    assert ratio[0] > ratio[1] + 0.05  # redder, not only darker


def test_shade_falls_where_the_head_hides_the_lamp(shader: Shader, rig: HeadRig, neutral: Neutral) -> None:
    frame = shade(shader, rig, neutral)
    place = frame.position
    neck = (np.abs(place[:, 0]) < 40) & (place[:, 1] < -105) & (place[:, 2] > 20)
    forehead = (np.abs(place[:, 0]) < 25) & (np.abs(place[:, 1] - 65) < 12) & (frame.normal[:, 2] > 0.7)
    assert frame.sky_open[forehead].mean() > 0.9
    assert frame.lit[forehead, 0].min() > 0.9
    assert frame.lit[neck, 0].min() < 0.1  # the jaw's shadow
    inside = rig.part[rig.topology.faces[shader.appearance.texels.triangle, 0]] == Part.TONGUE
    assert frame.sky_open[inside].mean() < 0.2
    assert frame.lit[inside, 0].mean() < 0.2


def test_a_wide_penumbra_does_not_shade_a_slope_by_itself() -> None:
    """A slanting plane stays lit however wide the penumbra; behind a roof, the edge is as wide as asked."""
    n = 400
    x = np.linspace(-80, 80, n).astype(np.float32)
    slope = np.tan(np.radians(50))
    place = np.stack([x, np.zeros(n), slope * x], 1).astype(np.float32)
    normal = np.tile(np.array([-slope, 0, 1]) / np.hypot(slope, 1), (n, 1)).astype(np.float32)
    far = np.array([[-100, -100], [100, -100], [100, 100], [-100, 100]], np.float32)
    plane = np.c_[far, slope * far[:, 0]]
    roof = np.array([[0, -100, 150], [100, -100, 150], [100, 100, 150], [0, 100, 150]], np.float32)
    quads = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    lamp = np.eye(3, dtype=np.float32)[None]

    def lit(vertices: np.ndarray, faces: np.ndarray, reach: float) -> np.ndarray:
        out, reaches = np.empty((n, 1), np.float32), np.full(n, reach, np.float32)
        vertices = vertices.astype(np.float32)
        shadows(place, normal, reaches, vertices, faces, lamp, np.zeros(3, np.float32), 260.0, 448, 0.8, 2.0, out)
        return out[:, 0]

    for reach in (1.4, 9.0):
        assert lit(plane, quads, reach).min() > 0.99
        shaded = lit(np.concatenate([plane, roof]), np.concatenate([quads, quads + 4]), reach)
        edge = x[(shaded > 0.05) & (shaded < 0.95)]
        assert shaded[x < -12].min() > 0.99
        assert shaded[x > 12].max() < 0.01
        assert np.ptp(edge) == pytest.approx(1.8 * reach, abs=2.5)


@pytest.mark.parametrize("pose", ["smile", "grin"])
def test_a_smile_lifts_the_corners_of_the_mouth(rig: HeadRig, neutral: Neutral, pose: str) -> None:
    lips = rig.landmarks.index[list(rig.landmarks.groups["lips"])]
    rest, smiling = neutral.vertices[lips], rig.pose(neutral, Expression(units_of(pose)))[lips]
    for corner in (rest[:, 0].argmin(), rest[:, 0].argmax()):
        assert smiling[corner, 1] - rest[corner, 1] > 6
        assert abs(smiling[corner, 0]) - abs(rest[corner, 0]) > 4


def test_every_segment_names_poses_that_exist() -> None:
    assert len(SEGMENTS) >= 20
    assert {segment.part for segment in SEGMENTS} == {"train", "val", "test"}
    for segment in SEGMENTS:
        for pose in segment.poses:
            assert units_of(pose).max() <= 1
    for name, units in POSES.items():
        assert name == "neutral" or units_of(name).max() > 0.2, units
