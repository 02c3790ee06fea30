"""What the latent view's worker does: codes carried between P and Q and into their planes. Torch lives here.

A plain generator (see :mod:`lipflow_studio.workers`). What is asked for is done in the order of ``JOBS``, what a hand
waits for first; each job ends in a new state. Draws and ways that follow the present observation take only a share of
the time, so that a running fit keeps the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.latent_space import (
    Bridge,
    Cloud,
    LatentSpace,
    Projection,
    interpolated,
    own_driving,
    prior_cloud,
    stored_cloud,
)
from lipflow_studio.document import FloatArray
from lipflow_studio.trail import Stretch, joined
from lipflow_studio.workers import Waiting

COMPONENTS = 6  # principal components of each space: the first three are drawn, all have a slider
STEPS_A_LEG = 24  # codes between two keyframes
SHARE = 0.1  # of the time, for what follows the observation by itself
INNATE = 256  # draws that span the spaces of an avatar without codes of training frames
SPACES = ("p", "q")


@dataclass(frozen=True, eq=False)
class Signal:
    """What drives the prior now."""

    driving: FloatArray | None  # [L, 2] or [3, h, w]; None: what the face of ``z`` would give itself
    z: FloatArray  # [Z]


@dataclass(frozen=True)
class Draw:
    """Codes wanted from the prior."""

    inputs: int  # of so many training frames, each driving with its own signal; 0: of the present signal
    per_input: int
    temperature: float
    seed: int
    follow: bool  # draw again when the present signal changes


@dataclass(frozen=True, eq=False)
class Move:
    """A code is to be shifted along a component."""

    z: FloatArray  # [Z]
    space: str  # one of SPACES
    axis: int
    to: float  # coordinate in the plane
    number: int  # of the move


@dataclass(frozen=True, eq=False)
class Keys:
    """Keyframes to be joined."""

    codes: FloatArray  # [K, Z]
    space: str  # where the way is smooth and straight
    closed: bool


@dataclass(frozen=True, eq=False)
class LatentRequest:
    """A message to the worker. Fields that are None keep what is."""

    signal: Signal | None = None
    move: Move | None = None
    place: FloatArray | None = None  # [Z] the code of the shown face
    trail: Stretch | None = None
    keys: Keys | None = None  # without codes: no way
    draw: Draw | None = None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    @staticmethod
    def merge(old: LatentRequest, new: LatentRequest) -> LatentRequest:
        return replace(old, **new.given())


@dataclass(frozen=True, eq=False)
class Places:
    """Codes with their coordinates in both spaces."""

    z: FloatArray  # [N, Z]
    p: FloatArray  # [N, k] in the plane of P
    q: FloatArray  # [N, k] in the plane of Q


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws from the prior."""

    places: Places  # [B · n]
    inputs: npt.NDArray[np.int64]  # [B · n] which input each belongs to
    names: tuple[str, ...]  # [B] of the inputs
    frames: npt.NDArray[np.int64]  # [B] the training frames that were the inputs; empty for the present one


@dataclass(frozen=True, eq=False)
class Moved:
    """The answer to a move."""

    z: FloatArray  # [Z]
    number: int


@dataclass(frozen=True, eq=False)
class LatentState:
    """All that the latent view shows. What did not change is the same object as before."""

    space: LatentSpace
    stored: Places  # of the training frames
    carried: bool  # whether the avatar's file carries codes of training frames; else they are draws of its prior
    signal: str = ""  # what drives the prior, in words
    place: Places | None = None  # one, of the shown face
    trail: Places | None = None  # of the fit, oldest first
    drawn: Drawn | None = None
    way: Places | None = None  # through the keyframes, evenly spaced in time
    moved: Moved | None = None


WORDS = {  # what the context is: by what drives the avatar, and whether it was given
    ("kpt", True): "the present keypoints",
    ("kpt", False): "the shown face's landmarks",
    ("hmc", True): "the headset images",
    ("hmc", False): "the shown face, as the headset would see it",
    (None, True): "nothing: this prior is the same for all inputs",
    (None, False): "nothing: this prior is the same for all inputs",
}


