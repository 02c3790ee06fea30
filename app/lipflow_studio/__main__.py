"""``lipflow-studio [FILE…] [--avatar NAME|FILE] [--script FILE] [--screenshot FILE] [--metrics FILE] [--headless]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSettings, QStandardPaths, QTimer

from lipflow import embedded
from lipflow.checks import InputError
from lipflow.files import write_json
from lipflow_studio import dialogs, script
from lipflow_studio.commands import Step
from lipflow_studio.document import Problem
from lipflow_studio.endings import Ending
from lipflow_studio.image_files import write_image
from lipflow_studio.parts.desk import Desk
from lipflow_studio.problems import describe_error
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio, make_application, make_headless, make_studio

SETTLE_MS = 300  # from the end of a script to the screenshot


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the studio; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        steps = script.load(options.script, Session.known_commands()) if options.script else []
        avatar = str(embedded.find_avatar(options.avatar))
    except InputError as error:
        return _say(error)
    opening: list[Step] = [{"wait_for": "face"}]
    if options.files:
        opening += [{"command": "open", "args": [[str(f) for f in options.files]]}, {"wait_for": "load"}]
    run = _headless if options.headless else _window
    status, metrics = run(options, avatar, [*opening, *steps])
    if options.metrics:
        try:
            write_json(options.metrics, metrics)
        except OSError as error:
            return _say(error)
    return status


def _window(options: argparse.Namespace, avatar: str, steps: list[Step]) -> tuple[int, dict[str, object]]:
    application = make_application()
    folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation))
    watched = not (options.script or options.screenshot or options.metrics)
    try:
        studio = make_studio(application, avatar, *((QSettings(), folder) if watched else ()))
    except Exception as error:
        if watched:
            dialogs.tell_no_start(error)
        raise
    player = script.Player(studio.session, steps, parent=studio.session)
    player.due.connect(studio.latency.happened)
    problems = _Problems(studio.session)
    if options.screenshot or (options.metrics and options.script):
        player.finished.connect(lambda: QTimer.singleShot(SETTLE_MS, lambda: _finish(studio, options.screenshot)))
    else:
        player.finished.connect(problems.rest)  # whoever stays at the window reads what comes then
    player.start()
    status = Ending(application, studio.session).run(studio.close)
    return status if watched else problems.tell(status), studio.metrics()


def _finish(studio: Studio, screenshot: Path | None) -> None:
    """Take the picture and close."""
    try:
        if screenshot is not None:
            write_image(studio.window.picture().toImage(), screenshot)
    except (OSError, InputError) as error:
        studio.session.report(error)
    studio.window.close()


class _Problems:
    """What went wrong while a script was played: told at the end, since nobody may be there to read the banner."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lines: list[str] = []
        session.problem_changed.connect(self._note)

    def rest(self) -> None:
        """Note nothing more."""
        self._session.problem_changed.disconnect(self._note)

    def tell(self, status: int) -> int:
        """Say it, and return the exit status: 2 where there was anything and ``status`` says nothing else."""
        for line in self._lines:
            sys.stderr.write(f"lipflow-studio: {line}\n")
        return status or (2 if self._lines else 0)

    def _note(self, problem: Problem | None) -> None:
        if problem is not None:
            self._lines.append(problem.line)


def _headless(options: argparse.Namespace, avatar: str, steps: list[Step]) -> tuple[int, dict[str, object]]:
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    application = make_application()
    studio = make_headless(application, avatar)
    problems = _Problems(studio.session)
    player = script.Player(studio.session, steps, parent=studio.session)
    player.due.connect(studio.latency.happened)
    player.finished.connect(application.quit)
    studio.session.part(Desk).quit_asked.connect(application.quit)
    player.start()
    status = Ending(application, studio.session).run(lambda: None)
    metrics = studio.metrics()
    studio.session.close()
    return problems.tell(status), metrics


def _check(options: argparse.Namespace) -> None:
    """Without a display only a script can be played, and nothing can be photographed.

    Raises:
        InputError: for options that do not go together here.
    """
    unix = sys.platform not in ("win32", "darwin")
    has_display = not unix or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    options.headless |= not has_display and options.script is not None
    if options.headless and options.script is None:
        raise InputError("--headless", expected="--script FILE with it", got="none")
    if options.headless and options.screenshot is not None:
        mend = "leave --headless away, or run it under xvfb-run"
        raise InputError("--screenshot", expected="a display", got="none", mend=mend)
    if not options.headless and not has_display:
        mend = "run it under xvfb-run, or with --script FILE"
        raise InputError("lipflow-studio", expected="a display", got="none", mend=mend)


def _say(error: Exception) -> int:
    sys.stderr.write(f"lipflow-studio: {describe_error(error).line}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lipflow-studio", description="A studio for drivable face avatars.")
    files = "a session, an avatar, keypoints, three headset images, or whatever else File > Open takes"
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=files)
    parser.add_argument("--avatar", default=embedded.DEFAULT, metavar="NAME|FILE", help="what to open at the start")
    parser.add_argument("--script", type=Path, metavar="FILE", help="play a list of commands (JSON)")
    parser.add_argument("--headless", action="store_true", help="play it without a window")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="save a picture of the window, then quit")
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="write latency, stalls, memory and start-up time (JSON)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
