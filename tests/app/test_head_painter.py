"""The 3D view draws what the renderer draws, updated in place; and what each other mode of it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PySide6.QtGui import QFontMetricsF, QImage, QPainter

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.rendering import make_renderer
from lipflow_studio.document import AvatarInfo, Picture, Shape
from lipflow_studio.engine import describe
from lipflow_studio.heat import Heat
from lipflow_studio.look import BACKGROUNDS, LIGHTS, MODES, Look
from lipflow_studio.normals import VertexNormals
from lipflow_studio.orbit import Orbit, framing
from lipflow_studio.views.head_overlay import _paint_scale
from lipflow_studio.views.head_painter import HeadPainter, Part, scale_colours
from lipflow_studio.views.head_shaders import PASSES

SIZE = HEIGHT, WIDTH = (120, 100)


@pytest.fixture
def info(kpt_avatar: Avatar) -> AvatarInfo:
    return describe(kpt_avatar, "tiny")


@pytest.fixture
def painter(gl: None, info: AvatarInfo) -> Iterator[HeadPainter]:
    made = HeadPainter()
    made.set_topology(info)
    yield made
    made.close()


def a_picture(info: AvatarInfo, texture: np.ndarray) -> Picture:
    positions = np.ascontiguousarray(info.vertices[info.topology.split.vertex])
    return Picture(Shape(0, info.vertices, positions, info.keypoints), texture, None)


def smooth_texture() -> np.ndarray:
    """Different in every corner, so that a flip would show."""
    y, x = np.mgrid[0:64, 0:64] / 63
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], -1).astype(np.uint8)


def pixels(image: QImage) -> np.ndarray:
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[..., :3].astype(int)


@pytest.mark.parametrize("orbit", [Orbit(), Orbit(azimuth=40.0, elevation=-20.0)])
def test_agrees_with_the_renderer(painter: HeadPainter, info: AvatarInfo, orbit: Orbit) -> None:
    home = framing(info.vertices)
    orbit = replace(home, azimuth=orbit.azimuth, elevation=orbit.elevation)
    texture = smooth_texture()
    painter.set_picture(a_picture(info, texture))
    drawn = pixels(painter.draw(orbit, SIZE[1], SIZE[0]))
    focal = SIZE[0] / 2 / np.tan(np.radians(orbit.field_of_view) / 2)
    camera = Camera.look_at(orbit.eye.tolist(), orbit.target, float(focal), SIZE)
    linear = torch.from_numpy(texture).permute(2, 0, 1)[None].float()
    shown = make_renderer(info.topology).render(torch.from_numpy(info.vertices)[None], linear, camera)
    inside = shown.mask[0].bool().numpy()
    difference = np.abs(drawn - shown.rgb[0].permute(1, 2, 0).numpy()).max(-1)[inside]
    assert inside.mean() > 0.2
    assert np.quantile(difference, 0.95) <= 4  # silhouettes and seams may fall on the other side of a pixel


def test_a_new_picture_replaces_mesh_and_texture(painter: HeadPainter, info: AvatarInfo) -> None:
    orbit = framing(info.vertices)
    nothing = pixels(painter.draw(orbit, SIZE[1], SIZE[0]))
    assert not painter.has_face
    first = a_picture(info, smooth_texture())
    painter.set_picture(first)
    assert painter.has_face
    one = pixels(painter.draw(orbit, SIZE[1], SIZE[0]))
    painter.set_picture(replace(first, texture=np.full((64, 64, 3), 200, np.uint8)))
    plain = pixels(painter.draw(orbit, SIZE[1], SIZE[0]))
    assert (plain[SIZE[0] // 2, SIZE[1] // 2] == 200).all()
    painter.set_picture(replace(first, shape=replace(first.shape, positions=first.shape.positions * np.float32(0.5))))
    small = pixels(painter.draw(orbit, SIZE[1], SIZE[0]))
    covered = [np.abs(image - nothing).max(-1).astype(bool).sum() for image in (one, small)]
    assert covered[1] < 0.4 * covered[0]


def test_draws_at_any_size(painter: HeadPainter, info: AvatarInfo) -> None:
    painter.set_picture(a_picture(info, smooth_texture()))
    orbit = framing(info.vertices)
    for width, height in ((1, 1), (37, 91), (200, 50), (37, 91)):
        image = painter.draw(orbit, width, height)
        assert (image.width(), image.height()) == (width, height)


def test_an_orbits_view_is_the_direction_to_the_viewer() -> None:
    assert Orbit(azimuth=90.0, distance=500.0).view == pytest.approx((1.0, 0.0, 0.0), abs=1e-6)  # viewer's right = +x
    assert Orbit(elevation=80.0).view[1] > 0.9


def test_the_viewer_cannot_climb_over_the_head_or_walk_into_it() -> None:
    orbit = Orbit().orbited(400.0, 300.0)
    assert -180 <= orbit.azimuth < 180
    assert orbit.elevation == 85.0
    assert Orbit().zoomed(1e9).distance >= 100
    assert np.isfinite(Orbit().zoomed(1e-9).clip_from_head(1.0)).all()


# Modes


@pytest.fixture
def face(painter: HeadPainter, info: AvatarInfo) -> HeadPainter:
    """With a face on."""
    painter.set_picture(a_picture(info, smooth_texture()))
    return painter


def of_mode(face: HeadPainter, info: AvatarInfo, look: Look, heat: Heat | None = None, **orbit: float) -> np.ndarray:
    """[h, w, 3] of the head before black."""
    face.set_look(replace(look, background="black"))
    face.set_heat(heat)
    return pixels(face.draw(replace(framing(info.vertices), **orbit), WIDTH, HEIGHT))


def a_heat(values: np.ndarray) -> Heat:
    return Heat(values.astype(np.float32), "Something", "of a test", "CET-L18")


def test_every_mode_draws_the_same_head_differently(face: HeadPainter, info: AvatarInfo) -> None:
    heat = a_heat(np.abs(info.vertices[:, 0]))
    seen = {mode: of_mode(face, info, Look(mode=mode), heat) for mode in MODES if mode != "deviation"}
    silhouette = seen["normals"].any(-1)
    for mode, image in seen.items():
        assert image[~silhouette].any(-1).sum() < 0.04 * silhouette.sum(), mode  # edges may stick out by half a pixel
        assert image[silhouette].any(-1).mean() > 0.9, mode
    for one in seen:
        for other in seen:
            if one < other:
                assert np.abs(seen[one] - seen[other]).mean() > 3, (one, other)
    assert set(PASSES) == set(MODES)


def test_normals_are_colours_of_directions(face: HeadPainter, info: AvatarInfo) -> None:
    front = of_mode(face, info, Look(mode="normals"))
    middle = front[HEIGHT // 2, WIDTH // 2]
    assert middle[2] > 235  # towards the viewer: blue
    assert np.abs(middle[:2] - 128).max() < 35
    rows, columns = np.nonzero(front.any(-1))
    across = front[HEIGHT // 2, [columns.min() + 2, columns.max() - 2]]
    assert across[0, 0] < 90 < 165 < across[1, 0]  # red grows to the right
    assert front[rows.min() + 2, WIDTH // 2, 1] > 165  # and green upwards
    side = of_mode(face, info, Look(mode="normals"), azimuth=90.0)
    assert side[HEIGHT // 2, WIDTH // 2, 0] > 235  # directions are the head's, not the viewer's


@pytest.mark.parametrize(("light", "brighter"), [("left", slice(0, WIDTH // 2)), ("right", slice(WIDTH // 2, WIDTH))])
@pytest.mark.parametrize("azimuth", [0.0, 60.0])
def test_geometry_is_lit_from_where_the_light_is(
    face: HeadPainter, info: AvatarInfo, light: str, brighter: slice, azimuth: float
) -> None:
    shown = of_mode(face, info, Look(mode="geometry", light=LIGHTS[light][1]), azimuth=azimuth).mean(-1)
    half = shown[:, brighter].sum()
    assert half > 1.5 * (shown.sum() - half)  # whichever way the viewer stands: the light goes along


def test_hidden_edges_are_not_of_mode(face: HeadPainter, info: AvatarInfo) -> None:
    """The far side's edges would about double the drawn ones."""
    edges = of_mode(face, info, Look(mode="wireframe"))
    fill = edges[HEIGHT // 2 - 12 : HEIGHT // 2 + 12, WIDTH // 2 - 12 : WIDTH // 2 + 12].reshape(-1, 3)
    colours, counts = np.unique(fill, axis=0, return_counts=True)
    assert len(colours) == 2
    assert 0.05 < counts.min() / counts.sum() < 0.5


def test_heat_goes_along_its_scale(face: HeadPainter, info: AvatarInfo) -> None:
    high = a_heat(np.where(info.vertices[:, 0] > 0, 3.0, 0.0))
    shown = of_mode(face, info, Look(mode="error"), high)
    table = scale_colours(high.colours).astype(float)
    row, quarter = HEIGHT // 2, WIDTH // 6
    for place, colour in ((WIDTH // 2 - quarter, table[0]), (WIDTH // 2 + quarter, table[int(255 * 3 / high.top)])):
        there = shown[row, place] / np.linalg.norm(shown[row, place])
        assert there @ (colour / np.linalg.norm(colour)) > 0.999  # shaded, of the same hue


def test_without_values_a_heat_map_is_the_geometry(face: HeadPainter, info: AvatarInfo) -> None:
    np.testing.assert_array_equal(
        of_mode(face, info, Look(mode="deviation")), of_mode(face, info, Look(mode="geometry"))
    )


def test_the_surface_follows_a_new_mesh(face: HeadPainter, info: AvatarInfo) -> None:
    before = of_mode(face, info, Look(mode="normals"))
    picture = a_picture(info, smooth_texture())
    turned = info.vertices[:, [2, 1, 0]] * np.float32([-1, 1, 1])  # a quarter to the side
    shape = replace(picture.shape, vertices=turned, positions=turned[info.topology.split.vertex])
    face.set_picture(replace(picture, shape=shape))
    after = of_mode(face, info, Look(mode="normals"))
    assert after[HEIGHT // 2, WIDTH // 2] == pytest.approx(before[HEIGHT // 2, WIDTH // 2], abs=40)
    assert np.abs(after - before).max() > 60


@pytest.mark.parametrize(("background", "corner"), [("black", 0), ("grey", 128), ("white", 255)])
def test_backgrounds(face: HeadPainter, info: AvatarInfo, background: str, corner: int) -> None:
    face.set_look(Look(background=background))
    image = pixels(face.draw(framing(info.vertices), WIDTH, HEIGHT))
    assert np.abs(image[0, 0] - corner).max() <= 1
    assert background in BACKGROUNDS


def test_a_transparent_picture_is_cut_out(face: HeadPainter, info: AvatarInfo) -> None:
    image = face.draw(framing(info.vertices), WIDTH, HEIGHT, transparent=True)
    assert image.hasAlphaChannel()
    assert image.pixelColor(0, 0).alpha() == 0
    assert image.pixelColor(WIDTH // 2, HEIGHT // 2).alpha() == 255


@pytest.mark.parametrize("background", ["theme", "black"])
def test_parts_make_up_the_picture(face: HeadPainter, info: AvatarInfo, background: str) -> None:
    orbit = replace(framing(info.vertices), azimuth=20.0)
    face.set_look(Look(mode="geometry", background=background))
    whole = pixels(face.draw(orbit, WIDTH, HEIGHT))
    tops, columns = (0, 50), 37
    parts = [
        [
            face.draw(orbit, WIDTH, HEIGHT, part=Part(x, top, w, h))
            for x, w in ((0, columns), (columns, WIDTH - columns))
        ]
        for top, h in zip(tops, (50, HEIGHT - 50))
    ]
    joined = np.concatenate([np.concatenate([pixels(image) for image in row], axis=1) for row in parts])
    assert joined.shape == whole.shape
    assert (np.abs(joined - whole).max(-1) > 3).mean() < 0.002
    moved = pixels(face.draw(orbit, WIDTH, HEIGHT, part=Part(1.0, 2.0, WIDTH, HEIGHT)))
    np.testing.assert_allclose(moved[10:-2, 10:-1], whole[12:, 11:], atol=3)  # the part begins there


def test_vertex_normals_are_those_of_the_triangles(info: AvatarInfo) -> None:
    faces, vertices = info.topology.faces, info.vertices
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    expected = np.zeros((len(vertices), 3))
    for k in range(3):
        np.add.at(expected, faces[:, k], np.cross(b - a, c - a))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = VertexNormals(faces, len(vertices))(vertices)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    some = np.array([5, 2, 90])
    np.testing.assert_allclose(VertexNormals(faces, len(vertices), some)(vertices), expected[some], atol=1e-4)


def test_a_scale_ends_at_a_round_number() -> None:
    tops = [a_heat(np.linspace(0, most, 1000)).top for most in (0.0, 0.9, 1.4, 3.0, 47.0)]
    assert tops == pytest.approx([0.001, 1.0, 2.0, 5.0, 50.0])


def test_projected_points_are_where_they_are_drawn(face: HeadPainter, info: AvatarInfo) -> None:
    orbit = replace(framing(info.vertices), azimuth=20.0, elevation=-10.0)
    face.set_look(Look(background="black"))
    lit = np.argwhere(pixels(face.draw(orbit, WIDTH, HEIGHT)).any(-1))
    seen = orbit.projected(info.vertices, WIDTH, HEIGHT)
    assert seen.min(0) == pytest.approx(lit.min(0)[::-1], abs=1.5)
    assert seen.max(0) == pytest.approx(lit.max(0)[::-1] + 1, abs=1.5)


def test_the_colour_scales_card_is_as_wide_as_its_title(face: HeadPainter) -> None:
    """A title wider than the bar was cut at its end."""
    widths = []
    for title in ("Short", "Distance to the tracked mesh, and many words more"):
        image = QImage(600, 400, QImage.Format.Format_RGBA8888)
        image.fill(0)
        painter = QPainter(image)
        metrics = QFontMetricsF(painter.font())
        _paint_scale(painter, replace(a_heat(np.ones(4)), title=title), 400)
        painter.end()
        seen = np.frombuffer(image.constBits(), np.uint8).reshape(400, 600, 4)[..., 3].any(axis=0)
        widths.append(int(seen.nonzero()[0].max()) - int(seen.nonzero()[0].min()))
        assert widths[-1] > 0.8 * metrics.horizontalAdvance(title)
    assert widths[1] > widths[0]
