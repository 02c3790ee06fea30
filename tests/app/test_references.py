"""The Qt binding keeps its books: an emitted signal must not cost a reference to True (PySide6 6.12.0's did, and the
studio was aborted by Python after twenty thousand signals, a few minutes of dragging)."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Signal


class Emitter(QObject):
    happened = Signal(int)


def test_signals_lose_no_references() -> None:
    emitter = Emitter()
    before = sys.getrefcount(True)
    for _ in range(100):
        emitter.happened.emit(1)
    assert before - sys.getrefcount(True) < 50
