"""Taking results out: each command leaves its file, whole or not at all, and the window shows how far it is."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot

from conftest import wait_for, wait_for_face, wait_for_fit
from lipflow import export_report, export_video, export_views
from lipflow.avatar import Avatar
from lipflow.capture import FrameId
from lipflow.export import ExportProgress
from lipflow.export_codes import load_codes
from lipflow.export_video import VideoConfig
from lipflow_studio import export_work, script
from lipflow_studio.document import Status
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.export import Export, Exporting
from lipflow_studio.parts.keyframes import Keyframes
from lipflow_studio.session import Session
from lipflow_studio.studio import make_headless
from lipflow_studio.widgets.export_line import ExportLine

SMALL = VideoConfig(size=(64, 48), fps=8, seconds=0.5, hold=0.25)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that take no time."""
    monkeypatch.setattr(export_video, "VideoConfig", lambda: SMALL)
    monkeypatch.setattr(export_work, "VideoConfig", lambda seconds, hold: VideoConfig((64, 48), 8, seconds, hold))
    monkeypatch.setattr(export_work, "RENDER_SIZE", (96, 96))
    monkeypatch.setattr(export_report, "VIEW_SIZE", (64, 54))
    monkeypatch.setattr(export_views, "KEYPOINT_HEIGHT", 96)


@pytest.fixture
def fitted(qtbot: QtBot, session: Session) -> Session:
    """With a few keypoints pinned, and the fit at rest."""
    wait_for_face(qtbot, session)
    session.move_keypoints({i: (0.45, 0.55) for i in range(3)})
    wait_for_fit(qtbot, session)
    return session


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """Turntables that never end; tells how many were closed."""
    closed: list[Path] = []

    def turning(path: Path, face: object) -> Iterator[ExportProgress]:
        try:
            done = 0
            while True:
                done = done % 99 + 1
                yield ExportProgress(done, 100)
        finally:
            closed.append(path)

    monkeypatch.setattr(export_work, "turning", turning)
    return lambda: len(closed)


def finish(qtbot: QtBot, session: Session) -> None:
    export = session.part(Export)
    wait_for(qtbot, lambda: not export.busy)
    assert export.running is None
    assert session.problem is None


def test_meshes_textures_and_pictures_of_the_shown_face(qtbot: QtBot, fitted: Session, tmp_path: Path) -> None:
    export = fitted.part(Export)
    vertices = fitted.fit.shape.vertices
    for name in ("face.glb", "face.ply", "face.obj"):
        export.mesh(str(tmp_path / name))
    export.texture(str(tmp_path / "texture.png"))
    fitted.view_from("left")
    export.render(str(tmp_path / "left.png"))
    fitted.view_from("right")
    export.render(str(tmp_path / "right.png"))
    finish(qtbot, fitted)
    names = {"face.glb", "face.ply", "face.obj", "face.mtl", "face.png", "texture.png", "left.png", "right.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name, unit in (("face.ply", 1.0), ("face.obj", 1.0), ("face.glb", 1000.0)):
        mesh = trimesh.load(tmp_path / name, process=False, force="mesh")
        np.testing.assert_allclose(unit * mesh.bounds, [vertices.min(0), vertices.max(0)], atol=0.01)
    assert Image.open(tmp_path / "texture.png").size == (32, 32)
    left, right = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("left.png", "right.png"))
    assert left.shape == (96, 96, 3)
    assert left.max() > 100
    assert abs(left - right).mean() > 2


def test_a_picture_has_the_viewers_framing(session: Session) -> None:
    session.set_camera(azimuth=30.0, elevation=-20.0, target=(5.0, 10.0, -20.0))
    orbit, size = session.camera, (200, 100)
    camera = export_work.camera_of(orbit, size)
    points = session.avatar_info.vertices[::17]
    clip = np.c_[points, np.ones(len(points))] @ orbit.clip_from_head(size[1] / size[0]).T
    wanted = (clip[:, :2] / clip[:, 3:] * [0.5, -0.5] + 0.5) * [size[1], size[0]] - 0.5  # pixel centres at integers
    np.testing.assert_allclose(camera.project(torch.from_numpy(points))[:, :2].numpy(), wanted, atol=0.02)


