"""What the comparison's worker does: fit several avatars to one observation, an iteration of each in turns.

Each contender's fit is the studio's own (``live_fit``), so that all of them take the same iterations, follow the same
drags and rest by the same rule. What they went through is kept as codes; faces are decoded when they are looked at.
Torch lives here.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipflow.avatar import Avatar
from lipflow.colour import to_picture
from lipflow.fitting import FitConfig
from lipflow.observations import KeypointObservation, Observation
from lipflow_studio.capture_work import FigureRequest, Figures, Truth, judge
from lipflow_studio.comparison import LIVE, PRIORS, ComparisonUpdate, Record, Standing
from lipflow_studio.document import AvatarInfo, ByteArray, FitUpdate, FloatArray, Picture, Shape, Source
from lipflow_studio.dragging import DraggedKeypoints, following
from lipflow_studio.engine import FitRequest, decode_shape, live_fit
from lipflow_studio.workers import Failure, Waiting

KEPT = 2000  # iterations, a kilobyte each for a contender
SHOW_SHARE = 0.25  # of the time, for textures and figures while fits run
GREY_LEVELS = 255
FAMILIES = {"standard-normal": "N(0, I)", "gaussian": "Gaussian", "flow": "flow", "flow-standard-normal": "flow"}

View = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Entrant:
    """A contender's model and setting."""

    avatar: Avatar
    info: AvatarInfo
    prior: str  # a key of PRIORS


@dataclass(frozen=True, eq=False)
class Task:
    """What all are fitted to."""

    observation: Observation
    source: Source
    config: FitConfig  # the session's; each contender has its own prior
    truth: Truth | None
    serial: int
    face: FloatArray | None = None  # [136, 2] the open avatar's landmarks at present


@dataclass(frozen=True, eq=False)
class CompareRequest:
    """A message to the comparison. Fields that are None keep what is."""

    task: Task | None = None
    restart: bool = False  # all from where the configuration says, instead of from their codes
    view: View | None = None
    at: int | None = None  # the iteration to show; LIVE: the newest

    @staticmethod
    def merge(old: CompareRequest, new: CompareRequest) -> CompareRequest:
        return CompareRequest(
            task=old.task if new.task is None else new.task,
            restart=old.restart or new.restart,
            view=old.view if new.view is None else new.view,
            at=old.at if new.at is None else new.at,
        )


def is_driven(entrant: Entrant, task: Task) -> bool:
    """Whether the contender's own prior can be had: what is fitted to drives it, or nothing needs to."""
    kind = entrant.info.driving
    return kind is None or task.observation.driving(kind) is not None


def config_for(entrant: Entrant, task: Task) -> FitConfig:
    """The session's configuration under the contender's prior: its own where it is driven, N(0, I) where it is not."""
    common = replace(task.config, prior="avatar" if is_driven(entrant, task) else "standard-normal", likelihood=True)
    return replace(common, **PRIORS[entrant.prior].changes)


def compare(
    entrants: Sequence[Entrant], view: View
) -> Generator[ComparisonUpdate | Waiting, CompareRequest | None, None]:
    """Fits all to what was sent last, for ever; waits where there is nothing to do."""
    fits = [_Fit(entrant) for entrant in entrants]
    kept: deque[tuple[Record | None, ...]] = deque(maxlen=KEPT)
    task: Task | None = None
    last, at, due = 0, LIVE, 0.0
    told_busy = False  # whether the newest update says so
    message = yield Waiting()
    while True:
        if message is not None:
            view = message.view or view
            at = at if message.at is None else message.at
            if message.task is not None or message.restart:
                before, task = task, message.task or task
                if message.restart:
                    kept.clear()
                    last, at = 0, LIVE
                if task is not None and (before is None or message.restart or task.serial != before.serial):
                    for fit in fits:
                        fit.begin(task, message.restart)
        if task is None:
            message = yield Waiting()
            continue
        moved = [fit.advance() for fit in fits]
        if any(moved):
            kept.append(tuple(fit.record for fit in fits))
            last = last + 1 if len(kept) > 1 else 0
        first = last - len(kept) + 1
        shown = last if at == LIVE else min(max(at, first), last)
        for fit, record in zip(fits, kept[shown - first] if kept else [None] * len(fits)):
            fit.show(record)
        now, busy, looked = time.perf_counter(), any(moved), False
        if not busy or now >= due or any(fit.blank for fit in fits):
            looked = any(fit.look(view) for fit in sorted(fits, key=lambda fit: fit.looked_at)) or any(
                fit.judge(task.truth) for fit in sorted(fits, key=lambda fit: fit.looked_at)
            )
            spent = time.perf_counter() - now
            due = now + spent / SHOW_SHARE
        if not busy and not looked and not told_busy and message is None:
            message = yield Waiting()
        else:
            told_busy = busy
            standings = tuple(fit.standing() for fit in fits)
            message = yield ComparisonUpdate(standings, shown, max(first, 0), last, busy, task.serial)


