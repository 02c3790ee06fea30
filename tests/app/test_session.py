"""The document: commands change fields, fields announce themselves, edits can be undone, bad input harms nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from conftest import ENDLESS, PATIENCE_MS, wait_for, wait_for_face, wait_for_fit
from lipflow.checks import InputError
from lipflow_studio.document import Source, Status
from lipflow_studio.parts.desk import Desk
from lipflow_studio.session import Session


def put(session: Session, index: int = 0, by: tuple[float, float] = (0.0, 0.03), gesture: object = None) -> np.ndarray:
    """Move one keypoint away from the face; returns where to."""
    target = session.handles()[index] + by
    session.move_keypoints({index: tuple(target)}, gesture=gesture)
    return session.keypoints.given[index].copy()


def distance(session: Session, index: int = 0) -> float:
    return float(np.linalg.norm(session.picture.shape.keypoints[index] - session.keypoints.given[index]))


def test_an_opened_avatar_shows_its_face_without_any_click(qtbot: QtBot, empty_session: Session) -> None:
    with qtbot.waitSignals([empty_session.avatar_changed, empty_session.picture_changed], timeout=PATIENCE_MS):
        empty_session.open_avatar("tiny-kpt")
    wait_for_face(qtbot, empty_session)
    assert empty_session.avatar_info.name == "tiny-kpt"
    assert empty_session.picture.texture.dtype == np.uint8
    assert not empty_session.keypoints.pinned.any()
    np.testing.assert_allclose(empty_session.picture.shape.keypoints, empty_session.keypoints.given, atol=1e-4)
    assert empty_session.problem is None


def test_a_moved_keypoint_is_pinned_and_the_face_follows(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    session.set_fit_config(prior_weight=0.001)
    put(session)
    before = distance(session)
    assert session.status is Status.RUNNING
    wait_for_fit(qtbot, session)
    assert session.keypoints.pinned[0]
    assert distance(session) < 0.5 * before
    assert session.fit.converged


def test_moves_of_one_drag_are_one_undo_step_and_undo_brings_the_face_back(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    for k in range(5):
        put(session, by=(0.0, 0.01 * k), gesture=7)
    assert session.undo_stack.count() == 1
    assert session.undo_stack.undoText() == "drag of face.0"
    put(session, index=1, gesture=8)
    assert session.undo_stack.count() == 2
    session.undo_stack.undo()
    session.undo_stack.undo()
    assert not session.keypoints.pinned.any()
    np.testing.assert_array_equal(session.keypoints.given, session.avatar_info.keypoints)
    session.undo_stack.redo()
    assert session.keypoints.pinned[0]
    wait_for_fit(qtbot, session)


def test_nudge_moves_the_selection_and_a_run_is_one_step(session: Session) -> None:
    session.select([3, 4])
    start = session.handles()[[3, 4]].copy()
    session.nudge(0.01, 0.0)
    session.nudge(0.01, 0.0)
    assert session.undo_stack.count() == 1
    np.testing.assert_allclose(session.keypoints.given[[3, 4], 0], start[:, 0] + 0.02, atol=1e-5)


def test_pin_unpin_and_reset(session: Session) -> None:
    session.select([5])
    session.pin(True)
    assert session.keypoints.pinned[5]
    session.pin(False)
    assert not session.keypoints.pinned[5]
    put(session, 5)
    put(session, 6)
    session.select([5])
    session.reset_keypoints(selected=True)
    assert not session.keypoints.pinned[5]
    assert session.keypoints.pinned[6]
    session.reset_keypoints()
    assert not session.keypoints.pinned.any()
    session.undo_stack.undo()
    assert session.keypoints.pinned[6]


@pytest.mark.parametrize("selected", [True, False])
def test_with_every_keypoint_reset_the_neutral_face_is_shown(qtbot: QtBot, session: Session, selected: bool) -> None:
    wait_for_face(qtbot, session)
    neutral = session.avatar_info.start
    put(session, 5)
    wait_for_fit(qtbot, session)
    dragged = session.code().copy()
    assert not np.array_equal(dragged, neutral)
    session.select([5])
    session.reset_keypoints(selected=selected)
    np.testing.assert_array_equal(session.code(), neutral)
    assert session.status is Status.IDLE
    session.undo()
    np.testing.assert_array_equal(session.document.code, dragged)
    session.redo()
    np.testing.assert_array_equal(session.code(), neutral)


def test_a_configuration_that_no_fit_runs_with_is_refused(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    session = hmc_session
    wait_for_face(qtbot, session)
    put(session, 5)
    wait_for_fit(qtbot, session)
    for changes, word in (
        ({"prior": "avatar"}, "standard-normal for keypoints"),
        ({"optimiser": "nadam"}, "optimiser"),
    ):
        config, count = session.fit_config, session.undo_stack.count()
        session.set_fit_config(**changes)
        assert word in session.problem.line
        assert session.fit_config is config
        assert session.undo_stack.count() == count
        assert session.status is Status.CONVERGED
    session.dismiss_problem()
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.source is Source.HEADSET)
    session.set_fit_config(prior="standard-normal")
    session.set_fit_config(prior="avatar")
    assert session.problem is None
    session.set_fit_config(optimiser="lm")
    assert "lbfgs or adam for headset images" in session.problem.line
    assert session.fit_config.optimiser == "lbfgs"


def test_keypoints_stay_inside_the_image(session: Session) -> None:
    session.move_keypoints({0: (1.7, -3.0)})
    np.testing.assert_array_equal(session.keypoints.given[0], [1.0, 0.0])
    assert session.problem is None


def test_selection_ignores_landmarks_that_are_not_there(session: Session) -> None:
    session.select([1, 500, -1])
    assert session.selection == {1}


def test_pause_step_and_resume(qtbot: QtBot, hmc_session: Session, headset_files: list[Path]) -> None:
    session = hmc_session
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.fit is not None)
    session.set_fit_config(**ENDLESS)
    session.pause_fit()
    assert session.status is Status.PAUSED
    qtbot.wait(300)
    held = session.fit.iteration
    qtbot.wait(150)
    assert session.fit.iteration == held
    session.step_fit()
    wait_for(qtbot, lambda: session.fit.iteration == held + 1)
    qtbot.wait(150)
    assert session.fit.iteration == held + 1
    session.start_fit()
    wait_for(qtbot, lambda: session.fit.iteration > held + 2)


class TestHeld:
    """The fit is paused: another input shows the prior's guess for it and nothing of the one before."""

    @pytest.fixture
    def held(self, qtbot: QtBot, hmc_session: Session, headset_files: list[Path]) -> Session:
        """A headset fit, paused after a few iterations."""
        session = hmc_session
        session.open_headset_images([str(p) for p in headset_files])
        wait_for(qtbot, lambda: session.fit is not None)
        session.set_fit_config(**ENDLESS)
        wait_for(qtbot, lambda: session.fit.iteration > 2)
        session.pause_fit()
        assert session.status is Status.PAUSED
        qtbot.wait(200)
        return session

    def test_other_images_show_the_priors_guess_and_its_render(
        self, qtbot: QtBot, held: Session, headset_files: list[Path]
    ) -> None:
        before, told = held.fit, []
        held.fit_changed.connect(told.append)
        held.open_headset_images([str(headset_files[i]) for i in (0, 1, 2)])
        wait_for(qtbot, lambda: bool(told))
        assert told[0] is None  # readings and curves of the images before are taken away
        wait_for(qtbot, lambda: held.fit is not None)
        assert held.fit.iteration == 0
        assert held.fit.serial > before.serial
        assert held.fit.renders is not None
        assert len(held.fit.curve) == 1
        assert held.status is Status.PAUSED
        wait_for(qtbot, lambda: held.picture.shape.serial == held.fit.serial)
        shown = held.fit
        qtbot.wait(150)
        assert held.fit is shown  # and it is held there
        held.start_fit()
        wait_for(qtbot, lambda: held.fit.iteration > 2)

    def test_the_face_is_kept_for_undo_before_the_guess_is_there(
        self, qtbot: QtBot, held: Session, headset_files: list[Path]
    ) -> None:
        code, images = held.code(), held.headset
        held.open_headset_images([str(p) for p in headset_files])
        wait_for(qtbot, lambda: held.headset is not images)
        assert held.fit is not None or np.array_equal(held.code(), code)
        held.undo()
        np.testing.assert_array_equal(held.code(), code)
        wait_for(qtbot, lambda: held.fit is not None and held.fit.renders is not None)

    def test_another_source_shows_its_first_state(self, qtbot: QtBot, held: Session) -> None:
        held.set_source("KEYPOINTS")
        wait_for(qtbot, lambda: held.fit is not None and held.fit.source is Source.KEYPOINTS)
        assert held.fit.iteration == 0
        assert held.status is Status.PAUSED

    def test_a_late_state_of_the_images_before_is_not_shown(
        self, qtbot: QtBot, held: Session, headset_files: list[Path]
    ) -> None:
        late, images = held.fit, held.headset
        held.open_headset_images([str(p) for p in headset_files])
        wait_for(qtbot, lambda: held.headset is not images)
        held.runner.fitted.emit(late)
        assert held.fit is not late
        wait_for(qtbot, lambda: held.fit is not None)
        assert held.fit.iteration == 0


