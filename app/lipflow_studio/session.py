"""The hub. Gestures call its commands, commands change the document, each field has one signal, views listen.

``Session`` is the only place that knows what is open; its runner keeps the workers. Views never call each other and
never see a tensor. Its commands are functions in ``commands/``, one row each below; areas with a state of their own
are parts (``parts/``).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from PySide6.QtCore import QObject, Signal

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.device import choose_device, describe_device
from lipflow.fitting import FitConfig
from lipflow.rendering import renderer_name
from lipflow_studio.commands import Recording, Step, files, fitting, names_of, pinning, undoing, viewing
from lipflow_studio.document import (
    AvatarInfo,
    Document,
    FitUpdate,
    FloatArray,
    FrontalImage,
    HeadsetImages,
    KeypointSet,
    Picture,
    Problem,
    Source,
    Status,
)
from lipflow_studio.edits import Edit, UndoStack
from lipflow_studio.engine import FitRequest, PictureRequest
from lipflow_studio.observing import has_prior, observation_of, prior_in_words, with_config
from lipflow_studio.orbit import Orbit, framing
from lipflow_studio.parts import PARTS, Part
from lipflow_studio.preferences import Preferences
from lipflow_studio.problems import describe_error
from lipflow_studio.runner import Runner
from lipflow_studio.workers import Failure, Failures

UNDO_LIMIT = 500  # edits that can be undone

# The document's fields that views follow, and the signal of each.
ANNOUNCED = (
    ("avatar_info", "avatar_changed"),
    ("headset", "headset_changed"),
    ("frontal", "frontal_changed"),
    ("source", "source_changed"),
    ("keypoints", "keypoints_changed"),
    ("fit_config", "fit_config_changed"),
    ("hold", "hold_changed"),
)
SEEN = ("headset", "frontal", "source")  # the document's fields that say what is seen
OBSERVED = ("keypoints", "hold", *SEEN)  # and all that are fitted to

log = logging.getLogger(__name__)
Kind = TypeVar("Kind", bound=Part)


class Session(QObject):
    """The open avatar, what it is fitted to, and the fit."""

    avatar_changed = Signal(object)  # AvatarInfo
    keypoints_changed = Signal(object)  # KeypointSet
    selection_changed = Signal(object)  # frozenset[int] of landmark positions
    symmetric_changed = Signal(bool)
    headset_changed = Signal(object)  # HeadsetImages | None
    frontal_changed = Signal(object)  # FrontalImage | None
    source_changed = Signal(object)  # Source
    fit_config_changed = Signal(object)  # FitConfig
    hold_changed = Signal(float)
    status_changed = Signal(object)  # Status
    fit_changed = Signal(object)  # FitUpdate | None
    picture_changed = Signal(object)  # Picture
    camera_changed = Signal(object)  # Orbit
    problem_changed = Signal(object)  # Problem | None
    busy_changed = Signal(str)  # what is being loaded, or ""
    told = Signal(str)  # a passing remark for the status bar; empty: the last one holds no more
    opened = Signal(str, object)  # the kind of file and the paths [str] that were opened, for the recent ones
    closed = Signal()  # nothing may be asked of it any more
    observation_sent = Signal(int)  # serial; starts the clock from gesture to picture

    # The commands, a row each.
    open = files.open
    open_avatar = files.open_avatar
    open_keypoints = files.open_keypoints
    open_headset_images = files.open_headset_images
    open_frontal = files.open_frontal
    save_keypoints = files.save_keypoints
    select = pinning.select
    select_all = pinning.select_all
    set_symmetric = pinning.set_symmetric
    move_keypoints = pinning.move_keypoints
    nudge = pinning.nudge
    pin = pinning.pin
    set_strength = pinning.set_strength
    reset_keypoints = pinning.reset_keypoints
    set_source = fitting.set_source
    set_fit_config = fitting.set_fit_config
    set_hold = fitting.set_hold
    start_fit = fitting.start_fit
    pause_fit = fitting.pause_fit
    step_fit = fitting.step_fit
    reset_fit = fitting.reset_fit
    show_code = fitting.show_code
    set_camera = viewing.set_camera
    view_from = viewing.view_from
    reset_camera = viewing.reset_camera
    undo = undoing.undo
    redo = undoing.redo
    dismiss_problem = undoing.dismiss_problem

    def __init__(self, parent: QObject | None = None, preferences: Preferences | None = None) -> None:
        super().__init__(parent)
        self.preferences = preferences or Preferences()
        self.device = choose_device()
        self.device_name = describe_device(self.device)
        self.undo_stack = UndoStack(self)
        self.undo_stack.setUndoLimit(UNDO_LIMIT)
        self.recording = Recording(self._forget_problem)
        self.document = Document()
        self.selection: frozenset[int] = frozenset()
        self.symmetric = False
        self.status: Status = Status.IDLE
        self.fit: FitUpdate | None = None
        self.picture: Picture | None = None
        self.camera = Orbit()
        self.problem: Problem | None = None
        self._told_by = ""  # the command that came to this problem; empty where none did
        self._serial = 0  # of the observation or configuration that was sent last
        self._since = 0  # what the fit says of an earlier one comes too late
        self._failures = Failures()
        self.runner = Runner(self)
        self.runner.picture.connect(self._show_picture)
        self.runner.fitted.connect(self._show_fit)
        self.runner.failed.connect(self._recover)
        self.runner.load_failed.connect(self._tell_load_failed)
        self.runner.busy_changed.connect(self.busy_changed)
        self.parts: dict[str, Part] = {}
        for kind in PARTS:  # one may listen to those above it in the table
            self.parts[kind.name] = kind(self)

    # What is open

    @property
    def avatar(self) -> Avatar | None:
        """The open model itself, for scripts and tests; views take ``avatar_info``."""
        return self.document.avatar

    @property
    def avatar_info(self) -> AvatarInfo | None:
        return self.document.info

    @property
    def keypoints(self) -> KeypointSet | None:
        return self.document.keypoints

    @property
    def headset(self) -> HeadsetImages | None:
        return self.document.headset

    @property
    def frontal(self) -> FrontalImage | None:
        return self.document.frontal

    @property
    def source(self) -> Source:
        return self.document.source

    @property
    def fit_config(self) -> FitConfig | None:
        return self.document.config

    @property
    def hold(self) -> float:
        return self.document.hold

    @property
    def recorded(self) -> list[Step]:
        """The commands given so far, as a script."""
        return self.recording.steps

    @property
    def loading(self) -> bool:
        """Whether something is being opened."""
        return self.runner.loading or any(part.busy for part in self.parts.values())

    @property
    def renderer(self) -> str:
        """What renders for the fit; the first call loads it, which takes a moment."""
        return renderer_name(self.device)

    def part(self, kind: type[Kind]) -> Kind:
        """One of its parts."""
        part = self.parts[kind.name]
        assert isinstance(part, kind)
        return part

    def code(self) -> FloatArray | None:
        """The code of the shown face [Z]."""
        return self.document.code if self.fit is None else self.fit.z

    def handles(self) -> np.ndarray:
        """Where each landmark is grabbed [L, 2]: pinned ones where they were put, the others on the face."""
        assert self.keypoints is not None
        on_face = self.keypoints.given if self.picture is None else self.picture.shape.keypoints
        return np.where(self.keypoints.pinned[:, None], self.keypoints.given, on_face)

    @property
    def home(self) -> Orbit:
        """The camera in front of the open avatar."""
        return Orbit() if self.avatar_info is None else framing(self.avatar_info.vertices)

    # Commands by name

    def command_name(self, name: str) -> str:
        return name

    @staticmethod
    @functools.cache
    def known_commands() -> frozenset[str]:
        """Every command that a script can give."""
        return frozenset(names_of(Session)) | {f"{kind.name}.{name}" for kind in PARTS for name in names_of(kind)}

    def give(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Give a command by its name, as scripts do.

        Raises:
            KeyError: for a command that it does not have.
        """
        if name not in self.known_commands():
            raise KeyError(name)
        part, _, method = name.rpartition(".")
        getattr(self.parts[part] if part else self, method)(*args, **kwargs)

    # What commands are made of

    def load(self, text: str, load: Callable[[], Any], use: Callable[[Any], None]) -> None:
        """Run ``load`` in the loader's thread and ``use`` its result here; a newer load replaces an older one."""

        def loaded(result: Any) -> None:
            self.recording.ended("load", failed=False)
            use(result)

        self.recording.begin("load")
        self.runner.load(text, load, loaded)

    def use_avatar(self, avatar: Avatar, info: AvatarInfo) -> None:
        """Show an avatar that is in memory; undo brings back what was open before, if anything was."""
        fresh = replace(Document.of_avatar(avatar, info), hold=self.hold)
        if self.document.avatar is None:
            self.replace_document(fresh)
        else:
            self.edit(f"open avatar {info.name}", **vars(fresh))
        self.told.emit(f"Opened {info.name}")

    def edit(self, text: str, gesture: Hashable = None, *, restart: bool = False, **changes: Any) -> None:
        """Change fields of the document, so that undo and redo (which show ``text``) put everything back, the face's
        code included. Edits of one ``gesture`` are one step.

        The fit follows: it goes on from the face that is shown, or starts anew with ``restart``. A change of ``code``
        puts that code's face on first.
        """
        before = self.document
        after = with_config(replace(before, **changes), self.device, before)
        do = functools.partial(self._change, restart=restart)
        self.recording.edit()
        self.undo_stack.push(Edit(text, self.present(), after, do=do, put=self._put, now=self.present, gesture=gesture))
        self.tell_prior(before)

    def tell_prior(self, before: Document) -> None:
        """What the fit's prior is, where the edit or the undo since ``before`` changed that: nothing is fitted under it
        where nobody gave something to fit to."""
        after = self.document
        known, words = (prior_in_words(each) if each.has_observation else "" for each in (before, after))
        notable = after.source is Source.FRONTAL or not has_prior(after)
        if words and notable and (after.source is not before.source or words != known):
            self.told.emit(words)

    def replace_document(self, document: Document, *, paused: bool = False) -> None:
        """Another document altogether: nothing of the one before can be brought back."""
        self._put(with_config(document, self.device), paused=paused)
        self.undo_stack.clear()

    def present(self) -> Document:
        """The document with the face as it is now."""
        return replace(self.document, code=self.code())

    def send_observation(self, restart: bool = False, *, once: bool = False) -> None:
        """Hand the current observation to the fit; it goes on from the current code, or starts again.

        With ``once`` it makes one state of it and pauses.
        """
        if self.keypoints is None:
            return
        try:
            observation = observation_of(self.document, self.device)
        except InputError as error:
            self.report(error)
            return
        if once:  # held before, so that no second state comes, and let go after, so that this is what comes
            self.runner.pause()
        self._send(FitRequest(observation, self.source, self.fit_config, restart=restart))
        if once:
            self.runner.step()
        self.observation_sent.emit(self._serial)

    def set_status(self, status: Status) -> None:
        if status is not self.status:
            if self.status is Status.RUNNING and status in (Status.CONVERGED, Status.ENDED):
                self.recording.rest()
            self.status = status
            self.runner.show(PictureRequest(fitting=status is Status.RUNNING))
            self.status_changed.emit(status)

    def put_selection(self, selection: frozenset[int]) -> None:
        if selection != self.selection:
            self.selection = selection
            self.selection_changed.emit(selection)

    def put_symmetric(self, on: bool) -> None:
        if on is not self.symmetric:
            self.symmetric = on
            self.symmetric_changed.emit(on)

    def put_camera(self, camera: Orbit) -> None:
        self.camera = camera
        self.camera_changed.emit(camera)
        self.runner.show(PictureRequest(view=camera.view))

    def put_problem(self, problem: Problem | None, by: str = "") -> None:
        self.problem, self._told_by = problem, by
        self.problem_changed.emit(problem)

    def report(self, error: Exception, details: str = "", by: str = "") -> None:
        """Show an error in the banner: one line, with details to copy.

        It goes when the command that came to it succeeds later: that one which runs, or else ``by``, which has run.
        """
        self.recording.refuse()
        problem = describe_error(error, details)
        log.error("%s", problem.line, extra={"details": problem.details})
        self.put_problem(problem, self.recording.running or by)

    def close(self) -> bool:
        """End all workers; True if none is left."""
        self.closed.emit()
        self.undo_stack.blockSignals(True)  # it says that it is empty even while it is destroyed
        ended = [self.runner.close(), *(part.close() for part in self.parts.values())]
        return all(ended)

    # Inside: from one document to the next

    def _announce(self, document: Document) -> None:
        """Make this the document and tell what is another in it."""
        another, old = document.avatar is not self.document.avatar, [getattr(self, name) for name, _ in ANNOUNCED]
        self.document = document
        if another:
            self.picture = None
        for (name, signal), value in zip(ANNOUNCED, old):
            if getattr(self, name) is not value:
                getattr(self, signal).emit(getattr(self, name))
        if another:
            self.put_selection(frozenset())
            self.put_camera(self.home)

    def _change(self, document: Document, restart: bool) -> None:
        """Make an edit's document the present one; the fit follows."""
        before = self.document
        anew = document.avatar is not before.avatar or document.code is not before.code
        self._announce(document)
        if anew:
            self._begin(restart)
        elif restart or _observes_otherwise(before, document):
            self._follow(restart, once=self.runner.paused and (restart or _sees_otherwise(before, document)))
        elif document.config is not before.config and self.fit is not None:
            self._send(FitRequest(config=document.config))

    def _follow(self, restart: bool, once: bool) -> None:
        """Let the fit follow the document. A held one shows its first state of it (a restarted one the prior's guess);
        what it has of the observation before is let go."""
        if once:
            self.document = replace(self.document, code=self.code())
            self._put_no_fit()
        self.send_observation(restart, once=once)
        if once:
            self._since = self._serial

    def _put(self, document: Document, paused: bool | None = None) -> None:
        """Bring a document back as it was, its face's code included."""
        self._announce(document)
        self._begin(paused=paused)

    def _begin(self, restart: bool = False, paused: bool | None = None) -> None:
        """New workers from the document's code; the fit goes on where there is something to fit to."""
        document = self.document
        held = self.runner.paused if paused is None else paused
        self._work()
        self._put_no_fit()
        self.set_status(Status.IDLE)
        if document.has_observation:
            self.send_observation(restart, once=held)

    def _send(self, request: FitRequest) -> None:
        self._serial += 1
        if not self.runner.running:  # they failed, and this may go better
            self._work()
        self.runner.fit(replace(request, serial=self._serial))
        self.set_status(Status.PAUSED if self.runner.paused else Status.RUNNING)

    # Inside: what the workers say

    def _show_picture(self, picture: Picture) -> None:
        if self.picture is None:
            rehearsed = observation_of(self.document, self.device)
            self.runner.fit(FitRequest(rehearsed, config=self.fit_config, rehearse=True))
        self.picture = picture
        self.picture_changed.emit(picture)

    def _show_fit(self, update: FitUpdate) -> None:
        if update.serial < self._since:
            return
        self.fit = update
        if not update.running and update.serial == self._serial:
            self.set_status(Status.CONVERGED if update.converged else Status.ENDED)
        self.fit_changed.emit(update)

    def _recover(self, failure: Failure) -> None:
        """After a worker failed: say so, and go on with new ones from the face that was shown."""
        self.report(failure.error, failure.details)
        self.document = self.present()
        if self._failures.forgivable():
            self._work()
        self._put_no_fit()
        self.set_status(Status.IDLE)

    def _tell_load_failed(self, failure: Failure) -> None:
        self.report(failure.error, failure.details, by=self.recording.ended("load", failed=True))

    def _forget_problem(self, command: str) -> None:
        """A command succeeded: what it told when it was given before holds no more."""
        if self.problem is not None and command == self._told_by:
            self.put_problem(None)

    def _put_no_fit(self) -> None:
        self.fit = None
        self.fit_changed.emit(None)

    def _work(self) -> None:
        """New workers, from the document's code."""
        document = self.document
        assert document.avatar is not None
        assert document.info is not None
        assert document.code is not None
        self.runner.start(document.avatar, document.info, document.code, self.camera.view)


def _sees_otherwise(before: Document, after: Document) -> bool:
    return any(getattr(after, name) is not getattr(before, name) for name in SEEN)


def _observes_otherwise(before: Document, after: Document) -> bool:
    """Whether there is something else to fit to. Where nobody gave anything, before or after, there is not."""
    if after.source is not before.source:
        return True
    given = before.has_observation or after.has_observation
    return given and any(getattr(after, name) is not getattr(before, name) for name in OBSERVED)
