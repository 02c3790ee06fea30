"""Each view in both directions: gestures become commands, and what the document says is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QFocusEvent, QFontMetrics, QImage, QMouseEvent, QPainter, QWheelEvent
from PySide6.QtWidgets import QApplication, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from conftest import double_click, picture_of, wait_for, wait_for_face, wait_for_fit
from lipflow.capture import FrameId
from lipflow_studio.capture_work import Figures
from lipflow_studio.demo import drop
from lipflow_studio.document import FitUpdate, Source, Status
from lipflow_studio.orbit import PRESETS
from lipflow_studio.panels.fit_panel import CHOICES, FitPanel
from lipflow_studio.parts.capture import Captures
from lipflow_studio.session import Session
from lipflow_studio.views.curve_view import CurveView
from lipflow_studio.views.head_view import HeadView
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView, head_top
from lipflow_studio.views.scalar_plot import ScalarPlot, keep_legible, new_line, number, plain_plot, settle
from lipflow_studio.widgets.banner import Banner

LEFT, RIGHT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.NoButton
SHIFT, PLAIN = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.NoModifier


def show(qtbot: QtBot, widget: QWidget, width: int = 400, height: int = 420) -> None:
    qtbot.addWidget(widget)
    widget.resize(width, height)
    widget.show()
    qtbot.waitExposed(widget)


def drag(
    widget: QWidget,
    start: QPointF,
    by: QPointF,
    button: Qt.MouseButton = LEFT,
    modifier: Qt.KeyboardModifier = PLAIN,
    steps: int = 4,
) -> None:
    def send(kind: QEvent.Type, position: QPointF, held: Qt.MouseButton) -> None:
        which = NONE if kind == QEvent.Type.MouseMove else button
        event = QMouseEvent(kind, position, QPointF(widget.mapToGlobal(position)), which, held, modifier)
        QApplication.sendEvent(widget, event)

    send(QEvent.Type.MouseButtonPress, start, button)
    for k in range(1, steps + 1):
        send(QEvent.Type.MouseMove, start + by * (k / steps), button)
    send(QEvent.Type.MouseButtonRelease, start + by, NONE)


def click(widget: QWidget, at: QPointF, modifier: Qt.KeyboardModifier = PLAIN) -> None:
    drag(widget, at, QPointF(0, 0), modifier=modifier, steps=1)


# Keypoints


@pytest.fixture
def keypoints(qtbot: QtBot, session: Session) -> KeypointView:
    view = KeypointView(session)
    show(qtbot, view)
    wait_for_face(qtbot, session)
    return view


def test_a_drag_moves_one_keypoint_as_far_as_the_pointer(keypoints: KeypointView, session: Session) -> None:
    canvas = keypoints.canvas
    start = canvas.position_of(0)
    drag(canvas, start, QPointF(12, 20))
    assert session.selection == {0}
    assert np.flatnonzero(session.keypoints.pinned).tolist() == [0]
    there = canvas.position_of(0)
    assert abs(there.x() - start.x() - 12) < 0.01
    assert abs(there.y() - start.y() - 20) < 0.01
    assert session.undo_stack.count() == 1


def test_a_selected_group_moves_together(keypoints: KeypointView, session: Session) -> None:
    canvas = keypoints.canvas
    click(canvas, canvas.position_of(10))
    click(canvas, canvas.position_of(20), SHIFT)
    assert session.selection == {10, 20}
    drag(canvas, canvas.position_of(20), QPointF(-8, 0))
    assert set(np.flatnonzero(session.keypoints.pinned)) == {10, 20}
    click(canvas, canvas.position_of(20), SHIFT)
    assert session.selection == {10}


def test_a_symmetric_drag_moves_the_mirror_image_the_other_way(
    qtbot: QtBot, session: Session, keypoints: KeypointView
) -> None:
    from dataclasses import replace

    info = session.avatar_info
    mirror = (1, 0, *range(2, len(info.landmarks.ids)))
    info = replace(info, landmarks=replace(info.landmarks, mirror=mirror))
    session.document = replace(session.document, info=info)
    session.avatar_changed.emit(info)
    session.set_symmetric(True)
    before = session.handles().copy()
    drag(keypoints.canvas, keypoints.canvas.position_of(0), QPointF(10, 6))
    moved = session.keypoints.given - before
    np.testing.assert_allclose(moved[1], moved[0] * [-1, 1], atol=1e-5)
    assert moved[0, 0] > 0


def test_a_drag_paints_what_moves_and_leaves_nothing_behind(
    qtbot: QtBot, keypoints: KeypointView, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the screen stands what a paint of the whole would show, although only the moved point's place is painted."""
    canvas, screen = keypoints.canvas, keypoints.screen()
    monkeypatch.setattr(session, "send_observation", lambda *_, **__: None)  # a new face is a reason to paint all
    for step in range(5):
        session.move_keypoints({3: (0.3 + 0.04 * step, 0.4), 8: (0.6, 0.3 + 0.05 * step)}, gesture="a drag")
        qtbot.wait(30)
    shown = screen.grabWindow(canvas.window().winId()).toImage().convertToFormat(QImage.Format.Format_RGB32)
    if shown.isNull():
        pytest.skip("the screen cannot be read")
    whole = canvas.window().grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    area = canvas.rect().translated(canvas.mapTo(canvas.window(), QPoint(0, 0)))
    assert shown.copy(area) == whole.copy(area)


