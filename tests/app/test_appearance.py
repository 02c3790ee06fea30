"""The look of the head: both ways of every binding, what heat-maps show, cameras to look through, pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot
from test_head_painter import pixels

from conftest import picture_of, wait_for, wait_for_face
from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.capture import FrameId
from lipflow.checks import InputError
from lipflow_studio.capture_work import Truth
from lipflow_studio.document import CaptureFrame
from lipflow_studio.heat import Heat
from lipflow_studio.look import Look
from lipflow_studio.orbit import through
from lipflow_studio.parts.appearance import NO_POSTERIOR, NO_TRUTH, NOT_A_FRAME, Appearance
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.posterior import Posterior
from lipflow_studio.posterior_engine import PosteriorUpdate
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.head_painter import scale_colours
from lipflow_studio.views.head_view import HeadView, fill_viewpoints
from support.full_disk import full_disk

LEFT = Qt.MouseButton.LeftButton


# The part


def test_the_strip_and_the_look_follow_each_other(qtbot: QtBot, head: HeadView, appearance: Appearance) -> None:
    def checked() -> list[str]:
        return [mode for mode, button in head.modes.items() if button.isChecked()]

    assert checked() == ["textured"]
    before = picture_of(head)
    qtbot.mouseClick(head.modes["geometry"], LEFT)
    assert appearance.look.mode == "geometry"
    assert picture_of(head) != before
    qtbot.mouseClick(head.modes["geometry"], LEFT)  # the same again
    assert checked() == ["geometry"]
    appearance.set_mode("textured")
    assert checked() == ["textured"]
    qtbot.mouseClick(head.points_button, LEFT)
    assert appearance.look.points
    appearance.set_points(False)
    assert not head.points_button.isChecked()
    assert [step["command"] for step in appearance.session.recorded] == [
        "appearance.set_mode",
        "appearance.set_mode",
        "appearance.set_mode",
        "appearance.set_points",
        "appearance.set_points",
    ]


@pytest.mark.parametrize("give", [
    lambda a: a.set_mode("shiny"),
    lambda a: a.set_background("pink"),
    lambda a: a.set_light("nowhere"),
    lambda a: a.set_light([1.0, float("nan")]),
    lambda a: a.set_light([1.0]),
])  # fmt: skip
def test_what_is_unknown_is_one_line(appearance: Appearance, give: object) -> None:
    give(appearance)
    assert "expected" in appearance.session.problem.line
    assert appearance.look == Look()


def test_a_session_brings_the_look_back(qtbot: QtBot, empty_session: Session, tmp_path: Path) -> None:
    session, appearance = empty_session, empty_session.part(Appearance)
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    for give in (lambda: appearance.set_mode("normals"), lambda: appearance.set_background("grey")):
        give()
    appearance.set_light([10.0, -20.0])
    kept = appearance.look
    session.part(Files).save(str(tmp_path / "a.lipflow"))
    session.part(Files).new()
    wait_for(qtbot, lambda: not session.loading)
    appearance.set_mode("textured")
    session.open([str(tmp_path / "a.lipflow")])
    wait_for(qtbot, lambda: appearance.look == kept)
    assert session.problem is None


@pytest.mark.parametrize("kept", [{"mode": "shiny"}, {"mode": ["x"]}, {"light": "up"}, {"light": [1]}, {"other": 1}])
def test_a_damaged_look_is_refused(appearance: Appearance, kept: dict[str, object]) -> None:
    with pytest.raises(InputError):
        appearance.restore(kept)
    assert appearance.look == Look()
    appearance.restore({})


# Heat-maps


def a_truth(vertices: np.ndarray) -> Truth:
    camera = Camera.look_at((0.0, 0.0, 900.0), (0.0, 0.0, 0.0), 100.0, (8, 6))
    photo = np.zeros((3, 8, 6), np.float32)
    return Truth(FrameId("E001_Neutral", 12), vertices, photo, None, camera, "front", 1)


def put_frame(session: Session) -> None:
    """What is fitted is that truth's frame."""
    session.part(Captures).frame = FrameId("E001_Neutral", 12)
    session.edit("load", keypoints=replace(session.keypoints, frame=CaptureFrame("", "E001_Neutral", 12)))


def test_the_error_is_the_distance_to_the_truth(qtbot: QtBot, head: HeadView, appearance: Appearance) -> None:
    session, captures = appearance.session, appearance.session.part(Captures)
    appearance.set_mode("error")
    assert appearance.heat == NO_TRUTH
    vertices = session.picture.shape.vertices
    without = picture_of(head)
    put_frame(session)
    captures.truth = a_truth(vertices + np.float32([3, 0, 4]))
    captures.truth_changed.emit(captures.truth)
    assert appearance.heat.values == pytest.approx(np.full(len(vertices), 5.0), abs=1e-3)
    assert appearance.heat.note == "E001_Neutral/000012"
    assert appearance.heat.top == 5.0
    assert picture_of(head) != without
    captures.truth = a_truth(vertices[:-1])
    captures.truth_changed.emit(captures.truth)
    assert "open an avatar of the same capture" in appearance.heat
    appearance.set_mode("textured")
    assert appearance.heat is None


