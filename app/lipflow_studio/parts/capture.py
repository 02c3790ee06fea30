"""The open capture: its frames as observations with their truth, a sequence of them in time, and the import check."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow.capture import FrameId, MultifaceCapture
from lipflow.checks import InputError
from lipflow_studio import capture_work
from lipflow_studio.capture_work import (
    CaptureInfo,
    Checked,
    Figures,
    FrameRequest,
    LoadedFrame,
    SegmentInfo,
    Truth,
)
from lipflow_studio.commands import command
from lipflow_studio.document import (
    AvatarInfo,
    ByteArray,
    CaptureFrame,
    HeadsetImages,
    HeadsetRecipe,
    Source,
)
from lipflow_studio.judging import Judge
from lipflow_studio.observing import DRIVES
from lipflow_studio.parts.base import Part
from lipflow_studio.playback import Playback
from lipflow_studio.workers import Failure, Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

TICK_MS = 30
THUMBNAILS = 1000  # that are kept


@dataclass(frozen=True)
class FrameKind:
    """What a frame can be loaded as."""

    title: str
    field: str  # of the document
    source: Source


KINDS = {
    "headset": FrameKind("Headset images", "headset", Source.HEADSET),
    "keypoints": FrameKind("Keypoints", "keypoints", Source.KEYPOINTS),
    "frontal": FrameKind("Photo", "frontal", Source.FRONTAL),
}


class Captures(Part):
    """Reads in threads; what a frame shows becomes the document's observation by an edit like any other."""

    name: ClassVar[str] = "capture"

    info_changed = Signal(object)  # CaptureInfo | None
    frame_changed = Signal(object)  # FrameId | None, that is loaded
    kind_changed = Signal(str)  # a key of KINDS
    truth_changed = Signal(object)  # Truth | None
    figures_changed = Signal(object)  # Figures | None
    checked_changed = Signal(object)  # Checked | None
    checking_changed = Signal(bool)
    playing_changed = Signal(bool)
    thumbnail_made = Signal(object)  # FrameId

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.info: CaptureInfo | None = None
        self.frame: FrameId | None = None
        self.kind = "headset"
        self._chosen = False  # somebody said what frames are loaded as; else it is what drives the avatar
        self.truth: Truth | None = None
        self.checked: Checked | None = None
        self._playback = Playback(session, self._go_on, self)
        self._playback.changed.connect(self.playing_changed)
        self._playback.taken_back.connect(self._want_none)
        self._capture: MultifaceCapture | None = None
        self._thumbnails: OrderedDict[FrameId, ByteArray | None] = OrderedDict()
        self._made: deque[tuple[FrameId, ByteArray | None]] = deque()
        self._opening: Worker[None, tuple[str, MultifaceCapture, CaptureInfo]] | None = None
        self._small: Worker[Any, Any] | None = None
        self._frames: Worker[FrameRequest, LoadedFrame] | None = None
        self._judge = Judge(session, self)
        self._judge.changed.connect(self.figures_changed)
        self._check: Worker[None, Checked] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._wanted: FrameId | None = None  # asked for, and not yet read
        self._given: tuple[object, ...] = ()  # the frame's observation in the document, and what drives the prior
        self._returning: FrameId | None = None  # that a reopened session was at
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        session.opened.connect(lambda kind, _: self.truth_changed.emit(self.truth) if kind == "keypoints" else None)
        session.avatar_changed.connect(self._suit)

    # Commands

    @command()
    def open(self, path: str) -> None:
        """Open a capture folder in the Multiface layout, to look at its frames and load them."""
        self._open(path)

    def _open(self, path: str) -> None:
        def once() -> Any:
            yield path, *capture_work.open_for_browsing(Path(path))

        self._retire(self._opening)
        self._opening = Worker(once, name="capture").start()
        self.recording.begin("capture")
        self._timer.start()
        self.session.busy_changed.emit(f"Opening {Path(path).name}")

    @command()
    def set_kind(self, kind: str) -> None:
        """What frames are loaded as: "headset" (images), "keypoints" or "frontal" (its photo)."""
        if kind not in KINDS:
            self.session.report(InputError("kind", expected=" or ".join(KINDS), got=repr(kind)))
        else:
            self._chosen = True
            self._put_kind(kind)

    @command()
    def load(self, segment: str, number: int) -> None:
        """Make a frame the observation; its truth is kept to compare the fit with."""
        self._stop_playing()
        self._ask(FrameId(segment, int(number)))

    @command()
    def step(self, by: int) -> None:
        """Load a frame further on in the segment, or back."""
        self._stop_playing()
        following = self._neighbour(by)
        if following is not None:
            self._ask(following)

    @command()
    def play(self, on: bool = True) -> None:
        """Play the segment from the present frame: each frame is the observation until its fit has come to rest."""
        if self.info is None:
            self._report_no_capture()
            return
        if not on:
            self._stop_playing()
            return
        if self.frame is None:
            self._ask(self.info.segments[0].frames[0])
        elif self._neighbour(1) is None:
            segment = self.segment()
            assert segment is not None
            self._ask(segment.frames[0])
        self._playback.put(True)

    @command()
    def check(self) -> None:
        """Check that the capture fits together: its mesh over photos, its render beside them."""
        info = self.info
        if info is None:
            self._report_no_capture()
            return
        self._retire(self._check)

        def once() -> Any:
            yield capture_work.check(info.root)

        self._check = Worker(once, name="check").start()
        self.recording.begin("check")
        self._timer.start()
        self.checking_changed.emit(True)

    # What views ask

    @property
    def busy(self) -> bool:
        return self._opening is not None or (self._wanted is not None and not self.playing)

    @property
    def opened(self) -> MultifaceCapture | None:
        return self._capture

    @property
    def figures(self) -> Figures | None:
        """How far the shown face is from the truth."""
        return self._judge.figures

    @property
    def playing(self) -> bool:
        return self._playback.on

    @property
    def at_rest(self) -> bool:
        return not self.playing

    @property
    def checking(self) -> bool:
        return self._check is not None

    def segment(self) -> SegmentInfo | None:
        """The segment of the present frame."""
        return None if self.info is None or self.frame is None else self.info.segment_of(self.frame)

    def thumbnail(self, id: FrameId) -> ByteArray | None:
        """A frame's photo [h, w, 3], if it was made already."""
        return self._thumbnails.get(id)

    def want_thumbnails(self, ids: list[FrameId]) -> None:
        """Make those of the frames that are in sight."""
        missing = tuple(id for id in ids if id not in self._thumbnails)
        if missing and self._small is not None:
            self._small.send(missing)

    @property
    def truth_of_observation(self) -> Truth | None:
        """What the face really looks like that is fitted at present, where that is known."""
        return self.truth if self._is_of_frame() else None

    def gave(self, observation: object) -> bool:
        """Whether an observation is of the frame that was loaded last, as it was then."""
        return any(observation is each for each in self._given)

    def offers(self, recipe: HeadsetRecipe | None) -> bool:
        """Whether headset images can be made again: they are of a frame of the open capture."""
        return recipe is not None and recipe.capture == self._folder

    def request(self, kind: str, recipe: HeadsetRecipe, *, truth: bool = True) -> FrameRequest:
        """What reads a frame of the open capture for the open avatar."""
        session = self.session
        assert self._capture is not None
        assert self.info is not None
        assert session.avatar is not None
        assert session.avatar_info is not None
        return FrameRequest(
            self._capture, self.info, recipe.frame, kind, session.avatar, session.avatar_info, recipe, truth
        )

    @property
    def _folder(self) -> str:
        return "" if self.info is None else str(self.info.root.absolute())

    def saved(self) -> Mapping[str, Any]:
        if self.info is None:
            return {}
        id = self.frame
        frame = {} if id is None else {"segment": id.segment, "number": id.number}
        return {"root": self._folder, "kind": self.kind, **frame}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The capture is opened again, and the frame's truth read: the document holds its observation already."""
        self._stop_playing()
        self._put_frame(None)
        self._put_truth(None)
        self._returning = None
        if not saved:
            self._chosen = False
            self._suit(self.session.avatar_info)
            return
        root, kind, segment, number = (saved.get(name) for name in ("root", "kind", "segment", "number"))
        if not isinstance(root, str) or kind not in KINDS:
            raise InputError("session, capture", expected="a folder and what frames were loaded as", got=repr(saved))
        self._chosen = True
        self._put_kind(kind)
        if isinstance(segment, str) and isinstance(number, int):
            self._returning = FrameId(segment, number)
        self._open(root)

    def close(self) -> bool:
        self._timer.stop()
        self._wanted = None
        self._end_workers()
        return all([worker.stop() for worker in self._retired])

    # Inside

    def _put(self, capture: MultifaceCapture, info: CaptureInfo) -> None:
        self._stop_playing()
        self._end_workers()
        self._capture, self.info, self._wanted = capture, info, None
        self._thumbnails.clear()
        self._made.clear()
        self._start_workers(capture, info)
        self._timer.start()
        self._put_frame(None)
        self._put_truth(None)
        self.checked = None
        self.checked_changed.emit(None)
        self.info_changed.emit(info)

    def _start_workers(self, capture: MultifaceCapture, info: CaptureInfo) -> None:
        small: Worker[Any, Any] = Worker(
            lambda: capture_work.thumbnails(capture, info), name="thumbnails", on_state=self._made.append
        )
        read: Worker[FrameRequest, LoadedFrame] = Worker(capture_work.frames, name="frames")
        self._small, self._frames = small.start(), read.start()
        self._judge.work()

    def _end_workers(self) -> None:
        self._retire(self._opening, self._small, self._frames, self._judge.worker, self._check)
        self._opening = self._small = self._frames = self._judge.worker = self._check = None

    def _retire(self, *workers: Worker[Any, Any] | None) -> None:
        for worker in workers:
            if worker is not None:
                worker.ask_to_stop()
                self._retired.append(worker)

    def _want_none(self) -> None:
        self._wanted = None
        self.recording.ended("frame", failed=True)

    def _ask(self, id: FrameId) -> None:
        session, info = self.session, self.info
        if info is None or self._capture is None or self._frames is None:
            self._report_no_capture()
        elif info.segment_of(id) is None:
            session.report(InputError(f"frame {id}", expected=f"one of the frames of {info.name}", got="none"))
        elif session.avatar is None or session.avatar_info is None:
            session.report(InputError(f"frame {id}", expected="an open avatar to fit to it", got="none"))
        else:
            self._wanted = id
            self.recording.begin("frame")
            self._returning = self._returning if self._returning == id else None
            self._frames.send(self.request(self.kind, self._recipe(id)))

    def _recipe(self, id: FrameId) -> HeadsetRecipe:
        """How a frame's headset images are made: the headset sits and is lit as it was."""
        before = None if self.session.headset is None else self.session.headset.recipe
        recipe = HeadsetRecipe(self._folder, id.segment, id.number)
        return recipe if before is None else replace(recipe, augmentation=before.augmentation, seed=before.seed)

    def _report_no_capture(self) -> None:
        self.session.report(InputError("capture", expected="an open one", got="none", mend="open its folder first"))

    def _neighbour(self, by: int) -> FrameId | None:
        segment = self.segment()
        if segment is None or self.frame is None:
            return None
        place = segment.frames.index(self.frame) + by
        return segment.frames[place] if 0 <= place < len(segment.frames) else None

    def _tick(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        while self._made:
            id, picture = self._made.popleft()
            self._thumbnails[id] = picture
            if len(self._thumbnails) > THUMBNAILS:
                self._thumbnails.popitem(last=False)
            self.thumbnail_made.emit(id)
        self._recover()
        loaded = None if self._frames is None else self._frames.take()
        if loaded is not None and loaded.id == self._wanted:
            self._use(loaded)
        if self._opening is not None:
            self._take_opened(self._opening)
        if self._check is not None:
            self._take_check(self._check)
        self._playback.tick()
        self._follow(self.session.document.frame)
        self._judge.look(self.truth_of_observation)

    def _recover(self) -> None:
        """After a worker failed: say so, and begin with new ones, that wait to be asked."""
        failures = [w.take_failure() for w in (self._small, self._frames, self._judge.worker) if w is not None]
        for failure in failures:
            if failure is not None and self._capture is not None and self.info is not None:
                self.session.report(failure.error, failure.details)
                self._stop_playing()
                self._want_none()
                self._retire(self._small, self._frames, self._judge.worker)
                self._start_workers(self._capture, self.info)

    def _use(self, loaded: LoadedFrame) -> None:
        """Make a frame that was read the observation."""
        session, segment = self.session, loaded.id.segment
        if loaded.about is not session.avatar_info:  # another avatar was opened meanwhile: make it for that one
            self._ask(loaded.id)
            return
        for made in (loaded.given, *loaded.beside.values()):
            if isinstance(made, HeadsetImages) and made.recipe != self._recipe(loaded.id):
                self._ask(loaded.id)  # the one before was made otherwise meanwhile
                return
        self._wanted = None
        by = self.recording.ended("frame", failed=loaded.error is not None)
        returns = self._returning == loaded.id
        if loaded.error is not None:
            self._stop_playing()
            session.report(loaded.error, by=by)
            if returns:
                self._returning = None
                self._put_frame(loaded.id)  # which is not asked for again
                self._put_truth(None)
            return
        self._put_frame(loaded.id)
        if returns:
            self._returning = None
        self._put_truth(loaded.truth)
        if returns:
            return
        self._given, kind = (loaded.given, *loaded.beside.values()), KINDS[loaded.kind]
        changes: dict[str, Any] = {kind.field: loaded.given, "source": kind.source, **loaded.beside}
        frame = CaptureFrame(self._folder, segment, loaded.id.number)
        if "frontal" not in changes and session.frontal is not None and session.frontal.frame not in (None, frame):
            changes["frontal"] = None  # another frame's photo: what is loaded now must not drive a fit to that
        if self.playing:
            self._playback.show(segment, **changes)
        else:
            session.edit(f"load {loaded.id}", restart=True, **changes)

    def _go_on(self) -> bool:
        """Ask for the next frame, unless one is being read; other observations than its own end the sequence."""
        if self._wanted is not None:
            return True
        following = self._neighbour(1) if self._is_of_frame() else None
        if following is not None:
            self._ask(following)
        return following is not None

    def _follow(self, fitted: CaptureFrame | None) -> None:
        """Undo may have put another frame of this capture back: then that is the one, and its truth is read."""
        if self._frames is None or self._wanted is not None or fitted is None or fitted.capture != self._folder:
            return
        id = FrameId(fitted.segment, fitted.number)
        if id not in (self.frame, self._returning):  # one that cannot be read is asked for once
            self._returning = id
            self._ask(id)
            self.truth_changed.emit(self.truth)  # which is not of what is fitted

    def _is_of_frame(self) -> bool:
        """Whether what is fitted is this frame."""
        fitted, id = self.session.document.frame, self.frame
        return fitted is not None and id is not None and fitted == CaptureFrame(self._folder, id.segment, id.number)

    def _take_opened(self, worker: Worker[None, tuple[str, MultifaceCapture, CaptureInfo]]) -> None:
        done, opened, failure = _result(worker)
        if not done:
            return
        self._opening = None
        by = self.recording.ended("capture", failed=opened is None)
        self.session.busy_changed.emit("")
        if failure is not None:
            self.session.report(failure.error, failure.details, by=by)
        elif opened is not None:
            path, capture, info = opened
            self._put(capture, info)
            if self._returning is not None:
                self._ask(self._returning)
            self.session.opened.emit("capture", [path])
            self.session.told.emit(f"Opened {info.name}, {info.frames:,} frames")

    def _take_check(self, worker: Worker[None, Checked]) -> None:
        done, checked, failure = _result(worker)
        if not done:
            return
        self._check = None
        self.recording.ended("check", failed=checked is None)
        self.checking_changed.emit(False)
        if failure is not None:
            self.session.report(failure.error, failure.details)
        elif checked is not None:
            self.checked = checked
            self.checked_changed.emit(checked)

    def _stop_playing(self) -> None:
        self._playback.put(False)

    def _suit(self, info: AvatarInfo | None) -> None:
        """Load frames as what drives the avatar, until somebody chooses."""
        if info is not None and not self._chosen:
            self._put_kind("keypoints" if info.driving == DRIVES[Source.KEYPOINTS] else "headset")

    def _put_kind(self, kind: str) -> None:
        if kind != self.kind:
            self.kind = kind
            self.kind_changed.emit(kind)

    def _put_frame(self, frame: FrameId | None) -> None:
        self.frame = frame
        self.frame_changed.emit(frame)

    def _put_truth(self, truth: Truth | None) -> None:
        self.truth = truth
        self.truth_changed.emit(truth)
        self._judge.forget()


def _result(worker: Worker[None, Any]) -> tuple[bool, Any, Failure | None]:
    """Whether a worker that makes one thing is done, and what it made or why it failed."""
    alive = worker.alive  # asked first: one that ends after this is read at the next look
    made, failure = worker.take(), worker.take_failure()
    return made is not None or failure is not None or not alive, made, failure
