"""Sessions as files: what is saved comes back as it was; what is damaged, newer or lost is one line."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from conftest import ENDLESS, wait_for, wait_for_face, wait_for_fit
from lipflow.checkpoint import load_tensors, save_tensors
from lipflow.checks import InputError
from lipflow_studio import session_file
from lipflow_studio.document import Source, Status
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.recent import Recent
from lipflow_studio.session import Session
from support.full_disk import full_disk


@pytest.fixture
def opened(qtbot: QtBot, empty_session: Session) -> Session:
    """A Session with the tiny keypoint avatar open from its file."""
    empty_session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: not empty_session.loading)
    wait_for_face(qtbot, empty_session)
    return empty_session


def reopen(qtbot: QtBot, path: Path) -> Session:
    session = Session()
    session.part(Files).open(str(path))
    wait_for(qtbot, lambda: not session.loading)
    assert session.problem is None
    return session


def test_a_session_reopens_as_it_was(qtbot: QtBot, opened: Session, tmp_path: Path) -> None:
    opened.set_symmetric(True)
    opened.select([4, 5])
    opened.pin(True)
    opened.set_strength(33.0)
    opened.move_keypoints({9: (0.4, 0.3)})
    opened.set_fit_config(prior_weight=0.3, iterations=40)
    opened.set_hold(0.1)
    wait_for_fit(qtbot, opened)
    opened.set_camera(azimuth=20.0, elevation=-10.0, distance=800.0, target=(1.0, 2.0, 3.0))
    files = opened.part(Files)
    assert files.modified
    files.save(str(tmp_path / "work"))
    code = opened.code()
    assert opened.problem is None
    assert not files.modified
    assert files.path == tmp_path / "work.lipflow"
    other = reopen(qtbot, tmp_path / "work.lipflow")
    before, after = opened.document, other.document
    assert after.keypoints == before.keypoints
    assert (after.source, after.configs, after.hold) == (before.source, before.configs, before.hold)
    np.testing.assert_array_equal(after.code, code)
    assert (other.camera, other.selection, other.symmetric) == (opened.camera, opened.selection, True)
    assert not other.part(Files).modified
    assert other.undo_stack.count() == 0
    wait_for_fit(qtbot, other)
    assert other.close()


def test_a_headset_session_reopens_with_its_images_and_is_held_where_it_was(
    qtbot: QtBot, empty_session: Session, headset_files: list[Path], tmp_path: Path
) -> None:
    session = empty_session
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: session.avatar_info is not None)
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.fit is not None)
    session.set_fit_config(**ENDLESS)
    wait_for(qtbot, lambda: session.fit.iteration > 2)
    session.pause_fit()
    qtbot.wait(200)
    session.part(Files).save(str(tmp_path / "h.lipflow"))
    other = reopen(qtbot, tmp_path / "h.lipflow")
    assert other.source is Source.HEADSET
    assert other.headset.names == session.headset.names
    np.testing.assert_array_equal(other.headset.images, session.headset.images)
    assert other.status is Status.PAUSED
    wait_for(qtbot, lambda: other.fit is not None)
    assert other.fit.iteration == 0
    np.testing.assert_array_equal(other.fit.z, session.fit.z)
    assert other.fit.renders is not None  # the panels show where it stands
    other.start_fit()
    wait_for(qtbot, lambda: other.fit.iteration > 1)
    assert other.close()


def test_only_edits_make_a_session_modified_and_saving_cleans_it(qtbot: QtBot, opened: Session, tmp_path: Path) -> None:
    files = opened.part(Files)
    seen: list[bool] = []
    files.modified_changed.connect(seen.append)
    opened.view_from("left")
    assert files.question() is None
    opened.move_keypoints({0: (0.5, 0.5)})
    assert files.question() is not None
    opened.undo()
    assert not files.modified
    opened.redo()
    files.save(str(tmp_path / "a.lipflow"))
    opened.undo()
    assert seen == [True, False, True, False, True]
    assert files.modified  # the file holds more than what is open now


def test_saving_needs_a_place_and_an_avatar_with_a_file(session: Session, tmp_path: Path) -> None:
    session.part(Files).save()
    assert "path" in session.problem.line
    session.part(Files).save(str(tmp_path / "x.lipflow"))
    assert "only in memory" in session.problem.line
    assert not (tmp_path / "x.lipflow").exists()


def test_a_new_session_keeps_the_open_avatar_alone(
    qtbot: QtBot, opened: Session, headset_files: list[Path], tmp_path: Path
) -> None:
    opened.open_headset_images([str(path) for path in headset_files])  # which brings the avatar that they drive
    wait_for(qtbot, lambda: opened.headset is not None)
    info = opened.avatar_info
    opened.move_keypoints({0: (0.5, 0.5)})
    opened.select([0])
    opened.view_from("left")
    opened.part(Files).save(str(tmp_path / "a.lipflow"))
    opened.part(Files).new()
    wait_for(qtbot, lambda: not opened.loading)
    assert opened.avatar_info is info
    assert opened.part(Files).path is None
    assert not opened.keypoints.pinned.any()
    assert (opened.headset, opened.source, opened.selection) == (None, Source.KEYPOINTS, frozenset())
    assert opened.camera == opened.home
    assert opened.undo_stack.count() == 0
    np.testing.assert_array_equal(opened.code(), info.start)


def test_where_no_avatar_is_open_a_new_session_begins_with_the_default_one(
    qtbot: QtBot, empty_session: Session
) -> None:
    empty_session.part(Files).new()
    wait_for(qtbot, lambda: empty_session.avatar_info is not None)
    assert empty_session.avatar_info.name == "tiny-kpt"


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_a_place_that_cannot_be_written_to_is_one_line_and_nothing_is_lost(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    files = opened.part(Files)
    opened.move_keypoints({0: (0.5, 0.5)})
    files.save(str(tmp_path / "a.lipflow"))
    kept = (tmp_path / "a.lipflow").read_bytes()
    opened.move_keypoints({1: (0.5, 0.5)})

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(code, "refused", str(tmp_path / "a.lipflow"))

    with monkeypatch.context() as patch:
        patch.setattr("lipflow.checkpoint.save_file", refuse)
        files.save()
    assert words in opened.problem.line
    assert "\n" not in opened.problem.line
    assert files.modified
    assert (tmp_path / "a.lipflow").read_bytes() == kept
    assert [p.name for p in tmp_path.iterdir()] == ["a.lipflow"]
    assert opened.keypoints.pinned[1]


def test_a_full_disk_is_one_line_and_nothing_is_lost(opened: Session, tmp_path: Path) -> None:
    files = opened.part(Files)
    opened.move_keypoints({0: (0.5, 0.5)})
    with full_disk():
        files.save(str(tmp_path / "a.lipflow"))
    assert opened.problem.line.startswith(f"{tmp_path / 'a.lipflow'}: ")
    assert "larger than this place takes" in opened.problem.line
    assert files.modified
    assert list(tmp_path.iterdir()) == []
    files.save(str(tmp_path / "a.lipflow"))
    assert not files.modified


def test_files_that_are_deleted_while_open_harm_nothing(
    qtbot: QtBot, empty_session: Session, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    session = empty_session
    mine = tmp_path / "mine.safetensors"
    shutil.copy(avatar_files["tiny-kpt"], mine)
    session.open_avatar(str(mine))
    wait_for(qtbot, lambda: not session.loading)
    session.part(Files).save(str(tmp_path / "a.lipflow"))
    mine.unlink()
    (tmp_path / "a.lipflow").unlink()
    session.move_keypoints({3: (0.5, 0.4)})
    wait_for_fit(qtbot, session)
    session.part(Files).save()  # writes it again
    assert session.problem is None
    session.part(Files).open(str(tmp_path / "a.lipflow"))
    wait_for(qtbot, lambda: session.problem is not None)
    assert "avatar" in session.problem.line
    assert "beside the session" in session.problem.line
    assert session.keypoints.pinned[3]


def test_an_avatar_is_found_beside_a_session_that_was_moved(
    qtbot: QtBot, empty_session: Session, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copy(avatar_files["tiny-kpt"], here / "mine.safetensors")
    empty_session.open_avatar(str(here / "mine.safetensors"))
    wait_for(qtbot, lambda: not empty_session.loading)
    empty_session.part(Files).save(str(here / "a.lipflow"))
    here.rename(there)
    other = reopen(qtbot, there / "a.lipflow")
    assert other.avatar_info.path == there / "mine.safetensors"
    assert other.close()


def test_a_session_of_another_avatar_is_refused(
    qtbot: QtBot, opened: Session, avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    saved = opened.part(Files).snapshot(tmp_path / "a.lipflow")
    short = replace(saved.document, code=np.zeros(3, np.float32))
    session_file.write(tmp_path / "a.lipflow", replace(saved, document=short))
    opened.open([str(tmp_path / "a.lipflow")])
    wait_for(qtbot, lambda: opened.problem is not None)
    assert "numbers in the code, got 3" in opened.problem.line


# The file itself


@pytest.fixture
def written(opened: Session, tmp_path: Path) -> Path:
    opened.move_keypoints({2: (0.5, 0.4)})
    opened.part(Files).save(str(tmp_path / "s.lipflow"))
    return tmp_path / "s.lipflow"


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> None:
    tensors, body = load_tensors(path, what="session", kind=session_file.FORMAT)
    change(tensors, body)
    save_tensors(path, tensors, body)


def test_a_newer_version_is_refused_in_one_line(written: Path) -> None:
    rewrite(written, lambda tensors, body: body.update(version=99, unheard_of=1))
    with pytest.raises(InputError, match=r"version 1 or older, got version 99; open it with a newer studio") as error:
        session_file.read(written)
    assert "\n" not in str(error.value)


def test_an_older_version_is_brought_up_to_date(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "hold": body["grip"]}

    rewrite(written, lambda tensors, body: body.update(grip=0.25, hold=None))
    monkeypatch.setattr(session_file, "VERSION", 2)
    monkeypatch.setattr(session_file, "MIGRATIONS", {1: rename})
    assert session_file.read(written).document.hold == 0.25


DAMAGE: dict[str, Callable[[dict[str, torch.Tensor], dict[str, Any]], object]] = {
    "no version": lambda t, b: b.pop("version"),
    "a version of text": lambda t, b: b.update(version="1"),
    "no code": lambda t, b: t.pop("code"),
    "a code of integers": lambda t, b: t.update(code=torch.zeros(16, dtype=torch.int64)),
    "NaN in the code": lambda t, b: t.update(code=torch.full((16,), float("nan"))),
    "keypoints outside": lambda t, b: t.update(given=t["given"] + 1),
    "a negative strength": lambda t, b: t.update(strength=t["strength"] - 1),
    "strengths of others": lambda t, b: t.update(strength=t["strength"][:-1].clone()),
    "an unknown source": lambda t, b: b.update(source="TELEPATHY"),
    "a headset without images": lambda t, b: b.update(source="HEADSET"),
    "headset names without images": lambda t, b: b.update(headset=["a", "b", "c"]),
    "two headset names": lambda t, b: b.update(headset=["a", "b"]),
    "images made of nothing": lambda t, b: (
        b.update(headset=["a"] * 3, recipe={"capture": 3}),
        t.update(headset=torch.zeros(3, 4, 4)),
    ),
    "flat headset images": lambda t, b: (b.update(headset=["a", "b", "c"]), t.update(headset=torch.zeros(3, 4))),
    "bright headset images": lambda t, b: (b.update(headset=["a"] * 3), t.update(headset=torch.full((3, 4, 4), 7.0))),
    "configs of text": lambda t, b: b.update(configs="fast"),
    "an unknown optimiser": lambda t, b: b["configs"]["KEYPOINTS"].update(optimiser="newton"),
    "a negative weight": lambda t, b: b["configs"]["KEYPOINTS"].update(prior_weight=-1.0),
    "no camera": lambda t, b: b.pop("camera"),
    "a camera of text": lambda t, b: b["camera"].update(azimuth="left"),
    "a selection of others": lambda t, b: b.update(selection=[1, 100_000]),
    "a hold of text": lambda t, b: b.update(hold="tight"),
    "parts of text": lambda t, b: b.update(parts={"latent": "x"}),
    "an avatar of text": lambda t, b: b.update(avatar="mine"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_in_one_line(written: Path, name: str) -> None:
    rewrite(written, lambda tensors, body: DAMAGE[name](tensors, body))
    with pytest.raises(InputError) as error:
        session_file.read(written)
    assert "\n" not in str(error.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_may_be_wrong(written: Path, data: st.DataObject) -> None:
    """A clear error or a correct load, never anything else."""
    raw = bytearray(written.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    broken = written.with_name("broken.lipflow")
    broken.write_bytes(raw if data.draw(st.booleans()) else raw[:cut])
    with contextlib.suppress(InputError):
        session_file.read(broken)


# Around it


def test_what_was_opened_is_remembered_by_kind(
    qtbot: QtBot, opened: Session, headset_files: list[Path], avatar_files: dict[str, Path], tmp_path: Path
) -> None:
    recent = opened.part(Recent)
    assert recent.files("avatar") == []  # the embedded one has a menu of its own
    shutil.copy(avatar_files["tiny-kpt"], tmp_path / "mine.safetensors")
    opened.open([str(tmp_path / "mine.safetensors")])
    wait_for(qtbot, lambda: not opened.loading)
    assert recent.files("avatar") == [[str(tmp_path / "mine.safetensors")]]
    opened.part(Files).save(str(tmp_path / "a.lipflow"))
    opened.part(Files).save(str(tmp_path / "b.lipflow"))
    opened.part(Files).save(str(tmp_path / "a.lipflow"))
    assert recent.files("session") == [[str(tmp_path / "a.lipflow")], [str(tmp_path / "b.lipflow")]]
    opened.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: opened.headset is not None)
    assert recent.files("headset") == [[str(p) for p in headset_files]]
    again = Session(preferences=opened.preferences)
    assert again.part(Recent).files("session") == recent.files("session")
    again.part(Recent).clear()
    assert again.part(Recent).files("session") == []
    assert again.close()


def test_replacing_what_is_not_saved_is_asked_for_and_only_then(opened: Session) -> None:
    desk, asked = opened.part(Desk), []
    desk.answer = lambda question: bool(asked.append(question.text))
    assert desk.may_replace()
    opened.move_keypoints({0: (0.5, 0.5)})
    assert not desk.may_replace(["other.lipflow"])
    assert desk.may_replace(["keypoints.json"])
    assert not desk.may_close()
    assert asked == ["Save the changes to this session?"] * 2