def test_the_error_is_not_told_of_another_observation(qtbot: QtBot, head: HeadView, tmp_path: Path) -> None:
    """Keypoints that were opened after a frame are not compared with it."""
    session = head._session
    appearance, captures = session.part(Appearance), session.part(Captures)
    put_frame(session)
    captures.truth = a_truth(session.picture.shape.vertices + 1)
    captures.truth_changed.emit(captures.truth)
    appearance.set_mode("error")
    assert isinstance(appearance.heat, Heat)
    session.move_keypoints({0: (0.4, 0.4)})
    assert isinstance(appearance.heat, Heat)  # dragged since, it is still the frame
    session.save_keypoints(str(tmp_path / "others.json"))
    session.open_keypoints(str(tmp_path / "others.json"))
    assert appearance.heat == NOT_A_FRAME


def test_the_deviation_is_the_posteriors(head: HeadView, appearance: Appearance) -> None:
    posterior = appearance.session.part(Posterior)
    appearance.set_mode("deviation")
    assert appearance.heat == NO_POSTERIOR
    values = np.linspace(0, 2, len(appearance.session.avatar_info.vertices), dtype=np.float32)
    posterior._put_update(PosteriorUpdate("sampling", 1, 1, vertex_std=values))
    assert appearance.heat.values is values
    assert appearance.heat.note == "of this face"
    posterior._put_stale(True)
    assert appearance.heat.note == "of an earlier face"


def test_the_scale_stands_in_the_corner(head: HeadView, appearance: Appearance) -> None:
    """The colour bar has the scale's first colour at its left end and the last one at its right."""
    posterior = appearance.session.part(Posterior)
    appearance.set_background("black")
    appearance.set_mode("deviation")
    values = np.ones(len(appearance.session.avatar_info.vertices), np.float32)
    posterior._put_update(PosteriorUpdate("sampling", 1, 1, vertex_std=values))
    image = picture_of(head).convertToFormat(QImage.Format.Format_RGBX8888)
    shown, table = pixels(image), scale_colours(appearance.heat.colours).astype(int)
    for colour, columns in ((table[4], slice(18, 40)), (table[250], slice(215, 250))):
        corner = shown[-120:, columns]
        assert np.abs(corner - colour).max(-1).min() < 12


# Cameras


def test_an_orbit_stands_where_a_camera_stands() -> None:
    for camera in (
        Camera.look_at((300.0, 200.0, 700.0), (10.0, -20.0, 30.0), 100.0, (80, 60)),
        Camera.look_at((0.0, -60.0, 190.0), (0.0, -35.0, 60.0), 36.0, (30, 40)),
    ):
        orbit = through(camera)
        np.testing.assert_allclose(orbit.eye, camera.centre.numpy(), atol=0.05)
        assert orbit.view == pytest.approx(camera.view.tolist(), abs=1e-4)
        points = np.random.default_rng(0).uniform(-40, 40, (20, 3))
        height, width = camera.size
        seen = camera.project(torch.from_numpy(np.float32(points)))[:, :2].numpy() + 0.5  # from the picture's corner
        np.testing.assert_allclose(orbit.projected(points, width, height), seen, atol=0.05)


def test_the_viewer_can_stand_at_the_avatars_cameras(qtbot: QtBot, hmc_session: Session, hmc_avatar: Avatar) -> None:
    wait_for_face(qtbot, hmc_session)
    texture = hmc_session.picture.texture
    hmc_session.view_from("headset left eye")
    assert hmc_session.camera.view == pytest.approx(hmc_avatar.hmc_cameras[1].view.tolist(), abs=1e-4)
    wait_for(qtbot, lambda: hmc_session.picture.texture is not texture)  # as that camera sees it
    hmc_session.view_from("front")
    assert hmc_session.camera == hmc_session.home  # the whole head again
    hmc_session.view_from("nowhere")
    assert "headset mouth" in hmc_session.problem.line


