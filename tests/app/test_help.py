"""What explains itself: hints, the log, tooltips, sheets, themes, and the questions before something is lost."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QSettings, QTimer
from PySide6.QtGui import QAction, QColor, QContextMenuEvent, QImage
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QMenu,
    QMessageBox,
    QScrollBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from conftest import picture_of, wait_for, wait_for_face
from lipflow_studio import dialogs, theme
from lipflow_studio.actions import ACTIONS
from lipflow_studio.main_window import MainWindow
from lipflow_studio.menus import FILLED
from lipflow_studio.panels.log_panel import LogPanel
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.hints import HINTS, Hints
from lipflow_studio.parts.log import Log
from lipflow_studio.preferences import Preferences
from lipflow_studio.questions import Answer, Question
from lipflow_studio.session import Session
from lipflow_studio.studio import make_studio
from lipflow_studio.views.keypoint_view import KeypointView
from lipflow_studio.widgets.offer import HintBar
from lipflow_studio.widgets.strip import FittingStrip

MakeWindow = Callable[[Session], MainWindow]


# Hints


def test_hints_come_one_by_one_and_are_remembered(qtbot: QtBot, settings: QSettings) -> None:
    session = Session(preferences=Preferences(settings))
    hints, bar = session.part(Hints), HintBar(session)
    qtbot.addWidget(bar)
    assert not bar.isVisibleTo(None)
    hints.begin()
    assert HINTS[0] in bar.line.text()
    bar.next_button.click()
    assert f"2 of {len(HINTS)}" in bar.line.text()
    later = Session(preferences=Preferences(settings))
    later.part(Hints).begin()
    assert later.part(Hints).hint == HINTS[1]
    bar.dismiss_button.click()
    assert not bar.isVisibleTo(None)
    later.part(Hints).begin()
    assert later.part(Hints).hint == ""
    later.part(Hints).again()
    assert later.part(Hints).hint == HINTS[0]
    assert session.close()
    assert later.close()


# Log


def test_the_log_keeps_what_happened_in_any_thread_and_can_be_copied(qtbot: QtBot, session: Session) -> None:
    panel = LogPanel(session)
    qtbot.addWidget(panel)
    logging.getLogger("lipflow.training").info("step %d", 12)
    thread = threading.Thread(target=lambda: logging.getLogger("lipflow_studio").warning("from beside"))
    thread.start()
    thread.join()
    session.report(ValueError("it broke"), "Traceback: here")
    wait_for(qtbot, lambda: "it broke" in panel.text.toPlainText())
    text = panel.text.toPlainText()
    assert "info    step 12" in text
    assert "warning from beside" in text
    assert "Traceback: here" in text
    panel.copy_button.click()
    assert QApplication.clipboard().text() == "\n".join(session.part(Log).entries)
    panel.clear_button.click()
    assert panel.text.toPlainText() == ""
    late = LogPanel(session)
    qtbot.addWidget(late)
    assert late.text.toPlainText() == ""


def test_a_closed_session_hears_no_log(empty_session: Session) -> None:
    loud = logging.getLogger("lipflow_studio")
    before = len(loud.handlers)
    empty_session.close()
    assert len(loud.handlers) == before - 1


# Sheets and tooltips


@pytest.mark.parametrize("name", dialogs.SHEETS)
def test_sheets_open_beside_the_window(qtbot: QtBot, session: Session, make_window: MakeWindow, name: str) -> None:
    window = make_window(session)
    session.part(Desk).show_sheet(name)
    (sheet,) = window.findChildren(QDialog)
    assert sheet.isVisible()
    assert not sheet.isModal()
    session.part(Desk).show_sheet("tea")
    assert "expected shortcuts or about or licences" in session.problem.line
    sheet.close()


def test_ffmpeg_is_named_with_its_licence(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    """It is no Python package, yet it comes with one."""
    window = make_window(session)
    session.part(Desk).show_sheet("about")
    (about,) = window.findChildren(dialogs.About)
    assert re.search(r"ffmpeg, in imageio-ffmpeg\s+\S.*, GNU GPL 3 or later", about.text.toPlainText())
    about.close()
    assert "GNU GPL 3 or later" in dialogs.licence_sheet()


def test_every_button_says_what_it_does(session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    for name, dock in window.docks.items():
        for button in dock.widget().findChildren(QAbstractButton):
            of_qt = button.objectName().startswith(("Scroll", "qt_"))
            assert of_qt or button.text() or button.toolTip(), name
        for field in dock.widget().findChildren(QWidget):
            is_field = isinstance(field, QAbstractSpinBox | QComboBox | QAbstractSlider)
            if is_field and field.isEnabled() and not isinstance(field, QScrollBar):
                assert field.toolTip() or field.parentWidget().toolTip(), f"{name}: {field.objectName()}"
    for row in ACTIONS:
        assert row.text or row.name == "separator" or row.name in FILLED


def rows_of(menu: QMenu) -> Iterator[QAction]:
    """What can be chosen in a menu: no lines, no headings, no submenus, which are menus of their own."""
    menu.aboutToShow.emit()
    for action in menu.actions():
        is_heading = not action.isEnabled() and not action.objectName()
        if not (action.isSeparator() or is_heading or action.menu()):
            yield action


def told(action: QAction) -> str:
    """What a row of a menu says of itself beyond its text, which Qt takes where there is no tip."""
    words = re.sub("[&…]", "", action.text())
    return "" if re.sub("[&…]", "", action.toolTip()) == words else action.toolTip()


def test_every_row_of_every_menu_says_what_it_does(
    qtbot: QtBot, session: Session, make_window: MakeWindow, avatar_files: dict[str, Path]
) -> None:
    window = make_window(session)
    wait_for_face(qtbot, session)
    session.open([str(avatar_files["tiny-kpt"])])  # a recent file
    wait_for(qtbot, lambda: not session.loading)
    session.select([3])
    asked: list[QWidget] = []

    def look_and_close() -> None:
        asked.append(QApplication.activePopupWidget())
        asked[0].close()

    QTimer.singleShot(0, look_and_close)
    canvas = window.panel("keypoints", KeypointView).canvas
    QApplication.sendEvent(canvas, QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(5, 5), QPoint(5, 5)))
    menus = [menu for menu in window.findChildren(QMenu) if not isinstance(menu.parent(), FittingStrip)]
    assert asked[0] in menus
    texts = {action.text() for menu in menus for action in rows_of(menu)}
    assert {"Step", "About LiP-Flow Studio", "Uncertainty", "Pin strongly (100)", "Training run", "tiny-hmc"} <= texts
    for menu in menus:
        rows = list(rows_of(menu))
        assert menu.toolTipsVisible() or not rows, menu.title()
        assert [row.text() for row in rows if not told(row)] == [], menu.title()


def test_what_cannot_be_chosen_says_why(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    wait_for_face(qtbot, session)
    actions = window.menus.actions
    for row in ACTIONS:
        if row.name in actions:
            reason = "" if actions[row.name].isEnabled() else f"\n{row.needs}"
            assert actions[row.name].toolTip() == f"{row.tip}{reason}", row.name
            assert actions[row.name].isEnabled() or row.needs != "No avatar is open", row.name
    assert "No keypoint is selected" in actions["pin"].toolTip()
    session.select([3])
    assert "No keypoint is selected" not in actions["pin"].toolTip()


@pytest.mark.parametrize(
    ("name", "words"),
    [("key", "40° to the left and 35° up"), ("below", "60° down"), ("front", "From where the viewer is")],
)
def test_a_light_is_told_in_words(session: Session, make_window: MakeWindow, name: str, words: str) -> None:
    tip = make_window(session).menus.actions[f"light_{name}"].toolTip()
    assert tip == f"{words}; Geometry is drawn under it"


# Themes


def colour_at_rest(window: MainWindow) -> QColor:
    return window.panel("keypoints", type(window.docks["keypoints"].widget())).canvas.grab().toImage().pixelColor(2, 2)


def test_the_theme_is_switched_while_the_window_is_open(
    qtbot: QtBot, qapp: QApplication, gl: None, settings: QSettings
) -> None:
    studio = make_studio(qapp, "tiny-kpt", settings)
    window, desk = studio.window, studio.session.part(Desk)
    wait_for_face(qtbot, studio.session)
    wait_for(qtbot, lambda: window.head.canvas.has_face)
    for choice, look in (("light", theme.LIGHT), ("dark", theme.DARK)):
        desk.set_theme(choice)
        assert theme.current() is look
        assert qapp.palette().window().color() == QColor(look.panel)
        assert colour_at_rest(window) == QColor(look.window)
        assert window.menus.actions[f"theme_{choice}"].isChecked()
        assert np.abs(corner(window) - np.array(QColor(look.canvas_bottom).getRgb()[:3])).max() < 12
        curves = window.docks["curves"].widget()
        assert curves.energy.backgroundBrush().color() == QColor(look.panel)
    again = Session(preferences=Preferences(settings))
    assert again.part(Desk).theme == "dark"
    assert again.close()
    desk.set_theme("pink")
    assert "system or light or dark" in studio.session.problem.line
    window.close()


def corner(window: MainWindow) -> np.ndarray:
    """The 3D view's lower left pixel."""
    image = picture_of(window.head).convertToFormat(QImage.Format.Format_RGB888)
    return np.array(image.pixelColor(1, image.height() - 2).getRgb()[:3])


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("look", [theme.DARK, theme.LIGHT], ids=lambda look: look.name)
def test_everything_is_legible(look: theme.Theme) -> None:
    for ground in (look.window, look.panel, look.raised, look.field, look.hover, look.accent_dim):
        assert contrast(look.text, ground) >= 4.5, ground
    for ground in (look.window, look.panel, look.field):
        assert contrast(look.muted, ground) >= 4.5, ground
    assert contrast(look.bad_text, look.bad_back) >= 4.5
    assert contrast(look.on_accent, look.accent) >= 4.5
    for colour in (look.accent, look.good, look.warn, look.bad, *look.series.values(), *look.kinds):
        for ground in (look.window, look.panel, look.field):
            assert contrast(colour, ground) >= 4.5, colour  # lines and dots have their names in the same colour
    for ground in (look.window, look.panel, look.field):
        assert contrast(look.edge, ground) >= 3.0, ground