def test_a_rubber_band_selects_what_it_covers(keypoints: KeypointView, session: Session) -> None:
    canvas = keypoints.canvas
    drag(canvas, QPointF(1, 1), QPointF(canvas.width() - 2, canvas.height() - 2))
    assert len(session.selection) == 136
    click(canvas, QPointF(1, 1))
    assert session.selection == frozenset()


def test_arrow_keys_nudge(qtbot: QtBot, keypoints: KeypointView, session: Session) -> None:
    session.select([4])
    x = session.handles()[4, 0]
    qtbot.keyClick(keypoints.canvas, Qt.Key.Key_Right)
    qtbot.keyClick(keypoints.canvas, Qt.Key.Key_Right, SHIFT)
    width = session.avatar_info.backdrop_size[1]
    assert (session.keypoints.given[4, 0] - x) * width == pytest.approx(6.0, abs=1e-2)


def test_hovering_names_the_keypoint(keypoints: KeypointView, session: Session) -> None:
    canvas = keypoints.canvas
    at = canvas.position_of(7)
    event = QMouseEvent(QEvent.Type.MouseMove, at, QPointF(canvas.mapToGlobal(at)), NONE, NONE, PLAIN)
    QApplication.sendEvent(canvas, event)
    assert any(name in keypoints.line.text() for name in session.avatar_info.landmarks.names)


def test_keys_step_through_the_keypoints_and_move_them(qtbot: QtBot, keypoints: KeypointView, session: Session) -> None:
    """Without a mouse: choose one, move it, pin it elsewhere, look closer."""
    canvas, key = keypoints.canvas, Qt.Key
    for pressed, expected in ((key.Key_N, 0), (key.Key_N, 1), (key.Key_B, 0), (key.Key_B, 135), (key.Key_N, 0)):
        qtbot.keyClick(canvas, pressed)
        assert session.selection == {expected}
        assert session.avatar_info.landmarks.names[expected] in keypoints.line.text()
    session.select([4, 9])
    qtbot.keyClick(canvas, key.Key_N)
    assert session.selection == {10}
    before = session.handles()[10].copy()
    qtbot.keyClick(canvas, key.Key_Up)
    width, height = canvas.width(), session.avatar_info.backdrop_size[0]
    assert session.keypoints.given[10][1] == pytest.approx(before[1] - 1 / height, abs=1e-6)
    for _ in range(8):
        qtbot.keyClick(canvas, key.Key_Plus)
    for _ in range(3):  # at that zoom not all keypoints are in sight, but the chosen one is
        qtbot.keyClick(canvas, key.Key_N)
        (index,) = session.selection
        assert canvas.rect().contains(canvas.position_of(index).toPoint())
    assert not all(canvas.rect().contains(canvas.position_of(i).toPoint()) for i in range(136))
    qtbot.keyClick(canvas, key.Key_Home)
    assert all(canvas.rect().contains(canvas.position_of(i).toPoint()) for i in range(136))
    assert canvas.width() == width


