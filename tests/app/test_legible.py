"""What stands in fields and on buttons is seen whole, at the size that the window opens with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QPushButton,
    QStyle,
    QStyleOptionComboBox,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from conftest import wait_for
from lipflow_studio.main_window import FIRST_SIZE, MainWindow
from lipflow_studio.panels import PANELS
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.desk import Desk
from lipflow_studio.session import Session
from lipflow_studio.widgets.scrolling import Scrolling

MakeWindow = Callable[[Session], MainWindow]
SPARE = 1  # pixels that a text may be wider than its widget


def cut_in(root: QWidget) -> Iterator[str]:
    """The texts of fields, buttons and tabs below a widget that there is too little room for."""
    for widget in root.findChildren(QWidget):
        if widget.visibleRegion().isEmpty():
            continue
        if isinstance(widget, QPushButton | QCheckBox):
            if widget.sizeHint().width() > widget.width() + SPARE:
                yield widget.text()
        elif isinstance(widget, QTabBar):
            if widget.sizeHint().width() > widget.width() + SPARE:
                yield widget.tabText(0)
        elif isinstance(widget, QComboBox):
            if _written(widget, widget.currentText()) > _field(widget) + SPARE:
                yield widget.currentText()
        elif isinstance(widget, QAbstractSpinBox):
            line = widget.lineEdit()
            if _written(line, line.displayText()) > line.width() + SPARE:
                yield line.displayText()


def _written(widget: QWidget, text: str) -> int:
    return widget.fontMetrics().horizontalAdvance(text)


def _field(box: QComboBox) -> int:
    """Pixels of a choice's width that its text has."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    part = QStyle.SubControl.SC_ComboBoxEditField
    return box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, box).width()


@pytest.fixture
def window(session: Session, make_window: MakeWindow, dressed: None) -> MainWindow:
    made = make_window(session)
    made.resize(FIRST_SIZE)
    return made


def test_the_probe_finds_what_is_cut(qtbot: QtBot, dressed: None) -> None:
    box = QWidget()
    qtbot.addWidget(box)
    choice = QComboBox(box)
    choice.addItem("a text that is longer than its field")
    box.show()
    choice.setFixedWidth(80)
    assert list(cut_in(box)) == [choice.currentText()]
    choice.setFixedWidth(choice.sizeHint().width())
    assert list(cut_in(box)) == []


@pytest.mark.parametrize("name", [row.name for row in PANELS])
def test_no_text_of_a_panel_is_cut(qtbot: QtBot, window: MainWindow, session: Session, name: str) -> None:
    session.part(Desk).show_panel(name)
    dock = window.docks[name]
    wait_for(qtbot, lambda: not dock.visibleRegion().isEmpty())
    qtbot.wait(50)  # docks take their places one event later
    assert list(cut_in(dock)) == []
    scrolled = [part for part in dock.findChildren(Scrolling) if not part.visibleRegion().isEmpty()]
    assert all(part.verticalScrollBar().maximum() == 0 for part in scrolled)


def test_no_name_of_the_split_view_is_cut(qtbot: QtBot, window: MainWindow, session: Session) -> None:
    compare = session.part(Compare)
    compare.start()
    compare.add("", "standard-normal")
    compare.set_layout("split")
    window.resize(window.minimumSize())
    wait_for(qtbot, lambda: window.compare.pair[1].isVisible())
    qtbot.wait(50)
    assert list(cut_in(window.compare.halves)) == []
    left, right = window.compare.pair
    assert abs(left.width() - right.width()) <= 1
    assert left.geometry().right() < right.geometry().left()
