"""What the studio measures of itself: latency from gesture to picture, stalls of the window, start-up time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer

_IMPORTED = time.monotonic()


def process_age() -> float:
    """Seconds since this process was started (since this module's import where the system does not say)."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return time.monotonic() - _IMPORTED


class Latency:
    """Time from an edit of the observation to the first drawn head that was fitted to it or to a later one."""

    def __init__(self) -> None:
        self._open: dict[int, float] = {}
        self._event_time: float | None = None
        self.milliseconds: list[float] = []

    def happened(self, seconds: float) -> None:
        """State when the next gesture happened (a synthetic one is due at a time, and may be handled late)."""
        self._event_time = seconds

    def sent(self, serial: int) -> None:
        now = time.perf_counter()
        self._open[serial] = now if self._event_time is None else self._event_time
        self._event_time = None

    def drawn(self, serial: int) -> None:
        """A head fitted to observation ``serial`` is on the screen."""
        now = time.perf_counter()
        for waiting in [s for s in self._open if s <= serial]:
            self.milliseconds.append(1000 * (now - self._open.pop(waiting)))

    def clear(self) -> None:
        self._open.clear()
        self.milliseconds.clear()

    def summary(self) -> dict[str, float]:
        values = sorted(self.milliseconds)
        if not values:
            return {}
        return {
            "median": round(values[len(values) // 2], 2),
            "worst": round(values[-1], 2),
            "moves": len(values),
        }


class Heartbeat(QObject):
    """A timer in the window's thread; the longest delay between two beats is the worst stall."""

    PERIOD_MS = 5

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setInterval(self.PERIOD_MS)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self.worst_ms = 0.0

    def start(self) -> None:
        self._last, self.worst_ms = time.perf_counter(), 0.0
        self._timer.start()

    def stop(self) -> float:
        """End the measurement; the worst stall in milliseconds."""
        self._timer.stop()
        return round(self.worst_ms, 2)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.worst_ms = max(self.worst_ms, 1000 * (now - self._last) - self.PERIOD_MS)
        self._last = now
