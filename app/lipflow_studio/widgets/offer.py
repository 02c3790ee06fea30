"""Bars that say something and wait: a session to recover, a hint to read; and the place below the menus for them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from lipflow_studio.parts.hints import HINTS, Hints
from lipflow_studio.parts.recovery import Lost, Recovery
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import dressed, tool


class Offer(QFrame):
    """A line and buttons; hidden while there is nothing to offer."""

    offered = Signal()  # something, or nothing any more

    def __init__(self, role: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, role)
        self.line = QLabel()
        self.line.setWordWrap(True)
        self.line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.line.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(12, 4, 6, 4)
        self.row.setSpacing(8)
        self.row.addWidget(self.line, 1)

    def offer(self, text: str) -> None:
        self.line.setText(text)
        self.setVisible(bool(text))
        self.offered.emit()


class Notices(QWidget):
    """One bar at a time, as wide as the window: the first that has something to say. The next one follows it."""

    def __init__(self, bars: Sequence[Offer], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars = bars
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for bar in bars:
            column.addWidget(bar)
            bar.offered.connect(self._show_first)
        self._show_first()

    def _show_first(self) -> None:
        first = next((bar for bar in self._bars if bar.line.text()), None)
        for bar in self._bars:
            bar.setVisible(bar is first)


class RecoveryOffer(Offer):
    """What a crash left, to be opened or thrown away."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("offer", parent)
        recovery = session.part(Recovery)
        self.recover_button = QPushButton("Recover")
        self.discard_button = QPushButton("Discard")
        self.recover_button.setToolTip("Open the session as it was written last")
        self.discard_button.setToolTip("Throw it away")
        self.recover_button.clicked.connect(lambda: recovery.recover())
        self.discard_button.clicked.connect(lambda: recovery.discard())
        self.row.addWidget(self.recover_button)
        self.row.addWidget(self.discard_button)
        recovery.lost_changed.connect(self._show)
        self._show(recovery.lost)

    def _show(self, lost: Lost | None) -> None:
        at = "" if lost is None else f"{lost.written:%d %B, %H:%M}"
        self.offer(at and f"The studio ended without saving. Its session of {at} can be recovered.")


class HintBar(Offer):
    """One hint, and how many there are."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("tip", parent)
        self._hints = session.part(Hints)
        self.next_button = QPushButton("Next")
        self.next_button.clicked.connect(lambda: self._hints.next())
        self.dismiss_button = tool("close", "No more hints", self._hints.dismiss)
        self.row.addWidget(self.next_button)
        self.row.addWidget(self.dismiss_button)
        self._hints.hint_changed.connect(self._show)
        self._show(self._hints.hint)

    def _show(self, hint: str) -> None:
        self.offer(hint and f"{self._hints.number} of {len(HINTS)}   {hint}")
        self.next_button.setText("Done" if self._hints.number == len(HINTS) else "Next")
