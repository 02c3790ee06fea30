"""The latent panel: dots of both spaces under pointer and keys, its controls in both directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QBoxLayout
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, wait_for, wait_for_face
from lipflow_studio import theme
from lipflow_studio.main_window import MainWindow
from lipflow_studio.panels.latent_panel import LatentPanel
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent
from lipflow_studio.session import Session
from lipflow_studio.views.latent_scene import Dots, Spot, beside, nearest
from lipflow_studio.views.latent_view import LatentPlane
from lipflow_studio.views.latent_view_3d import LatentCloud

MakeWindow = Callable[[Session], MainWindow]
NOWHERE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> LatentPanel:
    """Shown, with everything there that comes by itself."""
    made = LatentPanel(session)
    qtbot.addWidget(made)
    made.resize(1000, 260)
    with qtbot.waitExposed(made, timeout=PATIENCE_MS):
        made.show()
    latent = session.part(Latent)
    wait_for(qtbot, lambda: latent.state is not None and latent.state.drawn is not None)
    wait_for(qtbot, lambda: latent.state.place is not None)
    wait_for_face(qtbot, session)
    yield made
    made.hide()


def points(panel: LatentPanel, space: str, layer: str) -> np.ndarray:
    return panel.panes[space].plane._items[layer].data["x"]


def solid(qtbot: QtBot, panel: LatentPanel) -> LatentCloud:
    qtbot.mouseClick(panel.solid, Qt.MouseButton.LeftButton)
    picture = panel.panes["p"].picture
    assert isinstance(picture, LatentCloud)
    qtbot.wait(20)
    return picture


def point_at(picture: LatentPlane | LatentCloud, spot: Spot) -> QPoint:
    """Move the pointer to a dot."""
    where = picture.pixel_of(spot).toPoint()
    target = picture.viewport() if isinstance(picture, LatentPlane) else picture
    QTest.mouseMove(target, where + QPoint(40, 40))
    QTest.mouseMove(target, where)
    return where


def click(picture: LatentPlane | LatentCloud, where: QPoint) -> None:
    target = picture.viewport() if isinstance(picture, LatentPlane) else picture
    QTest.mouseClick(target, Qt.MouseButton.LeftButton, NOWHERE, where)


# What is shown


def test_it_says_what_to_do_while_nothing_is_open(qtbot: QtBot, empty_session: Session) -> None:
    made = LatentPanel(empty_session)
    qtbot.addWidget(made)
    made.show()
    assert made.message.isVisible()
    assert "Open an avatar" in made.message.text()
    made.hide()


def test_dots_are_where_the_projections_have_them(panel: LatentPanel, session: Session) -> None:
    state = session.part(Latent).state
    for space in ("p", "q"):
        np.testing.assert_allclose(points(panel, space, "stored"), getattr(state.stored, space)[:, 0])
        np.testing.assert_allclose(points(panel, space, "drawn"), getattr(state.drawn.places, space)[:, 0])
    assert panel.colours.segment.count() == 4
    assert "5 training frames of 3 segments" in panel.colours.hint.text()


def test_it_looks_only_while_it_is_shown(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    panel.hide()
    before = session.part(Latent).state.place
    session.show_code(np.full(16, 0.2).tolist())
    qtbot.wait(250)
    assert session.part(Latent).state.place is before
    panel.show()
    wait_for(qtbot, lambda: np.allclose(session.part(Latent).state.place.z, 0.2))
    x = panel.panes["q"].plane._place.data["x"]
    np.testing.assert_allclose(x, session.part(Latent).state.place.q[:, 0])


def test_segments_and_inputs_colour_the_training_frames(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    kinds = lambda: panel.panes["p"]._dots["stored"].kinds.tolist()  # noqa: E731
    latent = session.part(Latent)
    assert kinds() == [0, 0, 1, 1, 2]
    panel.colours.segment.setCurrentIndex(2)
    panel.colours.segment.activated.emit(2)
    assert latent.options.segment == "b"
    assert kinds() == [-1, -1, 1, 1, -1]
    latent.set_options(segment="", colour="input")
    assert panel.colours.colour.currentData() == "input"
    assert not panel.colours.segment.isEnabled()
    assert kinds() == [-1] * 5
    latent.set_options(frames=2)
    wait_for(qtbot, lambda: len(latent.state.drawn.names) == 2)
    assert kinds() == [0, -1, -1, -1, 1]


def test_a_narrow_panel_stacks_its_parts(qtbot: QtBot, panel: LatentPanel) -> None:
    assert panel._row.direction() == QBoxLayout.Direction.LeftToRight
    panel.resize(360, 800)
    qtbot.wait(20)
    assert panel._row.direction() == QBoxLayout.Direction.TopToBottom
    assert panel._spaces.direction() == QBoxLayout.Direction.TopToBottom


def test_both_themes_dress_it(qtbot: QtBot, panel: LatentPanel, qapp: object) -> None:
    for look in (theme.LIGHT, theme.DARK):
        theme.apply(qapp, look)
        brush = panel.panes["p"].plane._items["stored"].points()[0].brush().color().name()
        assert brush == look.kinds[0]


# Pointer and keys


@pytest.mark.parametrize("dimensions", [2, 3])
def test_pointing_shows_the_face_and_a_click_loads_it(
    qtbot: QtBot, panel: LatentPanel, session: Session, dimensions: int
) -> None:
    picture = panel.panes["p"].plane if dimensions == 2 else solid(qtbot, panel)
    picture.show_dots("drawn", None)  # of a tiny avatar they lie in front of everything
    spot, where = Spot("stored", 4), QPoint()

    def is_named() -> bool:  # by a pointer that is still there: dots that come later may move all
        nonlocal where
        where = point_at(picture, spot)
        return panel.card.isVisible()

    wait_for(qtbot, is_named)
    assert panel.card.caption.text() == "c, code 4"
    assert panel.panes["q"].picture._spot == spot  # the same code is ringed in the other space
    wait_for(qtbot, lambda: not panel.card.picture.pixmap().isNull())
    click(picture, where)
    np.testing.assert_allclose(session.code(), session.avatar.samples_z[4].numpy())
    assert session.undo_stack.undoText() == "load of c, code 4"
    assert session.recorded[-1]["command"] == "show_code"
    session.undo()
    assert not np.allclose(session.code(), session.avatar.samples_z[4].numpy())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_keys_go_from_dot_to_dot(qtbot: QtBot, panel: LatentPanel, session: Session, dimensions: int) -> None:
    picture = panel.panes["q"].plane
    if dimensions == 3:
        solid(qtbot, panel)
        picture = panel.panes["q"].cloud
    picture.setFocus()
    seen: list[Spot] = []
    picture.hovered.connect(seen.append)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Up, Qt.Key.Key_Down):
        qtbot.keyClick(picture, key)
    assert len(seen) >= 2
    assert all(isinstance(spot, Spot) for spot in seen)
    assert panel.card.isVisible()
    qtbot.keyClick(picture, Qt.Key.Key_Return)
    assert session.recorded[-1]["command"] == "show_code"


def test_the_cloud_turns_zooms_and_frames(qtbot: QtBot, panel: LatentPanel) -> None:
    cloud = solid(qtbot, panel)
    first, spot = cloud.orbit, Spot("stored", 0)
    QTest.mousePress(cloud, Qt.MouseButton.LeftButton, NOWHERE, QPoint(30, 30))
    QTest.mouseMove(cloud, QPoint(50, 45))
    QTest.mouseMove(cloud, QPoint(90, 60))
    QTest.mouseRelease(cloud, Qt.MouseButton.LeftButton, NOWHERE, QPoint(90, 60))
    assert cloud.orbit.azimuth < first.azimuth
    assert cloud.orbit.elevation > first.elevation
    turned = cloud.pixel_of(spot)
    qtbot.keyClick(cloud, Qt.Key.Key_Plus)
    middle = QPointF(cloud.width() / 2, cloud.height() / 2)
    assert (cloud.pixel_of(spot) - middle).manhattanLength() > (turned - middle).manhattanLength()
    qtbot.keyClick(cloud, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(cloud, Qt.Key.Key_Home)
    assert cloud.orbit == first


def test_the_plane_zooms_and_frames_by_keys(qtbot: QtBot, panel: LatentPanel) -> None:
    plane = panel.panes["p"].plane
    framed = plane.getViewBox().viewRange()
    qtbot.keyClick(plane, Qt.Key.Key_Plus)
    zoomed = plane.getViewBox().viewRange()
    assert zoomed[0][1] - zoomed[0][0] < framed[0][1] - framed[0][0]
    qtbot.keyClick(plane, Qt.Key.Key_Home)
    np.testing.assert_allclose(plane.getViewBox().viewRange(), framed)


def test_the_dot_that_is_meant() -> None:
    pixels = {"stored": np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 60.0]]), "drawn": np.array([[13.0, 10.0]])}
    assert nearest(pixels, QPointF(10, 10)) == Spot("stored", 0)
    assert nearest(pixels, QPointF(11, 10)) == Spot("drawn", 0)  # they lie on each other: the upper layer's
    assert nearest(pixels, QPointF(49, 15)) == Spot("stored", 1)
    assert nearest(pixels, QPointF(30, 30)) is None
    assert beside(pixels, QPointF(50, 10), Spot("stored", 1), (0.0, 1.0)) == Spot("stored", 2)
    assert beside(pixels, QPointF(50, 10), Spot("stored", 1), (-1.0, 0.0)) == Spot("drawn", 0)
    assert beside(pixels, QPointF(50, 10), Spot("stored", 1), (1.0, 0.0)) is None


def test_dots_may_have_two_components_only(qtbot: QtBot) -> None:
    cloud = LatentCloud()
    qtbot.addWidget(cloud)
    cloud.show_dots("stored", Dots(np.eye(2, dtype=np.float32), np.zeros(2, np.int64)))
    cloud.frame()
    with qtbot.waitExposed(cloud, timeout=PATIENCE_MS):
        cloud.show()
    assert cloud.pixel_of(Spot("stored", 0)) != cloud.pixel_of(Spot("stored", 1))


# Controls


def test_the_priors_controls_are_bound_both_ways(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    latent, prior = session.part(Latent), panel.prior
    assert prior.hint.text() == "P under the present keypoints"
    prior.temperature.setValue(0.5)
    prior.draws.setValue(20)
    prior.follow.click()
    prior.inputs.setCurrentIndex(1)
    prior.inputs.activated.emit(1)
    options = latent.options
    assert (options.temperature, options.draws, options.follow, options.frames) == (0.5, 20, False, 15)
    latent.set_options(temperature=2.0, draws=30, follow=True, frames=7)
    assert (prior.temperature.value(), prior.draws.value(), prior.follow.isChecked()) == (2.0, 30, True)
    assert prior.inputs.currentText() == "7 training frames"
    assert prior.hint.text() == "P under each frame's own input"
    drawn, seed = latent.state.drawn, latent.options.seed
    qtbot.mouseClick(prior.draw_button, Qt.MouseButton.LeftButton)
    assert latent.options.seed == seed + 1
    wait_for(qtbot, lambda: latent.state.drawn is not drawn)
    qtbot.mouseClick(prior.sample_button, Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "sample of the prior")


def test_a_temperature_is_typed_whole(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    box = panel.prior.temperature
    box.selectAll()
    qtbot.keyClicks(box, "0.3")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.value() == session.part(Latent).options.temperature == 0.3


def test_sliders_move_the_face_and_follow_it(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    latent, sliders = session.part(Latent), panel.components.sliders
    panel.tabs.setCurrentIndex(2)
    wait_for(qtbot, lambda: sliders[0].isEnabled())
    assert [slider.isEnabled() for slider in sliders] == [True] * 4 + [False] * 2  # five codes have four directions
    assert [value.text() for value in panel.components.values[4:]] == ["–", "–"]
    sliders[0].setFocus()
    for _ in range(4):
        qtbot.keyClick(sliders[0], Qt.Key.Key_Right)
    wanted = sliders[0].value() / 100
    wait_for(qtbot, lambda: session.undo_stack.count() == 1)
    wait_for(qtbot, lambda: np.array_equal(latent.state.place.z[0], session.code()))
    at = latent.state.space.q.to_plane(session.code()) / np.maximum(latent.state.space.q.spread, 1e-9)
    assert at[0] == pytest.approx(wanted, abs=0.02)
    session.show_code(session.avatar.samples_z[3].tolist())
    space = latent.state.space.q
    expected = np.clip(space.to_plane(session.code())[0] / space.spread[0], -3, 3)
    wait_for(qtbot, lambda: abs(sliders[0].value() / 100 - expected) < 0.02)
    session.show_code((space.mean - 1e-4 * space.spread[0] * space.axes[0]).tolist())
    wait_for(qtbot, lambda: panel.components.values[0].text() == "+0.00 σ")  # no sign on nothing
    latent.set_options(space="p")
    assert panel.components.space.currentData() == "p"


def test_the_third_dimension_is_bound_both_ways(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    latent = session.part(Latent)
    solid(qtbot, panel)
    assert latent.options.dimensions == 3
    latent.set_options(dimensions=2)
    assert not panel.solid.isChecked()
    assert panel.panes["q"].picture is panel.panes["q"].plane


def test_keyframes_by_mouse_and_keys(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    keyframes, controls = session.part(Keyframes), panel.keyframes
    panel.tabs.setCurrentIndex(3)
    assert controls.empty.isVisible()
    assert not controls.play_button.isEnabled()
    for value in (0.0, 0.1, 0.2):
        session.show_code([value] * 16)
        controls.strip.setCurrentRow(-1)
        qtbot.mouseClick(controls.add_button, Qt.MouseButton.LeftButton)
    strip = controls.strip
    assert strip.count() == 3
    assert not controls.empty.isVisible()
    wait_for(qtbot, lambda: len({strip.item(row).icon().cacheKey() for row in range(3)}) == 3)
    strip.setFocus()
    strip.setCurrentRow(2)
    qtbot.keyClick(strip, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert [round(float(key[0]), 1) for key in keyframes.path.keys] == [0.0, 0.2, 0.1]
    assert strip.currentRow() == 1
    qtbot.keyClick(strip, Qt.Key.Key_Delete)
    assert [round(float(key[0]), 1) for key in keyframes.path.keys] == [0.0, 0.1]
    session.undo()
    assert strip.count() == 3
    strip.setCurrentRow(1)
    qtbot.keyClick(strip, Qt.Key.Key_Return)
    assert session.code()[0] == pytest.approx(0.2)
    assert controls.scrub.value() == 500
    wait_for(qtbot, lambda: len(points(panel, "q", "keys")) == 3)


def test_the_ways_settings_are_bound_both_ways(qtbot: QtBot, panel: LatentPanel, session: Session) -> None:
    keyframes, controls = session.part(Keyframes), panel.keyframes
    for value in (0.0, 0.4):
        session.show_code([value] * 16)
        keyframes.add()
    controls.duration.setValue(2.0)
    qtbot.mouseClick(controls.loop_button, Qt.MouseButton.LeftButton)
    assert (keyframes.path.duration, keyframes.path.loop) == (2.0, True)
    keyframes.set_path(duration=3.0, loop=False, space="p")
    assert (controls.duration.value(), controls.loop_button.isChecked()) == (3.0, False)
    assert controls.space.currentData() == "p"
    keyframes.set_path(space="q")
    wait_for(qtbot, lambda: session.part(Latent).way is not None)
    controls.scrub.setValue(250)
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "scrub of the keyframes")
    assert controls.time.text().strip() == "0.8 s"
    qtbot.mouseClick(controls.play_button, Qt.MouseButton.LeftButton)
    assert keyframes.playing
    wait_for(qtbot, lambda: controls.scrub.value() > 270)
    qtbot.mouseClick(controls.play_button, Qt.MouseButton.LeftButton)
    assert not keyframes.playing
    wait_for(qtbot, lambda: session.undo_stack.undoText() == "play of the keyframes")


@pytest.mark.parametrize("ending", ["undo", "another session"])
def test_without_a_way_the_slider_is_at_its_start(
    qtbot: QtBot, panel: LatentPanel, session: Session, ending: str
) -> None:
    keyframes, controls = session.part(Keyframes), panel.keyframes
    keyframes.add()
    session.show_code([0.2] * 16)
    keyframes.add()
    controls.scrub.setValue(400)
    assert controls.time.text().strip() == "1.6 s"
    if ending == "undo":
        session.undo()  # before the face that the slider shows has come to rest
    else:
        keyframes.restore({})
    assert not controls.scrub.isEnabled()
    assert (controls.scrub.value(), controls.time.text().strip()) == (0, "0.0 s")


def test_the_window_has_it_as_a_tab_and_its_keys(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    head = window.head.height()
    assert session.part(Latent).state is None
    session.part(Desk).show_panel("latent")
    wait_for(qtbot, lambda: session.part(Latent).state is not None)
    panel = window.docks["latent"].widget()
    assert panel.isVisible()
    assert panel.controls.width() >= panel.pages.minimumSizeHint().width()
    assert window.head.height() > 0.75 * head
    with qtbot.waitActive(window, timeout=PATIENCE_MS):
        window.activateWindow()
    panel.panes["p"].plane.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_K)
    assert len(session.part(Keyframes).path.keys) == 1
    assert not window.menus.actions["play_keys"].isEnabled()
