"""Scripts: what was done can be done again, with a window and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, PATIENCE_S, wait_for, wait_for_face, wait_for_fit
from lipflow.checks import InputError
from lipflow_studio import script
from lipflow_studio.actions import open_files
from lipflow_studio.commands import Recording
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.scripts import Scripts
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.session import Session

KNOWN = Session.known_commands()


def play(qtbot: QtBot, session: Session, steps: list[object], folder: Path) -> None:
    """As a file, so that it is checked, too."""
    (folder / "steps.json").write_text(json.dumps(steps))
    player = script.Player(session, script.load(folder / "steps.json", KNOWN), session)
    with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
        player.start()


def test_a_command_that_is_none_is_answered_with_those_of_its_part(tmp_path: Path) -> None:
    def answer(name: str) -> str:
        (tmp_path / "s.json").write_text(json.dumps([{"wait": 0}, {"command": name}]))
        with pytest.raises(InputError) as caught:
            script.load(tmp_path / "s.json", KNOWN)
        return str(caught.value)

    assert "step 2: expected a command, one of files.new, files.open, files.save, got 'files.sav'" in answer(
        "files.sav"
    )
    assert "undo" in answer("undoo")
    assert "files.save" not in answer("undoo")
    assert all(name in answer("nowhere.save") for name in KNOWN)


# Recording


def test_what_was_done_plays_to_the_same_document(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    for k in range(4):
        session.move_keypoints({3: (0.5, 0.3 + 0.01 * k)}, gesture=1)
    wait_for_fit(qtbot, session)
    session.select([3, 4])
    session.nudge(0.01, 0.0)
    session.nudge(0.01, 0.0)
    session.set_fit_config(prior_weight=0.5)
    session.set_fit_config(prior_weight=0.25)
    session.pin(False)
    session.undo()
    session.view_from("left")
    session.part(Desk).set_theme("light")
    wanted, undone = session.document, session.undo_stack.count()
    session.part(Scripts).save(str(tmp_path / "done.json"))
    assert session.problem is None
    steps = json.loads((tmp_path / "done.json").read_text())
    assert [step.get("command", "wait_for") for step in steps] == [
        "move_keypoints",
        "wait_for",
        "select",
        "nudge",
        "nudge",
        "set_fit_config",
        "pin",
        "undo",
        "view_from",
        "desk.set_theme",
    ]
    other = Session()
    other.use_avatar(session.avatar, session.avatar_info)
    wait_for_face(qtbot, other)
    play(qtbot, other, steps, tmp_path)
    assert other.problem is None
    assert other.undo_stack.count() == undone
    assert (other.keypoints.strength == wanted.keypoints.strength).all()
    np.testing.assert_allclose(other.keypoints.given, wanted.keypoints.given, atol=0.05)
    assert other.document.configs == wanted.configs
    assert other.camera == session.camera
    assert other.part(Desk).theme == "light"
    assert other.close()


def test_of_a_drag_the_end_is_kept() -> None:
    recording = Recording()
    for k in range(100):
        recording.add({"command": "move_keypoints", "args": [{1: (k, k)}]}, same=(1, (1,)))
    recording.add({"command": "move_keypoints", "args": [{1: (0, 0)}]}, same=(2, (1,)))
    assert [step["args"][0][1] for step in recording.steps] == [(99, 99), (0, 0)]


FAILING_LATER = {
    "an avatar": lambda s, bad: s.open_avatar(str(bad.with_suffix(".safetensors"))),
    "by what it is": lambda s, bad: s.open([str(bad.with_suffix(".lipflow"))]),
    "a session": lambda s, bad: s.part(Files).open(str(bad.with_suffix(".lipflow"))),
    "headset images": lambda s, bad: s.open_headset_images([str(bad.with_suffix(".png"))] * 3),
    "a sequence": lambda s, bad: s.part(Sequences).open([str(bad.with_suffix(".mp4"))]),
    "a capture": lambda s, bad: s.part(Captures).open(str(bad.parent)),
    "a contender": lambda s, bad: s.part(Compare).add(str(bad.with_suffix(".safetensors"))),
    "an export": lambda s, bad: s.part(Export).texture(str(bad / "texture.png")),
}


@pytest.mark.parametrize("give", FAILING_LATER.values(), ids=FAILING_LATER)
def test_what_fails_in_a_worker_is_not_recorded(
    qtbot: QtBot, session: Session, tmp_path: Path, give: Callable[[Session, Path], None]
) -> None:
    for suffix in ("", ".safetensors", ".lipflow", ".png", ".mp4"):
        (tmp_path / f"bad{suffix}").write_text("nothing")
    wait_for_face(qtbot, session)
    session.nudge(0.01, 0.0)
    session.view_from("left")
    done, before = list(session.recorded), session.undo_stack.count()
    give(session, tmp_path / "bad")
    assert len(session.recorded) == len(done) + 1
    session.select([3])
    wait_for(qtbot, lambda: session.problem is not None)
    assert [step for step in session.recorded if step["command"] != "select"] == done
    assert session.recorded[-1]["command"] == "select"
    assert session.undo_stack.count() == before


def test_what_another_load_took_the_place_of_is_not_recorded(
    qtbot: QtBot, session: Session, headset_files: list[Path]
) -> None:
    wait_for_face(qtbot, session)
    session.open_avatar("tiny-kpt")
    session.open_headset_images([str(path) for path in headset_files])
    session.part(Captures).open("nowhere")
    wait_for(qtbot, lambda: session.headset is not None and session.problem is not None)
    assert [step["command"] for step in session.recorded] == ["open_headset_images"]
    session.open_avatar("tiny-kpt")
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-kpt")
    session.open_avatar("tiny-hmc")
    wait_for(qtbot, lambda: session.avatar_info.name == "tiny-hmc")
    assert [step["command"] for step in session.recorded][1:] == ["open_avatar", "open_avatar"]


def test_an_unknown_command_is_refused(session: Session) -> None:
    for name in ("close", "runner.close", "desk.answer", "no.such", "edit", "__init__"):
        with pytest.raises(KeyError):
            session.give(name)


def test_every_command_is_known_by_its_owner() -> None:
    assert {"undo", "open", "move_keypoints", "files.save", "desk.quit", "recovery.recover"} <= KNOWN


# Playing


def test_a_drag_is_one_gesture_and_tells_when_each_move_was_due(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    start = session.handles()[7].copy()
    moves: list[object] = []
    session.observation_sent.connect(moves.append)
    play(qtbot, session, [{"drag": {"7": [0.02, 0.05]}, "seconds": 0.3}, {"wait_for": "fit"}], tmp_path)
    np.testing.assert_allclose(session.keypoints.given[7], np.add(start, [0.02, 0.05]), atol=1e-5)
    assert session.undo_stack.count() == 1
    assert 1 <= len(moves) <= 18


def test_steps_are_repeated(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    undo = [{"command": "undo"}, {"command": "redo"}]
    wait_for_face(qtbot, session)
    session.move_keypoints({3: (0.5, 0.5)})
    play(qtbot, session, [{"repeat": 2, "steps": undo}, {"repeat_for": 0.05, "steps": undo}], tmp_path)
    given = [step["command"] for step in session.recorded if "command" in step]
    assert given.count("undo") == given.count("redo") >= 3
    assert session.keypoints.pinned[3]


def test_what_never_comes_is_reported(qtbot: QtBot, empty_session: Session, tmp_path: Path) -> None:
    play(qtbot, empty_session, [{"wait_for": "face", "timeout": 0.05}], tmp_path)
    assert "waited 0 s for face" in empty_session.problem.line


@pytest.mark.parametrize(
    "step",
    [
        {"command": "view_from", "args": ["nowhere"]},
        {"command": "nudge"},
        {"command": "move_keypoints", "args": [{"x": [1, 2]}]},
        {"command": "move_keypoints", "args": [{"3": "here"}]},
        {"command": "set_camera", "kwargs": {"target": [1, 2]}},
        {"command": "set_source", "args": ["TELEPATHY"]},
        {"command": "desk.show_sheet", "args": ["tea"]},
        {"drag": {"4000": [0.1, 0.1]}},
    ],
    ids=str,
)
def test_a_command_that_is_misused_is_one_line(
    qtbot: QtBot, session: Session, tmp_path: Path, step: dict[str, object]
) -> None:
    play(qtbot, session, [step], tmp_path)
    assert session.problem is not None
    assert "\n" not in session.problem.line


BAD = (
    "",
    "{}",
    "[3]",
    "[{}]",
    "[" * 20_000,
    '[{"command": "rm"}]',
    '[{"command": "undo", "args": 3}]',
    '[{"command": "undo", "wait": 3}]',
    '[{"wait": "long"}]',
    '[{"wait": -1}]',
    '[{"wait": NaN}]',
    '[{"wait_for": "tea"}]',
    '[{"wait_for": "fit", "timeout": "long"}]',
    '[{"drag": {}}]',
    '[{"drag": {"x": [0, 0]}}]',
    '[{"drag": {"1": [0]}}]',
    '[{"repeat": 2}]',
    '[{"repeat": 2.5, "steps": []}]',
    '[{"repeat": 2, "steps": [{"wait_for": "tea"}]}]',
)


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_bad_scripts_are_named_by_their_step(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match="script") as error:
        script.load(tmp_path / "s.json", KNOWN)
    assert "\n" not in str(error.value)


def test_a_script_that_is_opened_is_played(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('[{"command": "view_from", "args": ["right"]}]')
    open_files(session, [str(tmp_path / "s.json")])
    wait_for(qtbot, lambda: session.camera.azimuth == 50.0)
    assert [step["command"] for step in session.recorded] == ["view_from"]
    (tmp_path / "k.json").write_text(json.dumps([[0.5, 0.5]] * 136))
    open_files(session, [str(tmp_path / "k.json")])
    assert session.keypoints.pinned.all()


@pytest.mark.parametrize("where", [[], ["--headless"]])
def test_what_went_wrong_is_told_at_the_end(avatar_files: dict[str, Path], tmp_path: Path, where: list[str]) -> None:
    steps = [{"command": "keyframes.remove", "args": [7]}, {"command": "desk.quit"}]
    (tmp_path / "s.json").write_text(json.dumps(steps))
    command = [sys.executable, "-m", "lipflow_studio", "--avatar", str(avatar_files["tiny-kpt"])]
    done = subprocess.run(
        [*command, "--script", str(tmp_path / "s.json"), *where],
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "lipflow-studio: keyframe: expected one of 0, got 7"


# Without a display


def test_a_script_plays_without_a_display(avatar_files: dict[str, Path], tmp_path: Path) -> None:
    steps = [
        {"drag": {"7": [0.0, 0.05]}, "seconds": 0.2},
        {"wait_for": "fit"},
        {"command": "desk.set_theme", "args": ["light"]},
        {"command": "files.save", "args": [str(tmp_path / "out.lipflow")]},
    ]
    (tmp_path / "s.json").write_text(json.dumps(steps))
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    command = [sys.executable, "-m", "lipflow_studio", "--avatar", str(avatar_files["tiny-kpt"])]
    done = subprocess.run(
        [*command, "--script", str(tmp_path / "s.json"), "--metrics", str(tmp_path / "m.json")],
        env=bare | {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["drag_to_shape_ms"]["moves"] > 0
    assert metrics["memory_mb"]["now"] > 50
    assert (tmp_path / "out.lipflow").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"s.json", "m.json", "out.lipflow"}  # and nothing else was left
