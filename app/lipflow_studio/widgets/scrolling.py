"""Panels that scroll in a window which is too low for them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QBoxLayout,
    QComboBox,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from lipflow_studio.widgets.make import dressed

LOWEST = 80  # pixels of a panel that are always seen
NOTICE = 40  # pixels of the window's height for a bar below the menus: a message must not press panels together
TURNED = (QComboBox, QAbstractSpinBox, QSlider)  # by the wheel


class Scrolling(QScrollArea):
    """Asks for the whole height of what is in it as long as the window has it beside its other parts."""

    def __init__(self, body: QWidget, beside: int, least_width: int | None = None) -> None:
        """
        Args:
            body: what is scrolled.
            beside: pixels of the window's height that are for other parts of it, a notice apart.
            least_width: pixels; without, all of the body's width is always seen.
        """
        super().__init__()
        dressed(self, "panel")
        self._body, self._beside, self._least_width = body, beside, least_width
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # it follows the focus of what is in it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setWidgetResizable(True)
        self.setWidget(body)
        if least_width is None:
            self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        whole, bar = self._body.minimumSizeHint(), self.verticalScrollBar().sizeHint().width()
        room = max(LOWEST, self.window().height() - self._beside - NOTICE)
        width = whole.width() if self._least_width is None else min(whole.width(), self._least_width)
        return QSize(width + bar, min(whole.height(), room))  # whatever comes and goes, the width stays

    def sizeHint(self) -> QSize:
        return self._body.sizeHint().expandedTo(self.minimumSizeHint())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        for kind in TURNED:
            for widget in self._body.findChildren(kind):
                widget.installEventFilter(self)
        self.window().installEventFilter(self)
        self.updateGeometry()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # what is in it has become higher or lower
            self.updateGeometry()
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The wheel scrolls: it turns only what the user has gone to, and everything where nothing is to scroll."""
        if event.type() == QEvent.Type.Resize and watched is self.window():
            self.updateGeometry()
        scrolls = self.verticalScrollBar().maximum() > 0
        if event.type() == QEvent.Type.Wheel and scrolls and isinstance(watched, TURNED) and not watched.hasFocus():
            return QApplication.sendEvent(self.verticalScrollBar(), event)
        return super().eventFilter(watched, event)


def scrolling(panel: QWidget, beside: int, least_width: int | None = None) -> QBoxLayout:
    """Let a panel scroll.

    Returns:
        The column that what it shows goes into.
    """
    body = dressed(QWidget(), "panelBody")
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(0, 0, 0, 0)
    column = QVBoxLayout(body)
    outer.addWidget(Scrolling(body, beside, least_width))
    return column
