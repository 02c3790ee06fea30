"""The log, to read and to copy."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from lipflow_studio.parts.log import KEPT, Log
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import button, dressed

LOWEST = 60  # pixels of text that are always seen


class LogPanel(QWidget):
    """Follows its end, unless somebody scrolled up to read."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._log = session.part(Log)
        self.text = dressed(QPlainTextEdit(), "log")
        self.text.setReadOnly(True)
        self.text.setMinimumHeight(LOWEST)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)  # it takes what is left
        self.text.setMaximumBlockCount(KEPT)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        row = QHBoxLayout()
        row.setSpacing(6)
        self.copy_button = button("copy", "Copy all", "Copy the whole log to the clipboard", self.copy)
        self.clear_button = button("reset", "Clear", "Empty the log", self._log.clear)
        row.addWidget(self.copy_button)
        row.addWidget(self.clear_button)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addLayout(row)
        layout.addWidget(self.text, 1)
        self._add(list(self._log.entries))
        self._log.added.connect(self._add)
        self._log.cleared.connect(self.text.clear)

    def copy(self) -> None:
        QGuiApplication.clipboard().setText("\n".join(self._log.entries))

    def _add(self, entries: list[str]) -> None:
        scroll = self.text.verticalScrollBar()
        at_end = scroll.value() >= scroll.maximum()
        for entry in entries:
            self.text.appendPlainText(entry)
        if at_end:
            scroll.setValue(scroll.maximum())