def test_reset_starts_again_at_the_priors_guess(qtbot: QtBot, session: Session) -> None:
    wait_for_face(qtbot, session)
    put(session)
    wait_for_fit(qtbot, session)
    serial = session.fit.serial
    session.reset_fit()
    wait_for(qtbot, lambda: session.fit.serial > serial)
    wait_for_fit(qtbot, session)
    assert session.fit.first == 0
    assert session.fit.curve[0, 0] >= session.fit.curve[-1, 0]


def test_configuration_is_an_edit_and_reaches_the_fit(qtbot: QtBot, session: Session) -> None:
    session.set_fit_config(prior_weight=0.25)
    assert session.fit_config.prior_weight == 0.25
    session.undo_stack.undo()
    assert session.fit_config.prior_weight == 1.0
    session.set_fit_config(optimiser="adam", iterations=7)
    put(session)
    wait_for_fit(qtbot, session)
    assert session.fit.iteration <= 7


def test_headset_images_switch_to_the_avatar_that_they_drive(
    qtbot: QtBot, session: Session, headset_files: list[Path]
) -> None:
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.headset is not None)
    assert session.avatar_info.name == "tiny-hmc"
    assert session.source is Source.HEADSET
    wait_for(qtbot, lambda: session.fit is not None and session.fit.renders is not None)
    assert session.fit.renders.shape == session.headset.images.shape


