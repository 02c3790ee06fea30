"""After a crash: what was not saved is offered, opened again, or thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_S, wait_for, wait_for_face
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.recovery import Recovery
from lipflow_studio.session import Session
from lipflow_studio.widgets.offer import RecoveryOffer
from support.full_disk import full_disk


def begin(qtbot: QtBot, folder: Path) -> Session:
    session = Session()
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not session.loading)
    wait_for_face(qtbot, session)
    session.part(Recovery).watch(folder)
    return session


def sessions(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.lipflow"))


def crash(folder: Path) -> None:
    """Leave files as a process does that is gone: its lock names a process that is no more."""
    for lock in folder.glob("*.lock"):
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
        lines = lock.read_text().splitlines()
        lock.unlink()
        lock.write_text("\n".join([gone.stdout.strip(), *lines[1:]]) + "\n")


def autosaved(qtbot: QtBot, session: Session, folder: Path) -> None:
    session.part(Recovery).autosave()
    wait_for(qtbot, lambda: bool(sessions(folder)))


@pytest.fixture
def left(qtbot: QtBot, tmp_path: Path) -> Path:
    """A folder with what a crash left: a session with keypoint 7 moved, saved before as work.lipflow."""
    folder = tmp_path / "recovery"
    session = begin(qtbot, folder)
    session.part(Files).save(str(tmp_path / "work.lipflow"))
    session.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, session, folder)
    crash(folder)
    recovery = session.part(Recovery)
    recovery._file = recovery._lock = None  # whoever crashed removes nothing
    assert session.close()
    return folder


def test_only_what_was_edited_is_written_and_closing_in_order_removes_it(qtbot: QtBot, tmp_path: Path) -> None:
    session = begin(qtbot, tmp_path)
    session.part(Recovery).autosave()
    qtbot.wait(50)
    assert sessions(tmp_path) == []
    session.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, session, tmp_path)
    assert session.part(Recovery).lost is None  # it is its own
    assert session.close()
    assert list(tmp_path.iterdir()) == []


def test_saving_removes_it_too(qtbot: QtBot, tmp_path: Path) -> None:
    session = begin(qtbot, tmp_path / "recovery")
    session.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, session, tmp_path / "recovery")
    session.part(Files).save(str(tmp_path / "s.lipflow"))
    assert sessions(tmp_path / "recovery") == []
    assert session.close()


def test_every_minute(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipflow_studio.parts.recovery.EVERY_S", 0.0)
    monkeypatch.setattr("lipflow_studio.parts.recovery.TICK_MS", 20)
    session = begin(qtbot, tmp_path)
    session.move_keypoints({7: (0.5, 0.4)})
    wait_for(qtbot, lambda: bool(sessions(tmp_path)))
    assert session.close()


def test_what_a_crash_left_is_offered_and_recovered(qtbot: QtBot, left: Path) -> None:
    session = begin(qtbot, left)
    offer = RecoveryOffer(session)
    qtbot.addWidget(offer)
    assert offer.isVisibleTo(None)
    assert "can be recovered" in offer.line.text()
    assert not session.keypoints.pinned.any()  # nothing happens unasked
    offer.recover_button.click()
    wait_for(qtbot, lambda: not session.loading)
    assert session.keypoints.pinned[7]
    assert session.part(Files).path == left.parent / "work.lipflow"
    assert session.part(Files).modified
    assert not offer.isVisibleTo(None)
    assert len(sessions(left)) == 1  # still there, until it is saved
    session.part(Files).save()
    assert sessions(left) == []
    assert session.close()


def test_what_a_crash_left_can_be_thrown_away(qtbot: QtBot, left: Path) -> None:
    session = begin(qtbot, left)
    offer = RecoveryOffer(session)
    qtbot.addWidget(offer)
    offer.discard_button.click()
    assert sessions(left) == []
    assert not offer.isVisibleTo(None)
    assert session.close()


def test_what_a_running_studio_writes_is_not_offered_to_another(qtbot: QtBot, tmp_path: Path) -> None:
    one = begin(qtbot, tmp_path)
    one.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, one, tmp_path)
    two = begin(qtbot, tmp_path)
    assert two.part(Recovery).lost is None
    assert two.close()
    assert one.close()


def test_what_is_rescued_stays_although_it_closes(qtbot: QtBot, tmp_path: Path) -> None:
    session = begin(qtbot, tmp_path)
    session.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, session, tmp_path)
    session.move_keypoints({8: (0.5, 0.5)})
    assert session.part(Recovery).rescue()
    assert not session.part(Recovery).rescue()  # it is done
    assert session.close()
    assert list(tmp_path.iterdir()) == sessions(tmp_path)
    again = begin(qtbot, tmp_path)
    again.part(Recovery).recover()
    wait_for(qtbot, lambda: not again.loading)
    assert again.keypoints.pinned[[7, 8]].all()
    assert again.close()


def test_nothing_is_rescued_where_nothing_was_edited(qtbot: QtBot, tmp_path: Path) -> None:
    session = begin(qtbot, tmp_path)
    assert not session.part(Recovery).rescue()
    assert session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"not a session"])
def test_a_damaged_one_is_one_line(qtbot: QtBot, left: Path, damage: bytes) -> None:
    sessions(left)[0].write_bytes(damage)
    session = begin(qtbot, left)
    session.part(Recovery).recover()
    wait_for(qtbot, lambda: session.problem is not None)
    assert "\n" not in session.problem.line
    session.part(Recovery).discard()
    assert sessions(left) == []
    assert session.close()


def unexpected(*args: object, **kwargs: object) -> None:
    raise IndexError("we miscounted")


@pytest.mark.parametrize("says", ["larger than this place takes", "IndexError: we miscounted"])
def test_what_keeps_it_from_writing_is_said_once_and_tried_again(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    session = begin(qtbot, tmp_path)
    problems: list[object] = []
    session.problem_changed.connect(problems.append)
    session.move_keypoints({7: (0.5, 0.4)})
    recovery = session.part(Recovery)

    def has_failed() -> bool:
        recovery._tick()
        return recovery._written is None

    with monkeypatch.context() as patch, full_disk():
        if "IndexError" in says:
            patch.setattr("lipflow_studio.session_file.write", unexpected)
        for _ in range(3):
            recovery.autosave()
            wait_for(qtbot, has_failed)
    assert len(problems) == 1
    assert "autosave" in session.problem.line
    assert says in session.problem.line
    assert "\n" not in session.problem.line
    assert session.keypoints.pinned[7]
    session.part(Recovery).autosave()
    wait_for(qtbot, lambda: bool(sessions(tmp_path)))
    assert session.close()
    assert list(tmp_path.iterdir()) == []


def test_where_there_was_no_room_for_a_lock_there_is_one_later(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begin(qtbot, tmp_path)
    one.move_keypoints({7: (0.5, 0.4)})
    with monkeypatch.context() as patch:
        patch.setattr("lipflow_studio.parts.recovery._lock", lambda path: None)
        autosaved(qtbot, one, tmp_path)
    one.move_keypoints({7: (0.5, 0.5)})
    autosaved(qtbot, one, tmp_path)
    two = begin(qtbot, tmp_path)
    assert two.part(Recovery).lost is None
    assert two.close()
    assert one.close()


def test_a_rescue_that_fails_leaves_what_was_written_before(qtbot: QtBot, tmp_path: Path) -> None:
    session = begin(qtbot, tmp_path)
    session.move_keypoints({7: (0.5, 0.4)})
    autosaved(qtbot, session, tmp_path)
    session.move_keypoints({8: (0.5, 0.4)})
    with full_disk(), pytest.raises(OSError, match="too large"):
        session.part(Recovery).rescue()
    assert session.close()
    assert len(sessions(tmp_path)) == 1


def test_a_studio_that_is_killed_leaves_its_session(
    qtbot: QtBot, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    """The real thing: another process edits, autosaves and dies."""
    script = f"""
import os, torch
from pathlib import Path
from PySide6.QtWidgets import QApplication
from lipflow_studio.session import Session
from lipflow_studio.parts.recovery import Recovery
app = QApplication([])
session = Session()
session.open_avatar({str(avatar_files["tiny-kpt"])!r})
while session.loading: app.processEvents()
recovery = session.part(Recovery)
recovery.watch(Path({str(tmp_path)!r}))
session.move_keypoints({{7: (0.5, 0.4)}})
recovery.autosave()
while not list(Path({str(tmp_path)!r}).glob("[!.]*.lipflow")): app.processEvents()
os.kill(os.getpid(), 9)
"""
    offscreen = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", script], env=offscreen, timeout=PATIENCE_S)
    assert done.returncode == -9
    session = begin(qtbot, tmp_path)
    assert session.part(Recovery).lost is not None
    session.part(Recovery).recover()
    wait_for(qtbot, lambda: not session.loading)
    assert session.keypoints.pinned[7]
    assert session.close()
