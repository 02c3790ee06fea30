"""Keypoints on the head: dragged there, they go the way of every other drag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QCursor, QMouseEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from conftest import wait_for, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.embedded import assets_folder
from lipflow_studio.document import AvatarInfo
from lipflow_studio.engine import describe
from lipflow_studio.head_landmarks import HeadLandmarks, PointsDrag
from lipflow_studio.orbit import Orbit, framing
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.session import Session
from lipflow_studio.views.head_view import HeadView

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
CTRL, SHIFT, PLAIN = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier(0)


def drag(head: HeadView, start: QPointF, by: QPointF, held: Qt.KeyboardModifier = PLAIN) -> None:
    canvas = head.canvas
    moves = [(QEvent.Type.MouseButtonPress, start)]
    moves += [(QEvent.Type.MouseMove, start + by * (k / 4)) for k in range(1, 5)]
    for kind, at in [*moves, (QEvent.Type.MouseButtonRelease, start + by)]:
        which = NONE if kind == QEvent.Type.MouseMove else LEFT
        buttons = NONE if kind == QEvent.Type.MouseButtonRelease else LEFT
        QApplication.sendEvent(canvas, QMouseEvent(kind, at, QPointF(canvas.mapToGlobal(at)), which, buttons, held))


def in_sight(head: HeadView) -> int:
    """A keypoint that the viewer sees and that has no other near it."""
    points = head.canvas._overlay.points(head.canvas.width(), head.canvas.height())
    apart = np.linalg.norm(points.handles[:, None] - points.handles[None], axis=-1) + 1e9 * np.eye(len(points.handles))
    apart[:, ~points.shown] = 1e9
    return int(np.where(points.shown, apart.min(1), -1).argmax())


def test_a_keypoint_follows_the_pointer_and_undo_puts_it_back(
    qtbot: QtBot, head: HeadView, session: Session, appearance: Appearance
) -> None:
    appearance.set_points(True)
    index, before, camera = in_sight(head), session.handles().copy(), session.camera
    start = head.canvas.handle(index)
    drag(head, start, QPointF(10, 14))
    assert session.camera is camera
    assert np.flatnonzero(session.keypoints.pinned).tolist() == [index]
    moved = session.keypoints.given[index] - before[index]
    assert moved[0] > 0.01
    assert moved[1] > 0.01
    assert session.undo_stack.count() == 1
    wait_for_fit(qtbot, session)
    there = head.canvas.handle(index) - start
    assert (there.x(), there.y()) == pytest.approx((10, 14), abs=1.0)  # from the front, the depth tells little
    session.undo()
    assert not session.keypoints.pinned.any()
    np.testing.assert_allclose(session.keypoints.given[index], before[index], atol=1e-5)


def test_two_drags_are_two_steps(qtbot: QtBot, head: HeadView, session: Session, appearance: Appearance) -> None:
    appearance.set_points(True)
    index = in_sight(head)
    for _ in range(2):
        drag(head, head.canvas.handle(index), QPointF(4, 0))
        wait_for_fit(qtbot, session)
    assert session.undo_stack.count() == 2
    moves = [step["kwargs"]["gesture"] for step in session.recorded if step.get("command") == "move_keypoints"]
    assert moves == ["head 0", "head 1"]  # recorded by their ends


def test_from_the_side_a_keypoint_goes_where_its_camera_sees_it(
    qtbot: QtBot, head: HeadView, session: Session, appearance: Appearance
) -> None:
    """Its camera looks from the front: a pull along its axis is nothing to it, one upwards is."""
    session.view_from("right")
    session.set_camera(azimuth=60.0)
    appearance.set_points(True)
    index = in_sight(head)
    before = session.handles()[index].copy()
    drag(head, head.canvas.handle(index), QPointF(0, -12))
    up = session.keypoints.given[index] - before
    assert up[1] < -0.01
    assert abs(up[0]) < 0.1 * abs(up[1])
    session.undo()
    drag(head, head.canvas.handle(index), QPointF(12, 0))
    aside = session.keypoints.given[index] - before
    height, width = session.avatar_info.backdrop_size
    assert aside[0] * width == pytest.approx(0.5 * -up[1] * height, rel=0.2)  # cos 60° of it
    session.pause_fit()


def test_ctrl_shows_the_keypoints_until_it_is_let_go(qtbot: QtBot, head: HeadView, session: Session) -> None:
    canvas, at = head.canvas, head.canvas.handle(in_sight(head))
    QCursor.setPos(canvas.mapToGlobal(at.toPoint()))
    wait_for(qtbot, canvas.underMouse)
    qtbot.keyPress(canvas, Qt.Key.Key_Control)
    assert canvas.shows_points
    qtbot.keyRelease(canvas, Qt.Key.Key_Control)
    assert not canvas.shows_points
    drag(head, at, QPointF(6, 0), CTRL)
    assert canvas.shows_points  # it is still held
    qtbot.keyRelease(canvas, Qt.Key.Key_Control)
    assert not canvas.shows_points
    session.pause_fit()


def test_ctrl_finds_the_nearest_one_though_none_is_shown(head: HeadView, session: Session) -> None:
    index = in_sight(head)
    near = head.canvas.handle(index) + QPointF(4, 3)
    drag(head, near, QPointF(6, 0), CTRL)
    assert session.selection == {index}
    assert session.keypoints.pinned[index]
    session.undo()
    camera = session.camera
    drag(head, near, QPointF(6, 0))
    assert session.camera != camera  # without Ctrl it orbits
    assert not session.keypoints.pinned.any()


def test_selected_ones_come_along(head: HeadView, session: Session, appearance: Appearance) -> None:
    appearance.set_points(True)
    index = in_sight(head)
    others = [(index + 1) % 136, (index + 2) % 136]
    session.select([index, *others])
    before = session.handles().copy()
    drag(head, head.canvas.handle(index), QPointF(8, 0))
    assert set(np.flatnonzero(session.keypoints.pinned)) == {index, *others}
    moved = (session.keypoints.given - before)[[index, *others]]
    assert moved[:, 0] == pytest.approx(np.full(3, moved[0, 0]), rel=0.2)  # nearer ones a little farther
    session.pause_fit()


@pytest.fixture(scope="module")
def shipped() -> AvatarInfo:
    """The mesh of an avatar that ships with the studio."""
    return describe(Avatar.load(assets_folder() / "avatars" / "lip-flow-kpt.safetensors"), "lip-flow-kpt")


def test_what_the_mesh_covers_is_not_seen(shipped: AvatarInfo) -> None:
    marks, front = HeadLandmarks(shipped), framing(shipped.vertices)
    assert marks.visible(shipped.vertices, front).sum() >= 130
    aside = replace(front, azimuth=-70.0)
    places, seen = marks.on_face(shipped.vertices), marks.visible(shipped.vertices, aside)
    assert seen[places[:, 0] > 15.0].mean() < 0.1  # mm: the far side
    assert seen[places[:, 0] < -15.0].mean() > 0.9
    assert marks.visible(shipped.vertices, replace(front, azimuth=180.0)).sum() <= 4


def test_the_nose_covers_the_corner_of_the_far_eye(shipped: AvatarInfo) -> None:
    marks, aside = HeadLandmarks(shipped), replace(framing(shipped.vertices), azimuth=-60.0)
    places = marks.on_face(shipped.vertices)
    lids = [i for i, name in enumerate(shipped.landmarks.names) if name.startswith("lid.")]
    seen = marks.visible(shipped.vertices, aside)
    for side, expected in ((1, False), (-1, True)):
        corner = min((i for i in lids if side * places[i, 0] > 0), key=lambda i: abs(places[i, 0]))
        assert seen[corner] == expected


def test_what_was_seen_is_kept_for_the_same_mesh_and_camera(info: AvatarInfo) -> None:
    marks, camera = HeadLandmarks(info), framing(info.vertices)
    first = marks.visible(info.vertices, camera)
    assert marks.visible(info.vertices, framing(info.vertices)) is first
    assert marks.visible(info.vertices, replace(camera, azimuth=90.0)).sum() < first.sum()
    assert marks.visible(info.vertices.copy(), camera) is not first


def test_a_dragged_keypoint_stays_whatever_comes_before_it(head: HeadView, session: Session) -> None:
    session.view_from("right")
    session.set_camera(azimuth=90.0)
    canvas = head.canvas
    points = canvas._overlay.points(canvas.width(), canvas.height())
    hidden = int(np.flatnonzero(~points.shown)[0])
    assert canvas._overlay.points(canvas.width(), canvas.height(), {hidden}).shown[hidden]
    assert points.at(QPointF(*points.handles[hidden]), 1.0) != hidden


def test_a_mirror_image_goes_the_other_way() -> None:
    camera = Orbit(azimuth=30.0)
    places = {3: np.array([10.0, 0.0, 50.0]), 4: np.array([-10.0, 0.0, 50.0])}
    moved = PointsDrag("", places, frozenset({4}), camera, 0.5).moved(20.0, 6.0)
    away, mirrored = moved[3] - places[3], moved[4] - places[4]
    assert np.linalg.norm(away) == pytest.approx(0.5 * np.hypot(20, 6))
    assert away @ camera.backward == pytest.approx(0.0)
    assert away[1] == pytest.approx(-3.0)
    np.testing.assert_allclose(mirrored, away * [-1, 1, 1])


def test_a_place_and_its_keypoint_belong_together(kpt_avatar: Avatar, info: AvatarInfo) -> None:
    marks = HeadLandmarks(info)
    on_face = marks.on_face(info.vertices)
    np.testing.assert_allclose(marks.keypoints(on_face), info.keypoints, atol=1e-5)
    aside = info.keypoints + np.float32([0.05, -0.02])
    placed = marks.placed(aside, info.vertices)
    np.testing.assert_allclose(marks.keypoints(placed), aside, atol=1e-5)
    depths = [
        kpt_avatar.keypoint_camera.project(torch.from_numpy(np.float32(p)))[:, 2].numpy() for p in (placed, on_face)
    ]
    np.testing.assert_allclose(depths[0], depths[1], rtol=1e-4)


def test_ctrl_and_shift_turn_the_light_of_the_geometry(head: HeadView, appearance: Appearance) -> None:
    appearance.set_mode("geometry")
    right, up = appearance.look.light
    camera = appearance.session.camera
    drag(head, QPointF(100, 100), QPointF(40, 20), CTRL | SHIFT)
    assert appearance.look.light == pytest.approx((right + 14.0, up - 7.0))
    assert appearance.session.camera is camera
    appearance.set_mode("textured")  # nothing is lit there
    drag(head, QPointF(100, 100), QPointF(40, 20), CTRL | SHIFT)
    assert appearance.look.light == pytest.approx((right + 14.0, up - 7.0))
