"""The frames of the open capture in the latent view: where Q puts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow.checks import InputError
from lipflow_studio.frame_codes import FrameCodes, encode_frames
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.latent import Latent
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

POLL_MS = 60
MOST = 300  # frames that are placed, evenly over the capture


class FramePlaces(Part):
    """Follows the latent view's option, the avatar's spaces and the open capture; encodes in a thread."""

    name: ClassVar[str] = "frame_places"

    changed = Signal(object)  # FrameCodes | None
    problem_changed = Signal(str)  # why there are none; "" where nothing is wrong

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.codes: FrameCodes | None = None
        self.problem = ""
        self._of: tuple[Any, ...] = (None, None, None)  # what is placed: avatar, space and capture
        self._worker: Worker[None, FrameCodes] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        latent, captures = session.part(Latent), session.part(Captures)
        latent.options_changed.connect(lambda _: self._follow())
        latent.space_changed.connect(lambda _: self._follow())
        captures.info_changed.connect(lambda _: self._follow())

    @property
    def segments(self) -> list[str]:
        """All that have dots, of training frames and of the capture's, in the order of their colours."""
        state = self.session.part(Latent).state
        stored = state.space.cloud.labels if state is not None and state.carried else ()
        return sorted({*stored, *(() if self.codes is None else self.codes.segments)})

    def close(self) -> bool:
        self._timer.stop()
        self._retire()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    # Inside

    def _follow(self) -> None:
        """Place what is to be placed now, if that is something else than before."""
        latent, avatar = self.session.part(Latent), self.session.avatar
        space = None if latent.state is None else latent.state.space
        capture = self.session.part(Captures).opened if latent.options.capture else None
        wanted = (avatar, space, capture)
        if all(new is old for new, old in zip(wanted, self._of)):
            return
        self._of = wanted
        self._retire()
        self._put(None, "")
        if avatar is not None and space is not None and capture is not None:
            self._worker = Worker[None, FrameCodes](
                lambda: encode_frames(avatar, space, capture, MOST), name="frame places"
            ).start()
            self._timer.start()

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        worker = self._worker
        if worker is None:
            if not self._retired:
                self._timer.stop()
            return
        alive = worker.alive  # asked first: one that ends after this is read at the next look
        codes, failure = worker.take(), worker.take_failure()
        if codes is not None:
            self._put(codes, "")
        if failure is not None and isinstance(failure.error, InputError):
            self._put(None, str(failure.error))
        elif failure is not None:
            self.session.report(failure.error, failure.details)
        if failure is not None or not alive:
            self._retire()

    def _put(self, codes: FrameCodes | None, problem: str) -> None:
        if codes is not self.codes:
            self.codes = codes
            self.changed.emit(codes)
        if problem != self.problem:
            self.problem = problem
            self.problem_changed.emit(problem)

    def _retire(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None