def explore(avatar: Avatar, start: FloatArray) -> Generator[LatentState | Waiting, LatentRequest | None, None]:
    """Keeps P and Q of an avatar; ``start`` [Z] is the code of the face that is shown first."""
    explorer = _Explorer(avatar, start)
    todo: dict[str, Any] = {}
    message = yield explorer.state
    while True:
        todo |= {} if message is None else message.given()
        wait = explorer.follow(todo)
        name = next((name for name in JOBS if name in todo), None)
        if name is None:
            message = yield Waiting(wait)
            continue
        JOBS[name](explorer, todo.pop(name))
        message = yield explorer.state


def draw_code(avatar: Avatar, signal: Signal, temperature: float, seed: int) -> FloatArray:
    """One draw of the prior under a signal, [Z]."""
    return prior_cloud(avatar, _driving(avatar, signal), ("",), per_input=1, temperature=temperature, seed=seed).z[0]


def way_through(avatar: Avatar, signal: Signal, keys: Keys) -> FloatArray:
    """The codes of a way through at least two keyframes under a signal, evenly spaced in time, [n, Z]."""
    return _through(Bridge(avatar, _driving(avatar, signal)), keys)


def code_at(way: Places, position: float) -> FloatArray:
    """The code of a way at a position from 0 to 1, [Z]."""
    at = position * (len(way.z) - 1)
    before = min(int(at), len(way.z) - 2)
    share = np.float32(at - before)
    return (1 - share) * way.z[before] + share * way.z[before + 1]