def test_the_focus_that_came_by_tab_is_seen(qtbot: QtBot, keypoints: KeypointView) -> None:
    canvas = keypoints.canvas
    plain = canvas.grab().toImage()
    for reason, seen in ((Qt.FocusReason.MouseFocusReason, False), (Qt.FocusReason.TabFocusReason, True)):
        QApplication.sendEvent(canvas, QFocusEvent(QEvent.Type.FocusIn, reason))
        assert (canvas.grab().toImage() != plain) is seen
        QApplication.sendEvent(canvas, QFocusEvent(QEvent.Type.FocusOut, reason))
        assert canvas.grab().toImage() == plain


def test_the_strips_buttons_do_what_they_say(qtbot: QtBot, keypoints: KeypointView, session: Session) -> None:
    def press(tip: str) -> QToolButton:
        button = next(b for b in keypoints.findChildren(QToolButton) if b.toolTip().startswith(tip))
        qtbot.mouseClick(button, LEFT)
        return button

    assert not press("Pin").isEnabled()
    session.select([3, 5])
    press("Pin")
    assert set(np.flatnonzero(session.keypoints.pinned)) == {3, 5}
    press("Unpin")
    assert not session.keypoints.pinned.any()
    assert press("Symmetric").isChecked()
    assert session.symmetric
    session.set_symmetric(False)
    session.move_keypoints({3: (0.5, 0.5), 7: (0.4, 0.4)})
    press("Reset")
    assert set(np.flatnonzero(session.keypoints.pinned)) == {7}
    session.select([])
    press("Reset")
    assert not session.keypoints.pinned.any()
    session.move_keypoints({0: (0.5, 0.1)})
    drawn = keypoints.canvas.grab().toImage()
    assert not press("Show the distance").isChecked()
    assert keypoints.canvas.grab().toImage() != drawn
    far = keypoints.canvas.position_of(9)
    qtbot.keyClick(keypoints.canvas, Qt.Key.Key_Plus)
    press("Frame")
    assert keypoints.canvas.position_of(9) == far


def test_the_weight_of_the_selected_pins(qtbot: QtBot, keypoints: KeypointView, session: Session) -> None:
    box = keypoints.weight
    assert not box.isEnabled()
    session.select([3, 5])
    assert box.isEnabled()
    assert box.text() == "free"
    box.setValue(25.0)
    assert session.keypoints.strength[[3, 5]].tolist() == [25.0, 25.0]
    assert session.undo_stack.undoText() == "change of the pin strength of 2 keypoints"
    session.select([5])
    session.set_strength(2.5)
    assert box.text() == "× 2.5"
    session.select([3, 5])
    assert box.text() == "≤ 25.0"  # they differ: the largest
    session.undo()
    assert box.text() == "× 25.0"
    box.setValue(0.0)
    assert not session.keypoints.pinned.any()
    assert box.text() == "free"


@pytest.mark.parametrize("size", [(330, 480), (330, 220), (600, 300)])
def test_the_whole_head_is_framed(keypoints: KeypointView, session: Session, size: tuple[int, int]) -> None:
    keypoints.resize(*size)
    canvas = keypoints.canvas
    canvas.frame()
    places = canvas._to_widget(session.avatar_info.keypoints)
    assert (places >= 0).all()
    assert (places <= [canvas.width(), canvas.height()]).all()
    top = canvas._to_widget(np.array([0.5, head_top(session.avatar_info)]))[1]
    assert 0 <= top <= places[:, 1].min()


def test_the_wheel_zooms_around_the_pointer(keypoints: KeypointView) -> None:
    canvas = keypoints.canvas
    at = canvas.position_of(0)
    turn = QWheelEvent(at, at, QPoint(), QPoint(0, 240), NONE, PLAIN, Qt.ScrollPhase.NoScrollPhase, False)
    far = canvas.position_of(50) - at
    QApplication.sendEvent(canvas, turn)
    assert (canvas.position_of(0) - at).manhattanLength() < 0.01
    assert (canvas.position_of(50) - at).manhattanLength() > far.manhattanLength()
    canvas.frame()
    assert (canvas.position_of(0) - at).manhattanLength() < 0.01