class _Fit:
    """One contender: its fit, and what of it is shown."""

    def __init__(self, entrant: Entrant) -> None:
        self._entrant = entrant
        self._run: Generator[FitUpdate | Waiting, FitRequest | None, None] | None = None
        self._message: FitRequest | None = None
        self._task: Task | None = None
        self._failure: Failure | None = None
        self._words = ""
        self._base = 0  # iterations before this observation
        self._seconds, self._timed = 0.0, 0  # spent on how many iterations of this observation
        self._error, self._errors = np.nan, object()  # of the newest pictured state
        self.record: Record | None = None  # the newest
        self._shape: Shape | None = None  # of that
        self._shown: Record | None = None
        self._picture: Picture | None = None
        self._textured: tuple[Record, View] | None = None  # what the texture is of
        self._figures: Figures | None = None
        self._judged: tuple[Record, Truth] | None = None  # what the figures are of
        self.looked_at = 0.0

    def begin(self, task: Task, restart: bool) -> None:
        """Go on with another task; begin again after a failure, and with another source."""
        restart = restart or self._task is None or self._task.source is not task.source
        if self._run is None:
            self._run = live_fit(self._entrant.avatar, self._entrant.info, self._entrant.info.start)
            next(self._run)
            restart = True
        self._task, self._failure = task, None
        config = config_for(self._entrant, task)
        self._words = _words(self._entrant, config)
        start = _neutral(self._entrant, config) if restart else None
        observation = task.observation
        if task.face is not None:  # else a fit that begins would show the prior a face that points are torn out of
            observation = following(observation, torch.from_numpy(task.face))
        self._message = FitRequest(
            observation, task.source, config, z=start, restart=restart and start is None, serial=task.serial
        )
        self._base = 0 if restart or self.record is None else self._base + self.record.iteration
        self._seconds, self._timed, self._error = 0.0, 0, np.nan
        if restart:
            self.record = None

    def advance(self) -> bool:
        """One iteration; False where it rests."""
        if self._run is None:
            return False
        began = time.perf_counter()
        try:
            update = self._run.send(self._message)
        except Exception as error:  # noqa: BLE001 (whatever it is, the others go on)
            self._failure = Failure(error, traceback.format_exc())
            self._run, self.record = None, None
            return False
        self._message = None
        if isinstance(update, Waiting):
            return False
        if update.iteration > 0:
            self._seconds, self._timed = self._seconds + time.perf_counter() - began, self._timed + 1
        self._shape, self.record = update.shape, self._record(update)
        return True

    def show(self, record: Record | None) -> None:
        """Put a record's mesh on; the texture follows when it is looked at."""
        if record is self._shown:
            return
        before, self._shown = self._shown, record
        if record is None:
            self._picture = self._textured = None
        elif before is None or record.z is not before.z:
            own = record is self.record and self._shape is not None
            shape = self._shape if own else decode_shape(self._entrant.avatar, self._entrant.info, record.z, 0)
            assert shape is not None
            texture = None if self._picture is None else self._picture.texture
            self._picture = Picture(shape, texture, None)

    @property
    def blank(self) -> bool:
        """Whether it has no texture at all yet."""
        return self._picture is not None and self._picture.texture is None

    def look(self, view: View) -> bool:
        """Decode the texture of what is shown; False where it is that already."""
        shown, picture = self._shown, self._picture
        if shown is None or picture is None:
            return False
        if self._textured is not None and self._textured[0].z is shown.z and self._textured[1] == view:
            return False
        self._picture = replace(picture, texture=_texture(self._entrant.avatar, shown, view))
        self._textured = shown, view
        self.looked_at = time.perf_counter()
        return True

    def judge(self, truth: Truth | None) -> bool:
        """Compare what is shown with the truth; False where that was done."""
        shown = self._shown
        if shown is None or truth is None:
            self._figures = self._judged = None
            return False
        if self._judged is not None and self._judged[0].z is shown.z and self._judged[1] is truth:
            return False
        self._figures = judge(FigureRequest(self._entrant.avatar, shown.z, truth))
        self._judged = shown, truth
        self.looked_at = time.perf_counter()
        return True

    def standing(self) -> Standing:
        of_shown = self._judged is not None and self._shown is not None and self._judged[0].z is self._shown.z
        figures = self._figures if of_shown else None
        driven = self._task is None or is_driven(self._entrant, self._task)
        return Standing(self._words, self._shown, self._picture, figures, self._failure, driven)

    def _record(self, update: FitUpdate) -> Record:
        assert self._task is not None
        if isinstance(self._task.observation, KeypointObservation):
            self._error = _pixels(self._task.observation, self._entrant, update.shape)
        elif update.errors is not None and update.errors is not self._errors:
            self._errors, seen = update.errors, update.errors > 0
            self._error = GREY_LEVELS * float(update.errors[seen].mean()) if seen.any() else np.nan
        return Record(
            z=update.z,
            iteration=update.iteration - self._base,
            energy=update.energy,
            data_energy=update.data_energy,
            log_likelihood=update.log_likelihood,
            error=self._error,
            ms=1000 * self._seconds / self._timed if self._timed else np.nan,
            converged=update.converged,
            running=update.running,
        )


