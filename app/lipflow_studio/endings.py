"""Ends that nobody chose in the window: a signal, a display that is gone. What was not saved is kept first."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from lipflow.checks import InputError
from lipflow_studio import display_loss
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.problems import describe_error
from lipflow_studio.session import Session

# What ends the studio from outside, where the system has it, and how that is said.
SIGNALS = {
    getattr(signal, name): words
    for name, words in (("SIGINT", "interrupted"), ("SIGTERM", "ended from outside"), ("SIGHUP", "its terminal closed"))
    if hasattr(signal, name)
}
DISPLAY_LOST = "the display is gone"
LOST = 1  # exit status; Qt's own
GRACE_S = 5.0  # for the window's thread to notice


class Ending:
    """Runs the event loop, and sees to it that nothing is lost if that is not ended by the window or by a script."""

    def __init__(self, application: QApplication, session: Session) -> None:
        self._application = application
        self._session = session
        self._closed = False  # in order
        self._signal: int | None = None
        self._told = False
        self._ending = threading.Lock()  # of whoever ends the process
        session.closed.connect(self._note_closed)

    def run(self, close: Callable[[], object]) -> int:
        """Run until the window was closed, or something else ends it.

        What was edited and not saved is then written for the next start before anything else is tried, and one line on
        stderr says so. After a signal ``close`` ends what runs. Without a display it is the Session that is closed:
        the window cannot be, and the process ends here, since to take apart what is left of it would need the display.

        Returns:
            the exit status: 128 and its number for a signal, as shells have it.
        """
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            with display_loss.noticed(self._application, self._lose):
                status = self._application.exec()
                if self._signal is not None and not self._closed:
                    self._keep(SIGNALS[self._signal])
                    for number in SIGNALS:  # whoever has no patience now loses nothing
                        signal.signal(number, signal.SIG_DFL)
                    close()
                elif status == LOST and not self._closed:
                    self._lose()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return status

    def _lose(self) -> NoReturn:
        """There is no display. Any thread may come here first: one that draws waits for the window's."""
        if threading.current_thread() is not threading.main_thread():
            time.sleep(GRACE_S)  # it may itself be waiting for this one, and never notice
        with self._ending:
            self._keep(DISPLAY_LOST)
            self._session.blockSignals(True)  # nothing is to be drawn any more
            self._session.close()
            sys.stdout.flush()
            os._exit(LOST)

    def _keep(self, reason: str) -> None:
        """Write what would be lost, and say so; once, though a display may go while a signal is heeded."""
        if self._told:
            return
        self._told = True
        try:
            kept = self._session.part(Recovery).rescue()
            outcome = "; what was not saved is offered at the next start" if kept else ""
        except (OSError, InputError) as error:
            outcome = f"; its session could not be kept: {describe_error(error).line}"
        sys.stderr.write(f"lipflow-studio: {reason}{outcome}\n")
        sys.stderr.flush()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """Python calls this between any two steps of the window's thread: what it was at is finished first."""
        self._signal = number
        QTimer.singleShot(0, functools.partial(self._application.exit, 128 + number))

    def _note_closed(self) -> None:
        self._closed = True
