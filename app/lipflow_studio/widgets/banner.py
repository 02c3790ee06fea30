"""One line about what went wrong, with the details to copy."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QWidget

from lipflow_studio.document import Problem
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import button, tool


class Banner(QFrame):
    """Hidden until the Session has a problem."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self._problem: Problem | None = None
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.line.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.copy_button = button("copy", "Copy details", "Copy the message and its details", self.copy)
        self.dismiss_button = tool("close", "Dismiss (Esc)", session.dismiss_problem)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 6, 6)
        row.setSpacing(8)
        row.addWidget(self.line, 1)
        row.addWidget(self.copy_button)
        row.addWidget(self.dismiss_button)
        session.problem_changed.connect(self.show_problem)
        self.show_problem(session.problem)

    def show_problem(self, problem: Problem | None) -> None:
        self._problem = problem
        self.line.setText("" if problem is None else problem.line)
        self.setVisible(problem is not None)

    def copy(self) -> None:
        if self._problem is not None:
            QGuiApplication.clipboard().setText(f"{self._problem.line}\n\n{self._problem.details}")
