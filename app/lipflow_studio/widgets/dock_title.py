"""A dock's title: its name, and the buttons that float and hide it."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QWidget

from lipflow_studio.widgets.make import dressed, label, tool


class DockTitle(QWidget):
    """Replaces Qt's own, which knows no theme."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        dressed(self, "dockTitle")
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
