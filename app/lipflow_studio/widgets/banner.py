"""One line about what went wrong, with the details to copy."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from lipflow_studio.document import Problem
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import button, tool
from lipflow_studio.widgets.offer import Offer


class Banner(Offer):
    """Hidden until the Session has a problem."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("banner", parent)
        self._problem: Problem | None = None
        self.copy_button = button("copy", "Copy details", "Copy the message and its details", self.copy)
        self.dismiss_button = tool("close", "Dismiss (Esc)", session.dismiss_problem)
        self.row.addWidget(self.copy_button)
        self.row.addWidget(self.dismiss_button)
        session.problem_changed.connect(self.show_problem)
        self.show_problem(session.problem)

    def show_problem(self, problem: Problem | None) -> None:
        self._problem = problem
        self.offer("" if problem is None else problem.line)

    def copy(self) -> None:
        if self._problem is not None:
            QGuiApplication.clipboard().setText(f"{self._problem.line}\n\n{self._problem.details}")
