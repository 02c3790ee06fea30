"""Frames in time: each is the observation until its fit has come to rest."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from lipflow_studio.document import Status

if TYPE_CHECKING:
    from lipflow_studio.session import Session

FRAME_S = 2.5  # at most so long for a frame, if its fit goes on


class Playback(QObject):
    """Plays whatever has frames: it says when the next one is due. All frames of one run are one step to undo, and each
    is fitted from the face before it."""

    changed = Signal(bool)
    taken_back = Signal()  # undo stopped it: what was asked for is not wanted any more

    def __init__(self, session: Session, go_on: Callable[[], bool], parent: QObject | None = None) -> None:
        """
        Args:
            go_on: asks for the next frame; False where there is none.
        """
        super().__init__(parent)
        self.on = False
        self.fps: float | None = None  # frames a second that are not exceeded; None: as fast as fits are
        self._session = session
        self._go_on = go_on
        self._runs = itertools.count()
        self._run = 0
        self._shown_at = 0.0
        self._place = session.undo_stack.index()
        session.undo_stack.indexChanged.connect(self._follow_undo)

    def put(self, on: bool) -> None:
        """Begin, or stop where it is."""
        if on is not self.on:
            self.on = on
            self._run = next(self._runs)
            if on and self._session.status is Status.PAUSED:
                self._session.told.emit("The fit is paused: playing goes on with it (Space)")
            self.changed.emit(on)

    def show(self, name: str, **changes: Any) -> None:
        """Make a frame of what is called ``name`` the observation, as a step of the run."""
        self.rest()
        self._session.edit(f"play {name}", ("playback", id(self), self._run), **changes)

    def _follow_undo(self, place: int) -> None:
        back, self._place = place < self._place, place
        if back and self.on:
            self.put(False)
            self.taken_back.emit()

    def rest(self) -> None:
        """A frame was shown: it has its time from now on."""
        self._shown_at = time.monotonic()

    def tick(self) -> None:
        """Go on, if the present frame's fit has come to rest or has had its time. A pause of the fit holds it."""
        status, spent = self._session.status, time.monotonic() - self._shown_at
        if not self.on or status is Status.PAUSED or (self.fps and spent < 1 / self.fps):
            return
        if status is Status.RUNNING and spent < FRAME_S:
            return
        if not self._go_on():
            self._session.recording.rest("played")
            self.put(False)
