"""How much memory the studio holds, and how that grows; and what of it is for good."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import statistics
import sys
import time
from collections import deque
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

STATM = Path("/proc/self/statm")
MINUTE_S = 60.0  # growth counts after the first: caches fill, kernels are compiled
PERIOD_MS = 1000
REST_MS = 1000  # from a fit's end until what it freed goes back to the system
M_ARENA_MAX = -8  # mallopt's name for how many pools there are at most

log = logging.getLogger(__name__)


def resident_mb() -> float | None:
    """MiB of this process in memory; None where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, AttributeError, IndexError, ValueError):
        return None


def share_arenas() -> None:
    """Let all threads take their memory from two pools.

    The C library of Linux gives each thread a pool of its own, and what a worker that ended has freed there serves no
    other: forty edits undone and redone, which start workers anew, grew the studio by 70 MB (so they do by 12).
    """
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
        except (OSError, AttributeError):  # another C library
            log.info("memory pools are left as they are")


def give_back() -> None:
    """Return to the system what is free in the pools.

    The C library returns a pool's end alone, and small things that stay lie above large ones that went: of 350 MB in
    the pools a third was free after minutes of fits to images. It takes a few milliseconds, and those who fit next ask
    the system again: for a rest, not for between two iterations.
    """
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            log.debug("free memory is not returned")


class Rest(QTimer):
    """Gives free memory back when those who fit have rested for a while. In the window's thread: a worker would be
    interrupted while it holds the pools, and the window then waits for both."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent, interval=REST_MS, singleShot=True)
        self.timeout.connect(lambda: give_back())

    def note(self, running: bool) -> None:
        """Whether a fit runs, or has just ended."""
        if running:
            self.stop()
        else:
            self.start()


def keep_for_good() -> None:
    """Leave what there is by now out of all further searches for garbage.

    Modules and their functions are hundreds of thousands of objects. One search through those of torch, Qt and numba
    kept the interpreter from the window for 174 ms.
    """
    gc.freeze()


def keep_what_came() -> None:
    """The same with what was loaded since, in a process that began so."""
    if gc.get_freeze_count():
        gc.freeze()


class Memory(QObject):
    """Looks once a second.

    Growth is that of medians over a minute, the newest over the second since the start: between two rests of a fit
    some 70 MB come and go, and one look against one would tell where in that each of them fell.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._began = time.monotonic()
        self._looks: deque[tuple[float, float]] = deque()  # seconds since the start, MiB; of the last minute
        self._settled: float | None = None  # the median of the second minute
        self._most = 0.0
        self._timer = QTimer(self, interval=PERIOD_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def summary(self) -> dict[str, float]:
        """MiB at present, at most, and more than in the second minute (once that has passed)."""
        now = resident_mb()
        if now is None:
            return {}
        known = {"now": round(now, 1), "most": round(max(self._most, now), 1)}
        return known if self._settled is None else known | {"growth": round(self._median() - self._settled, 1)}

    def _look(self) -> None:
        now, seconds = resident_mb(), time.monotonic() - self._began
        if now is None:
            return
        self._most = max(self._most, now)
        self._looks.append((seconds, now))
        while self._looks[0][0] < seconds - MINUTE_S:
            self._looks.popleft()
        if self._settled is None and seconds >= 2 * MINUTE_S:
            self._settled = self._median()

    def _median(self) -> float:
        return statistics.median(now for _, now in self._looks)