def test_a_turntable_and_a_video_of_the_fit(qtbot: QtBot, fitted: Session, tmp_path: Path) -> None:
    told: list[str] = []
    fitted.told.connect(told.append)
    fitted.part(Export).turntable(str(tmp_path / "turn.mp4"))
    fitted.part(Export).fit_video(str(tmp_path / "fit.mp4"))
    assert fitted.part(Export).running == Exporting("turn.mp4")
    finish(qtbot, fitted)
    assert told == ["Wrote turn.mp4", "Wrote fit.mp4"]
    assert {path.name for path in tmp_path.iterdir()} == {"turn.mp4", "fit.mp4"}
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "turn.mp4")[0] == 4
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "fit.mp4")[0] == 4 + 2


def test_codes_of_the_fit(qtbot: QtBot, fitted: Session, tmp_path: Path) -> None:
    before = fitted.runner.trail.read().codes  # it may go on a little
    for name in ("codes.npz", "codes.csv"):
        fitted.part(Export).codes(str(tmp_path / name))
    finish(qtbot, fitted)
    assert len(before) > 1
    for name in ("codes.npz", "codes.csv"):
        codes = load_codes(tmp_path / name)
        np.testing.assert_array_equal(codes.z[: len(before)], np.stack(before))
        assert codes.number.tolist() == list(range(len(codes.z)))


def test_keyframes_as_codes_and_as_a_video(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    export, keyframes = session.part(Export), session.part(Keyframes)
    for scale in (0.0, 0.5):
        session.show_code([scale] * 16)
        keyframes.add()
    keyframes.set_path(duration=0.5)
    export.keyframes_video(str(tmp_path / "keys.mp4"))  # the latent view's way is not made yet
    export.codes(str(tmp_path / "keys.csv"), "keyframes")
    finish(qtbot, session)
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "keys.mp4")[0] == 4
    codes = load_codes(tmp_path / "keys.csv")
    np.testing.assert_array_equal(codes.z, np.stack(keyframes.path.keys))
    assert (codes.counts, codes.number.tolist()) == ("keyframe", [1, 2])


def test_codes_of_played_frames(
    qtbot: QtBot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_face(qtbot, session)
    export, captures = session.part(Export), session.part(Captures)
    monkeypatch.setattr(Captures, "playing", True)
    for number in (3, 5, 9):
        captures.frame_changed.emit(FrameId("smile", number))
        session.show_code([number / 10] * 16)
    export.codes(str(tmp_path / "frames.csv"), "frames")
    finish(qtbot, session)
    codes = load_codes(tmp_path / "frames.csv")
    assert codes.number.tolist() == [3, 5, 9]
    np.testing.assert_allclose(codes.z[:, 0], [0.3, 0.5, 0.9], rtol=1e-6)
    session.select([3])
    session.pin(True)
    export.codes(str(tmp_path / "going.csv"), "frames")  # the last frame's fit is on its way
    assert session.status is Status.RUNNING
    session.pause_fit()
    finish(qtbot, session)
    assert load_codes(tmp_path / "going.csv").number.tolist() == [3, 5]
    captures.frame_changed.emit(FrameId("frown", 1))
    assert not export.offers("frames")


def test_a_report_tells_of_the_fit(qtbot: QtBot, fitted: Session, tmp_path: Path) -> None:
    energy = fitted.fit.energy  # as it is when the report is asked for
    fitted.part(Export).report(str(tmp_path / "fit.html"))
    finish(qtbot, fitted)
    html = (tmp_path / "fit.html").read_text()
    assert "A fit of tiny-kpt" in html
    assert "3 pinned keypoints" in html
    assert "over 3 keypoints" in html
    assert f"{energy:.5g}" in html


def test_a_report_of_headset_images_names_them(
    qtbot: QtBot, hmc_session: Session, headset_files: list[Path], tmp_path: Path
) -> None:
    wait_for_face(qtbot, hmc_session)
    hmc_session.open_headset_images([str(path) for path in headset_files])
    hmc_session.set_fit_config(iterations=3)
    wait_for_fit(qtbot, hmc_session)
    hmc_session.part(Export).report(str(tmp_path / "fit.html"))
    hmc_session.part(Export).fit_video(str(tmp_path / "fit.mp4"))
    finish(qtbot, hmc_session)
    assert "mouth.png, left.png, right.png" in (tmp_path / "fit.html").read_text()
    assert (tmp_path / "fit.mp4").stat().st_size > 0


def test_what_is_missing_is_one_line(qtbot: QtBot, empty_session: Session, kpt_avatar: Avatar, tmp_path: Path) -> None:
    session, export, path = empty_session, empty_session.part(Export), str(tmp_path / "x.npz")

    def says(text: str) -> None:
        assert text in session.problem.line
        session.dismiss_problem()
        assert not export.busy

    export.turntable(path)
    says("export: expected an open avatar, got none")
    session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny-kpt"))
    export.report(path)
    says("export: expected a fit, got none; move a keypoint or open images first")
    export.codes(path)
    says("codes: expected a fit")
    export.codes(path, "frames")
    says("codes: expected played frames")
    export.codes(path, "keyframes")
    says("keyframes: expected at least 1")
    export.keyframes_video(path)
    says("keyframes: expected at least 2")
    export.codes(path, "rows")
    says("codes: expected fit or keyframes or frames, got 'rows'")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["mesh", "texture", "render", "turntable"])
