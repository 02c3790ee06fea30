"""The latent view's side of the Session: P and Q of the open avatar, draws from the prior, moves along components."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PySide6.QtCore import QTimer, Signal

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio import latent_engine
from lipflow_studio.commands import command
from lipflow_studio.document import FloatArray, Source, Status
from lipflow_studio.latent_engine import (
    SPACES,
    Draw,
    Keys,
    LatentRequest,
    LatentState,
    Move,
    Places,
    draw_code,
    explore,
)
from lipflow_studio.observing import driver
from lipflow_studio.parts.base import Part
from lipflow_studio.workers import Failures, Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

POLL_MS = 20
TELL_S = 0.1  # at least so long between two reports of face and fit to the worker
SETTLE_MS = 350  # of rest, until a moved face becomes the document's
COLOURS = ("segment", "input")
MOST_DRAWS = 500
MOST_FRAMES = 30


@dataclass(frozen=True)
class LatentOptions:
    """How the latent view shows the spaces, and what is drawn from the prior."""

    dimensions: int = 2  # of the pictures: 2 or 3
    colour: str = "segment"  # what training frames are coloured by: one of COLOURS
    segment: str = ""  # the only one in colour; "" for all
    capture: bool = False  # whether the open capture's frames are placed among them
    space: str = "q"  # whose components have the sliders: one of SPACES
    temperature: float = 1.0  # factor on the prior's spread
    draws: int = 100  # for each input
    frames: int = 0  # so many training frames are the inputs; 0: the present one is
    follow: bool = True  # draw again when the input changes
    seed: int = 0  # of the draws

    def __post_init__(self) -> None:
        number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        wanted: tuple[tuple[str, bool, str], ...] = (
            ("dimensions", self.dimensions in (2, 3), "2 or 3"),
            ("colour", self.colour in COLOURS, " or ".join(COLOURS)),
            ("segment", isinstance(self.segment, str), "a segment's name"),
            ("capture", isinstance(self.capture, bool), "true or false"),
            ("space", self.space in SPACES, " or ".join(SPACES)),
            ("temperature", number and 0 <= self.temperature <= 3, "a number between 0 and 3"),
            ("draws", _is_whole(self.draws) and 1 <= self.draws <= MOST_DRAWS, f"1 to {MOST_DRAWS}"),
            ("frames", _is_whole(self.frames) and 0 <= self.frames <= MOST_FRAMES, f"0 to {MOST_FRAMES}"),
            ("follow", isinstance(self.follow, bool), "true or false"),
            ("seed", _is_whole(self.seed) and self.seed >= 0, "a whole number"),
        )
        for name, right, expected in wanted:
            if not right:
                raise InputError(name, expected=expected, got=repr(getattr(self, name)))

    @property
    def draw(self) -> Draw:
        return Draw(self.frames, self.draws, self.temperature, self.seed, self.follow)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _same_fields(**changes: Any) -> Hashable:
    return tuple(sorted(changes))


# The state's fields that views follow, and the signal of each.
ANNOUNCED = (
    ("space", "space_changed"),
    ("signal", "signal_changed"),
    ("drawn", "drawn_changed"),
    ("trail", "trail_changed"),
    ("place", "place_changed"),
    ("way", "way_changed"),
)


class Latent(Part):
    """Its worker starts when a view looks or a command needs it, and ends with the avatar."""

    name: ClassVar[str] = "latent"

    options_changed = Signal(object)  # LatentOptions
    space_changed = Signal(object)  # LatentSpace | None
    signal_changed = Signal(object)  # str: what drives the prior | None
    drawn_changed = Signal(object)  # Drawn | None
    trail_changed = Signal(object)  # Places of the fit, oldest first | None
    place_changed = Signal(object)  # Places of the shown face's code | None
    way_changed = Signal(object)  # Places through the keyframes | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.options = LatentOptions()
        self.state: LatentState | None = None
        self._avatar: Avatar | None = session.avatar
        self._worker: Worker[LatentRequest, LatentState] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._failures = Failures()
        self._watchers: set[object] = set()
        self._keys: Keys | None = None  # whose way is wanted
        self._drawn = False  # whether the worker was asked for draws
        self._stale = True  # the worker does not know the shown face
        self._told = 0.0
        self._preview: FloatArray | None = None  # a face that is shown and is not the document's
        self._text = ""  # what undo will call it
        self._moves = 0
        self._poll_timer = QTimer(self, interval=POLL_MS)
        self._poll_timer.timeout.connect(self._poll)
        self._settle_timer = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._settle_timer.timeout.connect(self.settle)
        for signal in (session.picture_changed, session.headset_changed, session.source_changed):
            signal.connect(lambda _: self._mark_stale())
        session.fit_changed.connect(lambda update: self.drop() if update is None else self._mark_stale())
        session.avatar_changed.connect(lambda _: self._change_avatar())
        session.observation_sent.connect(lambda _: self.drop())

    # Commands

    @command(same=_same_fields)
    def set_options(self, **changes: Any) -> None:
        """Change fields of ``LatentOptions``."""
        try:
            after = replace(self.options, **changes)
        except (InputError, TypeError) as error:
            self.session.report(error)
            return
        if after == self.options:
            return
        redraw, self.options = after.draw != self.options.draw, after
        self.options_changed.emit(after)
        if redraw:
            self._revive()
            self._ask_for_draws()

    @command()
    def draw(self) -> None:
        """Draw other codes from the prior."""
        self.set_options(seed=self.options.seed + 1)

    @command()
    def sample(self) -> None:
        """Put one draw of the prior on."""
        avatar, signal, code = self.session.avatar, self.signal(), self.session.code()
        if avatar is None or signal is None or code is None:
            return
        temperature, seed = self.options.temperature, self.options.seed + 1

        def use(z: FloatArray) -> None:
            self.recording.call(self.set_options, (), {"seed": seed})
            self.recording.call(self.session.show_code, (z.tolist(), "sample of the prior"), {})

        load: Callable[[], FloatArray] = lambda: draw_code(avatar, signal, temperature, seed)  # noqa: E731
        self.session.load("Sampling the prior", load, use)

    # Looking and moving

    def watch(self, watcher: object, on: bool) -> None:
        """A view looks, or looks away: only while one does, face and fit are followed."""
        (self._watchers.add if on else self._watchers.discard)(watcher)
        self._stale = True
        if on:
            self.wake()

    def wake(self) -> None:
        """See to it that there is a worker."""
        avatar, info = self.session.avatar, self.session.avatar_info
        if self._worker is not None or avatar is None or info is None:
            return
        self._worker = Worker(lambda: explore(avatar, info.start), name="latent", merge=LatentRequest.merge).start()
        self._stale, self._drawn = True, False
        if self._keys is not None:
            self._worker.send(LatentRequest(keys=self._keys))
        self._poll_timer.start()

    def join(self, keys: Keys) -> None:
        """Have a way made through keyframes (none: no way); ``way_changed`` brings it."""
        self._keys = keys
        if self._worker is not None:
            self._worker.send(LatentRequest(keys=keys))
        elif len(keys.codes) > 1:
            self.wake()

    def move(self, axis: int, to: float) -> None:
        """Shift the shown face's code along a component of the options' space until its coordinate is ``to``.

        The face follows at once; when it rests, it becomes the document's, as one edit.
        """
        self._revive()
        z = self.shown()
        if self._worker is None or z is None:
            return
        self._hold_fit()
        self._moves += 1
        self._text = f"move along {self.options.space.upper()}{axis + 1}"
        self._settle_timer.start()
        self._worker.send(LatentRequest(move=Move(z, self.options.space, axis, to, self._moves)))

    def preview(self, z: FloatArray, text: str, *, settle: bool = True) -> None:
        """Show a face for the moment; when it rests, or at ``settle()``, it becomes the document's as edit ``text``."""
        self._hold_fit()
        self._preview, self._text = z, text
        self.session.runner.preview(z)
        self._stale = True
        if settle:
            self._settle_timer.start()
        else:
            self._settle_timer.stop()

    def settle(self) -> None:
        """Make the face that is shown for the moment the document's."""
        self._settle_timer.stop()
        z, self._preview = self._preview, None
        if z is not None:
            self.session.show_code(z.tolist(), self._text)

    def drop(self) -> None:
        """Forget the face that is shown for the moment: something else is done to the document's."""
        self._settle_timer.stop()
        self._preview = None
        self._moves += 1  # the answer to an open move comes too late
        self._stale = True

    @property
    def way(self) -> Places | None:
        """Through the keyframes, once it is made."""
        return None if self.state is None else self.state.way

    def shown(self) -> FloatArray | None:
        """The code of the shown face [Z]."""
        return self.session.code() if self._preview is None else self._preview

    def signal(self) -> latent_engine.Signal | None:
        """What drives the prior now; None where nothing is open."""
        session, code = self.session, self.session.code()
        if session.avatar_info is None or code is None:
            return None
        if session.avatar_info.driving == "kpt":
            driving: FloatArray | None = session.handles().astype(np.float32).clip(0, 1)
        elif driver(session.document) is Source.HEADSET and session.headset is not None:
            driving = session.headset.images
        else:
            driving = None
        return latent_engine.Signal(driving, code)

    # Part

    def saved(self) -> Mapping[str, Any]:
        return dataclasses.asdict(self.options)

    def restore(self, saved: Mapping[str, Any]) -> None:
        names = {field.name for field in dataclasses.fields(LatentOptions)}
        unknown = sorted(set(saved) - names)
        if unknown:
            raise InputError("latent", expected=" or ".join(sorted(names)), got=", ".join(unknown))
        self.options = LatentOptions(**saved)
        self.options_changed.emit(self.options)
        if self._worker is not None:
            self._ask_for_draws()

    def close(self) -> bool:
        self._poll_timer.stop()
        self._settle_timer.stop()
        self._watchers.clear()
        self._retire()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    # Inside

    def _hold_fit(self) -> None:
        if self.session.status is Status.RUNNING:
            self.session.pause_fit()

    def _mark_stale(self) -> None:
        self._stale = True

    def _change_avatar(self) -> None:
        if self.session.avatar is self._avatar:
            return
        self._avatar, self._keys = self.session.avatar, None
        self.drop()
        self._retire()
        self._show(None)
        self._revive()

    def _revive(self) -> None:
        """Where somebody looks, there is a worker again although one failed."""
        if self._watchers:
            self.wake()

    def _retire(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._worker is None:
            return
        state, failure = self._worker.take(), self._worker.take_failure()
        if state is not None:
            self._show(state)
        if failure is not None:
            self._retire()
            self.session.report(failure.error, failure.details)
            if self._failures.forgivable():
                self._revive()
            return
        now = time.monotonic()
        if self._watchers and self._stale and self.state is not None and now - self._told >= TELL_S:
            self._told, self._stale = now, False
            self._tell()
        if self._watchers and not self._drawn and self.state is not None:
            self._ask_for_draws()

    def _tell(self) -> None:
        """The worker is told of the shown face, what drives the prior, and the fit's way."""
        code = self.shown()
        if self._worker is None or code is None:
            return
        signal = self.signal() if self._preview is None else None
        self._worker.send(LatentRequest(signal=signal, place=code, trail=self.session.runner.trail.read()))

    def _ask_for_draws(self) -> None:
        if self._worker is not None:
            self._drawn = True
            self._worker.send(LatentRequest(draw=self.options.draw))

    def _show(self, state: LatentState | None) -> None:
        """Make this the state and tell what is another in it."""
        before, self.state = self.state, state
        for name, signal in ANNOUNCED:
            value = getattr(state, name, None)
            if value is not getattr(before, name, None):
                getattr(self, signal).emit(value)
        moved = None if state is None else state.moved
        if moved is not None and (before is None or moved is not before.moved) and moved.number == self._moves:
            self._preview = moved.z
            self._settle_timer.start()
            self.session.runner.preview(moved.z)