def test_the_captures_cameras_are_in_the_menu(qtbot: QtBot, session: Session, tiny_capture_dir: Path) -> None:
    captures, menu = session.part(Captures), QMenu()
    qtbot.addWidget(menu)
    captures.open(str(tiny_capture_dir))
    wait_for(qtbot, lambda: captures.info is not None)
    fill_viewpoints(menu, session)
    actions = {action.text(): action for action in menu.actions()}
    assert set(captures.info.cameras) <= set(actions)
    assert "Keypoint camera" in actions  # in words, where a capture's are called as its files have them
    assert not actions["Avatar"].isEnabled()  # a heading
    name = captures.info.frontal
    actions[name].trigger()
    assert session.camera == captures.info.viewpoints[name]
    assert session.camera.backward[2] > 0.9
    assert session.recorded[-1] == {"command": "view_from", "args": [name], "kwargs": {}}


# Pictures


@pytest.mark.parametrize("transparent", [False, True])
def test_a_picture_is_twice_the_view(
    qtbot: QtBot, head: HeadView, appearance: Appearance, tmp_path: Path, transparent: bool
) -> None:
    appearance.set_background("white")
    file = tmp_path / "new" / "head.png"
    appearance.save_picture(str(file), transparent)
    assert appearance.session.loading  # a script waits for it
    wait_for(qtbot, lambda: not appearance.busy)
    assert appearance.session.problem is None
    image = QImage(str(file))
    assert (image.width(), image.height()) == (2 * head.canvas.width(), 2 * head.canvas.height())
    corner, middle = image.pixelColor(1, 1), image.pixelColor(image.width() // 2, image.height() // 2)
    assert corner.alpha() == (0 if transparent else 255)
    assert transparent or corner.lightness() == 255
    shown = picture_of(head).pixelColor(head.canvas.width() // 2, head.canvas.height() // 2)
    assert np.abs(np.subtract(middle.getRgb(), shown.getRgb())).max() <= 6
    alphas = {image.pixelColor(x, image.height() // 2).alpha() for x in range(image.width())}
    assert len(alphas) == (1 if not transparent else len(alphas | {0, 255}))
    assert [file.name for file in file.parent.iterdir()] == ["head.png"]


def test_a_heat_maps_picture_has_its_scale(
    qtbot: QtBot, gl: None, session: Session, appearance: Appearance, tmp_path: Path
) -> None:
    """Also without a view: a script that nobody watches makes the same picture."""
    wait_for_face(qtbot, session)
    appearance.set_background("white")
    values = np.ones(len(session.avatar_info.vertices), np.float32)
    session.part(Posterior)._put_update(PosteriorUpdate("sampling", 1, 1, vertex_std=values))
    panel = QColor(current().panel)
    for mode, least, most in (("textured", 0.0, 0.01), ("deviation", 0.3, 1.0)):
        appearance.set_mode(mode)
        appearance.save_picture(str(tmp_path / f"{mode}.png"), size=[300, 240])
        wait_for(qtbot, lambda: not appearance.busy)
        image = QImage(str(tmp_path / f"{mode}.png")).convertToFormat(QImage.Format.Format_RGBX8888)
        assert (image.width(), image.height()) == (600, 480)
        card = pixels(image)[-180:-30, 40:260]
        assert least <= (np.abs(card - panel.getRgb()[:3]).max(-1) < 40).mean() <= most


def test_a_full_disk_keeps_no_half_of_a_picture(
    qtbot: QtBot, gl: None, session: Session, appearance: Appearance, tmp_path: Path
) -> None:
    wait_for_face(qtbot, session)
    with full_disk():
        appearance.save_picture(str(tmp_path / "head.png"), size=[300, 240])
        wait_for(qtbot, lambda: not appearance.busy)
    assert session.problem.line.startswith(f"{tmp_path / 'head.png'}: the file is larger than this place takes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "kwargs", "said"), [
    ("head.gif", {}, ".png or .jpg"),
    ("head.jpg", {"transparent": True}, "expected .png"),
    ("head.png", {"size": [0, 10]}, "size"),
    ("head.png", {"size": "big"}, "size"),
])  # fmt: skip
def test_a_picture_that_cannot_be_is_one_line(
    qtbot: QtBot, session: Session, appearance: Appearance, tmp_path: Path, name: str, kwargs: dict, said: str
) -> None:
    wait_for_face(qtbot, session)
    appearance.save_picture(str(tmp_path / name), **kwargs)
    assert said in session.problem.line
    assert not appearance.busy
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_one_line(
    qtbot: QtBot, gl: None, session: Session, appearance: Appearance, tmp_path: Path
) -> None:
    wait_for_face(qtbot, session)
    (tmp_path / "file").write_text("no folder")
    appearance.save_picture(str(tmp_path / "file" / "head.png"), size=[40, 40])
    wait_for(qtbot, lambda: not appearance.busy)
    assert "file" in session.problem.line
    session.dismiss_problem()
    appearance.save_picture(str(tmp_path / "head.png"), size=[40, 40])
    wait_for(qtbot, lambda: not appearance.busy)
    assert (tmp_path / "head.png").is_file()
