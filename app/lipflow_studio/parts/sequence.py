"""The open sequence: files that give an observation a frame, and the frame that is fitted at present."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow.capture import FrameId
from lipflow.checks import InputError
from lipflow.sequence_files import FrameSequence
from lipflow_studio import sequence_work
from lipflow_studio.commands import command
from lipflow_studio.commands.files import put_headset
from lipflow_studio.document import HeadsetImages, KeypointSet
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.playback import Playback
from lipflow_studio.sequence_work import KINDS, Given, Opened, Read, SequenceInfo, Wanted
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

TICK_MS = 20


@dataclass(frozen=True)
class _Asked:
    """A frame that was asked for and is being read."""

    wanted: Wanted
    gesture: Hashable  # of those that are one step to undo


def _same_gesture(index: int, gesture: Hashable = None) -> Hashable:
    return gesture


class Sequences(Part):
    """Its frames become the document's observation by edits like any other. Which frame that is follows the document:
    undo brings back a frame with its place, and other images leave the sequence, until undo or ``show`` come back."""

    name: ClassVar[str] = "sequence"

    info_changed = Signal(object)  # SequenceInfo | None
    frame_changed = Signal(object)  # int | None: the frame that is the document's observation
    playing_changed = Signal(bool)
    loop_changed = Signal(bool)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.info: SequenceInfo | None = None
        self.frame: int | None = None
        self.loop = False
        self.playback = Playback(session, self._go_on, self)
        self.playback.changed.connect(self.playing_changed)
        self.playback.taken_back.connect(self._want_none)
        self._reader: Worker[Wanted, Read] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._sequence: FrameSequence | None = None
        self._asked: _Asked | None = None
        self._places: dict[int, tuple[weakref.ref[Any], int | None]] = {}  # which frame observations are of, by id
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        session.avatar_changed.connect(lambda _: self._put_frame(None))
        for changed in (session.headset_changed, session.frontal_changed, session.keypoints_changed):
            changed.connect(lambda _: self._follow())
        session.opened.connect(lambda kind, _: self._leave_keypoints() if kind == "keypoints" else None)

    # Commands

    @command()
    def open(self, paths: list[str]) -> None:
        """Open a sequence: a folder of headset images, a video or three, keypoints in time, photographs with their
        camera. Its first frame is fitted to."""
        session, files = self.session, [Path(path) for path in paths]
        current, about = session.avatar, session.avatar_info

        def use(opened: Opened) -> None:
            if session.avatar_info is not about:  # another avatar was opened meanwhile: make it for that one
                opened.sequence.close()
                self.open(paths)
                return
            self._put(opened.sequence, opened.info)
            self._know(self._given(), None)
            self._know(opened.given, 0)
            self._show_first(opened)
            session.opened.emit("sequence", paths)
            session.told.emit(f"Opened {opened.info.name}, {opened.info.length:,} frames")

        name = files[0].name if files else "a sequence"
        session.load(f"Opening {name}", lambda: sequence_work.opened(files, current, about, session.device), use)

    @command(same=_same_gesture)
    def show(self, index: int, gesture: Hashable = None) -> None:
        """Fit to frame ``index``, from 0, going on from the shown face. Those of one gesture are one step to undo."""
        self.playback.put(False)
        self._ask(index, gesture)

    @command()
    def step(self, by: int = 1) -> None:
        """Show a frame further on, or back."""
        self.playback.put(False)
        following = self._following(by)
        if self.info is None or following is not None:
            self._ask(0 if following is None else following)

    @command()
    def play(self, on: bool = True) -> None:
        """Play from the present frame on: each is the observation until its fit has come to rest."""
        if self.info is None:
            self._report_none()
            return
        if on and (self.frame is None or self._following(1) is None):
            self._ask(0)
        self.playback.put(bool(on) and self.info is not None)

    @command()
    def set_loop(self, on: bool) -> None:
        """Begin anew after the last frame."""
        self._put_loop(bool(on))

    @command()
    def end(self) -> None:
        """Close the sequence; the frame that is shown stays what is fitted to."""
        self._put(None, None)

    # What views ask

    @property
    def moment(self) -> FrameId | None:
        """The frame that is fitted to, named as a capture's are."""
        return None if self.info is None or self.frame is None else FrameId(self.info.name, self.frame)

    @property
    def playing(self) -> bool:
        return self.playback.on

    @property
    def at_rest(self) -> bool:
        return not self.playing

    def _put_loop(self, on: bool) -> None:
        if on is not self.loop:
            self.loop = on
            self.loop_changed.emit(on)

    @property
    def busy(self) -> bool:
        return self._asked is not None and not self.playing

    def saved(self) -> Mapping[str, Any]:
        if self.info is None or self.frame is None:
            return {}
        paths = [str(Path(path).absolute()) for path in self.info.paths]
        return {"paths": paths, "frame": self.frame, "loop": self.loop}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The sequence is opened again; the document holds the frame already."""
        self._put(None, None)
        self._put_loop(bool(saved.get("loop", False)))
        if not saved:
            return
        paths, frame = saved.get("paths"), saved.get("frame")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths) or type(frame) is not int:
            raise InputError("session, sequence", expected="its files and a frame", got=repr(dict(saved))[:60])
        session, about = self.session, self.session.avatar_info
        held = {kind: getattr(session, row.field) for kind, row in KINDS.items()}

        def use(opened: tuple[FrameSequence, SequenceInfo]) -> None:
            sequence, info = opened
            self._put(sequence, info)
            if frame < info.length:
                self._know(held[info.kind], frame)
                self._follow()

        files = [Path(path) for path in paths]
        session.load(f"Opening {files[0].name}", lambda: sequence_work.open_again(files, about), use)

    def close(self) -> bool:
        self._timer.stop()
        self._asked = None
        self._retire()
        return all([worker.stop() for worker in self._retired])

    # Inside

    def _put(self, sequence: FrameSequence | None, info: SequenceInfo | None) -> None:
        self.playback.put(False)
        self._retire()
        self._sequence, self._asked = sequence, None
        self._places.clear()
        self._put_frame(None)
        self.info = info
        self.playback.fps = None if info is None else info.fps
        self._timer.start()
        self._read()
        self.info_changed.emit(info)

    def _read(self) -> None:
        """A worker that reads what is open."""
        sequence = self._sequence
        if sequence is not None:
            self._reader = Worker[Wanted, Read](lambda: sequence_work.reading(sequence), name="sequence").start()

    def _retire(self) -> None:
        if self._reader is not None:
            self._reader.ask_to_stop()
            self._retired.append(self._reader)
            self._reader = None

    def _show_first(self, opened: Opened) -> None:
        text = f"open {opened.info.name}"
        if isinstance(opened.given, HeadsetImages):
            put_headset(self.session, text, opened.given, opened.avatar, opened.about)
        else:
            self.session.edit(text, restart=True, **self._changes(opened.given))

    def _want_none(self) -> None:
        self._asked = None

    def _ask(self, index: int, gesture: Hashable = None) -> bool:
        """Let a frame be read; whether it can be."""
        session, info = self.session, self.info
        if info is None or self._reader is None:
            self._report_none()
        elif type(index) is not int or not 0 <= index < info.length:
            session.report(InputError("frame", expected=f"0 to {info.length - 1}", got=repr(index)))
        elif session.avatar_info is None:
            session.report(InputError("frame", expected="an open avatar to fit to it", got="none"))
        else:
            self._asked = _Asked(Wanted(index, session.avatar_info), gesture)
            self.recording.begin("sequence")
            self._reader.send(self._asked.wanted)
            return True
        return False

    def _report_none(self) -> None:
        mend = "open a folder, a video or keypoints in time first"
        self.session.report(InputError("sequence", expected="an open one", got="none", mend=mend))

    def _following(self, by: int) -> int | None:
        """The frame so much further on; round the end in a loop."""
        if self.info is None or self.frame is None:
            return None
        place = self.frame + by
        return place % self.info.length if self.loop else place if 0 <= place < self.info.length else None

    def _go_on(self) -> bool:
        if self._asked is not None:
            return True
        following = self._following(1)
        return following is not None and self._ask(following)

    def _tick(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._reader is None:
            if not self._retired:
                self._timer.stop()
            return
        read, failure = self._reader.take(), self._reader.take_failure()
        if failure is not None:
            self.playback.put(False)
            self._asked = None
            self.recording.ended("sequence", failed=True)
            self._retire()
            self._read()
            self.session.report(failure.error, failure.details)
        elif read is not None and self._asked is not None and read.wanted is self._asked.wanted:
            self._use(read, self._asked)
        self.playback.tick()

    def _use(self, read: Read, asked: _Asked) -> None:
        """Make a frame that was read the observation."""
        session, info = self.session, self.info
        assert info is not None
        self._asked = None
        if read.wanted.about is not session.avatar_info:  # another avatar was opened meanwhile: make it for that one
            self._ask(read.wanted.index, asked.gesture)
        elif read.given is None:
            self.playback.put(False)
            by = self.recording.ended("sequence", failed=True)
            assert read.error is not None
            session.report(read.error, by=by)
        else:
            self.recording.ended("sequence", failed=False)
            came_from = self.frame
            self._know(read.given, read.wanted.index)
            if self.playing:
                self.playback.show(info.name, **self._changes(read.given))
            else:
                text = f"frame {read.wanted.index + 1} of {info.name}"
                session.edit(text, asked.gesture, restart=came_from is None, **self._changes(read.given))

    def _changes(self, given: Given) -> dict[str, Any]:
        """What an observation is in the document."""
        assert self.info is not None
        kind = KINDS[self.info.kind]
        return {kind.field: given, "source": kind.source}

    def _given(self) -> Given | None:
        """The document's observation of the sequence's kind."""
        given: Given | None = None if self.info is None else getattr(self.session, KINDS[self.info.kind].field)
        return given

    def _know(self, given: Given | None, index: int | None) -> None:
        """This observation is of that frame, or of none, wherever it comes from: the reader, undo, a session file."""
        self._places = {key: (kept, at) for key, (kept, at) in self._places.items() if kept() is not None}
        if given is not None:
            self._places[id(given)] = weakref.ref(given), index

    def _follow(self) -> None:
        """Another observation: which frame it is of. Dragged keypoints are still of theirs, a capture's of none."""
        if self.info is None:
            return
        given = self._given()
        kept, index = self._places.get(id(given), (None, None))
        if kept is None or kept() is not given:
            dragged = isinstance(given, KeypointSet) and not self.session.part(Captures).gave(given)
            index = self.frame if dragged else None
            self._know(given, index)
        self._put_frame(index)

    def _leave_keypoints(self) -> None:
        """Keypoints came from elsewhere."""
        if self.info is not None and self.info.kind == "keypoints":
            self._know(self._given(), None)
            self._put_frame(None)

    def _put_frame(self, frame: int | None) -> None:
        if frame == self.frame:
            return
        if frame is None:
            self.playback.put(False)
            self._asked = None
        self.frame = frame
        self.frame_changed.emit(frame)
