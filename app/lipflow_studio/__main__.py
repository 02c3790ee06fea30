"""``lipflow-studio [FILE…] [--avatar NAME|FILE] [--script FILE] [--screenshot FILE] [--metrics FILE]``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # before Qt: their libraries load in this order only
from PySide6.QtCore import QSettings, QStandardPaths, QTimer
from PySide6.QtWidgets import QApplication

from lipflow import embedded
from lipflow.checks import InputError
from lipflow.files import write_json
from lipflow.rendering import warm_up
from lipflow_studio import dialogs, script, theme
from lipflow_studio.main_window import MainWindow
from lipflow_studio.metrics import Heartbeat, Latency, process_age
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.hints import Hints
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.preferences import Preferences
from lipflow_studio.session import Session

SWITCH_S = 0.0005  # how long a worker may keep the interpreter from the window; Python's own is 5 ms
SETTLE_MS = 300  # from the end of a script to the screenshot


@dataclass(eq=False)
class Studio:
    """The application's parts, put together."""

    application: QApplication
    session: Session
    window: MainWindow
    latency: Latency
    heartbeat: Heartbeat
    start_to_face_s: float | None = None
    """Seconds from the process's start to the first visible face."""

    def metrics(self) -> dict[str, object]:
        """What was measured so far."""
        return {
            "device": self.session.device_name,
            "renderer": self.session.renderer,
            "opengl": self.window.head.canvas.gl_name,
            "start_to_face_s": None if self.start_to_face_s is None else round(self.start_to_face_s, 2),
            "drag_to_picture_ms": self.latency.summary(),
            "ui_stall_ms": {"worst": round(self.heartbeat.worst_ms, 2)},
        }


def make_studio(
    application: QApplication, avatar: str, settings: QSettings | None = None, folder: Path | None = None
) -> Studio:
    """Session, window and meters, with the window shown; the avatar is being opened meanwhile.

    Args:
        settings: what is remembered between two starts; without, this one remembers nothing.
        folder: the user's data folder. With it there is somebody at the window: the session is written there every
            minute, hints are shown, and nothing is thrown away unasked.
    """
    session = Session(preferences=Preferences(settings))
    session.open_avatar(avatar)
    desk = session.part(Desk)
    theme.apply(application, theme.chosen(desk.theme))
    desk.theme_changed.connect(lambda choice: theme.apply(application, theme.chosen(choice)))
    window = MainWindow(session)
    studio = Studio(application, session, window, Latency(), Heartbeat())

    def first_face() -> None:
        studio.start_to_face_s = process_age()
        studio.heartbeat.start()
        # No daemon: ended in the middle of a compilation, it would take the process down with it.
        threading.Thread(target=warm_up, name="lipflow-warm-up").start()

    session.observation_sent.connect(studio.latency.sent)
    window.head.canvas.drawn.connect(studio.latency.drawn)
    window.head.first_face.connect(first_face)
    window.show()
    if folder is not None:
        session.part(Desk).answer = functools.partial(dialogs.answer, window)
        session.part(Recovery).watch(folder / "recovery")
        session.part(Hints).begin()
    return studio


def make_application() -> QApplication:
    """Qt's application object, and torch's share of the cores."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    sys.setswitchinterval(SWITCH_S)
    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setOrganizationName("LiP-Flow")
    application.setApplicationName("LiP-Flow Studio")
    return application


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the studio; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        steps = script.load(options.script, Session.known_commands()) if options.script else []
        avatar = str(embedded.find_avatar(options.avatar))
    except InputError as error:
        sys.stderr.write(f"lipflow-studio: {error}\n")
        return 2
    application = make_application()
    watched = not (options.script or options.screenshot)
    folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation))
    studio = make_studio(application, avatar, QSettings(), folder) if watched else make_studio(application, avatar)
    opening: list[dict[str, Any]] = [{"wait_for": "face"}]
    if options.files:
        opening += [{"command": "open", "args": [[str(f) for f in options.files]]}]
    player = script.Player(studio.session, [*opening, *steps], parent=studio.session)
    if options.screenshot or (options.metrics and steps):
        player.finished.connect(lambda: QTimer.singleShot(SETTLE_MS, lambda: _finish(studio, options.screenshot)))
    player.start()
    status = application.exec()
    if options.metrics:
        write_json(options.metrics, studio.metrics())
    return status


def _finish(studio: Studio, screenshot: Path | None) -> None:
    if screenshot is not None:
        screenshot.parent.mkdir(parents=True, exist_ok=True)
        if not studio.window.picture().save(str(screenshot)):
            sys.stderr.write(f"lipflow-studio: cannot write {screenshot}\n")
            studio.window.close()
            QApplication.exit(2)
            return
    problem = studio.session.problem
    studio.window.close()
    if problem is not None:  # nobody is there to read the banner
        sys.stderr.write(f"lipflow-studio: {problem.line}\n")
        QApplication.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lipflow-studio", description="A studio for drivable face avatars.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="an avatar, keypoints, or three images")
    parser.add_argument("--avatar", default=embedded.DEFAULT, metavar="NAME|FILE", help="what to open at the start")
    parser.add_argument("--script", type=Path, metavar="FILE", help="play a list of commands (JSON)")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="save a picture of the window, then quit")
    parser.add_argument("--metrics", type=Path, metavar="FILE", help="write latency, stalls and start-up time (JSON)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
