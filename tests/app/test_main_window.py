"""The window: docks and menus from their tables, files dropped on it, its layout remembered."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDropEvent, QKeySequence, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QFileDialog,
    QLabel,
    QMessageBox,
    QScrollBar,
    QSizePolicy,
)
from pytestqt.qtbot import QtBot

from conftest import wait_for, wait_for_face
from lipflow.capture import FrameId
from lipflow_studio import demo_inputs, dialogs
from lipflow_studio.__main__ import main
from lipflow_studio.actions import ACTIONS
from lipflow_studio.capture_work import Figures
from lipflow_studio.demo import drop
from lipflow_studio.document import HeadsetRecipe, Source, Status
from lipflow_studio.main_window import MainWindow
from lipflow_studio.panels import PANELS, PanelRow
from lipflow_studio.panels.fit_panel import FitPanel
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.recovery import Lost, Recovery
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.preferences import Preferences
from lipflow_studio.session import Session
from lipflow_studio.studio import make_studio
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView
from lipflow_studio.widgets.offer import Offer
from lipflow_studio.widgets.scrolling import Scrolling
from lipflow_studio.widgets.strip import Name

MakeWindow = Callable[[Session], MainWindow]


@pytest.mark.parametrize("row", PANELS, ids=lambda row: row.name)
def test_every_panel_is_docked_where_its_row_says(
    qtbot: QtBot, session: Session, make_window: MakeWindow, row: PanelRow
) -> None:
    window = make_window(session)
    dock = window.docks[row.name]
    assert window.dockWidgetArea(dock) == row.area
    assert dock.isHidden() is not row.shown
    session.part(Desk).show_panel(row.name)
    wait_for(qtbot, lambda: dock.isVisible() and not dock.visibleRegion().isEmpty())
    assert dock.widget().width() > 100
    assert dock.widget().height() > 60


def cut_off(window: MainWindow) -> list[str]:
    """What is seen in part only, and cannot be scrolled to. (A window that was just resized may take a moment.)"""
    found = []
    behind = {dock for dock in window.docks.values() if dock.visibleRegion().isEmpty()}
    for kind in (QLabel, QAbstractButton, QComboBox, QAbstractSpinBox, QAbstractSlider):
        for widget in window.findChildren(kind):
            if not widget.isVisible() or isinstance(widget, QScrollBar):
                continue
            if any(dock.isAncestorOf(widget) for dock in behind):
                continue
            name = f"{type(widget).__name__} {widget.toolTip() or widget.accessibleName()}"
            if isinstance(widget, QLabel):
                name, ignored = widget.text(), QSizePolicy.Policy.Ignored
                shortened = isinstance(widget, Name) or widget.sizePolicy().horizontalPolicy() == ignored
                if not widget.wordWrap() and not shortened and widget.width() < widget.sizeHint().width() - 1:
                    found.append(name)
            above = widget
            while above is not window:
                rect, above = above.geometry(), above.parentWidget()
                area = above.parentWidget()
                scrolls = isinstance(area, QAbstractScrollArea) and area.viewport() is above
                if scrolls and (rect.width() <= above.width() or area.horizontalScrollBar().maximum() > 0):
                    break
                if not above.rect().contains(rect):
                    found.append(name)
                    break
    return found


@pytest.mark.parametrize("size", [(1280, 800), (960, 540), (940, 500)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_everything_fits_into_the_window(
    qtbot: QtBot,
    session: Session,
    make_window: MakeWindow,
    dressed: None,
    size: tuple[int, int],
) -> None:
    """A screen of 1920×1080 at 200 % has 960×540."""
    window = make_window(session)
    assert (window.width(), window.height()) == (1280, 800)
    assert window.head.canvas.width() > 450
    assert not window.head.strip.away
    window.resize(*size)
    wait_for_face(qtbot, session)
    for row in PANELS:
        session.part(Desk).show_panel(row.name)
        wait_for(qtbot, lambda name=row.name: not window.docks[name].visibleRegion().isEmpty())
        assert (window.width(), window.height()) == size
        wait_for(qtbot, lambda: cut_off(window) == [])
        assert window.head.canvas.width() >= 320
    session.part(Compare).start()
    for name in ("tiny-kpt", "tiny-kpt", "tiny-kpt"):
        session.part(Compare).add(name)
    wait_for(qtbot, lambda: cut_off(window) == [])
    session.part(Compare).stop()


def test_messages_press_nothing_together(
    qtbot: QtBot, session: Session, make_window: MakeWindow, dressed: None, tmp_path: Path
) -> None:
    """A message, what a crash left and a hint stand in one place, one after the other, as wide as the window."""
    window = make_window(session)
    window.resize(960, 540)
    wait_for_face(qtbot, session)
    np.savez(tmp_path / "in-time.npz", keypoints=np.repeat(session.avatar_info.keypoints[None], 3, axis=0))
    session.part(Sequences).open([str(tmp_path / "in-time.npz")])
    wait_for(qtbot, lambda: session.part(Sequences).frame == 0)
    seen = window.notices.findChildren(Offer)
    session.part(Hints).again()
    recovery = session.part(Recovery)
    recovery.lost = Lost(tmp_path / "lost.lipflow", datetime(2026, 11, 22, 14, 5))
    recovery.lost_changed.emit(recovery.lost)
    session.report(ValueError("it broke"))
    for words in ("it broke", "14:05", "1 of"):
        (bar,) = [offer for offer in seen if offer.isVisible()]
        assert words in bar.line.text()
        assert bar.width() == window.width()
        wait_for(qtbot, lambda: window.head.canvas.height() >= 180)
        for row in PANELS:
            session.part(Desk).show_panel(row.name)
            wait_for(qtbot, lambda name=row.name: not window.docks[name].visibleRegion().isEmpty())
            wait_for(qtbot, lambda: cut_off(window) == [])
        for row in PANELS:
            window.docks[row.name].setVisible(row.shown)
        session.dismiss_problem()
        if words == "14:05":
            recovery.lost = None
            recovery.lost_changed.emit(None)
    session.part(Hints).dismiss()
    assert not any(offer.isVisible() for offer in seen)


def test_figures_that_come_widen_no_dock(
    qtbot: QtBot, session: Session, make_window: MakeWindow, dressed: None
) -> None:
    """The readings against a capture's frame make the Fit panel higher than the room that it counts on."""
    window = make_window(session)
    wait_for_face(qtbot, session)
    dock, captures = window.docks["fit"], session.part(Captures)
    before = dock.width()
    captures.figures_changed.emit(Figures(FrameId("E001", 1), 31.234, 1.256))
    wait_for(qtbot, lambda: window.panel("fit", FitPanel).readings["mesh"].isVisible())
    qtbot.wait(50)  # docks follow later
    assert dock.width() == before