@pytest.mark.parametrize("gesture", ["wheel", "pan"])
def test_a_zoomed_picture_keeps_its_scale_and_centre_at_another_size(keypoints: KeypointView, gesture: str) -> None:
    canvas = keypoints.canvas

    def span() -> float:
        return abs(canvas.position_of(50).y() - canvas.position_of(0).y())

    def centre() -> tuple[float, float]:
        """The middle of the view in the picture, in widths of two landmarks."""
        away = QPointF(canvas.width() / 2, canvas.height() / 2) - canvas.position_of(0)
        return away.x() / span(), away.y() / span()

    if gesture == "wheel":
        at = canvas.position_of(0)
        turn = QWheelEvent(at, at, QPoint(), QPoint(0, 480), NONE, PLAIN, Qt.ScrollPhase.NoScrollPhase, False)
        QApplication.sendEvent(canvas, turn)
    else:
        drag(canvas, QPointF(50, 50), QPointF(30, -20), button=Qt.MouseButton.MiddleButton)
    scale, middle = span(), centre()
    keypoints.resize(keypoints.width() + 120, keypoints.height() + 80)
    assert span() == pytest.approx(scale, abs=1e-3)
    assert centre() == pytest.approx(middle, abs=1e-3)
    canvas.frame()
    framed = span()
    keypoints.resize(keypoints.width() - 120, keypoints.height() - 80)
    assert span() < framed  # the framed face is framed anew


def test_the_keypoint_view_draws_points_and_residuals(qtbot: QtBot, keypoints: KeypointView, session: Session) -> None:
    empty = keypoints.canvas.grab().toImage()
    session.move_keypoints({0: (0.5, 0.1)})
    with_residual = keypoints.canvas.grab().toImage()
    assert empty != with_residual
    keypoints.canvas.residuals = False
    assert keypoints.canvas.grab().toImage() != with_residual


# Fit panel


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> FitPanel:
    made = FitPanel(session)
    show(qtbot, made, 300, 480)
    return made


@pytest.mark.parametrize("field", [row[0] for row in CHOICES])
def test_choices_are_bound_both_ways(panel: FitPanel, session: Session, field: str) -> None:
    box = panel.choices[field]
    for k in range(box.count()):
        box.setCurrentIndex(k)
        box.activated.emit(k)
        assert getattr(session.fit_config, field) == box.itemData(k)
    session.undo_stack.undo()
    assert box.currentData() == getattr(session.fit_config, field)


def test_numbers_are_bound_both_ways(panel: FitPanel, session: Session) -> None:
    panel.iterations.setValue(33)
    panel.learning_rate.setValue(0.123)
    panel.prior_weight.slider.setValue(0)
    panel.hold.slider.setValue(100)
    panel.likelihood.setChecked(False)
    config = session.fit_config
    assert (config.iterations, config.learning_rate, config.prior_weight) == (33, 0.123, 0.0)
    assert (config.likelihood, session.hold) == (False, 1.0)
    calls = len(session.recorded)
    session.set_fit_config(iterations=44, learning_rate=0.2, prior_weight=10.0, likelihood=True)
    session.set_hold(0.5)
    assert panel.iterations.value() == 44
    assert panel.learning_rate.value() == pytest.approx(0.2)
    assert panel.prior_weight.value == 10.0
    assert panel.likelihood.isChecked()
    assert panel.hold.value == 0.5
    assert len(session.recorded) == calls + 2  # nothing echoed


def test_buttons_and_readings_follow_the_fit(qtbot: QtBot, panel: FitPanel, session: Session) -> None:
    wait_for_face(qtbot, session)
    assert panel.run_button.text() == "Run"
    session.move_keypoints({0: (0.5, 0.2)})
    wait_for_fit(qtbot, session)
    assert panel.run_button.text() == "Run"
    assert "converged" in panel.readings["iteration"].text()
    assert panel.readings["energy"].text() == f"{session.fit.energy:,.1f}"
    panel.step_button.click()
    assert session.status is Status.PAUSED
    assert panel.run_button.text() == "Resume"
    panel.run_button.click()
    wait_for_fit(qtbot, session)
    serial = session.fit.serial
    panel.reset_button.click()
    wait_for(qtbot, lambda: session.fit.serial > serial)


