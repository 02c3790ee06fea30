"""Taking results out: files written in a thread, one after the other."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PySide6.QtCore import QTimer, Signal

from lipflow.capture import FrameId
from lipflow.checks import InputError
from lipflow.export import ExportProgress
from lipflow.export_codes import CodeSequence
from lipflow_studio import export_work
from lipflow_studio.commands import command
from lipflow_studio.document import FloatArray, Source, Status
from lipflow_studio.export_work import Face, ShownFit, Work
from lipflow_studio.observing import observation_of
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.questions import Answer, Question
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

POLL_MS = 50
MOST_FRAMES = 10_000  # codes of a played sequence that are remembered


@dataclass(frozen=True)
class Exporting:
    """The export that runs."""

    name: str  # of its file
    done: int = 0
    total: int = 0  # 0: not known yet
    waiting: int = 0  # others behind it


@dataclass(frozen=True, eq=False)
class Job:
    """An export that was asked for, with what it is made of as it was then."""

    path: Path
    work: Callable[[], Work]


class Export(Part):
    """Each command writes one file (an OBJ with its picture and material): the whole of it, or nothing."""

    name: ClassVar[str] = "export"

    running_changed = Signal(object)  # Exporting | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.running: Exporting | None = None
        self._jobs: deque[Job] = deque()  # the first one runs
        self._worker: Worker[Any, ExportProgress] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._frame: FrameId | None = None  # that is loaded
        self._frames: OrderedDict[FrameId, FloatArray] = OrderedDict()  # that were played before it, and their codes
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        session.avatar_changed.connect(lambda _: self._frames.clear())
        captures, sequences = session.part(Captures), session.part(Sequences)
        captures.frame_changed.connect(lambda frame: self._follow_frames(frame, captures.playing))
        sequences.frame_changed.connect(lambda _: self._follow_frames(sequences.moment, sequences.playing))

    # Commands

    @command()
    def mesh(self, path: str) -> None:
        """Write the shown face's mesh with its texture: OBJ, PLY or GLB, by the suffix."""
        self._begin(path, lambda to: self._of_face(lambda face: export_work.mesh(to, face)))

    @command()
    def texture(self, path: str) -> None:
        """Write the shown face's texture, as seen from the front: PNG."""
        self._begin(path, lambda to: self._of_face(lambda face: export_work.texture(to, face)))

    @command()
    def render(self, path: str) -> None:
        """Write the shown face as the viewer sees it: PNG."""
        orbit = self.session.camera
        self._begin(path, lambda to: self._of_face(lambda face: export_work.render(to, face, orbit)))

    @command()
    def turntable(self, path: str) -> None:
        """Write one full turn of the shown face: MP4."""
        self._begin(path, lambda to: self._of_face(lambda face: export_work.turning(to, face)))

    @command()
    def fit_video(self, path: str) -> None:
        """Write the face on its way through the fit, beside what it is fitted to: MP4."""
        self._begin(path, self._fit_video)

    @command()
    def keyframes_video(self, path: str) -> None:
        """Write the face on its way through the keyframes: MP4."""
        self._begin(path, self._keyframes_video)

    @command()
    def codes(self, path: str, of: str = "fit") -> None:
        """Write the codes of the "fit", the "keyframes" or the played "frames": NPZ or CSV, by the suffix."""
        self._begin(path, lambda to: self._codes(to, of))

    @command()
    def report(self, path: str) -> None:
        """Write all of the fit as one page: HTML."""
        self._begin(path, self._report)

    @command()
    def cancel(self) -> None:
        """Stop the export that runs; nothing of its file remains."""
        if self._jobs:
            name = self._jobs[0].path.name
            self._end(failed=True)
            self.session.told.emit(f"{name} was not written")

    # What is there to export

    def offers(self, what: str) -> bool:
        """Whether there is something: a "fit", "keyframes" or played "frames"."""
        if what == "keyframes":
            return len(self.session.part(Keyframes).path.keys) > 1
        if what == "frames":
            return bool(self._frames)
        return self.session.fit is not None

    # Part

    @property
    def busy(self) -> bool:
        """A script's next command waits: it may end the program."""
        return bool(self._jobs)

    def question(self) -> Question | None:
        if not self._jobs:
            return None
        name = self._jobs[0].path.name
        return Question(f"{name} is still being written.", "It is lost otherwise.", (Answer("Stop it", self._stop),))

    def close(self) -> bool:
        self._timer.stop()
        self._jobs.clear()
        self._retire()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    # Inside: what commands make of what is there

    def _of_face(self, make: Callable[[Face], Work]) -> Callable[[], Work]:
        avatar, code = self.session.avatar, self.session.part(Latent).shown()
        if avatar is None or code is None:
            raise InputError("export", expected="an open avatar", got="none")
        face = Face(avatar, np.array(code, np.float32))
        return lambda: make(face)

    def _fit_video(self, path: Path) -> Callable[[], Work]:
        fit, codes = self._shown_fit(), self._fit_codes().z
        return lambda: export_work.fit_video(path, fit, codes)

    def _report(self, path: Path) -> Callable[[], Work]:
        fit = self._shown_fit()
        return lambda: export_work.report(path, fit)

    def _codes(self, path: Path, of: str) -> Callable[[], Work]:
        if of not in SEQUENCES:
            raise InputError("codes", expected=" or ".join(SEQUENCES), got=repr(of))
        sequence = SEQUENCES[of](self)
        return lambda: export_work.codes(path, sequence)

    def _keyframes_video(self, path: Path) -> Callable[[], Work]:
        session = self.session
        avatar, signal, keyframes = session.avatar, session.part(Latent).signal(), session.part(Keyframes)
        if avatar is None or signal is None or not self.offers("keyframes"):
            expected, got = "at least 2", len(keyframes.path.keys)
            raise InputError("keyframes", expected=expected, got=got, mend="add the shown face as a keyframe first")
        keys, seconds = keyframes.wanted(), keyframes.path.duration
        return lambda: export_work.keyframes_video(path, avatar, signal, keys, seconds)

    def _shown_fit(self) -> ShownFit:
        session = self.session
        document, update, config = session.document, session.fit, session.fit_config
        if document.avatar is None or document.info is None or update is None or config is None:
            mend = "move a keypoint or open images first"
            raise InputError("export", expected="a fit", got="none", mend=mend)
        observation = observation_of(document, session.device)
        return ShownFit(document.avatar, document.info.name, observation, config, update, self._given())

    def _given(self) -> str:
        """What is fitted to, in words."""
        session = self.session
        if session.source is Source.HEADSET and session.headset is not None:
            return ", ".join(session.headset.names)
        if session.source is Source.FRONTAL and session.frontal is not None:
            return session.frontal.name
        pinned = 0 if session.keypoints is None else int(session.keypoints.pinned.sum())
        return f"{pinned} pinned keypoint{'' if pinned == 1 else 's'}"

    def _fit_codes(self) -> CodeSequence:
        stretch = self.session.runner.trail.read()
        if self.session.fit is None or not stretch.codes:
            raise InputError("codes", expected="a fit", got="none", mend="move a keypoint or open images first")
        return CodeSequence.of(np.stack(stretch.codes), "iteration", stretch.first)

    def _keyframe_codes(self) -> CodeSequence:
        keys = self.session.part(Keyframes).path.keys
        if not keys:
            raise InputError("keyframes", expected="at least 1", got=0, mend="add the shown face as a keyframe first")
        return CodeSequence.of(np.stack(keys), "keyframe", 1)

    def _frame_codes(self) -> CodeSequence:
        if not self._frames:
            raise InputError("codes", expected="played frames", got="none", mend="play a sequence first")
        frames, code = dict(self._frames), self.session.code()
        if self._frame is not None and code is not None and self.session.status is not Status.RUNNING:
            frames[self._frame] = code
        return CodeSequence(np.stack(list(frames.values())), np.array([frame.number for frame in frames]), "frame")

    def _follow_frames(self, frame: FrameId | None, playing: bool) -> None:
        """Of a sequence that is played, keep where each frame's fit came to rest."""
        before, code = self._frame, self.session.code()
        self._frame = frame
        goes_on = before is not None and frame is not None and before.segment == frame.segment
        if not goes_on or not playing:
            self._frames.clear()
        elif before is not None and code is not None:
            self._frames[before] = np.array(code, np.float32)
            while len(self._frames) > MOST_FRAMES:
                self._frames.popitem(last=False)

    # Inside: one job after the other

    def _begin(self, path: str, make: Callable[[Path], Callable[[], Work]]) -> None:
        """Ask for an export; what it needs is taken now."""
        try:
            job = Job(Path(path), make(Path(path)))
        except InputError as error:
            self.session.report(error)
            return
        self._jobs.append(job)
        self.recording.begin(f"export {job.path}")
        self._timer.start()
        self._start_next()

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._worker is not None:
            self._read(self._worker)
        self._start_next()
        if not self._jobs and not self._retired:
            self._timer.stop()

    def _start_next(self) -> None:
        """Write what is asked for next, unless another is being written. What that one came to is read by the timer
        alone: read here, its failure would be taken for that of the command that runs."""
        if self._worker is None and self._jobs:
            job = self._jobs[0]
            self._worker = Worker(lambda: export_work.named(job.path, job.work()), name="export").start()
            self._put_running(Exporting(job.path.name, waiting=len(self._jobs) - 1))

    def _read(self, worker: Worker[Any, ExportProgress]) -> None:
        alive = worker.alive  # asked first: one that ends after this is read at the next poll
        progress, failure = worker.take(), worker.take_failure()
        name, waiting = self._jobs[0].path.name, len(self._jobs) - 1
        if progress is not None:
            self._put_running(Exporting(name, progress.done, progress.total, waiting))
        if failure is not None:
            self.session.report(failure.error, failure.details, by=self._end(failed=True))
        elif not alive:
            self._end()
            self.session.told.emit(f"Wrote {name}")

    def _end(self, failed: bool = False) -> str:
        """The present job is over, one way or another; whose command it was."""
        job = self._jobs.popleft()
        command = self.recording.ended(f"export {job.path}", failed)
        self._retire()
        if not self._jobs:
            self._put_running(None)
        return command

    def _stop(self) -> bool:
        while self._jobs:
            self._end()
        return True

    def _retire(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None

    def _put_running(self, running: Exporting | None) -> None:
        if running != self.running:
            self.running = running
            self.running_changed.emit(running)


# Codes that can be written, by name.
SEQUENCES: dict[str, Callable[[Export], CodeSequence]] = {
    "fit": Export._fit_codes,
    "keyframes": Export._keyframe_codes,
    "frames": Export._frame_codes,
}