def test_plots_of_a_training_get_height_when_they_are_seen_first(
    qtbot: QtBot, session: Session, make_window: MakeWindow
) -> None:
    window = make_window(session)
    dock = window.docks["training"]
    session.part(Desk).show_panel("training")
    wait_for(qtbot, lambda: dock.height() > 240)
    assert window.head.canvas.height() > 350
    window.resizeDocks([dock], [180], Qt.Orientation.Vertical)  # as its user likes it
    wait_for(qtbot, lambda: dock.height() < 200)
    session.part(Desk).show_panel("headset")
    session.part(Desk).show_panel("training")
    qtbot.wait(50)
    assert dock.height() < 200


def test_a_window_that_cannot_be_built_leaves_nothing_running(
    qtbot: QtBot, qapp: QApplication, settings: QSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no status bar")

    monkeypatch.setattr("lipflow_studio.main_window.StatusBar", fail)
    with pytest.raises(RuntimeError, match="no status bar"):
        make_studio(qapp, "tiny-kpt", settings)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lipflow-")]
    told = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: told.append((box.text(), box.informativeText())))
    monkeypatch.setattr("lipflow_studio.__main__.QSettings", lambda: settings)
    monkeypatch.setattr("lipflow_studio.__main__.QStandardPaths.writableLocation", lambda place: str(tmp_path))
    with pytest.raises(RuntimeError, match="no status bar"):
        main([])
    assert told == [("The studio could not be opened.", "RuntimeError: no status bar")]