def test_headset_files_are_ordered_by_their_names(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    hmc_session.open_headset_images([str(headset_files[i]) for i in (2, 0, 1)])
    wait_for(qtbot, lambda: hmc_session.headset is not None)
    assert hmc_session.headset.names == ("mouth.png", "left.png", "right.png")


def test_the_source_can_be_changed_back_and_forth(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path]
) -> None:
    session = hmc_session
    session.open_headset_images([str(p) for p in headset_files])
    wait_for(qtbot, lambda: session.fit is not None)
    assert session.fit_config.optimiser == "lbfgs"
    put(session)
    assert session.source is Source.KEYPOINTS
    assert session.fit_config.prior == "standard-normal"  # keypoints do not drive this avatar's own
    wait_for(qtbot, lambda: session.fit.source is Source.KEYPOINTS)
    session.set_source("HEADSET")
    wait_for(qtbot, lambda: session.fit.source is Source.HEADSET)
    assert session.problem is None


def test_what_was_done_is_recorded_without_what_it_made_happen(session: Session) -> None:
    session.select([0])
    session.nudge(0.01, 0.0)
    assert [step["command"] for step in session.recorded] == ["select", "nudge"]


def test_what_is_refused_is_not_recorded(session: Session) -> None:
    """A script would be told of it again each time it is played."""
    session.select([3])
    session.recording.rest()
    session.set_source("TEA")
    session.set_fit_config(iterations=-1)
    session.view_from("below the table")
    session.part(Desk).set_theme("pink")
    session.open(["leaves.tea"])
    with pytest.raises(TypeError):
        session.give("nudge", 1.0)
    assert session.problem is not None
    assert [step["command"] for step in session.recorded] == ["select"]
    session.nudge(2.0, 0.0)
    assert session.recorded[1:] == [{"wait_for": "fit"}, {"command": "nudge", "args": [2.0, 0.0], "kwargs": {}}]


