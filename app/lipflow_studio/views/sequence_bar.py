"""The open sequence's timeline, below the head: there while one of its frames is fitted to."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.sequence_work import KINDS
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import dressed, label, tool
from lipflow_studio.widgets.timeline import Timeline

NAME_SHARE = 0.22  # of the bar's width at most, for the sequence's name
NAMED, TIMED = 480, 410  # pixels of width from which the name and the time are there: the slider goes before


class SequenceBar(QWidget):
    """Bound to the part in both directions."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "timeline")
        self._part = part = session.part(Sequences)
        self._name = ""
        self.title = label("", "muted")
        self.title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self.timeline = Timeline("the sequence", live=True, loops=True)
        self.end_button = tool("close", "Close the sequence; what is shown stays", part.end)
        self.end_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 2, 4, 2)
        row.setSpacing(8)
        row.addWidget(self.title)
        row.addWidget(self.timeline, 1)
        row.addWidget(self.end_button)
        self.timeline.stepped.connect(part.step)
        self.timeline.play_toggled.connect(part.play)
        self.timeline.loop_toggled.connect(part.set_loop)
        self.timeline.sought.connect(part.show)
        part.info_changed.connect(lambda _: self._show_info())
        part.frame_changed.connect(lambda _: self._show_frame())
        part.playing_changed.connect(self.timeline.show_playing)
        part.loop_changed.connect(self.timeline.show_loop)
        self._show_info()
        self.timeline.show_playing(part.playing)
        self.timeline.show_loop(part.loop)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_title()

    def _show_info(self) -> None:
        info = self._part.info
        self._name = "" if info is None else info.name
        if info is not None:
            rate = "" if info.fps is None else f", {info.fps:g} a second"
            files = "\n".join(info.paths)
            self.title.setToolTip(f"{info.length:,} frames of {KINDS[info.kind].title}{rate}\n{files}")
        self._fit_title()
        self._show_frame()

    def _show_frame(self) -> None:
        info, frame = self._part.info, self._part.frame
        self.setVisible(info is not None and frame is not None)
        self.timeline.show_place(frame, 0 if info is None else info.length, None if info is None else info.fps)

    def _fit_title(self) -> None:
        """A long name must leave the slider its room; in a narrow window the slider is all that is left."""
        self.title.setVisible(self.width() >= NAMED)
        self.timeline.show_time(self.width() >= TIMED)
        most = max(60, round(NAME_SHARE * self.width()))
        self.title.setText(QFontMetrics(self.title.font()).elidedText(self._name, Qt.TextElideMode.ElideMiddle, most))