def test_tools_without_room_are_in_a_menu(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    head = window.head
    window.resize(940, 500)
    wait_for(qtbot, lambda: head.points_button in head.strip.away)
    assert head.modes["textured"] not in head.strip.away
    assert head.strip.more.isVisible()
    menu = head.strip.more.menu()
    menu.aboutToShow.emit()
    titles = {action.text(): action for action in menu.actions()}
    titles[head.points_button.accessibleName()].trigger()
    assert session.part(Appearance).look.points
    window.resize(1280, 800)
    wait_for(qtbot, lambda: not head.strip.away)
    assert head.strip.more.isHidden()


def test_the_wheel_scrolls_a_low_panel_and_leaves_its_fields_alone(
    qtbot: QtBot, session: Session, make_window: MakeWindow, dressed: None
) -> None:
    window = make_window(session)
    fit = window.panel("fit", FitPanel)
    area = fit.findChild(Scrolling)
    for name in ("train", "capture", "posterior", "latent", "fit"):
        session.part(Desk).show_panel(name)
        areas = window.docks[name].findChildren(Scrolling)
        wait_for(qtbot, lambda areas=areas: all(area.verticalScrollBar().maximum() == 0 for area in areas))
    window.resize(960, 540)
    wait_for(qtbot, lambda: area.verticalScrollBar().maximum() > 0)
    before = session.fit_config
    for field in (fit.choices["start"], fit.iterations):
        centre = QPointF(field.rect().center())
        down = QPoint(0, -120)
        turn = QWheelEvent(centre, field.mapToGlobal(centre), down, down, Qt.MouseButton.NoButton,
                           Qt.KeyboardModifier(0), Qt.ScrollPhase.NoScrollPhase, False)  # fmt: skip
        scrolled = area.verticalScrollBar().value()
        QApplication.sendEvent(field, turn)
        assert area.verticalScrollBar().value() > scrolled or scrolled == area.verticalScrollBar().maximum()
    assert session.fit_config == before


def test_no_key_is_taken_twice() -> None:
    keys = Counter(QKeySequence(key).toString() for row in ACTIONS for key in row.keys)
    assert [key for key, times in keys.items() if times > 1] == []


def test_every_action_of_the_menus_gives_a_command_and_is_recorded(
    qtbot: QtBot,
    session: Session,
    make_window: MakeWindow,
    headset_files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_inputs, "headset_images", lambda: tuple(headset_files))  # of the tiny avatar's size
    window = make_window(session)
    wait_for_face(qtbot, session)
    session.select([3])
    qtbot.wait(20)
    for row in ACTIONS:
        action = window.menus.actions.get(row.name)
        if action is None or row.name == "quit" or row.ask is not None or not action.isEnabled():
            continue
        before = len(session.recorded)
        action.trigger()
        wait_for(qtbot, lambda: not session.loading)
        assert len(session.recorded) > before, f"{row.name} is not recorded"
    assert session.problem is None
    for dialog in window.findChildren(QDialog):
        dialog.close()


def activate(qtbot: QtBot, window: MainWindow) -> None:
    """Shortcuts work in the active window only."""
    with qtbot.waitActive(window, timeout=10_000):
        window.activateWindow()


def test_undo_and_redo_are_named_after_the_edit(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    undo, redo = window.menus.actions["undo"], window.menus.actions["redo"]
    assert not undo.isEnabled()
    session.move_keypoints({0: (0.4, 0.4)})
    assert undo.text() == "Undo move of face.0"
    undo.trigger()
    assert redo.text() == "Redo move of face.0"
    assert not session.keypoints.pinned.any()


def test_keys_reach_the_session(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    activate(qtbot, window)
    window.panel("keypoints", KeypointView).canvas.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert len(session.selection) == 136
    qtbot.keyClick(window, Qt.Key.Key_P)
    assert session.keypoints.pinned.all()
    qtbot.keyClick(window, Qt.Key.Key_3)
    assert session.camera.azimuth == 50.0


def test_files_dropped_on_the_window_are_opened(
    qtbot: QtBot, session: Session, make_window: MakeWindow, headset_files: list[Path], avatar_files: dict[str, Path]
) -> None:
    window = make_window(session)
    drop(window, headset_files)
    wait_for(qtbot, lambda: session.source is Source.HEADSET)
    drop(window, [avatar_files["tiny-kpt"]])
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-kpt")
    assert "tiny-kpt" in window.windowTitle()


@pytest.mark.parametrize("links", [["https://example.org/face.png"], []], ids=["link", "nothing"])
def test_what_is_dropped_and_no_file_asks_and_opens_nothing(
    qtbot: QtBot, session: Session, make_window: MakeWindow, links: list[str]
) -> None:
    window, asked = make_window(session), []
    session.part(Desk).answer = lambda question: asked.append(question) is not None
    wait_for_face(qtbot, session)
    session.move_keypoints({0: (0.4, 0.4)})
    for widget in (window, window.panel("headset", HmcView)):
        mime, copy = QMimeData(), Qt.DropAction.CopyAction
        mime.setUrls([QUrl(link) for link in links])
        button, key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(widget, QDropEvent(QPointF(20, 20), copy, mime, button, key))
    assert not asked
    assert session.problem is None
    assert not session.loading


@pytest.mark.parametrize("name", ["a.png", "a.lipflow", "a.mp4", "a", 300 * "a"])
def test_what_is_not_there_is_told_so(session: Session, tmp_path: Path, name: str) -> None:
    session.open([str(tmp_path / name)])
    assert session.problem.line == f"{tmp_path / name}: expected a file or a folder, got none there"
    assert not session.loading


def test_an_image_alone_is_told_what_belongs_to_it(session: Session, headset_files: list[Path]) -> None:
    session.open([str(headset_files[0])])
    assert "3 files" in session.problem.line
    assert "camera's JSON" in session.problem.line


def test_runs_that_differ_in_their_seed_are_told_apart(
    qtbot: QtBot, empty_session: Session, make_window: MakeWindow, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    """The file of a run is called after its folder, and after the one above where that is only a seed."""
    window, busy = make_window(empty_session), []
    empty_session.busy_changed.connect(busy.append)
    for folder, name in (("dam/seed-0", "dam/seed-0"), ("flow/seed-0", "flow/seed-0"), ("a/my run", "my run")):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(avatar_files["tiny-kpt"], tmp_path / folder / "avatar.safetensors")
        empty_session.open_avatar(str(tmp_path / folder))
        wait_for(qtbot, lambda: not empty_session.loading)
        assert empty_session.avatar_info.name == name
        assert f"  {name}  " in window.windowTitle()
        assert f"Opening {name}" in busy
    assert empty_session.problem is None


def test_the_headset_panel_takes_whatever_is_dropped_on_it(
    qtbot: QtBot,
    session: Session,
    make_window: MakeWindow,
    headset_files: list[Path],
    avatar_files: dict[str, Path],
    tiny_capture_dir: Path,
    tmp_path: Path,
) -> None:
    panel = make_window(session).panel("headset", HmcView)
    wait_for_face(qtbot, session)
    session.move_keypoints({0: (0.4, 0.4)})
    session.save_keypoints(str(tmp_path / "points.json"))
    session.undo()
    drop(panel, [tmp_path / "points.json"])
    assert session.keypoints.pinned.all()
    drop(panel, [tiny_capture_dir])
    wait_for(qtbot, lambda: session.part(Captures).info is not None)
    drop(panel, headset_files)
    wait_for(qtbot, lambda: session.source is Source.HEADSET)
    drop(panel, [avatar_files["tiny-kpt"]])
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-kpt")
    assert session.problem is None


def test_the_headset_panel_comes_to_the_front_with_its_images(
    qtbot: QtBot, hmc_session: Session, make_window: MakeWindow, headset_files: list[Path]
) -> None:
    session, window = hmc_session, make_window(hmc_session)
    log, headset = window.docks["log"], window.docks["headset"]
    paths = [str(path) for path in headset_files]

    def bury() -> None:
        session.part(Desk).show_panel("log")
        wait_for(qtbot, lambda: headset.visibleRegion().isEmpty() and not log.visibleRegion().isEmpty())

    for _ in range(2):
        bury()
        session.open_headset_images(paths)
        wait_for(qtbot, lambda: not headset.visibleRegion().isEmpty())
    bury()
    session.edit("load", headset=replace(session.headset, recipe=HeadsetRecipe("/a", "E001", 1)))  # of a capture
    wait_for(qtbot, lambda: not headset.visibleRegion().isEmpty())
    bury()
    session.edit("play", headset=replace(session.headset, recipe=HeadsetRecipe("/a", "E001", 2)))  # the next
    qtbot.wait(50)
    assert headset.visibleRegion().isEmpty()


def test_a_mistake_is_one_banner_above_the_head(
    qtbot: QtBot, session: Session, make_window: MakeWindow, headset_files: list[Path]
) -> None:
    window = make_window(session)
    activate(qtbot, window)
    assert not window.banner.isVisible()
    drop(window.panel("headset", HmcView), headset_files[:2])
    assert window.banner.isVisible()
    assert "expected 3 files" in window.banner.line.text()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.banner.isVisible()


def test_the_status_bar_names_state_device_and_renderers(
    qtbot: QtBot, gl: None, session: Session, make_window: MakeWindow
) -> None:
    window = make_window(session)
    wait_for_face(qtbot, session)
    texts = [label.text() for label in window.statusBar().findChildren(QLabel) if label.isVisible()]
    assert Status.IDLE.value in texts
    assert session.device_name in texts
    wait_for(qtbot, lambda: window.head.canvas.gl_name.split(" (")[0] in _badges(window))


def test_a_remark_on_an_edit_goes_with_its_undo(
    qtbot: QtBot, session: Session, make_window: MakeWindow, headset_files: list[Path], avatar_files: dict[str, Path]
) -> None:
    bar = make_window(session).statusBar()
    drop(bar.window(), headset_files)
    wait_for(qtbot, lambda: session.source is Source.HEADSET)
    session.move_keypoints({0: (0.4, 0.4)})
    assert "no prior for keypoints: fitted under N(0, I)" in bar.currentMessage()
    session.undo()
    assert bar.currentMessage() == ""
    session.redo()
    assert "no prior for keypoints: fitted under N(0, I)" in bar.currentMessage()
    session.load("Opening another", lambda: None, lambda _: None)
    session.undo()
    assert bar.currentMessage() == "Opening another…"
    wait_for(qtbot, lambda: not session.loading)
    assert bar.currentMessage() == ""


def test_where_nothing_is_fitted_to_no_prior_is_told(
    qtbot: QtBot, hmc_session: Session, make_window: MakeWindow, headset_files: list[Path]
) -> None:
    bar = make_window(hmc_session).statusBar()
    drop(bar.window(), headset_files)
    wait_for(qtbot, lambda: hmc_session.source is Source.HEADSET)
    hmc_session.undo()
    assert hmc_session.status is Status.IDLE
    assert bar.currentMessage() == ""
    hmc_session.move_keypoints({0: (0.4, 0.4)})
    assert "no prior for keypoints: fitted under N(0, I)" in bar.currentMessage()


def _badges(window: MainWindow) -> list[str]:
    return [label.text() for label in window.statusBar().findChildren(QLabel) if label.isVisible()]


def test_the_layout_is_remembered_and_can_be_reset(qtbot: QtBot, settings: QSettings, make_window: MakeWindow) -> None:
    first = make_window(Session(preferences=Preferences(settings)))
    first.docks["curves"].hide()
    first.resize(1400, 850)
    first.close()
    second = make_window(Session(preferences=Preferences(settings)))
    assert not second.docks["curves"].isVisible()
    assert second.width() == 1400
    second.session.part(Desk).reset_layout()
    assert second.docks["curves"].isVisible()


def heights(window: MainWindow) -> dict[str, int]:
    """Of the docks that are seen."""
    return {name: dock.height() for name, dock in window.docks.items() if not dock.visibleRegion().isEmpty()}


def test_docks_stand_where_they_were_left(
    qtbot: QtBot, settings: QSettings, make_window: MakeWindow, dressed: None
) -> None:
    """Titles that go where there are tabs must not have had room in the first layout of all."""
    first = make_window(Session(preferences=Preferences(settings)))
    qtbot.wait(100)
    first.resizeDocks([first.docks["fit"]], [300], Qt.Orientation.Vertical)  # as low as it can be
    qtbot.wait(100)
    left = heights(first)
    first.close()
    second = make_window(Session(preferences=Preferences(settings)))
    qtbot.wait(100)
    assert heights(second) == left


def test_the_layout_is_written_when_it_changed_and_only_then(
    qtbot: QtBot, settings: QSettings, make_window: MakeWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash keeps it; nothing is written again and again meanwhile."""
    monkeypatch.setattr("lipflow_studio.layout.LOOK_MS", 100)
    preferences, written = Preferences(settings), []
    keep = preferences.set
    monkeypatch.setattr(preferences, "set", lambda key, value: (written.append(key), keep(key, value)))
    window = make_window(Session(preferences=preferences))

    def changed(change: Callable[[], object]) -> list[str]:
        """What was written of the layout after a change, once it rests."""
        written.clear()
        change()
        qtbot.wait(600)
        return sorted({key for key in written if key in ("geometry", "layout")})

    changed(lambda: None)  # as it opens
    assert changed(lambda: None) == []
    assert changed(lambda: window.session.set_camera(azimuth=20.0)) == []
    assert changed(lambda: window.resizeDocks([window.docks["fit"]], [380], Qt.Orientation.Horizontal)) == ["layout"]
    assert changed(lambda: window.docks["log"].raise_()) == []  # it is hidden
    assert "layout" in changed(lambda: window.session.part(Desk).show_panel("training"))  # another tab in front
    assert changed(lambda: window.docks["curves"].hide()) == ["layout"]
    assert changed(lambda: window.resize(1100, 700)) == ["geometry", "layout"]
    copy = shutil.copy(settings.fileName(), tmp_path / "left by a crash.ini")
    again = make_window(Session(preferences=Preferences(QSettings(str(copy), settings.format()))))
    assert not again.docks["curves"].isVisible()
    assert again.width() == 1100


def test_closing_the_window_while_it_fits_leaves_nothing_behind(
    qtbot: QtBot, hmc_session: Session, make_window: MakeWindow, headset_files: list[Path]
) -> None:
    window = make_window(hmc_session)
    hmc_session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: hmc_session.fit is not None)
    window.close()
    assert not window.isVisible()  # that no thread is left is checked for every test


def test_the_sheet_lists_every_key() -> None:
    sheet = dialogs.shortcut_sheet()
    for row in ACTIONS:
        for key in row.keys:
            assert QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) in sheet
    assert "torch" in dialogs.licence_sheet()


def test_an_open_session_is_proposed_to_be_saved_beside_itself(
    qtbot: QtBot,
    session: Session,
    make_window: MakeWindow,
    avatar_files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window, asked = make_window(session), []
    session.open_avatar(str(avatar_files["tiny-kpt"]))
    wait_for(qtbot, lambda: not session.loading)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (asked.append(args[2:]), ("", ""))[1])
    window.menus.actions["save_as"].trigger()
    session.part(Files).save(str(tmp_path / "mine.lipflow"))
    window.menus.actions["save_as"].trigger()
    assert [path for path, *_ in asked] == ["session.lipflow", str(tmp_path / "mine.lipflow")]
    window.menus.actions["export_mesh"].trigger()
    _, kinds, *others = asked[-1]
    assert "*.obj" in kinds
    assert not others  # the dialog shows the suffixes, which decide what is written


def test_what_was_done_can_be_saved_as_a_script(
    qtbot: QtBot, session: Session, make_window: MakeWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window(session)
    session.move_keypoints({3: (0.5, 0.5)}, gesture=1)
    target = tmp_path / "done.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(target), ""))
    window.menus.actions["save_script"].trigger()
    assert json.loads(target.read_text()) == [
        {"command": "move_keypoints", "args": [{"3": [0.5, 0.5]}], "kwargs": {"gesture": 1}},
    ]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(target / "in a file.json"), ""))
    window.menus.actions["save_script"].trigger()
    assert session.problem is not None
