"""Closing the window at any moment ends what runs, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from conftest import wait_for, wait_for_face, wait_for_fit
from lipflow.capture import FrameId
from lipflow_studio import script
from lipflow_studio.document import Status
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.augmentation import Augmentation
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.latent import Latent
from lipflow_studio.parts.posterior import MOST_SAMPLES, Posterior
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio

MakeWindow = Callable[[Session], MainWindow]


@dataclass(frozen=True)
class Given:
    """What can be opened."""

    images: list[str]
    capture: Path


Prepare = Callable[[QtBot, Session, Given, Path], object]


def _fitting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.open_headset_images(given.images)
    wait_for(qtbot, lambda: session.fit is not None)


def _scripted(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    steps = [{"drag": {"3": [0.1, 0.1]}, "seconds": 60}, {"command": "open_avatar", "args": ["tiny-hmc"]}]
    script.save(folder / "s.json", steps)
    session.part(Scripts).play(str(folder / "s.json"))
    wait_for(qtbot, lambda: session.status is Status.RUNNING)


def _autosaving(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Recovery).watch(folder)
    session.move_keypoints({3: (0.5, 0.5)})
    session.part(Recovery).autosave()


def _paused(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    _fitting(qtbot, session, given, folder)
    session.pause_fit()
    session.step_fit()


def pinned(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    session.move_keypoints({i: (0.45, 0.55) for i in range(3)})
    wait_for_fit(qtbot, session)


def open_capture(qtbot: QtBot, session: Session, capture: Path) -> FrameId:
    """An open capture, its frames to be loaded as keypoints; its first one."""
    captures = session.part(Captures)
    captures.open(str(capture))
    captures.set_kind("keypoints")
    wait_for(qtbot, lambda: captures.info is not None)
    return captures.info.segments[0].frames[0]


def _checking(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    open_capture(qtbot, session, given.capture)
    session.part(Captures).check()


def _frame(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    id = open_capture(qtbot, session, given.capture)
    session.part(Captures).load(id.segment, id.number)


def _playing(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    open_capture(qtbot, session, given.capture)
    session.part(Captures).play()
    wait_for(qtbot, lambda: session.part(Captures).frame is not None)


def _augmenting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-hmc")
    open_capture(qtbot, session, given.capture)
    session.part(Captures).set_kind("headset")
    id = session.part(Captures).info.segments[0].frames[0]
    session.part(Captures).load(id.segment, id.number)
    wait_for(qtbot, lambda: session.headset is not None)
    session.part(Augmentation).draw()


def _sampling(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    pinned(qtbot, session)
    session.part(Posterior).set_options(samples=MOST_SAMPLES)
    session.part(Posterior).sample()
    wait_for(qtbot, lambda: session.part(Posterior).update is not None)
    assert session.part(Posterior).running


def _exploring(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Latent).watch("test", True)
    wait_for(qtbot, lambda: session.part(Latent).state is not None)
    session.part(Latent).draw()


def _portraying(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    session.part(Faces).want("test", [np.full(16, 0.1 * i, np.float32) for i in range(50)])
    qtbot.wait(20)


def _comparing(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    wait_for_face(qtbot, session)
    session.part(Compare).start()
    session.part(Compare).add("tiny-hmc")
    session.move_keypoints({0: (0.4, 0.4)})
    wait_for(qtbot, lambda: session.part(Compare).running)


def _exporting(qtbot: QtBot, session: Session, given: Given, folder: Path) -> None:
    wait_for_face(qtbot, session)
    session.part(Export).turntable(str(folder / "turn.mp4"))
    session.part(Export).report(str(folder / "never begun.html"))
    wait_for(qtbot, lambda: any(folder.iterdir()))  # half of it is there


MOMENTS: dict[str, Prepare] = {
    "at once": lambda q, s, given, d: None,
    "with a face": lambda q, s, given, d: wait_for_face(q, s),
    "while an avatar is opened": lambda q, s, given, d: s.open_avatar("tiny-hmc"),
    "while several are opened": lambda q, s, given, d: [s.open_avatar("tiny-hmc") for _ in range(3)],
    "while images are opened": lambda q, s, given, d: s.open_headset_images(given.images),
    "while a session is opened": lambda q, s, given, d: s.part(Files).open(str(d / "none.lipflow")),
    "while a capture is opened": lambda q, s, given, d: s.part(Captures).open(str(given.capture)),
    "while a capture is checked": _checking,
    "while a frame is read": _frame,
    "while a segment is played": _playing,
    "while images are augmented": _augmenting,
    "while it fits": _fitting,
    "while it is paused": _paused,
    "while a script plays": _scripted,
    "while it autosaves": _autosaving,
    "while the posterior is sampled": _sampling,
    "while the latent space is drawn from": _exploring,
    "while portraits are drawn": _portraying,
    "while several are compared": _comparing,
    "while something is exported": _exporting,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_closing_at_any_moment_leaves_nothing(
    qtbot: QtBot,
    empty_session: Session,
    headset_files: list[Path],
    tiny_capture_dir: Path,
    make_window: MakeWindow,
    tmp_path: Path,
    moment: str,
) -> None:
    session = empty_session
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    window = make_window(session)
    MOMENTS[moment](qtbot, session, Given([str(path) for path in headset_files], tiny_capture_dir), tmp_path)
    window.close()
    assert not window.isVisible()
    session.open_avatar("tiny-hmc")  # too late: nothing is started any more
    qtbot.wait(30)
    assert not session.loading
    assert {path.name for path in tmp_path.iterdir()} <= {"s.json"}  # that no thread is left is checked for every test


def test_the_window_goes_before_what_runs_has_ended(session: Session, make_window: MakeWindow) -> None:
    """A training saves its checkpoint first: a window that hangs on the screen meanwhile would seem to be stuck."""
    window, seen = make_window(session), []
    assert window.isVisible()
    session.closed.connect(lambda: seen.append(window.isVisible()))
    window.close()
    assert seen == [False]


def test_stalls_are_measured_until_the_window_goes(qtbot: QtBot, studio: Studio) -> None:
    wait_for(qtbot, lambda: studio.start_to_face_s is not None)
    studio.heartbeat.start()
    studio.close()
    before = studio.heartbeat.worst_ms
    time.sleep(0.2)  # as long as a training needs to save
    qtbot.wait(20)
    assert studio.heartbeat.worst_ms == before
