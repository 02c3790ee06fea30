"""The application's parts put together: with a window, or without."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import platform
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import torch  # before Qt: their libraries load in this order only
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from lipflow.rendering import warm_up
from lipflow_studio import dialogs, theme
from lipflow_studio.document import Picture
from lipflow_studio.main_window import MainWindow
from lipflow_studio.memory import Memory, keep_for_good, keep_what_came, share_arenas
from lipflow_studio.metrics import Heartbeat, Latency, process_age
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.preferences import Preferences
from lipflow_studio.session import Session
from lipflow_studio.workers import come_after_the_window

SWITCH_S = 0.0005  # how long a worker may keep the interpreter from the window; Python's own is 5 ms

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Studio:
    """The application's parts, put together."""

    application: QApplication
    session: Session
    window: MainWindow
    latency: Latency
    heartbeat: Heartbeat
    memory: Memory = field(default_factory=Memory)
    start_to_face_s: float | None = None
    """Seconds from the process's start to the first visible face."""

    def close(self) -> None:
        """Close the window, whatever it would ask."""
        self.session.part(Desk).answer = lambda question: True
        self.window.close()

    def metrics(self) -> dict[str, object]:
        """What was measured so far."""
        return {
            "device": self.session.device_name,
            "renderer": self.session.renderer,
            "opengl": self.window.head.canvas.gl_name,
            "start_to_face_s": None if self.start_to_face_s is None else round(self.start_to_face_s, 2),
            "drag_to_picture_ms": self.latency.summary(),
            "ui_stall_ms": {"worst": round(self.heartbeat.worst_ms, 2)},
            "memory_mb": self.memory.summary(),
        }


@dataclass(eq=False)
class Headless:
    """A Session that nobody sees."""

    session: Session
    latency: Latency
    memory: Memory = field(default_factory=Memory)
    start_to_face_s: float | None = None

    def metrics(self) -> dict[str, object]:
        """What was measured so far. A fitted shape stands for the picture that is never drawn."""
        return {
            "device": self.session.device_name,
            "renderer": self.session.renderer,
            "start_to_face_s": None if self.start_to_face_s is None else round(self.start_to_face_s, 2),
            "drag_to_shape_ms": self.latency.summary(),
            "memory_mb": self.memory.summary(),
        }


def make_headless(application: QApplication, avatar: str) -> Headless:
    """A Session without a window; the avatar is being opened meanwhile."""
    session = Session(application)
    session.open_avatar(avatar)
    made = Headless(session, Latency())

    def shown(picture: Picture) -> None:
        if made.start_to_face_s is None:
            made.start_to_face_s = process_age()
        made.latency.drawn(picture.shape.serial)

    session.observation_sent.connect(made.latency.sent)
    session.picture_changed.connect(shown)
    return made


def make_studio(
    application: QApplication, avatar: str, settings: QSettings | None = None, folder: Path | None = None
) -> Studio:
    """Session, window and meters, with the window shown; the avatar is being opened meanwhile.

    Args:
        settings: what is remembered between two starts; without, this one remembers nothing.
        folder: the user's data folder. With it there is somebody at the window: the session is written there every
            minute, hints are shown, and nothing is thrown away unasked.

    Raises:
        Exception: whatever the window could not be built for. No worker is left then.
    """
    session = Session(preferences=Preferences(settings))
    try:
        return _put_together(application, session, avatar, folder)
    except BaseException:
        session.close()  # a worker that goes on would keep the process from ending
        raise


def _put_together(application: QApplication, session: Session, avatar: str, folder: Path | None) -> Studio:
    version, python = importlib.metadata.version("lipflow-studio"), platform.python_version()
    log.info("LiP-Flow Studio %s, Python %s, torch computes on: %s", version, python, session.device_name)
    session.open_avatar(avatar)
    desk = session.part(Desk)

    def dress() -> None:
        if theme.chosen(desk.theme) is not theme.current() or not theme.is_on(application):
            theme.apply(application, theme.chosen(desk.theme))

    dress()
    desk.theme_changed.connect(dress)
    application.styleHints().colorSchemeChanged.connect(dress)  # of the desktop
    window = MainWindow(session)
    studio = Studio(application, session, window, Latency(), Heartbeat())

    def first_face() -> None:
        studio.start_to_face_s = process_age()
        log.info("First face after %.1f s; %s draws it", studio.start_to_face_s, window.head.canvas.gl_name)
        studio.heartbeat.start()
        # No daemon: ended in the middle of a compilation, it would take the process down with it.
        threading.Thread(target=_load_renderer, name="lipflow-warm-up").start()

    session.observation_sent.connect(studio.latency.sent)
    window.head.canvas.drawn.connect(studio.latency.drawn)
    window.head.first_face.connect(first_face)
    session.closed.connect(studio.heartbeat.stop)  # a window that is gone, while a training saves, does not stall
    window.show()
    if folder is not None:
        _report_the_unexpected(session)
        desk.answer = functools.partial(dialogs.answer, window)
        session.part(Recovery).watch(folder / "recovery")
        session.part(Hints).begin()
    return studio


def make_application() -> QApplication:
    """Qt's application object, and torch's share of the cores."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    sys.setswitchinterval(SWITCH_S)
    share_arenas()
    keep_for_good()
    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setOrganizationName("LiP-Flow")
    application.setApplicationName("LiP-Flow Studio")
    return application


def _load_renderer() -> None:
    come_after_the_window()
    warm_up()
    keep_what_came()


def _report_the_unexpected(session: Session) -> None:
    """A mistake of ours in the window is a message, not an end: what is open stays open."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        details = "".join(traceback.format_exception(kind, error, trace))
        if isinstance(error, Exception):
            session.report(error, details)
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = report