def test_another_suffix_is_refused(qtbot: QtBot, session: Session, tmp_path: Path, command: str) -> None:
    wait_for_face(qtbot, session)
    getattr(session.part(Export), command)(str(tmp_path / "face.doc"))
    wait_for(qtbot, lambda: session.problem is not None)
    assert "got '.doc'" in session.problem.line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_a_disk_that_takes_nothing_is_one_line_and_the_next_export_goes_on(
    qtbot: QtBot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    wait_for_face(qtbot, session)
    touch = Path.touch

    def full(path: Path, *args: object, **kwargs: object) -> None:
        touch(path, *args, **kwargs)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "touch", full)
    session.part(Export).turntable(str(tmp_path / "turn.mp4"))
    session.part(Export).texture(str(tmp_path / "texture.png"))
    wait_for(qtbot, lambda: not session.part(Export).busy)
    assert session.problem.line.startswith(f"{tmp_path / 'turn.mp4'}: ")
    assert says in session.problem.line
    assert [path.name for path in tmp_path.iterdir()] == ["texture.png"]
    monkeypatch.setattr(Path, "touch", touch)
    session.part(Export).texture(str(tmp_path / "texture.png"))
    wait_for(qtbot, lambda: not session.part(Export).busy)
    assert session.problem is not None  # that of the turntable
    session.part(Export).turntable(str(tmp_path / "turn.mp4"))
    wait_for(qtbot, lambda: not session.part(Export).busy)
    assert session.problem is None


def test_an_export_that_failed_before_the_next_is_asked_for_is_not_taken_for_it(
    qtbot: QtBot, session: Session, tmp_path: Path
) -> None:
    wait_for_face(qtbot, session)
    export, texture = session.part(Export), str(tmp_path / "texture.png")
    (tmp_path / "file").touch()
    export.turntable(str(tmp_path / "file" / "turn.mp4"))
    while export._worker.alive:  # no event is handled: what it came to is not read before the next command
        time.sleep(0.01)
    export.texture(texture)
    wait_for(qtbot, lambda: not export.busy)
    assert "this is a file, and no folder" in session.problem.line
    assert [step["command"] for step in session.recording.steps if "export" in step.get("command", "")] == [
        "export.texture"
    ]
    export.texture(texture)
    wait_for(qtbot, lambda: not export.busy)
    assert session.problem is not None  # that of the turntable, which was not tried again


def test_cancel_stops_the_one_that_runs(
    qtbot: QtBot, session: Session, tmp_path: Path, endless: Callable[[], int]
) -> None:
    wait_for_face(qtbot, session)
    export, told = session.part(Export), []
    session.told.connect(told.append)
    export.turntable(str(tmp_path / "turn.mp4"))
    export.texture(str(tmp_path / "texture.png"))
    wait_for(qtbot, lambda: export.running.done > 0)
    assert (export.running.total, export.running.waiting) == (100, 1)
    export.cancel()
    finish(qtbot, session)
    wait_for(qtbot, lambda: endless() == 1)
    assert told == ["turn.mp4 was not written", "Wrote texture.png"]
    export.cancel()  # of nothing
    assert session.problem is None


def test_a_window_asks_before_it_throws_an_export_away(
    qtbot: QtBot, session: Session, tmp_path: Path, endless: Callable[[], int]
) -> None:
    wait_for_face(qtbot, session)
    export, desk = session.part(Export), session.part(Desk)
    asked: list[str] = []
    desk.answer = lambda question: bool(asked.append(question.text))
    export.turntable(str(tmp_path / "turn.mp4"))
    assert not desk.may_close()
    assert asked == ["turn.mp4 is still being written."]
    assert export.question().answers[0].run()
    assert not export.busy
    assert desk.may_close()
    wait_for(qtbot, lambda: endless() == 1)


