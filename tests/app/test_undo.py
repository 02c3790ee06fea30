"""Every edit can be undone and redone, under a name that the menu shows; the face comes back with it."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from conftest import ENDLESS, wait_for, wait_for_face, wait_for_fit
from lipflow_studio import edits
from lipflow_studio.document import Document, HeadsetImages, Source, Status
from lipflow_studio.edits import Edit
from lipflow_studio.session import Session
from support.random_avatar import TINY_HMC

Do = Callable[[Session], None]


def drag(session: Session, *indices: int, down: float = 0.03, gesture: object = 1) -> None:
    handles = session.handles()
    session.move_keypoints({i: (handles[i][0], handles[i][1] + down) for i in indices}, gesture=gesture)


# What the menu says behind "Undo", and the command. Landmark 3 is selected.
EDITS: dict[str, Do] = {
    "drag of face.7": lambda s: drag(s, 7),
    "drag of 3 keypoints": lambda s: drag(s, 7, 8, 9),
    "move of face.7": lambda s: drag(s, 7, gesture=None),
    "nudge of face.3": lambda s: s.nudge(0.01, 0.0),
    "pin of face.3": lambda s: s.pin(True),
    "change of the pin strength of face.3": lambda s: s.set_strength(50.0),
    "change of λ": lambda s: s.set_fit_config(prior_weight=0.125),
    "change of the optimiser": lambda s: s.set_fit_config(optimiser="adam"),
    "change of the iterations and the likelihood's use": lambda s: s.set_fit_config(likelihood=False, iterations=9),
    "change of the hold": lambda s: s.set_hold(0.5),
    "restart of the fit": lambda s: s.reset_fit(),
    "load a code": lambda s: s.show_code([0.5] * len(s.avatar_info.start)),
}


def fields(document: Document) -> dict[str, object]:
    return {name: value for name, value in vars(document).items() if name != "code"}


@pytest.mark.parametrize("text", EDITS)
def test_edits_are_named_undone_and_redone(qtbot: QtBot, session: Session, text: str) -> None:
    wait_for_face(qtbot, session)
    session.select([3])
    before, face = session.document, session.code().copy()
    EDITS[text](session)
    assert session.undo_stack.undoText() == text
    assert session.undo_stack.count() == 1
    after = session.document
    if session.status is Status.RUNNING:
        wait_for_fit(qtbot, session)
    fitted = session.code().copy()
    session.undo()
    assert fields(session.document) == fields(before)
    np.testing.assert_array_equal(session.document.code, face)
    session.redo()
    assert fields(session.document) == fields(after)
    np.testing.assert_array_equal(session.document.code, fitted)
    assert session.undo_stack.undoText() == text


def settled_code(qtbot: QtBot, session: Session) -> np.ndarray:
    """The code once it rests: after convergence, the keypoints that nobody pinned still follow the face."""
    last = session.code().copy()
    for _ in range(50):
        qtbot.wait(200)
        now = session.code().copy()
        if np.array_equal(now, last):
            return now
        last = now
    raise AssertionError("the fit does not come to rest")


def test_unpin_and_resets_are_undone(session: Session) -> None:
    session.select([3, 4])
    session.pin(True)
    session.set_strength(2.0)
    pinned = session.keypoints
    for text, do in (
        ("unpin of 2 keypoints", lambda: session.pin(False)),
        ("unpin of 2 keypoints", lambda: session.set_strength(0.0)),
        ("reset of 2 keypoints", lambda: session.reset_keypoints(selected=True)),
        ("reset of all keypoints", lambda: session.reset_keypoints()),
    ):
        do()
        assert session.undo_stack.undoText() == text
        assert not session.keypoints.pinned.any()
        session.undo()
        assert session.keypoints == pinned
    assert pinned.strength[[3, 4]].tolist() == [2.0, 2.0]


def test_opening_keypoints_is_undone(session: Session, tmp_path: Path) -> None:
    (tmp_path / "smile.json").write_text(json.dumps([[0.5, 0.5]] * 136))
    before = session.keypoints
    session.open_keypoints(str(tmp_path / "smile.json"))
    assert session.undo_stack.undoText() == "open smile.json"
    session.undo()
    assert session.keypoints == before


def test_opening_an_avatar_is_undone_with_all_that_was_open(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    drag(session, 5)
    wait_for_fit(qtbot, session)
    before, face = session.document, settled_code(qtbot, session)
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: not session.loading)
    assert session.avatar_info.name == "tiny-hmc"
    assert not session.keypoints.pinned.any()
    assert session.undo_stack.undoText() == "open avatar tiny-hmc"
    session.undo()
    assert session.avatar_info is before.info
    assert session.keypoints is before.keypoints
    np.testing.assert_allclose(session.document.code, face, atol=0.05)
    wait_for_fit(qtbot, session)
    session.undo()
    assert not session.keypoints.pinned.any()
    assert session.status is Status.IDLE
    session.redo()
    session.redo()
    assert session.avatar_info.name == "tiny-hmc"
    wait_for_face(qtbot, session)


def test_opening_headset_images_is_one_edit_even_where_it_changes_the_avatar(
    qtbot: QtBot, session: Session, headset_files: list[Path]
) -> None:
    wait_for_face(qtbot, session)
    before = session.document
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.fit is not None)
    assert session.undo_stack.count() == 1
    assert session.undo_stack.undoText() == "open headset images"
    session.undo()
    assert session.document.info is before.info
    assert session.source is Source.KEYPOINTS
    assert session.headset is None
    session.redo()
    assert session.avatar_info.name == "tiny-hmc"
    assert session.source is Source.HEADSET
    wait_for(qtbot, lambda: session.fit is not None and session.fit.source is Source.HEADSET)


def test_headset_images_that_are_opened_again_are_held_once(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    wait_for_face(qtbot, hmc_session)
    held = []
    for _ in range(2):
        hmc_session.open_headset_images([str(p) for p in headset_files])
        wait_for(qtbot, lambda: not hmc_session.loading)
        held.append(hmc_session.headset)
    assert hmc_session.undo_stack.count() == 2  # the fit starts anew
    assert held[0] is not held[1]
    assert held[0].images is held[1].images


def test_dragging_after_a_headset_fit_keeps_its_face_and_undo_brings_the_images_back(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    session = hmc_session
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.fit is not None)
    session.set_fit_config(**ENDLESS)
    wait_for(qtbot, lambda: session.fit.iteration > 3)
    session.pause_fit()
    qtbot.wait(100)
    on_face = session.picture.shape.keypoints.copy()
    drag(session, 5)
    others = np.arange(len(on_face)) != 5
    np.testing.assert_allclose(session.keypoints.given[others], on_face[others].clip(0, 1), atol=1e-6)
    assert session.undo_stack.undoText() == "drag of face.5"
    session.undo()
    assert session.source is Source.HEADSET
    assert session.status is Status.PAUSED  # as it was


def test_a_drag_is_one_step_and_leaves_nothing_else_behind(qtbot: QtBot, session: Session) -> None:
    """Sixty moves a second, each with two documents: what was joined is let go at once."""
    wait_for_face(qtbot, session)
    before = session.keypoints
    for _ in range(20):
        drag(session, 5, down=0.002)
    drag(session, 6, gesture=2)
    last = session.keypoints
    gc.collect()
    edits = [each for each in gc.get_objects() if isinstance(each, Edit)]  # those of other tests, too
    mine = [each for each in edits if getattr(each._do, "func", None) == session._change]
    assert session.undo_stack.count() == len(mine) == 2
    session.undo()
    dragged = session.keypoints
    assert dragged.given[5][1] - before.given[5][1] == pytest.approx(0.04, abs=0.01)
    session.undo()
    assert session.keypoints is before
    session.redo()
    session.redo()
    assert session.keypoints is last


def test_a_gesture_that_goes_on_after_saving_or_undoing_is_another_step(session: Session) -> None:
    drag(session, 5)
    session.undo_stack.setClean()
    saved = session.keypoints
    drag(session, 5)
    assert session.undo_stack.count() == 2
    assert not session.undo_stack.isClean()
    session.undo()
    assert session.keypoints is saved
    assert session.undo_stack.isClean()
    drag(session, 5, gesture=2)
    drag(session, 5, gesture=3)
    session.undo()
    drag(session, 5, gesture=2)
    assert session.undo_stack.count() == 3
    assert not session.undo_stack.canRedo()


def test_the_camera_and_the_selection_are_no_edits(session: Session) -> None:
    session.select([1])
    session.view_from("left")
    session.set_camera(distance=700.0)
    session.set_symmetric(True)
    assert session.undo_stack.count() == 0


def test_a_code_that_is_put_on_is_shown_and_held(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    drag(session, 2)
    wait_for_fit(qtbot, session)
    code = np.linspace(-1, 1, len(session.avatar_info.start)).astype(np.float32)
    session.show_code(code.tolist(), "load the code of frame 12")
    assert session.undo_stack.undoText() == "load the code of frame 12"
    np.testing.assert_array_equal(session.code(), code)
    wait_for_face(qtbot, session)
    wait_for(qtbot, lambda: np.allclose(session.picture.shape.keypoints, session.keypoints.given, atol=1e-4))
    assert session.status is Status.IDLE
    session.show_code([0.0])
    assert "expected" in session.problem.line


def test_symmetric_nudges_move_the_mirror_image_the_other_way(session: Session) -> None:
    info = session.avatar_info
    mirror = (1, 0, *range(2, len(info.landmarks.ids)))
    info = replace(info, landmarks=replace(info.landmarks, mirror=mirror))
    session.document = replace(session.document, info=info)
    session.set_symmetric(True)
    session.select([0])
    before = session.handles().copy()
    session.nudge(0.01, 0.02)
    moved = session.keypoints.given - before
    np.testing.assert_allclose(moved[:2], [[0.01, 0.02], [-0.01, 0.02]], atol=1e-6)
    assert session.undo_stack.undoText() == "nudge of 2 keypoints"


def test_nudges_of_one_selection_are_one_step(session: Session) -> None:
    session.select([3])
    for _ in range(4):
        session.nudge(0.01, 0.0)
    assert session.undo_stack.count() == 1
    session.select([4])
    session.nudge(0.01, 0.0)
    assert session.undo_stack.count() == 2
    session.undo()
    session.undo()
    assert not session.keypoints.pinned.any()


def test_a_changed_configuration_goes_on_from_a_converged_fit(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    drag(session, 5)
    wait_for_fit(qtbot, session)
    z = session.code().copy()
    session.set_fit_config(prior_weight=20.0)
    assert session.status is Status.RUNNING
    wait_for_fit(qtbot, session)
    assert np.abs(session.code() - z).max() > 1e-4
    assert session.fit.first == 0  # the same fit


class TestPictures:
    """What steps hold is bounded by its bytes."""

    def open_images(self, session: Session, images: np.ndarray) -> None:
        headset = HeadsetImages(images, ("mouth", "left", "right"))
        session.edit("open images", headset=headset, source=Source.HEADSET)

    @pytest.fixture
    def paused(self, qtbot: QtBot, hmc_session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
        wait_for_face(qtbot, hmc_session)
        hmc_session.runner.pause()
        monkeypatch.setattr(edits, "MOST_BYTES", 4 * self.images().nbytes)
        return hmc_session

    def images(self) -> np.ndarray:
        return np.full((3, *TINY_HMC), 0.5, np.float32)

    def test_the_oldest_steps_are_forgotten_where_they_are_too_many(self, paused: Session) -> None:
        session, stack = paused, paused.undo_stack
        given = [self.images() for _ in range(8)]
        kept = [weakref.ref(images) for images in given]
        while given:
            self.open_images(session, given.pop(0))
        gc.collect()
        assert [ref() is not None for ref in kept[-4:]] == [True] * 4
        assert stack.undoText() == "open images"
        steps = 0
        while stack.canUndo():
            session.undo()
            steps += 1
        assert steps == 3
        assert stack.undoText() == ""
        np.testing.assert_array_equal(session.headset.images, kept[4]())
        there = session.document
        session.undo()
        assert session.document is there
        session.redo()
        assert session.headset.images is kept[5]()

    def test_a_picture_that_many_steps_hold_counts_once(self, paused: Session) -> None:
        session, shared = paused, self.images()
        for _ in range(9):
            self.open_images(session, shared)
            session.set_hold(session.hold / 2)
        assert all(not session.undo_stack.command(i).forgotten for i in range(session.undo_stack.count()))

    def test_the_newest_step_can_always_be_undone(self, paused: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edits, "MOST_BYTES", 0)
        given = [self.images() for _ in range(3)]
        for images in given:
            self.open_images(paused, images)
        paused.undo()
        assert paused.headset.images is given[1]
        assert not paused.undo_stack.canUndo()