def test_headset_images_can_be_chosen_only_when_open(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    panel = FitPanel(hmc_session)
    show(qtbot, panel, 300, 480)
    item = panel.source.model().item(panel.source.findData("HEADSET"))
    assert not item.isEnabled()
    hmc_session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: hmc_session.headset is not None)
    assert item.isEnabled()
    assert panel.source.currentData() == "HEADSET"
    assert not panel.choices["optimiser"].model().item(0).isEnabled()  # images cannot be linearised
    own_prior = panel.choices["prior"].model().item(0)
    assert own_prior.isEnabled()
    panel.source.setCurrentIndex(panel.source.findData("KEYPOINTS"))
    panel.source.activated.emit(0)
    assert hmc_session.source is Source.KEYPOINTS
    assert not own_prior.isEnabled()  # keypoints do not drive it


def test_fields_that_the_fit_does_not_use_are_off_and_say_why(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    panel = FitPanel(hmc_session)
    show(qtbot, panel, 300, 480)
    edges, tip = panel.choices["edges"], next(row[2] for row in CHOICES if row[0] == "edges")
    assert hmc_session.source is Source.KEYPOINTS
    assert not edges.isEnabled()
    assert edges.toolTip() == f"{tip}\nKeypoints are fitted to without a render"
    hmc_session.set_fit_config(optimiser="lm")
    assert not panel.learning_rate.isEnabled()
    assert "Only Adam" in panel.learning_rate.toolTip()
    assert panel.hold.isEnabled()
    hmc_session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: hmc_session.headset is not None)
    assert edges.isEnabled()
    assert edges.toolTip() == tip
    assert not panel.learning_rate.isEnabled()  # L-BFGS suits images
    hmc_session.set_fit_config(optimiser="adam")
    assert panel.learning_rate.isEnabled()
    assert not panel.hold.isEnabled()
    assert "keypoints" in panel.hold.toolTip().splitlines()[1]
    hmc_session.set_source("KEYPOINTS")
    assert not edges.isEnabled()


# Head


@pytest.fixture
def head(qtbot: QtBot, gl: None, session: Session) -> HeadView:
    view = HeadView(session)
    show(qtbot, view)
    wait_for_face(qtbot, session)
    yield view
    view.canvas.close_gl()


def test_the_head_can_be_walked_around_moved_and_reset(qtbot: QtBot, head: HeadView, session: Session) -> None:
    home = session.camera
    centre = QPointF(150, 150)
    drag(head.canvas, centre, QPointF(-40, 0))
    assert session.camera.azimuth == pytest.approx(14.0)  # the near side follows the pointer
    drag(head.canvas, centre, QPointF(0, 20))
    assert session.camera.elevation == pytest.approx(7.0)
    for button, modifier in ((RIGHT, PLAIN), (LEFT, SHIFT)):
        before = session.camera.target
        drag(head.canvas, centre, QPointF(0, 30), button, modifier)
        assert session.camera.target[1] > before[1]  # the head goes down with the pointer
    turn = QWheelEvent(centre, centre, QPoint(), QPoint(0, 120), NONE, PLAIN, Qt.ScrollPhase.NoScrollPhase, False)
    QApplication.sendEvent(head.canvas, turn)
    assert session.camera.distance == pytest.approx(home.distance / 1.1)
    double_click(qtbot, head.canvas)
    assert session.camera == home


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_turn_the_camera_and_the_picture(head: HeadView, session: Session, preset: str) -> None:
    session.set_camera(azimuth=10.0, elevation=5.0)
    before = picture_of(head)
    session.view_from(preset)
    assert (session.camera.azimuth, session.camera.elevation) == PRESETS[preset]
    assert picture_of(head) != before


def test_the_texture_follows_the_camera(qtbot: QtBot, head: HeadView, session: Session) -> None:
    before = session.picture.texture
    session.view_from("left")
    wait_for(qtbot, lambda: session.picture.texture is not before)


