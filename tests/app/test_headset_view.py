"""The headset view: the ways to compare input and render, and what the cameras weigh in the prior's encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QImage
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from conftest import wait_for
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.headset_display import MODES, Display, HeadsetDisplay
from lipflow_studio.script import Player
from lipflow_studio.session import Session
from lipflow_studio.views.camera_triple import CameraTriple
from lipflow_studio.views.hmc_view import HmcView

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def part(hmc_session: Session) -> HeadsetDisplay:
    return hmc_session.part(HeadsetDisplay)


@pytest.fixture
def view(qtbot: QtBot, hmc_session: Session, headset_files: list[Path]) -> HmcView:
    """With images that are fitted to; the fit is held."""
    made = HmcView(hmc_session)
    qtbot.addWidget(made)
    made.resize(900, 170)
    made.show()
    qtbot.waitExposed(made)
    hmc_session.open_headset_images([str(file) for file in headset_files])
    wait_for(qtbot, lambda: hmc_session.fit is not None and hmc_session.fit.renders is not None)
    hmc_session.pause_fit()
    return made


@pytest.fixture
def camera(qtbot: QtBot) -> CameraTriple:
    """A camera that saw black where white is rendered."""
    made = CameraTriple("left eye")
    qtbot.addWidget(made)
    made.resize(300, 150)
    made.show_input(np.zeros((30, 40), np.float32))
    made.show_render(np.ones((30, 40), np.float32), np.full((30, 40), 0.5, np.float32))
    return made


def drawn(camera: CameraTriple, **display: object) -> QImage:
    camera.show_display(Display(**display))
    return camera.grab().toImage()


def test_a_face_that_left_the_images_is_not_shown_beside_them(view: HmcView, hmc_session: Session) -> None:
    assert all(camera.pixels(place) is not None for camera in view.cameras for place in (0, 1, 2))
    hmc_session.move_keypoints({0: (0.4, 0.4)})
    for camera in view.cameras:
        assert camera.pixels(0) is not None
        assert camera.pixels(1) is None
        assert camera.pixels(2) is None
        assert camera.note == ""
        assert not camera.fitted  # which it says
    hmc_session.undo()
    assert all(camera.fitted for camera in view.cameras)


@pytest.mark.parametrize("mode", ["side", "difference"])
def test_where_a_render_is_missing_it_says_why(camera: CameraTriple, mode: str) -> None:
    shown = drawn(camera, mode=mode)
    camera.show_fitted(False)
    assert drawn(camera, mode=mode) == shown  # there is one
    camera.show_input(np.zeros((30, 40), np.float32))
    absent = drawn(camera, mode=mode)
    camera.show_fitted(True)
    assert drawn(camera, mode=mode) != absent  # on its way


def gray(image: QImage, x: float, y: float) -> int:
    return image.pixelColor(round(x), round(y)).lightness()


class TestACamera:
    def test_side_by_side_shows_all_three(self, camera: CameraTriple) -> None:
        image = drawn(camera)
        boxes = camera._boxes(3)
        values = [gray(image, box.center().x(), box.center().y()) for box in boxes]
        assert values[0] < 10
        assert values[1] > 245
        assert values[2] > 200, "a difference of 0.5 is beyond the scale's white"

    def test_flicker_shows_one_after_the_other_in_one_place(self, camera: CameraTriple) -> None:
        before = drawn(camera, mode="flicker")
        centre = camera._boxes(1)[0].center()
        assert gray(before, centre.x(), centre.y()) < 10
        camera.flip(True)
        after = camera.grab().toImage()
        assert gray(after, centre.x(), centre.y()) > 245

    @pytest.mark.parametrize("divider", [0.25, 0.8])
    def test_split_has_the_input_left_of_the_line(self, camera: CameraTriple, divider: float) -> None:
        image = drawn(camera, mode="split", divider=divider)
        (box,) = camera._boxes(1)
        line, y = box.left() + divider * box.width(), box.top() + 8
        assert gray(image, line - 4, y) < 10
        assert gray(image, line + 4, y) > 245

    def test_difference_is_larger_than_beside_the_others(self, camera: CameraTriple) -> None:
        image = drawn(camera, mode="difference")
        (box,) = camera._boxes(1)
        assert gray(image, box.center().x(), box.center().y()) > 200
        large = box.width()
        drawn(camera)
        assert large > 1.3 * camera._boxes(3)[2].width()

    @pytest.mark.parametrize("mode", MODES)
    def test_before_there_is_a_render_every_mode_draws(self, camera: CameraTriple, mode: str) -> None:
        camera.show_input(np.full((30, 40), 0.5, np.float32))
        camera.flip(True)
        assert not drawn(camera, mode=mode).isNull()
        camera.resize(60, 30)
        assert not camera.grab().isNull()

    @pytest.mark.parametrize("width", [152, 170, 182])
    def test_a_narrow_heading_names_its_camera(self, camera: CameraTriple, width: int) -> None:
        camera.show_weight(0.4)
        fonts = QFontMetricsF(camera._small())
        name, _, error = camera._fitted(fonts, width)
        assert name == "left eye"
        assert error == "0.500"
        assert camera._fitted(fonts, 400)[2] == "mean error 0.500"

    def test_its_weight_is_drawn_and_explained(self, qtbot: QtBot, camera: CameraTriple) -> None:
        without = drawn(camera)
        camera.show_weight(0.4)
        assert camera.grab().toImage() != without
        above = QPointF(150, camera._boxes(3)[0].top() - 6)
        assert camera.explanation(above).startswith("left eye: 40.0 % of the attention")
        assert camera.explanation(QPointF(150, 80)) == ""
        camera.show()
        qtbot.waitExposed(camera)
        at = above.toPoint()
        QApplication.sendEvent(camera, QHelpEvent(QEvent.Type.ToolTip, at, camera.mapToGlobal(at)))
        wait_for(qtbot, lambda: QToolTip.text() == camera.explanation(above))
        QToolTip.hideText()


class TestTheView:
    def test_its_buttons_are_bound_both_ways(self, qtbot: QtBot, view: HmcView, part: HeadsetDisplay) -> None:
        for mode in reversed(MODES):
            view.modes[mode].click()
            assert part.display.mode == mode
            assert [name for name, button in view.modes.items() if button.isChecked()] == [mode]
        part.set_display(mode="split")
        assert view.modes["split"].isChecked()
        assert all(camera.display is part.display for camera in view.cameras)

    def test_the_line_follows_the_mouse_in_all_cameras(self, qtbot: QtBot, view: HmcView, part: HeadsetDisplay) -> None:
        camera = view.cameras[1]
        middle = camera.rect().center()
        qtbot.mousePress(camera, LEFT, pos=middle)
        assert part.display.divider == 0.5, "there is a line in the split pictures alone"
        part.set_display(mode="split")
        (box,) = camera._boxes(1)
        at = QPoint(round(box.left() + 0.25 * box.width()), middle.y())
        qtbot.mousePress(camera, LEFT, pos=at)
        assert part.display.divider == pytest.approx(0.25, abs=0.02)
        qtbot.mouseMove(camera, QPoint(camera.width() + 50, middle.y()))
        qtbot.mouseRelease(camera, LEFT, pos=at)
        assert all(other.display.divider == part.display.divider for other in view.cameras)
        before = part.display.divider
        qtbot.keyClick(camera, Qt.Key.Key_Left)
        assert part.display.divider == pytest.approx(before - 0.02)

    def test_flicker_runs_only_where_it_is_seen(self, qtbot: QtBot, view: HmcView, part: HeadsetDisplay) -> None:
        assert not view.flicker.isActive()
        assert not view.rate.isVisible()
        part.set_display(mode="flicker", rate=8.0)
        assert view.rate.isVisible()
        assert view.rate.value() == 8.0
        assert view.flicker.interval() == 62
        flips = {camera.flipped for camera in view.cameras}
        wait_for(qtbot, lambda: {camera.flipped for camera in view.cameras} == {not next(iter(flips))})
        view.hide()
        assert not view.flicker.isActive()
        view.show()
        assert view.flicker.isActive()
        view.rate.setValue(1.0)
        assert part.display.rate == 1.0
        part.set_display(mode="side")
        assert not view.flicker.isActive()
        assert not any(camera.flipped for camera in view.cameras)

    def test_flicker_stops_with_the_images(self, view: HmcView, part: HeadsetDisplay) -> None:
        part.set_display(mode="flicker")
        part.session.undo()
        assert part.session.headset is None
        assert not view.flicker.isActive()

    def test_a_view_that_opens_late_shows_what_is_there(self, qtbot: QtBot, view: HmcView) -> None:
        late = HmcView(view._session)
        qtbot.addWidget(late)
        assert [camera.note for camera in late.cameras] == [camera.note for camera in view.cameras]

    def test_weights_are_those_of_the_open_avatars_encoder(
        self, view: HmcView, hmc_avatar: Avatar, kpt_avatar: Avatar
    ) -> None:
        expected = torch.softmax(hmc_avatar.driver.attention, -1).mean(0).tolist()
        assert [camera.weight for camera in view.cameras] == pytest.approx(expected)
        assert sum(expected) == pytest.approx(1.0)
        view._session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny-kpt"))
        assert [camera.weight for camera in view.cameras] == [None] * 3


def test_keys_switch_and_switch_back(hmc_session: Session, make_window: Callable[[Session], MainWindow]) -> None:
    window, part = make_window(hmc_session), hmc_session.part(HeadsetDisplay)
    actions = window.menus.actions
    assert actions["headset_flicker"].shortcut().toString() == "H"
    for name in ("flicker", "split"):
        actions[f"headset_{name}"].trigger()
        assert part.display.mode == name
        assert actions[f"headset_{name}"].isChecked()
    actions["headset_split"].trigger()
    assert part.display.mode == "side"
    assert not actions["headset_split"].isChecked()


@pytest.mark.parametrize(
    "changes",
    [{"mode": "sound"}, {"rate": 100}, {"rate": True}, {"divider": -0.1}, {"divider": float("nan")}, {"x": 1}],
)
def test_mistakes_are_refused(part: HeadsetDisplay, changes: dict[str, object]) -> None:
    part.set_display(**changes)
    assert part.session.problem is not None
    assert part.display == Display()


def test_sessions_keep_it_and_refuse_damage(part: HeadsetDisplay) -> None:
    part.set_display(mode="split", divider=0.3)
    kept = dict(part.saved())
    part.restore({})
    assert part.display == Display()
    part.restore(kept)
    assert part.display == Display("split", 2.0, 0.3)
    for damage in ({"mode": 3}, {"divider": 2.0}, {"colour": "red"}):
        with pytest.raises(InputError):
            part.restore(damage)
    assert part.display == Display("split", 2.0, 0.3)


def test_a_drag_of_the_line_is_one_step_of_a_script(qtbot: QtBot, part: HeadsetDisplay) -> None:
    session = part.session
    part.set_display(mode="flicker")
    part.set_display(mode="split")
    for share in (0.4, 0.3, 0.2):
        part.set_display(divider=share)
    steps = list(session.recorded)
    assert [step["kwargs"] for step in steps] == [{"mode": "flicker"}, {"mode": "split"}, {"divider": 0.2}]
    part.set_display(mode="side", divider=0.5)
    player = Player(session, steps, session)
    with qtbot.waitSignal(player.finished, timeout=30_000):
        player.start()
    assert part.display == Display("split", 2.0, 0.2)
