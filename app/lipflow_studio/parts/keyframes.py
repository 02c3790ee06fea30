"""Keyframes: codes that a way through the latent space joins, and the playing of that way."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.document import FloatArray, Status
from lipflow_studio.edits import Edit
from lipflow_studio.latent_engine import SPACES, Keys, code_at
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.latent import Latent

if TYPE_CHECKING:
    from lipflow_studio.session import Session

FRAME_MS = 33
LONGEST_S = 120.0
PLAY = "play of the keyframes"
SETTINGS = {"duration": "the duration", "loop": "the loop", "space": "the space of the way"}


@dataclass(frozen=True, eq=False)
class KeyPath:
    """Keyframes, evenly spaced in time, and how they are joined."""

    keys: tuple[FloatArray, ...] = ()  # each [Z], of Q
    duration: float = 4.0  # seconds from the first to the last, or once around
    loop: bool = False  # whether the way closes and is played again and again
    space: str = "q"  # where the way is smooth: one of SPACES

    def __post_init__(self) -> None:
        number = isinstance(self.duration, int | float) and not isinstance(self.duration, bool)
        wanted: tuple[tuple[str, bool, str], ...] = (
            ("duration", number and 0.1 <= self.duration <= LONGEST_S, f"0.1 to {LONGEST_S:g} seconds"),
            ("loop", isinstance(self.loop, bool), "true or false"),
            ("space", self.space in SPACES, " or ".join(SPACES)),
        )
        for name, right, expected in wanted:
            if not right:
                raise InputError(name, expected=expected, got=repr(getattr(self, name)))

    def time_of(self, index: int) -> float:
        """Where a keyframe is on the way, 0 to 1."""
        return index / max(len(self.keys) - (0 if self.loop else 1), 1)


def _same_fields(**changes: Any) -> Hashable:
    return tuple(sorted(changes))


class Keyframes(Part):
    """Each avatar has its own; every change of them can be undone."""

    name: ClassVar[str] = "keyframes"

    path_changed = Signal(object)  # KeyPath
    playing_changed = Signal(bool)
    position_changed = Signal(float)  # on the way, 0 to 1

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.path = KeyPath()
        self.position = 0.0
        self.playing = False
        self._paths: WeakKeyDictionary[Avatar, KeyPath] = WeakKeyDictionary()
        self._began = 0.0  # when the position was 0, by the clock
        self._timer = QTimer(self, interval=FRAME_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        session.avatar_changed.connect(lambda _: self._change_avatar())
        session.status_changed.connect(self._give_way)

    @property
    def latent(self) -> Latent:
        return self.session.part(Latent)

    # Commands

    @command()
    def add(self, index: int | None = None) -> None:
        """Add the shown face, behind all others or in front of the one at ``index``."""
        code = self.latent.shown()
        if code is None:
            self.session.report(InputError("keyframe", expected="an open avatar", got="none"))
            return
        keys = list(self.path.keys)
        keys.insert(len(keys) if index is None else index, np.array(code, np.float32))
        self._edit("addition of a keyframe", keys=tuple(keys))

    @command()
    def remove(self, index: int) -> None:
        """Take a keyframe out."""
        if self._is_there(index):
            keys = self.path.keys
            self._edit(f"removal of keyframe {index + 1}", keys=keys[:index] + keys[index + 1 :])

    @command()
    def move(self, index: int, to: int) -> None:
        """Give a keyframe another place in the order."""
        if self._is_there(index) and self._is_there(to) and to != index:
            keys = list(self.path.keys)
            keys.insert(to, keys.pop(index))
            self._edit(f"move of keyframe {index + 1}", keys=tuple(keys))

    @command()
    def clear(self) -> None:
        """Take all keyframes out."""
        if self.path.keys:
            self._edit("removal of all keyframes", keys=())

    @command()
    def show(self, index: int) -> None:
        """Put a keyframe's face on."""
        if self._is_there(index):
            self.stop()
            self._put_position(self.path.time_of(index))
            self.session.show_code(self.path.keys[index].tolist(), f"show of keyframe {index + 1}")

    @command(same=_same_fields)
    def set_path(self, **changes: Any) -> None:
        """Change ``duration``, ``loop`` or ``space``."""
        names = tuple(sorted(changes))
        unknown = [name for name in names if name not in SETTINGS]
        if unknown:
            self.session.report(InputError("keyframes", expected=" or ".join(SETTINGS), got=", ".join(unknown)))
        elif any(getattr(self.path, name) != value for name, value in changes.items()):
            text = "change of " + " and ".join(SETTINGS[name] for name in names)
            self._edit(text, gesture=("keyframes", names), **changes)

    @command()
    def play(self) -> None:
        """Play the way from where it stands; from its start where it stands at its end."""
        if self.playing:
            return
        if len(self.path.keys) < 2:
            expected, mend = "at least 2", "add the shown face as a keyframe first"
            self.session.report(InputError("keyframes", expected=expected, got=len(self.path.keys), mend=mend))
            return
        self.latent.join(self.wanted())
        start = self.position if self.position < 1 else 0.0
        self._began = time.monotonic() - start * self.path.duration
        self._put_playing(True)

    @command()
    def stop(self) -> None:
        """Stop playing; the face that is shown then stays."""
        if self.playing:
            self._put_playing(False)
            QTimer.singleShot(0, self.latent.settle)

    def toggle(self) -> None:
        """Play or stop: gives the command that does it."""
        if self.playing:
            self.stop()
        else:
            self.play()

    def scrub(self, position: float) -> None:
        """Show the face at a position of the way, 0 to 1; when it rests, it becomes the document's."""
        if self.playing:
            self.stop()
        way = self.latent.way
        self._put_position(min(max(position, 0.0), 1.0))
        if way is not None:
            self.latent.preview(code_at(way, self.position), "scrub of the keyframes")

    def wanted(self) -> Keys:
        """The keyframes as who joins them takes them."""
        keys = self.path.keys
        return Keys(np.stack(keys) if keys else np.zeros((0, 0), np.float32), self.path.space, self.path.loop)

    # Part

    def saved(self) -> Mapping[str, Any]:
        keys = {"keys": np.stack(self.path.keys)} if self.path.keys else {}
        return {"duration": self.path.duration, "loop": self.path.loop, "space": self.path.space, **keys}

    def restore(self, saved: Mapping[str, Any]) -> None:
        keys, info = np.asarray(saved.get("keys", np.zeros((0, 0))), np.float32), self.session.avatar_info
        width = 0 if info is None else len(info.start)
        if len(keys) and (keys.ndim != 2 or keys.shape[1] != width or not np.isfinite(keys).all()):
            raise InputError("keyframes", expected=f"codes of {width} finite numbers", got=f"an array {keys.shape}")
        settings = {name: saved[name] for name in SETTINGS if name in saved}
        self._put(KeyPath(tuple(np.array(key) for key in keys), **settings))

    def close(self) -> bool:
        self._timer.stop()
        return True

    # Inside

    def _is_there(self, index: int) -> bool:
        there = 0 <= index < len(self.path.keys)
        if not there:
            self.session.report(InputError("keyframe", expected=f"one of {len(self.path.keys)}", got=index))
        return there

    def _edit(self, text: str, gesture: Hashable = None, **changes: Any) -> None:
        try:
            after = replace(self.path, **changes)
        except InputError as error:
            self.session.report(error)
            return
        edit = Edit(text, self.path, after, do=self._put, put=self._put, now=lambda: self.path, gesture=gesture)
        self.session.undo_stack.push(edit)

    def _put(self, path: KeyPath) -> None:
        rejoin = path.keys is not self.path.keys or (path.space, path.loop) != (self.path.space, self.path.loop)
        self.path = path
        if self.session.avatar is not None:
            self._paths[self.session.avatar] = path
        if rejoin:
            if self.playing and len(path.keys) < 2:
                self.stop()
            self.latent.join(self.wanted())
        if len(path.keys) < 2:  # there is no way to be on
            self._put_position(0.0)
        self._began = time.monotonic() - self.position * path.duration
        self.path_changed.emit(path)

    def _change_avatar(self) -> None:
        avatar = self.session.avatar
        path = KeyPath() if avatar is None else self._paths.get(avatar, KeyPath())
        if path is not self.path and (path.keys or self.path.keys):
            self._put_playing(False)
            self._put(path)
            self._put_position(0.0)

    def _give_way(self, status: Status) -> None:
        """A fit that was started shows its own faces."""
        if status is Status.RUNNING:
            self._put_playing(False)

    def _put_playing(self, on: bool) -> None:
        if on is not self.playing:
            self.playing = on
            if on:
                self._timer.start()
            else:
                self._timer.stop()
            self.playing_changed.emit(on)

    def _put_position(self, position: float) -> None:
        if position != self.position:
            self.position = position
            self.position_changed.emit(position)

    def _tick(self) -> None:
        way = self.latent.way
        if way is None:  # not joined yet
            self._began = time.monotonic() - self.position * self.path.duration
            return
        passed = (time.monotonic() - self._began) / self.path.duration
        position = math.fmod(passed, 1.0) if self.path.loop else min(passed, 1.0)
        self._put_position(position)
        self.latent.preview(code_at(way, position), PLAY, settle=False)
        if passed >= 1 and not self.path.loop:
            self._put_playing(False)
            self.latent.settle()