def test_keys_turn_pan_and_zoom_the_head(qtbot: QtBot, head: HeadView, session: Session) -> None:
    canvas, key, home = head.canvas, Qt.Key, session.camera
    qtbot.keyClick(canvas, key.Key_Left)
    assert session.camera.azimuth == pytest.approx(home.azimuth + 5)  # as if the head was dragged to the left
    qtbot.keyClick(canvas, key.Key_Right)
    qtbot.keyClick(canvas, key.Key_Down)
    assert session.camera.elevation == pytest.approx(home.elevation + 5)
    qtbot.keyClick(canvas, key.Key_Up)
    assert session.camera == home
    qtbot.keyClick(canvas, key.Key_Right, SHIFT)
    panned = session.camera
    assert panned.target[0] < home.target[0]  # the head goes right
    assert (panned.azimuth, panned.distance) == (home.azimuth, home.distance)
    qtbot.keyClick(canvas, key.Key_Plus)
    assert session.camera.distance < home.distance
    qtbot.keyClick(canvas, key.Key_Minus)
    assert session.camera == panned
    qtbot.keyClick(canvas, key.Key_Q)  # not ours
    assert session.camera == panned


def test_drawing_announces_the_observation_that_is_on_the_screen(
    qtbot: QtBot, head: HeadView, session: Session
) -> None:
    seen: list[int] = []
    head.canvas.drawn.connect(seen.append)
    session.move_keypoints({0: (0.5, 0.2)})
    wait_for(qtbot, lambda: 1 in seen)


def test_the_truths_readings_stand_there_where_there_is_a_truth(panel: FitPanel, session: Session) -> None:
    captures = session.part(Captures)

    def shown() -> dict[str, str]:
        return {name: panel.readings[name].text() for name in ("psnr", "mesh") if panel.readings[name].isVisible()}

    assert shown() == {}
    for figures, expected in (
        (Figures(FrameId("E001", 1), 31.234, 1.256), {"psnr": "31.23", "mesh": "1.26"}),
        (Figures(FrameId("E001", 1), 31.5, None), {"psnr": "31.50"}),  # tracked with another mesh
        (None, {}),
    ):
        captures.figures_changed.emit(figures)
        assert shown() == expected
    assert panel.readings["energy"].isVisible()


# Headset


def test_dropped_images_are_opened_and_shown_with_render_and_error(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    view = HmcView(hmc_session)
    view.dropped.connect(hmc_session.open)
    show(qtbot, view, 900, 200)
    invitation = view.grab().toImage()
    drop(view, headset_files)
    wait_for(qtbot, lambda: hmc_session.fit is not None and hmc_session.fit.renders is not None)
    assert view.grab().toImage() != invitation
    for camera, error in zip(view.cameras, hmc_session.fit.errors):
        assert camera.note == f"mean error {error.mean():.3f}"
    hmc_session.undo_stack.undo()
    assert hmc_session.headset is None
    assert view.grab().toImage() == invitation


# Curves and banner


def test_a_low_logarithmic_axis_writes_few_numbers(qtbot: QtBot) -> None:
    plot = ScalarPlot("losses")
    qtbot.addWidget(plot)
    axis = plot.plot.getPlotItem().getAxis("left")
    decade = [float(np.log10(n)) for n in range(1, 11)]
    assert sum(bool(text) for text in axis.logTickStrings(decade, 1.0, None)) == 4


def test_curves_show_the_fits_history(qtbot: QtBot, session: Session) -> None:
    view = CurveView(session)
    show(qtbot, view, 300, 300)
    wait_for_face(qtbot, session)
    session.move_keypoints({0: (0.5, 0.2)})
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: len(view.curves()[0]) == len(session.fit.curve))
    x, energy, log_p = view.curves()
    np.testing.assert_array_equal(x, session.fit.first + np.arange(len(x)))
    np.testing.assert_allclose(energy, session.fit.curve[:, 0])
    np.testing.assert_allclose(log_p, session.fit.curve[:, 2])


def test_a_single_iteration_is_a_dot(qtbot: QtBot, session: Session) -> None:
    view = CurveView(session)
    show(qtbot, view, 300, 300)
    wait_for_face(qtbot, session)
    assert view.empty.isVisible()
    session.move_keypoints({0: (0.5, 0.2)})
    wait_for_fit(qtbot, session)
    for rows, symbol in ((1, "o"), (2, None)):
        short = replace(session.fit, curve=session.fit.curve[:rows])

        def drawn(short: FitUpdate = short, rows: int = rows) -> bool:
            session.fit_changed.emit(short)  # again and again: the fit's own last word may come between
            return len(view.curves()[0]) == rows

        wait_for(qtbot, drawn)
        assert {line.opts["symbol"] for line in view.lines} == {symbol}
        assert not view.empty.isVisible()


