"""The real program in a process of its own, ended from outside: nothing hangs, nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_S, wait_for
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.session import Session
from support.screen import VirtualScreen

# The program as it is started, with somebody who has edited something and keeps turning the head.
PROGRAM = """
import sys, torch
from PySide6.QtCore import QTimer
from lipflow_studio import __main__ as program

make = program.make_studio
turning = QTimer(interval=10)

def begin(*args):
    made = make(*args)
    session = made.session

    def turn():
        session.set_camera(azimuth=session.camera.azimuth + 1.0)
        if session.picture is not None and made.window.head.canvas.has_face and not session.keypoints.pinned.any():
            session.move_keypoints({7: (0.5, 0.4)})
            print("edited", flush=True)

    turning.timeout.connect(turn)
    turning.start()
    return made

program.make_studio = begin
sys.exit(program.main(sys.argv[1:]))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the program keeps its data and makes temporary files."""
    (tmp_path / "temporary").mkdir()
    return tmp_path


@pytest.fixture
def start(avatar_files: dict[str, Path], home: Path) -> Iterator[Start]:
    """Starts the program and waits for its first line."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str, program: str = PROGRAM, **environment: str) -> subprocess.Popen[str]:
        places = {name: str(home / name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        process = subprocess.Popen(
            [sys.executable, "-c", program, "--avatar", str(avatar_files["tiny-kpt"]), *arguments],
            env=os.environ | places | {"TMPDIR": str(home / "temporary")} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as a terminal has it
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "edited\n", process.communicate(timeout=PATIENCE_S)[1]
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def display() -> Iterator[VirtualScreen]:
    """A screen that may be taken away."""
    if not VirtualScreen.available():
        pytest.skip("no Xvfb")
    screen = VirtualScreen()
    yield screen
    screen.close()


def recovered(qtbot: QtBot, home: Path) -> Session:
    """The next start, where what was left is opened."""
    (folder,) = home.glob("XDG_DATA_HOME/*/*/recovery")
    assert [path.suffix for path in folder.iterdir()] == [".lipflow"]
    session = Session()
    session.part(Recovery).watch(folder)
    assert session.part(Recovery).lost is not None
    session.part(Recovery).recover()
    wait_for(qtbot, lambda: not session.loading)
    return session


def ended(process: subprocess.Popen[str], home: Path) -> list[str]:
    """What the program said at its end, its own lines."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert list((home / "temporary").iterdir()) == []
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("lipflow-studio: ")]


@pytest.mark.usefixtures("gl")
def test_a_lost_display_loses_nothing(qtbot: QtBot, start: Start, home: Path, display: VirtualScreen) -> None:
    process = start(DISPLAY=display.name, QT_QPA_PLATFORM="xcb", WAYLAND_DISPLAY="")
    display.close()
    said = "lipflow-studio: the display is gone; what was not saved is offered at the next start"
    assert ended(process, home) == [said]
    assert process.returncode == 1
    session = recovered(qtbot, home)
    assert session.keypoints.pinned[7]
    assert session.close()


def test_ctrl_c_ends_it_and_loses_nothing(qtbot: QtBot, start: Start, home: Path) -> None:
    process = start()
    process.send_signal(signal.SIGINT)
    said = "lipflow-studio: interrupted; what was not saved is offered at the next start"
    assert ended(process, home) == [said]
    assert process.returncode == 128 + signal.SIGINT
    session = recovered(qtbot, home)
    assert session.keypoints.pinned[7]
    assert session.close()


def test_a_script_without_a_window_is_ended_too(start: Start, home: Path) -> None:
    steps = [{"wait_for": "face"}, {"command": "move_keypoints", "args": [{"7": [0.5, 0.4]}]}, {"wait": 600}]
    (home / "steps.json").write_text(json.dumps(steps))
    program = """
import sys, torch
from lipflow_studio import __main__ as program, endings
from lipflow_studio.session import Session

class Ending(endings.Ending):
    def __init__(self, application, session):
        super().__init__(application, session)
        session.keypoints_changed.connect(lambda keypoints: keypoints.pinned.any() and print("edited", flush=True))

program.Ending = Ending
sys.exit(program.main(sys.argv[1:]))
"""
    process = start("--headless", "--script", str(home / "steps.json"), program=program)
    process.send_signal(signal.SIGTERM)
    assert ended(process, home) == ["lipflow-studio: ended from outside"]
    assert process.returncode == 128 + signal.SIGTERM
    assert not (home / "XDG_DATA_HOME").exists()
