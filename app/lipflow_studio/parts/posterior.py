"""The faces that the present observation leaves possible, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PySide6.QtCore import QTimer, Signal

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.document import Source
from lipflow_studio.observing import observation_of
from lipflow_studio.parts.base import Part
from lipflow_studio.posterior_engine import PosteriorRequest, PosteriorUpdate, sample
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

POLL_MS = 50
MOST_SAMPLES = 2000
MOST_SHOWN = 40


@dataclass(frozen=True)
class PosteriorOptions:
    """How much is sampled."""

    samples: int = 0  # codes; 0: as many as suit the observation
    shown: int = 12  # faces in the strip

    def __post_init__(self) -> None:
        for name, least, most in (("samples", 0, MOST_SAMPLES), ("shown", 1, MOST_SHOWN)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InputError(name, expected=f"{least} to {most}", got=repr(value))


class Posterior(Part):
    """Samples in a thread while no fit runs; what it found stays until the next time, marked as stale."""

    name: ClassVar[str] = "posterior"

    options_changed = Signal(object)  # PosteriorOptions
    update_changed = Signal(object)  # PosteriorUpdate | None
    running_changed = Signal(bool)
    stale_changed = Signal(bool)  # the observation or the avatar's code is another than the one that was sampled
    deviation_changed = Signal(object)  # [V] mm standard deviation of each vertex, for the head | None

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.options = PosteriorOptions()
        self.update: PosteriorUpdate | None = None
        self.running = False
        self.stale = False
        self._seed = 0
        self._avatar = session.avatar
        self._worker: Worker[Any, PosteriorUpdate] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        session.observation_sent.connect(lambda _: self._outdate())
        session.fit_changed.connect(lambda update: self._outdate() if update is None else None)
        session.avatar_changed.connect(lambda _: self._change_avatar())

    # Commands

    @command()
    def set_options(self, **changes: Any) -> None:
        """Change ``samples`` or ``shown``; the next sampling takes them."""
        try:
            after = replace(self.options, **changes)
        except (InputError, TypeError) as error:
            self.session.report(error)
            return
        if after != self.options:
            self.options = after
            self.options_changed.emit(after)

    @command()
    def sample(self) -> None:
        """Sample the posterior of the shown fit."""
        session, document, code = self.session, self.session.document, self.session.code()
        config = session.fit_config
        mend = "pin a keypoint or open headset images"
        if document.avatar is None or document.info is None or code is None or not document.has_observation:
            session.report(InputError("posterior", expected="something to fit to", got="nothing", mend=mend))
            return
        assert config is not None
        session.pause_fit()
        shape = session.fit.shape if session.fit is not None else None
        given = document.info.keypoints if session.picture is None else session.picture.shape.keypoints
        try:
            observation = observation_of(document, session.device)
        except InputError as error:
            session.report(error)
            return
        self._seed += 1
        request = PosteriorRequest(
            document.avatar,
            document.info,
            observation,
            config,
            code,
            given if shape is None else shape.keypoints,
            self.options.samples,
            self.options.shown,
            self._seed,
        )
        self._retire()
        self._worker = Worker(lambda: sample(request), name="posterior").start()
        self._timer.start()
        self._put_stale(False)
        self._put_update(None)
        self._put_running(True)

    @command()
    def stop(self) -> None:
        """Take what was found so far."""
        self._retire()
        self._put_running(False)

    @command()
    def select_suggested(self) -> None:
        """Select the keypoint whose pinning would tell most."""
        index = self.suggested
        if index is not None:
            self.session.select([index])

    @property
    def suggested(self) -> int | None:
        """The landmark whose place is the least certain of those that are not pinned."""
        update, keypoints = self.update, self.session.keypoints
        if update is None or update.landmark_std is None or keypoints is None:
            return None
        given = keypoints.pinned if self.session.source is Source.KEYPOINTS else np.zeros_like(keypoints.pinned)
        free = np.where(given, -np.inf, update.landmark_std)
        return int(free.argmax()) if np.isfinite(free).any() else None

    # Part

    def saved(self) -> Mapping[str, Any]:
        return {"samples": self.options.samples, "shown": self.options.shown}

    def restore(self, saved: Mapping[str, Any]) -> None:
        if not set(saved) <= {"samples", "shown"}:
            raise InputError("posterior", expected="samples or shown", got=", ".join(sorted(saved)))
        self.options = PosteriorOptions(**saved)
        self.options_changed.emit(self.options)

    def close(self) -> bool:
        self._timer.stop()
        self._retire()
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    # Inside

    def _outdate(self) -> None:
        """Another face or observation: what is running stops, what was found is of an earlier one."""
        if self.running:
            self._retire()
            self._put_running(False)
        if self.update is not None:
            self._put_stale(True)

    def _change_avatar(self) -> None:
        if self.session.avatar is not self._avatar:
            self._avatar = self.session.avatar
            self._outdate()
            self._put_update(None)
            self._put_stale(False)

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._worker is None:
            if not self._retired:
                self._timer.stop()
            return
        alive = self._worker.alive  # asked first: one that ends after this is read at the next poll
        update, failure = self._worker.take(), self._worker.take_failure()
        if update is not None:
            self._put_update(update)
        if failure is not None:
            self.session.report(failure.error, failure.details)
        if not alive or failure is not None:
            self._retire()
            self._put_running(False)

    def _retire(self) -> None:
        if self._worker is not None:
            self._worker.ask_to_stop()
            self._retired.append(self._worker)
            self._worker = None

    def _put_update(self, update: PosteriorUpdate | None) -> None:
        before = None if self.update is None else self.update.vertex_std
        after = None if update is None else update.vertex_std
        self.update = update
        self.update_changed.emit(update)
        if after is not before:
            self.deviation_changed.emit(after)

    def _put_running(self, on: bool) -> None:
        if on is not self.running:
            self.running = on
            self.running_changed.emit(on)

    def _put_stale(self, on: bool) -> None:
        if on is not self.stale:
            self.stale = on
            self.stale_changed.emit(on)