def test_the_banner_shows_copies_and_forgets(qtbot: QtBot, session: Session) -> None:
    banner = Banner(session)
    qtbot.addWidget(banner)
    assert not banner.isVisibleTo(None)
    session.report(ValueError("it broke"), "Traceback: here")
    assert banner.isVisibleTo(None)
    assert banner.line.text() == "ValueError: it broke"
    banner.copy_button.click()
    assert "Traceback: here" in QApplication.clipboard().text()
    banner.dismiss_button.click()
    assert not banner.isVisibleTo(None)
    assert session.problem is None


def test_views_made_before_and_after_opening_show_the_same(
    qtbot: QtBot, empty_session: Session, make_open: Callable[[], None]
) -> None:
    early = FitPanel(empty_session)
    qtbot.addWidget(early)
    assert not early.run_button.isEnabled()
    make_open()
    late = FitPanel(empty_session)
    qtbot.addWidget(late)
    assert early.run_button.isEnabled()
    assert late.run_button.isEnabled()
    assert early.iterations.value() == late.iterations.value() == empty_session.fit_config.iterations


@pytest.fixture
def make_open(empty_session: Session, kpt_avatar: object) -> Callable[[], None]:
    from lipflow_studio.engine import describe

    return lambda: empty_session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny-kpt"))


@pytest.mark.parametrize("height", [60, 100, 112, 130, 220])
@pytest.mark.parametrize("value", [-574.2, -1285.0, -12345.0, -0.7, 12.1, 20917.0, 120300.0])
def test_numbers_stand_beside_every_curve(qtbot: QtBot, session: Session, value: float, height: int) -> None:
    """A number that is too long for its place is not written."""
    view = CurveView(session)
    qtbot.addWidget(view)
    plot = view.likelihood
    plot.setParent(None)
    plot.resize(240, height)
    plot.show()
    number(plot, "left", on=True)
    line, axis = new_line(plot), plot.getPlotItem().getAxis("left")
    canvas = QImage(240, height, QImage.Format.Format_ARGB32)
    for width in (0.0, 0.003, 0.07, 0.6, 4.0, 9.0, 33.0, 800.0):
        values = np.array([value, value + width])
        line.setData([0, 1], values)
        keep_legible(plot, values)
        settle(plot)
        with QPainter(canvas) as painter:
            _, _, texts = axis.generateDrawSpecs(painter)
        assert len({text for _, _, text in texts}) >= 2, (width, texts)


def test_numbers_beside_a_low_plot_keep_their_distance(qtbot: QtBot) -> None:
    plot = plain_plot()
    qtbot.addWidget(plot)
    axis = plot.getPlotItem().getAxis("left")
    for high in (40.0, 66.0, 300.0):
        spacing, _ = axis.tickSpacing(-361.0, -274.0, high)[0]
        assert spacing / 87.0 * high >= 19
    assert axis.tickSpacing(-361.0, -274.0, 300.0)[0][0] == 20.0
    assert axis.tickSpacing(-361.0, -274.0, 40.0)[0][0] == 50.0
    assert len(axis.tickValues(-290.0, -272.0, 66.0)[0][1]) == 2  # fewer would not tell the scale
    (_, values), *_ = axis.tickValues(-361.0, -274.0, 38.0)  # of a low one, too
    assert np.diff(values)[0] / 87.0 * 38.0 >= 15
    bottom = plot.getPlotItem().getAxis("bottom")
    assert bottom.tickSpacing(0.0, 1.0, 300.0)[0][0] == 1.0  # there is no half an iteration
    assert axis.tickSpacing(-246.0, -234.0, 200.0)[0][0] == 2.0  # steps of 2.5 would be written as 2 and 3
    for wide in (90.0, 160.0, 400.0):  # nor do those below a narrow one lie over each other
        spacing, _ = bottom.tickSpacing(0.0, 1000.0, wide)[0]
        assert spacing / 1000.0 * wide > QFontMetrics(QApplication.font()).horizontalAdvance("1000")