def test_closing_ends_what_runs(qtbot: QtBot, kpt_avatar: Avatar, tmp_path: Path, endless: Callable[[], int]) -> None:
    session = Session()
    session.use_avatar(kpt_avatar, describe(kpt_avatar, "tiny-kpt"))
    session.part(Export).turntable(str(tmp_path / "turn.mp4"))
    wait_for(qtbot, lambda: session.part(Export).running.done > 0)
    assert session.close()
    assert endless() == 1


def test_the_line_shows_how_far_it_is_and_cancels(
    qtbot: QtBot, session: Session, tmp_path: Path, endless: Callable[[], int]
) -> None:
    wait_for_face(qtbot, session)
    line, export = ExportLine(session), session.part(Export)
    qtbot.addWidget(line)
    assert line.isHidden()
    export.turntable(str(tmp_path / "turn.mp4"))
    assert not line.isHidden()
    assert line.name.text() == "Exporting turn.mp4"
    wait_for(qtbot, lambda: line.bar.value() > 0)
    assert line.bar.maximum() == 100
    export.texture(str(tmp_path / ("t" * 40 + ".png")))
    wait_for(qtbot, lambda: line.name.text() == "Exporting turn.mp4 and 1 more")
    qtbot.mouseClick(line.cancel_button, Qt.MouseButton.LeftButton)
    assert session.recorded[-1]["command"] == "export.cancel"
    wait_for(qtbot, lambda: line.isHidden())
    assert [path.name for path in tmp_path.iterdir()] == ["t" * 40 + ".png"]


def test_menu_actions_ask_for_a_file_and_are_recorded(
    qtbot: QtBot,
    session: Session,
    make_window: Callable[[Session], MainWindow],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gl: None,
) -> None:
    window = make_window(session)
    wait_for_face(qtbot, session)
    suggested: list[str] = []

    def choose(parent: object, title: str, path: str, kinds: str, *_: object) -> tuple[str, str]:
        suggested.append(path)
        return str(tmp_path / Path(path).stem), kinds  # typed without a suffix

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    actions = window.menus.actions
    window.menus.refresh()
    assert not actions["export_report"].isEnabled()
    assert not actions["export_cancel"].isEnabled()
    for name in ("export_mesh", "export_texture", "export_render", "export_turntable"):
        assert actions[name].isEnabled()
        actions[name].trigger()
    finish(qtbot, session)
    given = [(step["command"], Path(step["args"][0]).name) for step in session.recorded]
    wanted = {"mesh": "face.glb", "texture": "texture.png", "render": "render.png", "turntable": "turntable.mp4"}
    assert given == [(f"export.{command}", name) for command, name in wanted.items()]
    assert {path.name for path in tmp_path.iterdir()} >= set(wanted.values())
    session.move_keypoints({0: (0.4, 0.5)})
    wait_for_fit(qtbot, session)
    window.menus.refresh()
    for name in ("export_report", "export_fit_video", "export_fit_codes"):
        assert actions[name].isEnabled()
        actions[name].trigger()
    finish(qtbot, session)
    assert {"fit.html", "fit.mp4", "fit-codes.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_a_script_waits_for_its_exports(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    wait_for_face(qtbot, session)
    steps = [
        {"command": "move_keypoints", "args": [{"3": [0.5, 0.5]}]},
        {"wait_for": "fit"},
        {"command": "export.turntable", "args": [str(tmp_path / "turn.mp4")]},
        {"command": "export.report", "args": [str(tmp_path / "fit.html")]},
        {"command": "undo"},
    ]
    there: list[bool] = []
    session.undo_stack.indexChanged.connect(
        lambda index: there.append(index == 0 and (tmp_path / "fit.html").exists() and (tmp_path / "turn.mp4").exists())
    )
    player = script.Player(session, steps, session)
    with qtbot.waitSignal(player.finished, timeout=60_000):
        player.start()
    assert there[-1]
    assert session.problem is None


def test_it_needs_no_window(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> None:
    session = make_headless(qapp, "tiny-kpt").session
    steps = [
        {"wait_for": "face"},
        {"command": "export.mesh", "args": [str(tmp_path / "face.glb")]},
        {"command": "export.render", "args": [str(tmp_path / "face.png")]},
        {"command": "export.turntable", "args": [str(tmp_path / "turn.mp4")]},
        {"command": "desk.quit"},
    ]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    player = script.Player(session, script.load(tmp_path / "steps.json", Session.known_commands()), session)
    with qtbot.waitSignal(session.part(Desk).quit_asked, timeout=60_000):
        player.start()
    assert {path.name for path in tmp_path.iterdir()} == {"steps.json", "face.glb", "face.png", "turn.mp4"}
    assert session.close()
