"""Portraits of codes: asked for by whoever shows small faces, drawn in a thread, kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow_studio.document import ByteArray, FloatArray
from lipflow_studio.parts.base import Part
from lipflow_studio.portraits import Portrait, portraits
from lipflow_studio.workers import Failures, Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

KEPT = 100  # portraits, about 370 kB each
POLL_MS = 25
HOVER = "hover"


class Faces(Part):
    """One asker wants one list of codes, which replaces what it wanted before. The pointer's comes first."""

    name: ClassVar[str] = "faces"

    made = Signal(bytes)  # ``key`` of the code whose portrait is there now

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._worker: Worker[Sequence[FloatArray], Sequence[Portrait]] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._failures = Failures()
        self._kept: OrderedDict[bytes, ByteArray] = OrderedDict()
        self._wanted: dict[str, list[FloatArray]] = {}
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._avatar = session.avatar
        session.avatar_changed.connect(lambda _: self._change_avatar())

    @staticmethod
    def key(code: FloatArray) -> bytes:
        return code.tobytes()

    def portrait(self, code: FloatArray) -> ByteArray | None:
        """[h, w, 4], where it was drawn already."""
        return self._kept.get(self.key(code))

    def want(self, asker: str, codes: Sequence[FloatArray]) -> None:
        """Have these drawn; ``made`` tells of each. One of the "hover" is drawn before all others."""
        self._wanted[asker] = [code for code in codes if self.key(code) not in self._kept]
        self._send()

    def close(self) -> bool:
        self._timer.stop()
        self._wanted.clear()
        self._retire()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    def _send(self) -> None:
        askers = sorted(self._wanted, key=lambda asker: asker != HOVER)
        codes = {self.key(code): code for asker in askers for code in self._wanted[asker]}
        avatar = self.session.avatar
        if avatar is None or (not codes and self._worker is None):
            return
        if self._worker is None:
            worker: Worker[Sequence[FloatArray], Sequence[Portrait]] = Worker(
                lambda: portraits(avatar), name="portraits"
            )
            self._worker = worker.start()
            self._timer.start()
        self._worker.send(tuple(codes.values()))

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._worker is None:
            return
        found, failure = self._worker.take(), self._worker.take_failure()
        for portrait in found or ():
            key = self.key(portrait.z)
            if key not in self._kept:
                self._kept[key] = portrait.image
                self._wanted = {
                    asker: [code for code in codes if self.key(code) != key] for asker, codes in self._wanted.items()
                }
                self.made.emit(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        if failure is not None:
            self._retire()
            self.session.report(failure.error, failure.details)
            if self._failures.forgivable():
                self._send()
            else:
                self._wanted.clear()

    def _change_avatar(self) -> None:
        if self.session.avatar is not self._avatar:
            self._avatar = self.session.avatar
            self._retire()
            self._kept.clear()
            self._wanted.clear()

    def _retire(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None
