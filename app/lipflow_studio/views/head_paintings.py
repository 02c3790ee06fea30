"""Draws the head in a thread of its own: the window never waits for OpenGL, and goes on while a picture is made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage, QOffscreenSurface

from lipflow_studio.document import AvatarInfo, Picture
from lipflow_studio.heat import Heat
from lipflow_studio.look import Look
from lipflow_studio.orbit import Orbit
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.workers import Waiting, Worker

QUICK_PIXELS = 800_000  # a moving picture has no more of them, where the processor draws
SOFTWARE = ("llvmpipe", "softpipe", "swiftshader")  # OpenGL without a GPU
PATIENCE_S = 10.0  # a picture that is waited for takes a tenth of a second

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scene:
    """All that a picture of the head depends on, beside the theme."""

    info: AvatarInfo
    picture: Picture | None  # None: there is no face yet
    look: Look
    heat: Heat | None
    orbit: Orbit
    width: int  # of the view, pixels of the screen
    height: int
    scale: float  # pixels of the picture for each of the screen
    fine: bool  # at rest; else it may be made with fewer pixels


@dataclass(frozen=True, eq=False)
class Painting:
    """A scene as it was drawn; or why no more are."""

    scene: Scene | None
    by: str = "none"  # what draws
    image: QImage | None = None
    has_face: bool = False
    error: Exception | None = None  # there is no OpenGL, or no longer


class HeadPaintings(QObject):
    """Makes pictures of the newest scene that was asked for. Those in between are left out."""

    made = Signal(object)  # Painting

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._surface = QOffscreenSurface()  # some systems want it made, and let go, by the window's thread
        self._surface.create()
        self._arrived = threading.Condition()
        self._newest: Painting | None = None
        worker: Worker[Scene, Painting] = Worker(
            lambda: paintings(self._surface), name="paint", on_state=self._hand_over
        )
        self._worker: Worker[Scene, Painting] | None = worker.start()

    def ask(self, scene: Scene) -> None:
        """Draw this as soon as may be; ``made`` tells, also of a mistake of ours that ended the painting."""
        if self._worker is None:
            return
        failure = self._worker.take_failure()
        if failure is not None:
            self.made.emit(Painting(None, error=failure.error))
        self._worker.send(scene)

    def make(self, scene: Scene) -> Painting | None:
        """Draw this and wait for it; None if it does not come. ``made`` tells of it, too."""
        if self._worker is None or not self._worker.alive:
            return None
        self._worker.send(scene)

        def is_there() -> bool:
            return self._newest is not None and (self._newest.scene is scene or self._newest.error is not None)

        with self._arrived:
            return self._newest if self._arrived.wait_for(is_there, PATIENCE_S) else None

    def close(self) -> None:
        """Let OpenGL go; nothing is drawn any more."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            self._surface.destroy()

    def _hand_over(self, painting: Painting) -> None:
        """In the painting thread."""
        with self._arrived:
            self._newest = painting
            self._arrived.notify_all()
        self.made.emit(painting)


def paintings(surface: QOffscreenSurface) -> Generator[Painting | Waiting, Scene | None, None]:
    """Draws every scene that it is sent. A context that is lost (the driver was reset, the machine slept) is replaced
    by a new one; where there is none to be had, the painting that says so is the last."""
    scene: Scene | None = None
    while True:
        try:
            painter = HeadPainter(surface)
        except RuntimeError as error:
            yield Painting(scene, error=error)
            return
        before, message = None, scene  # the one that the last context was lost at
        try:
            while True:
                if message is not None:
                    scene = message
                    painting = _painted(painter, scene, before)
                    before = scene
                    message = yield painting
                else:
                    message = yield Waiting()
        except RuntimeError as error:
            if before is None:  # a new context, and lost at once
                yield Painting(scene, error=error)
                return
            log.warning("3D view: %s; starting again", error)
        finally:
            painter.close()


def _painted(painter: HeadPainter, scene: Scene, before: Scene | None) -> Painting:
    """Bring the painter from one scene to the next, and draw."""
    other = before is None or before.info is not scene.info
    if other:
        painter.set_topology(scene.info)
    if scene.picture is not None and (other or before is None or before.picture is not scene.picture):
        painter.set_picture(scene.picture)
    painter.set_look(scene.look)
    painter.set_heat(scene.heat)
    ratio = scene.scale
    pixels = scene.width * scene.height * ratio**2
    if not scene.fine and pixels > QUICK_PIXELS and any(name in painter.name.lower() for name in SOFTWARE):
        ratio *= (QUICK_PIXELS / pixels) ** 0.5
    width, height = max(round(scene.width * ratio), 1), max(round(scene.height * ratio), 1)
    image = painter.draw(scene.orbit, width, height, scale=ratio)
    return Painting(scene, painter.name, image, painter.has_face)