@torch.inference_mode()
def _texture(avatar: Avatar, record: Record, view: View) -> ByteArray:
    """[T, T, 3] of a code, display gamma."""
    device = avatar.vertex_mean.device
    code = torch.from_numpy(record.z).to(device)[None]
    return to_picture(avatar.decode_texture(code, torch.tensor([view], device=device))[0])


@torch.inference_mode()
def _pixels(observation: KeypointObservation, entrant: Entrant, shape: Shape) -> float:
    """Mean distance of the landmarks from the keypoints, of those that are pinned where some are, in pixels."""
    given = observation.keypoints
    points = torch.from_numpy(shape.vertices[list(entrant.info.landmarks.ids)]).to(given)
    height, width = observation.camera.size
    away = (observation.camera.project_normalised(points) - given) * given.new_tensor([width, height])
    distance = away.norm(dim=-1)
    if isinstance(observation, DraggedKeypoints) and bool(observation.pinned.any()):
        distance = distance[observation.pinned]
    return float(distance.mean())


def _neutral(entrant: Entrant, config: FitConfig) -> FloatArray | None:
    """The neutral face's code [Z] where N(0, I) takes the place of the avatar's own prior; None: as configured.

    Zero, where N(0, I) is densest, is no face of a decoder that was trained with another prior, and a corner of its
    rectifiers: Levenberg–Marquardt stops there (measured: data energy 20,917 after 3 iterations, from the neutral
    face 181).
    """
    replaced = config.prior == "standard-normal" and entrant.avatar.config.prior != "standard-normal"
    return entrant.info.start if replaced and config.start == "prior" else None


def _words(entrant: Entrant, config: FitConfig) -> str:
    family = FAMILIES[entrant.avatar.config.prior if config.prior == "avatar" else "standard-normal"]
    return family if config.likelihood else f"{family}, no likelihood"