class _Explorer:
    """The state, and what makes a new one of it."""

    def __init__(self, avatar: Avatar, start: FloatArray) -> None:
        self._avatar = avatar
        self._signal = Signal(None, start)
        self._bridge = Bridge(avatar, own_driving(avatar, start[None]))
        self._way: Keys | None = None
        self._draw: Draw | None = None
        self._stale: set[str] = set()  # what follows the signal, and was not made for the present one
        self._due = 0.0
        self._trail_of: tuple[tuple[int, int], int] | None = None  # fit, and how many of its codes were carried
        carried = avatar.samples_z is not None and len(avatar.samples_z) > 1
        cloud = stored_cloud(avatar) if carried else _innate(avatar, start)
        space = LatentSpace.of(cloud, COMPONENTS)
        stored = Places(cloud.z, space.p.to_plane(cloud.u), space.q.to_plane(cloud.z))
        self.state = LatentState(space, stored, carried, WORDS[avatar.driving, False])

    def follow(self, todo: dict[str, Any]) -> float | None:
        """Add what the present signal made stale, when its time has come; else the seconds until then."""
        again = {"draw": self._draw, "keys": self._way}
        wanted = {name: again[name] for name in self._stale if again[name] is not None and name not in todo}
        wait = self._due - time.perf_counter()
        if not wanted or wait > 0:
            return max(wait, 0.0) if wanted else None
        todo |= wanted
        return None

    def use_signal(self, signal: Signal) -> None:
        before = self._signal.driving
        same = signal.driving is not None and before is not None and np.array_equal(signal.driving, before)
        self._signal = signal
        if same or (self._avatar.driving is None):
            return
        self._bridge = Bridge(self._avatar, _driving(self._avatar, signal))
        if self._draw is not None and self._draw.follow and not self._draw.inputs:
            self._stale.add("draw")
        if self._way is not None and self._way.space == "p":
            self._stale.add("keys")
        words = WORDS[self._avatar.driving, signal.driving is not None]
        self.state = replace(self.state, signal=words)

    def move(self, move: Move) -> None:
        space: Projection = getattr(self.state.space, move.space)
        z = move.z[None]
        if move.space == "p":
            z = self._bridge.to_decoder(space.moved(self._bridge.to_prior(z), move.axis, move.to))
        else:
            z = space.moved(z, move.axis, move.to)
        self.state = replace(self.state, moved=Moved(z[0], move.number), place=self._places(z))

    def show_place(self, z: FloatArray) -> None:
        self.state = replace(self.state, place=self._places(z[None]))

    def follow_trail(self, stretch: Stretch) -> None:
        """Carry the codes that are new: the older ones stay where they were, whatever drove the prior then."""
        shown, known = self.state.trail, self._trail_of
        total = stretch.first + len(stretch.codes)
        goes_on = shown is not None and known is not None and known[0] == stretch.fit and known[1] >= stretch.first
        old = known[1] if goes_on and known is not None else stretch.first
        new = self._places(joined(stretch.codes[old - stretch.first :], len(self._signal.z)))
        if goes_on and shown is not None:
            kept = slice(max(0, len(shown.z) - (old - stretch.first)), None)
            new = Places(
                np.concatenate([shown.z[kept], new.z]),
                np.concatenate([shown.p[kept], new.p]),
                np.concatenate([shown.q[kept], new.q]),
            )
        self._trail_of = (stretch.fit, total)
        self.state = replace(self.state, trail=new if total else None)

    def join_keys(self, keys: Keys) -> None:
        began = time.perf_counter()
        self._stale.discard("keys")
        self._way = keys
        if len(keys.codes) < 2:
            self.state = replace(self.state, way=None)
            return
        z = _through(self._bridge, keys)
        self.state = replace(self.state, way=self._places(z))
        self._spent(began)

    def draw(self, draw: Draw) -> None:
        began = time.perf_counter()
        self._stale.discard("draw")
        self._draw = draw
        frames = np.zeros(0, np.int64)
        names: tuple[str, ...] = ("the present input",)
        driving: Tensor | None = None
        if draw.inputs:
            labels, stored = self.state.space.cloud.labels, self.state.stored
            frames = np.unique(np.linspace(0, len(labels) - 1, draw.inputs).round().astype(np.int64))
            names = tuple(f"{labels[i]}, code {i}" for i in frames)
            driving = own_driving(self._avatar, stored.z[frames])
            if driving is None:  # all inputs are the same one
                frames, names = frames[:1], names[:1]
        else:
            driving = _driving(self._avatar, self._signal)
        cloud = prior_cloud(
            self._avatar, driving, names, per_input=draw.per_input, temperature=draw.temperature, seed=draw.seed
        )
        space = self.state.space
        places = Places(cloud.z, space.p.to_plane(cloud.u), space.q.to_plane(cloud.z))
        inputs = np.repeat(np.arange(len(names)), draw.per_input)
        self.state = replace(self.state, drawn=Drawn(places, inputs, names, frames))
        self._spent(began)

    def _spent(self, began: float) -> None:
        now = time.perf_counter()
        self._due = now + (now - began) * (1 / SHARE - 1)

    def _places(self, z: FloatArray) -> Places:
        """Codes [N, Z] under the present signal."""
        space = self.state.space
        return Places(z, space.p.to_plane(self._bridge.to_prior(z)), space.q.to_plane(z))


JOBS: dict[str, Callable[[_Explorer, Any], None]] = {
    "signal": _Explorer.use_signal,
    "move": _Explorer.move,
    "place": _Explorer.show_place,
    "trail": _Explorer.follow_trail,
    "keys": _Explorer.join_keys,
    "draw": _Explorer.draw,
}


def _through(bridge: Bridge, keys: Keys) -> FloatArray:
    legs = len(keys.codes) - (0 if keys.closed else 1)
    at = np.linspace(0.0, 1.0, legs * STEPS_A_LEG + 1)
    if keys.space == "p":
        return bridge.to_decoder(interpolated(bridge.to_prior(keys.codes), at, closed=keys.closed))
    return interpolated(keys.codes, at, closed=keys.closed)


def _driving(avatar: Avatar, signal: Signal) -> Tensor | None:
    """A signal as the avatar takes it, [1, ...]."""
    if avatar.driving is None:
        return None
    if signal.driving is None:
        return own_driving(avatar, signal.z[None])
    return torch.from_numpy(np.asarray(signal.driving, np.float32)).to(avatar.vertex_mean.device)[None]


def _innate(avatar: Avatar, start: FloatArray) -> Cloud:
    return prior_cloud(avatar, own_driving(avatar, start[None]), ("prior",), per_input=INNATE)
