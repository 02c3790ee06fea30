"""How far the shown face is from what it really looks like, asked for seldom while a fit runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from lipflow_studio import capture_work
from lipflow_studio.capture_work import FigureRequest, Figures, Truth
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

FIGURES_S = 0.7  # at least so long between two figures: decoding a picture takes time from the fit


class Judge(QObject):
    """Judges the Session's face in a thread, which whoever owns it reads, ends and replaces."""

    changed = Signal(object)  # Figures | None

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.figures: Figures | None = None
        self.worker: Worker[FigureRequest, Figures] | None = None
        self._session = session
        self._judged: object = None  # the code that was sent
        self._judged_at = 0.0
        session.avatar_changed.connect(lambda _: self.forget())

    def work(self) -> None:
        """A new worker."""
        self.worker = Worker[FigureRequest, Figures](capture_work.figures, name="figures").start()

    def forget(self) -> None:
        """Another truth or another avatar: what was said of the face before is not of this one."""
        self._judged = None
        self._put(None)

    def look(self, truth: Truth | None) -> None:
        """Take what was judged, and judge the face as it is now; without a truth there is nothing to say."""
        session, now = self._session, time.monotonic()
        if self.worker is None:
            return
        result = self.worker.take()
        if truth is None or session.avatar is None:
            self._put(None)
            return
        if result is not None and result.id == truth.id:
            self._put(result)
        code = session.code()
        if code is not None and code is not self._judged and now - self._judged_at > FIGURES_S:
            self._judged, self._judged_at = code, now
            self.worker.send(FigureRequest(session.avatar, code, truth))

    def _put(self, figures: Figures | None) -> None:
        if figures != self.figures:
            self.figures = figures
            self.changed.emit(figures)
