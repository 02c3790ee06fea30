"""A dock's title: its name, and the buttons that float and hide it."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QWidget

from lipflow_studio.widgets.make import dressed, label, tool


class DockTitle(QWidget):
    """Replaces Qt's own, which knows no theme. Gone while the dock is one of several tabs: the tab says its name."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        dressed(self, "dockTitle")
        self._gone = False
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 4, 3)
        row.setSpacing(0)
        row.addWidget(label(dock.windowTitle(), "dockName"))
        row.addStretch(1)
        for name, tip, action in (
            ("float", "Float or dock", lambda: dock.setFloating(not dock.isFloating())),
            ("close", "Hide (View › Panels shows it again)", dock.close),
        ):
            button = tool(name, tip, action)
            button.setIconSize(QSize(13, 13))
            row.addWidget(button)

    def sizeHint(self) -> QSize:
        return QSize(0, 0) if self._gone else super().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 0) if self._gone else super().minimumSizeHint()

    def show_where_needed(self, window: QMainWindow, dock: QDockWidget) -> None:
        """Come or go with the tabs beside the dock."""
        beside = [other for other in window.tabifiedDockWidgets(dock) if not other.isHidden()]
        gone = bool(beside) and not dock.isFloating()
        if gone is not self._gone:
            self._gone = gone
            self.setVisible(not gone)
            self.updateGeometry()
