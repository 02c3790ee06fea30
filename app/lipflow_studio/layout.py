"""Where the window and its docks are, remembered from one start to the next."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QDockWidget, QMainWindow

from lipflow_studio.preferences import Preferences

REST_MS = 2000  # from the last change to its writing: a dock's edge that is dragged changes many times
VERSION = 2  # remembered layouts of another version are not restored
CHANGES = {
    QEvent.Type.Move,
    QEvent.Type.Resize,
    QEvent.Type.Show,
    QEvent.Type.Hide,
    QEvent.Type.WindowStateChange,
}  # of the window or a dock, after which the layout may be another


class Layout(QObject):
    """Writes the layout whenever it is another and has come to rest, so that an end that nobody chose keeps it, too."""

    def __init__(self, window: QMainWindow, docks: Collection[QDockWidget], preferences: Preferences) -> None:
        super().__init__(window)
        self._window, self._preferences = window, preferences
        self._soon = QTimer(self, interval=REST_MS, singleShot=True)
        self._soon.timeout.connect(self.keep)
        window.installEventFilter(self)
        for dock in docks:
            dock.installEventFilter(self)
            dock.visibilityChanged.connect(lambda _: self._change())  # another tab in front, too

    def restore(self) -> bool:
        """Put the remembered layout back; whether it says where the docks are."""
        geometry, layout = self._preferences.bytes("geometry"), self._preferences.bytes("layout")
        if geometry is not None:
            self._window.restoreGeometry(geometry)
        return layout is not None and self._window.restoreState(layout, VERSION)

    def keep(self) -> None:
        """Write what is another than what was written before."""
        self._soon.stop()
        for name, now in (("geometry", self._window.saveGeometry()), ("layout", self._window.saveState(VERSION))):
            if now != self._preferences.bytes(name):
                self._preferences.set(name, now)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in CHANGES:
            self._change()
        return False

    def _change(self) -> None:
        if self._window.isVisible():  # a window that opens or is gone moves its docks by itself
            self._soon.start()
