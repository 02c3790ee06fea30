"""The 3D view draws what the renderer draws: same orientation, same texture, updated in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PySide6.QtGui import QImage

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.rendering import make_renderer
from lipflow_studio.document import AvatarInfo, Picture, Shape
from lipflow_studio.engine import describe
from lipflow_studio.orbit import Orbit, framing
from lipflow_studio.views.head_painter import HeadPainter

SIZE = (120, 100)  # height, width


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
