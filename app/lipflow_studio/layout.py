"""Where the window and its docks are, remembered from one start to the next."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QObject, QTimer
from PySide6.QtWidgets import QMainWindow

from lipflow_studio.preferences import Preferences

LOOK_MS = 1000  # between two looks: what is the same in both rests
VERSION = 2  # remembered layouts of another version are not restored


class Layout(QObject):
    """Writes the layout whenever it is another and has come to rest, so that an end that nobody chose keeps it, too.

    It looks at the window now and then, which takes a fraction of a millisecond: Qt has no signal for a dock's edge
    that is moved, and an event filter in Python that outlives what it filters takes the process down.
    """

    def __init__(self, window: QMainWindow, preferences: Preferences) -> None:
        super().__init__(window)
        self._window, self._preferences = window, preferences
        self._seen: dict[str, QByteArray] = {}
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def restore(self) -> bool:
        """Put the remembered layout back; whether it says where the docks are."""
        geometry, layout = self._preferences.bytes("geometry"), self._preferences.bytes("layout")
        if geometry is not None:
            self._window.restoreGeometry(geometry)
        return layout is not None and self._window.restoreState(layout, VERSION)

    def finish(self) -> None:
        """Write it a last time: a window that closes moves its docks by itself."""
        self._timer.stop()
        self._keep(self._present())

    def _look(self) -> None:
        if self._window.isVisible():
            now = self._present()
            if now == self._seen:
                self._keep(now)
            self._seen = now

    def _present(self) -> dict[str, QByteArray]:
        return {"geometry": self._window.saveGeometry(), "layout": self._window.saveState(VERSION)}

    def _keep(self, present: dict[str, QByteArray]) -> None:
        """Write what is another than what was written before."""
        for name, now in present.items():
            if now != self._preferences.bytes(name):
                self._preferences.set(name, now)
