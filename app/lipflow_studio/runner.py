"""The Session's workers: one fits, one decodes for display, one loads. Read from a timer, never waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from lipflow.avatar import Avatar
from lipflow_studio.document import AvatarInfo, FitUpdate, FloatArray, Picture, Source
from lipflow_studio.engine import FitRequest, PictureRequest, live_fit, pictures
from lipflow_studio.memory import Rest
from lipflow_studio.trail import Trail
from lipflow_studio.workers import Worker

POLL_MS = 4  # how often the workers are asked for their newest states while the face follows a gesture
CALM_POLL_MS = 16  # and else: each time, the window takes the interpreter from whoever computes
CALM_AFTER_S = 0.5  # without a new picture
PICTURE_S = 0.016  # at least so long between two pictures: drawing must leave the machine to the fit
SLOW_PICTURE_S = 0.15  # the same while images are fitted: an iteration needs all cores and moves the face little
FIGURES_S = 0.1  # at least so long between two readings of a running fit: nobody reads faster


class Runner(QObject):
    """Starts, feeds, reads and ends the workers. A failed worker is reported once and is gone."""

    picture = Signal(object)  # Picture
    fitted = Signal(object)  # FitUpdate
    failed = Signal(object)  # Failure of the fit or the pictures
    load_failed = Signal(object)  # Failure of what was being loaded
    busy_changed = Signal(str)  # what is being loaded, or ""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._fitter: Worker[FitRequest, FitUpdate] | None = None
        self._pictures: Worker[PictureRequest, Picture] | None = None
        self._loader: Worker[None, Any] | None = None
        self._loaded: Callable[[Any], None] | None = None
        self._retired: list[Worker[Any, Any]] = []
        self.trail = Trail()  # of the present fit
        self._picture: Picture | None = None  # the newest, with the fit's newest shape
        self._update: FitUpdate | None = None  # read, and not yet given on
        self._picture_time = self._figures_time = 0.0
        self._rest = Rest(self)
        self._interval = PICTURE_S  # between two pictures, for the fit that runs
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._poll)
        self._timer.start()

    @property
    def loading(self) -> bool:
        """Whether something is being loaded."""
        return self._loader is not None

    @property
    def running(self) -> bool:
        """Whether there are workers: those of an avatar that failed are gone."""
        return self._fitter is not None

    @property
    def paused(self) -> bool:
        return self._fitter is not None and self._fitter.paused

    def start(self, avatar: Avatar, info: AvatarInfo, z: FloatArray, view: tuple[float, float, float]) -> None:
        """Fit and show this avatar from the code ``z`` on; what ran before is let go."""
        self._retire(self._fitter, self._pictures)
        self._picture = self._update = None
        self._rest.stop()
        shown: Worker[PictureRequest, Picture] = Worker(
            lambda: pictures(avatar, info, z, view), name="pictures", merge=PictureRequest.merge
        )

        self.trail = trail = Trail(self.trail.worker + 1)

        def hand_over(update: FitUpdate) -> None:
            trail.add(update.z, update.iteration)
            shown.send(PictureRequest(z=update.z, shape=update.shape, serial=update.serial))

        self._pictures = shown.start()
        self._fitter = Worker(
            lambda: live_fit(avatar, info, z), name="fit", merge=FitRequest.merge, on_state=hand_over
        ).start()

    def fit(self, request: FitRequest) -> None:
        if self._fitter is not None:
            self._fitter.send(request)

    def show(self, request: PictureRequest) -> None:
        if self._pictures is not None:
            self._pictures.send(request)

    def preview(self, z: FloatArray) -> None:
        """Show a code's face for the moment, while no fit runs: its codes would come in between."""
        if self._picture is not None:
            self._picture = replace(self._picture, shape=replace(self._picture.shape, serial=0))
        self.show(PictureRequest(z=z, serial=0))

    def pause(self) -> None:
        if self._fitter is not None:
            self._fitter.pause()

    def resume(self) -> None:
        if self._fitter is not None:
            self._fitter.resume()

    def step(self) -> None:
        if self._fitter is not None:
            self._fitter.step()

    def load(self, text: str, load: Callable[[], Any], use: Callable[[Any], None]) -> None:
        """Run ``load`` in a thread and ``use`` its result here; a newer load replaces an older one.

        Nothing is loaded any more once this is closed.
        """
        if not self._timer.isActive():
            return

        def once() -> Generator[Any, None, None]:
            yield load()

        self._retire(self._loader)
        self._loaded = use
        self._loader = Worker(once, name="load").start()
        self.busy_changed.emit(text)

    def close(self) -> bool:
        """End all workers; True if none is left."""
        self._timer.stop()
        self._rest.stop()
        self._retire(self._fitter, self._pictures, self._loader)
        self._fitter = self._pictures = self._loader = None
        self._retired = [worker for worker in self._retired if not worker.stop()]
        return not self._retired

    def _retire(self, *workers: Worker[Any, Any] | None) -> None:
        """Let workers end on their own; none is waited for."""
        for worker in workers:
            if worker is not None:
                worker.ask_to_stop()
                self._retired.append(worker)

    def _poll(self) -> None:
        self._retired = [worker for worker in self._retired if worker.alive]
        if self._loader is not None:
            self._poll_loader(self._loader)
        now = time.monotonic()
        if now - self._picture_time >= self._interval and self._take_picture():
            self._picture_time = now
            self.picture.emit(self._picture)
        calm = self._interval > PICTURE_S or now - self._picture_time > CALM_AFTER_S
        if self._timer.interval() != (interval := CALM_POLL_MS if calm else POLL_MS):
            self._timer.setInterval(interval)
        if self._update is not None and (now - self._figures_time >= FIGURES_S or not self._update.running):
            update, self._update, self._figures_time = self._update, None, now
            self.fitted.emit(update)
        for worker in (self._pictures, self._fitter):
            failure = None if worker is None else worker.take_failure()
            if failure is not None:
                self._retire(self._fitter, self._pictures)
                self._fitter = self._pictures = None
                self.failed.emit(failure)

    def _take_picture(self) -> bool:
        """Read both workers; whether there is something new to show.

        The fit's shape is always newer than that of the texture and frontal picture, which are made from its codes.
        """
        update = None if self._fitter is None else self._fitter.take()
        picture = None if self._pictures is None else self._pictures.take()
        if update is not None:
            self._update = update
            self._rest.note(update.running)
            slow = update.running and update.source is not Source.KEYPOINTS
            self._interval = SLOW_PICTURE_S if slow else PICTURE_S
        if picture is not None:
            fitted = None if self._picture is None or not self._picture.shape.serial else self._picture.shape
            self._picture = picture if fitted is None else replace(picture, shape=fitted)
        if update is not None and self._picture is not None:
            self._picture = replace(self._picture, shape=update.shape)
        return picture is not None or (update is not None and self._picture is not None)

    def _poll_loader(self, loader: Worker[None, Any]) -> None:
        alive = loader.alive  # asked first: one that ends after this is read at the next poll
        result, failure = loader.take(), loader.take_failure()
        if result is None and failure is None and alive:
            return
        use, self._loader, self._loaded = self._loaded, None, None
        self.busy_changed.emit("")
        if failure is not None:
            self.load_failed.emit(failure)
        elif result is not None and use is not None:
            use(result)