# Questions


@pytest.fixture
def modified(qtbot: QtBot, empty_session: Session) -> Session:
    empty_session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not empty_session.loading)
    empty_session.move_keypoints({0: (0.5, 0.5)})
    return empty_session


def press(text: str) -> None:
    """Answer the next message box."""

    def answer() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(10, answer)
            return
        next(b for b in box.buttons() if b.text().replace("&", "") == text).click()

    QTimer.singleShot(10, answer)


def test_closing_asks_whether_to_save(
    modified: Session, make_window: MakeWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window(modified)
    assert window.isWindowModified()
    modified.part(Desk).answer = lambda question: dialogs.answer(window, question)
    press("Cancel")
    window.close()
    assert window.isVisible()
    target = str(tmp_path / "kept.lipflow")
    monkeypatch.setattr("lipflow_studio.menus.QFileDialog.getSaveFileName", lambda *args: ("", ""))
    press("Save")  # and then no place is chosen
    window.close()
    assert window.isVisible()
    monkeypatch.setattr("lipflow_studio.menus.QFileDialog.getSaveFileName", lambda *args: (target, ""))
    press("Save")
    window.close()
    assert not window.isVisible()
    assert Path(target).is_file()


def test_closing_may_discard(modified: Session, make_window: MakeWindow) -> None:
    window = make_window(modified)
    modified.part(Desk).answer = lambda question: dialogs.answer(window, question)
    press("Discard")
    window.close()
    assert not window.isVisible()


def test_scripts_and_tests_are_not_asked(modified: Session, make_window: MakeWindow) -> None:
    window = make_window(modified)
    window.close()
    assert not window.isVisible()


def test_an_answer_that_comes_to_nothing_stays(qtbot: QtBot, session: Session, make_window: MakeWindow) -> None:
    window = make_window(session)
    question = Question("Well?", "", (Answer("No", lambda: False), Answer("Yes", lambda: True)))
    press("No")
    assert not dialogs.answer(window, question)
    press("Yes")
    assert dialogs.answer(window, question)


def test_the_title_says_what_is_open_and_whether_it_is_saved(
    qtbot: QtBot, modified: Session, make_window: MakeWindow, tmp_path: Path
) -> None:
    window = make_window(modified)
    assert window.windowTitle() == "Untitled[*]  –  tiny-kpt  –  LiP-Flow Studio"
    modified.part(Files).save(str(tmp_path / "work.lipflow"))
    assert window.windowTitle().startswith("work.lipflow[*]")
    assert not window.isWindowModified()
    modified.undo()
    assert window.isWindowModified()