def test_an_edit_whose_fit_cannot_be_is_recorded(
    qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, and can be undone."""
    wait_for_face(qtbot, session)  # with the first picture, a fit is rehearsed

    def refuse(*args: object) -> None:
        raise InputError("observation", expected="one", got="none")

    monkeypatch.setattr("lipflow_studio.session.observation_of", refuse)
    session.select([3])
    session.nudge(2.0, 0.0)
    assert "observation" in session.problem.line
    assert [step["command"] for step in session.recorded] == ["select", "nudge"]


def test_closing_ends_a_running_fit(qtbot: QtBot, session: Session) -> None:
    put(session)
    assert session.close()
    assert session.close()  # and again


def bad_keypoints(folder: Path, points: object) -> list[Path]:
    path = folder / "points.json"
    path.write_text(points if isinstance(points, str) else json.dumps(points))
    return [path]


def picture(folder: Path, name: str, size: tuple[int, int] = (40, 30), mode: str = "L") -> Path:
    Image.new(mode, size, 100 if mode == "L" else (200, 10, 10)).save(folder / name)
    return folder / name


def truncated(folder: Path, source: Path) -> Path:
    (folder / "cut.safetensors").write_bytes(source.read_bytes()[:5000])
    return folder / "cut.safetensors"


BAD = {
    "no such avatar": lambda d, a: [d / "none.safetensors"],
    "truncated avatar": lambda d, a: [truncated(d, a)],
    "135 keypoints": lambda d, a: bad_keypoints(d, [[0.5, 0.5]] * 135),
    "keypoints outside": lambda d, a: bad_keypoints(d, [[0.5, 1.5]] * 136),
    "keypoints NaN": lambda d, a: bad_keypoints(d, "[[NaN, 0.5]]"),
    "keypoints no JSON": lambda d, a: bad_keypoints(d, "{"),
    "two images": lambda d, a: [picture(d, "a.png"), picture(d, "b.png")],
    "wrong size": lambda d, a: [picture(d, f"{n}.png", (41, 30)) for n in "abc"],
    "colour": lambda d, a: [picture(d, f"{n}.png", mode="RGB") for n in "abc"],
    "not an image": lambda d, a: [_text(d / f"{n}.png") for n in "abc"],
    "foreign file": lambda d, a: [_text(d / "notes.txt")],
    "nothing": lambda d, a: [],
}


def _text(path: Path) -> Path:
    path.write_text("hello")
    return path


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_the_studio_stays_usable(
    qtbot: QtBot,
    session: Session,
    avatar_files: dict[str, Path],
    tmp_path: Path,
    name: str,
) -> None:
    make: Callable[[Path, Path], list[Path]] = BAD[name]
    wait_for_face(qtbot, session)
    given, avatar = session.keypoints.given.copy(), session.avatar_info
    session.open([str(p) for p in make(tmp_path, avatar_files["tiny-kpt"])])
    wait_for(qtbot, lambda: session.problem is not None)
    assert "\n" not in session.problem.line
    assert "expected" in session.problem.line
    assert not session.loading
    assert session.avatar_info is avatar
    np.testing.assert_array_equal(session.keypoints.given, given)
    assert session.headset is None
    session.dismiss_problem()
    put(session)
    wait_for_fit(qtbot, session)
    assert session.problem is None


def test_a_crash_in_the_fit_is_reported_and_survived(
    qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipflow.landmark_fit import KeypointDifference

    wait_for_face(qtbot, session)
    with monkeypatch.context() as patch:
        patch.setattr(KeypointDifference, "factors", lambda *args: 1 / 0)
        put(session)
        wait_for(qtbot, lambda: session.problem is not None)
    assert "ZeroDivisionError" in session.problem.line
    assert "Traceback" in session.problem.details
    session.dismiss_problem()
    put(session)
    wait_for_fit(qtbot, session)
    assert session.problem is None
