"""Sequences from files: opened, shown frame by frame, played, left and come back to; the timeline below the head."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, wait_for, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.export_codes import load_codes
from lipflow.observations import HmcObservation
from lipflow_studio import sequence_work
from lipflow_studio.demo import drop
from lipflow_studio.document import Source, Status
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.export import Export
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.script import Player
from lipflow_studio.session import Session
from lipflow_studio.views.sequence_bar import SequenceBar
from lipflow_studio.widgets.timeline import Timeline, clock
from support.camera_file import save_camera
from support.random_avatar import TINY_HMC
from support.tiny_capture import write_tiny_capture

MakeWindow = Callable[[Session], MainWindow]
FRAMES = 5
NAMES = ("mouth", "left", "right")


@pytest.fixture(scope="session")
def images(hmc_avatar: Avatar) -> np.ndarray:
    """[T, 3, h, w]: a face on its way from one code to another, as the headset sees it."""
    blank = HmcObservation.for_avatar(hmc_avatar, torch.zeros(3, *TINY_HMC))
    ends = 0.7 * torch.randn(2, hmc_avatar.config.latent, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        shown = [
            blank.render(hmc_avatar, torch.lerp(ends[:1], ends[1:], k / (FRAMES - 1)))[0][0] for k in range(FRAMES)
        ]
    return (255 * torch.stack(shown).clamp(0, 1)).to(torch.uint8).numpy()


@pytest.fixture(scope="session")
def folder(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sequences") / "talking"
    for place, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for frame, three in enumerate(images):
            Image.fromarray(three[place]).save(root / name / f"{frame}.png")
    return root


@pytest.fixture
def part(qtbot: QtBot, hmc_session: Session, folder: Path) -> Sequences:
    """The part, with a folder of headset images open and few iterations a frame."""
    hmc_session.set_source("HEADSET")
    return opened(qtbot, hmc_session, [folder])


def opened(qtbot: QtBot, session: Session, paths: list[Path]) -> Sequences:
    part = session.part(Sequences)
    session.dismiss_problem()
    part.open([str(path) for path in paths])
    wait_for(qtbot, lambda: part.frame == 0)
    session.set_fit_config(iterations=2)
    return part


def show(qtbot: QtBot, part: Sequences, frame: int) -> None:
    part.show(frame)
    wait_for(qtbot, lambda: part.frame == frame)


def shown(part: Sequences) -> np.ndarray:
    return np.rint(255 * part.session.headset.images).astype(np.uint8)


class TestFrames:
    def test_the_first_is_fitted_from_the_priors_guess(
        self, qtbot: QtBot, part: Sequences, images: np.ndarray, folder: Path
    ) -> None:
        session = part.session
        assert (part.info.name, part.info.kind, part.info.length, part.info.fps) == ("talking", "headset", FRAMES, None)
        assert session.source is Source.HEADSET
        np.testing.assert_array_equal(shown(part), images[0])
        assert session.headset.names == ("0.png",) * 3
        wait_for_fit(qtbot, session)
        session.undo()
        session.undo()
        assert session.headset is None
        assert part.frame is None
        session.redo()
        assert part.frame == 0

    def test_another_goes_on_from_the_shown_face_and_is_undone_with_its_place(
        self, qtbot: QtBot, part: Sequences, images: np.ndarray
    ) -> None:
        session = part.session
        wait_for_fit(qtbot, session)
        before, iteration = session.code(), session.fit.iteration
        show(qtbot, part, 3)
        np.testing.assert_array_equal(shown(part), images[3])
        assert session.undo_stack.undoText() == "frame 4 of talking"
        wait_for_fit(qtbot, session)
        assert session.fit.iteration > iteration, "it went on"
        assert not np.array_equal(session.code(), before)
        session.undo()
        assert part.frame == 0
        np.testing.assert_array_equal(shown(part), images[0])
        np.testing.assert_array_equal(session.code(), before)

    def test_a_drag_of_the_slider_is_one_step(self, qtbot: QtBot, part: Sequences) -> None:
        steps = part.session.undo_stack.count()
        for frame in (1, 2, 4):
            part.show(frame, gesture="drag")
            wait_for(qtbot, lambda frame=frame: part.frame == frame)
        assert part.session.undo_stack.count() == steps + 1
        assert [step for step in part.session.recorded if step.get("command") == "sequence.show"] == [
            {"command": "sequence.show", "args": [4], "kwargs": {"gesture": "drag"}}
        ]

    @pytest.mark.parametrize("frame", [-1, FRAMES, 1.5, "2", True])
    def test_one_that_is_not_there_is_said(self, part: Sequences, frame: object) -> None:
        part.show(frame)
        assert f"expected 0 to {FRAMES - 1}" in part.session.problem.line
        assert part.frame == 0

    def test_without_a_sequence_every_command_says_so(self, session: Session) -> None:
        part = session.part(Sequences)
        for give in (part.play, part.step, lambda: part.show(0)):
            session.dismiss_problem()
            give()
            assert "sequence: expected an open one" in session.problem.line
            assert not part.playing

    def test_one_that_cannot_be_read_is_named_and_nothing_changes(
        self, qtbot: QtBot, hmc_session: Session, folder: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(folder, tmp_path / "copy")
        part = opened(qtbot, hmc_session, [tmp_path / "copy"])
        (tmp_path / "copy" / "left" / "2.png").write_bytes(b"half")
        document = hmc_session.document
        part.show(2)
        wait_for(qtbot, lambda: hmc_session.problem is not None)
        assert "2.png" in hmc_session.problem.line
        assert hmc_session.document is document
        assert part.frame == 0
        assert not [step for step in hmc_session.recorded if step.get("command") == "sequence.show"]
        part.play()
        wait_for(qtbot, lambda: not part.playing)
        assert part.frame == 1
        assert hmc_session.recorded[-1]["command"] == "sequence.play"  # it came as far as there

    def test_a_reader_that_crashes_is_said_and_replaced(
        self, qtbot: QtBot, part: Sequences, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*_: object) -> None:
            raise RuntimeError("by accident")

        with monkeypatch.context() as patched:
            patched.setattr(sequence_work, "_check_size", crash)
            part.show(1)
            wait_for(qtbot, lambda: part.session.problem is not None)
        assert "by accident" in part.session.problem.line
        show(qtbot, part, 1)


class TestPlaying:
    def test_shows_every_frame_as_one_step_to_undo(self, qtbot: QtBot, part: Sequences) -> None:
        session = part.session
        document, steps, seen = session.document, session.undo_stack.count(), []
        part.frame_changed.connect(seen.append)
        recorded = len(session.recorded)
        part.play()
        assert part.playing
        wait_for(qtbot, lambda: not part.playing)
        assert seen == [1, 2, 3, 4]
        assert session.undo_stack.count() == steps + 1
        assert session.undo_stack.undoText() == "play talking"
        assert [step for step in session.recorded[recorded:] if "command" in step] == [
            {"command": "sequence.play", "args": [], "kwargs": {}}
        ]
        session.undo()
        assert part.frame == 0
        assert session.headset is document.headset
        session.redo()
        assert part.frame == FRAMES - 1

    def test_undo_stops_it_and_nothing_comes_after(self, qtbot: QtBot, part: Sequences) -> None:
        session, steps = part.session, part.session.undo_stack.count()
        part.play()
        wait_for(qtbot, lambda: part.frame == 1)
        session.undo()
        assert not part.playing
        qtbot.wait(300)
        assert part.frame == 0
        assert (session.undo_stack.index(), session.undo_stack.count()) == (steps, steps + 1)

    def test_two_runs_are_two_steps(self, qtbot: QtBot, part: Sequences) -> None:
        steps = part.session.undo_stack.count()
        for stop in (2, 4):
            part.play()
            wait_for(qtbot, lambda stop=stop: part.frame >= stop)
            part.play(False)
        assert part.session.undo_stack.count() == steps + 2

    def test_begins_anew_after_the_end_and_goes_round_in_a_loop(self, qtbot: QtBot, part: Sequences) -> None:
        show(qtbot, part, FRAMES - 1)
        seen: list[int] = []
        part.frame_changed.connect(seen.append)
        part.set_loop(True)
        part.play()
        wait_for(qtbot, lambda: seen[:6] == [0, 1, 2, 3, 4, 0])
        assert part.playing
        part.set_loop(False)
        wait_for(qtbot, lambda: not part.playing)
        assert part.frame == FRAMES - 1
        part.play()
        wait_for(qtbot, lambda: part.frame == 0)

    def test_steps_stop_at_the_ends(self, qtbot: QtBot, part: Sequences) -> None:
        part.step(1)
        wait_for(qtbot, lambda: part.frame == 1)
        part.step(-1)
        wait_for(qtbot, lambda: part.frame == 0)
        part.step(-1)
        qtbot.wait(60)
        assert part.frame == 0
        assert part.session.problem is None

    def test_a_pause_of_the_fit_holds_it(self, qtbot: QtBot, part: Sequences) -> None:
        part.session.set_fit_config(iterations=5000)
        part.session.pause_fit()
        qtbot.wait(100)  # what the fit had said before
        if part.session.status is not Status.PAUSED:
            pytest.skip("the fit was done before it could be paused")
        told: list[str] = []
        part.session.told.connect(told.append)
        part.play()
        qtbot.wait(120)
        assert (part.frame, part.playing) == (0, True)
        assert "The fit is paused" in told[0]
        part.play(False)

    def test_other_images_end_it_and_undo_comes_back(
        self, qtbot: QtBot, part: Sequences, headset_files: list[Path]
    ) -> None:
        part.set_loop(True)
        part.play()
        part.session.open_headset_images([str(file) for file in headset_files])
        wait_for(qtbot, lambda: part.frame is None)
        assert not part.playing
        qtbot.wait(60)
        assert part.session.headset.names[0] == headset_files[0].name
        part.session.undo()
        assert part.frame is not None
        part.session.redo()
        show(qtbot, part, 2)

    def test_closing_while_it_plays_leaves_nothing(self, qtbot: QtBot, part: Sequences) -> None:
        part.set_loop(True)
        part.play()
        wait_for(qtbot, lambda: part.frame == 2)
        assert part.session.close()

    def test_ending_it_keeps_what_is_shown(self, qtbot: QtBot, part: Sequences) -> None:
        part.play()
        headset = part.session.headset
        part.end()
        assert (part.info, part.frame, part.playing) == (None, None, False)
        assert part.session.headset is headset
        part.play()
        assert "expected an open one" in part.session.problem.line


class TestOpening:
    def test_an_avatar_that_images_do_not_drive_gives_way(self, qtbot: QtBot, session: Session, folder: Path) -> None:
        session.open([str(folder)])
        wait_for(qtbot, lambda: session.part(Sequences).frame == 0)
        assert session.avatar_info.name == "tiny-hmc"
        assert session.preferences.texts("recent/sequence")
        session.undo()
        assert session.avatar_info.name == "tiny-kpt"
        assert session.part(Sequences).frame is None

    def test_without_an_avatar_headset_images_bring_theirs(
        self, qtbot: QtBot, empty_session: Session, folder: Path
    ) -> None:
        opened(qtbot, empty_session, [folder])
        assert empty_session.avatar_info.name == "tiny-hmc"

    def test_images_of_another_size_are_one_line(self, qtbot: QtBot, hmc_session: Session, tmp_path: Path) -> None:
        for name in NAMES:
            (tmp_path / name).mkdir()
            Image.fromarray(np.zeros((24, 32), np.uint8)).save(tmp_path / name / "1.png")
        document = hmc_session.document
        hmc_session.open([str(tmp_path)])
        wait_for(qtbot, lambda: hmc_session.problem is not None)
        assert "pixels a camera for tiny-hmc, got 32 × 24" in hmc_session.problem.line
        assert hmc_session.document is document
        assert hmc_session.part(Sequences).info is None

    def test_keypoints_in_time_are_pinned_frame_by_frame(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        points = np.stack([session.avatar_info.keypoints + np.float32(0.002 * k) for k in range(3)]).clip(0, 1)
        np.savez(tmp_path / "points.npz", keypoints=points, fps=25)
        part = opened(qtbot, session, [tmp_path / "points.npz"])
        assert part.info.fps == 25
        show(qtbot, part, 2)
        np.testing.assert_allclose(session.keypoints.given, points[2], atol=1e-6)
        assert session.keypoints.pinned.all()
        session.move_keypoints({3: (0.5, 0.5)})
        assert part.frame == 2, "a correction is still of the frame"
        show(qtbot, part, 1)
        session.undo()
        assert (part.frame, session.keypoints.given[3].tolist()) == (2, [0.5, 0.5])
        while session.undo_stack.canUndo():
            session.undo()
        assert part.frame is None

    def test_a_file_of_keypoints_leaves_the_sequence(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        points = np.repeat(session.avatar_info.keypoints[None], 2, axis=0)
        (tmp_path / "points.csv").write_text("\n".join(",".join(map(repr, frame.ravel().tolist())) for frame in points))
        part = opened(qtbot, session, [tmp_path / "points.csv"])
        session.save_keypoints(str(tmp_path / "one.json"))
        session.open_keypoints(str(tmp_path / "one.json"))
        assert part.frame is None
        session.undo()
        assert part.frame == 0

    def test_a_captures_keypoints_leave_the_sequence(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        np.savez(tmp_path / "points.npz", keypoints=np.repeat(session.avatar_info.keypoints[None], 2, axis=0))
        part, captures = opened(qtbot, session, [tmp_path / "points.npz"]), session.part(Captures)
        captures.open(str(write_tiny_capture(tmp_path / "someone", frames=12)))
        wait_for(qtbot, lambda: captures.info is not None)
        captures.set_kind("keypoints")
        id = captures.info.segments[0].frames[0]
        captures.load(id.segment, id.number)
        wait_for(qtbot, lambda: captures.frame == id)
        assert part.frame is None
        session.undo()
        assert part.frame == 0

    def test_photographs_come_with_their_camera(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        camera = session.avatar.keypoint_camera.resized((48, 32)).to("cpu")
        save_camera(tmp_path / "camera.json", camera)
        (tmp_path / "photos").mkdir()
        for k in range(3):
            Image.fromarray(np.full((48, 32, 3), (40, 60, 80 + k), np.uint8)).save(tmp_path / "photos" / f"{k}.png")
        part = opened(qtbot, session, [tmp_path / "photos", tmp_path / "camera.json"])
        assert session.source is Source.FRONTAL
        show(qtbot, part, 2)
        assert session.frontal.name == "2.png"
        assert session.frontal.image[2, 0, 0] == pytest.approx(82 / 255, abs=1e-6)

    def test_a_video_of_the_three_cameras(
        self, qtbot: QtBot, hmc_session: Session, images: np.ndarray, tmp_path: Path
    ) -> None:
        height, width = TINY_HMC
        encoder = imageio_ffmpeg.write_frames(
            tmp_path / "talk.mp4", (3 * width, height), pix_fmt_in="gray", fps=30, macro_block_size=2,
            quality=None, output_params=["-crf", "4"], ffmpeg_log_level="error",
        )  # fmt: skip
        encoder.send(None)
        for three in images:
            encoder.send(np.ascontiguousarray(np.concatenate(list(three), axis=1)))
        encoder.close()
        part = opened(qtbot, hmc_session, [tmp_path / "talk.mp4"])
        assert (part.info.length, part.info.fps) == (FRAMES, 30)
        show(qtbot, part, 3)
        assert np.abs(shown(part).astype(int) - images[3]).mean() < 3

    def test_a_session_brings_it_back(self, qtbot: QtBot, part: Sequences) -> None:
        session = part.session
        show(qtbot, part, 3)
        kept, document = dict(part.saved()), session.document
        part.restore({})
        assert (part.info, part.frame) == (None, None)
        part.restore(kept)
        wait_for(qtbot, lambda: part.frame == 3)
        assert session.document is document
        show(qtbot, part, 4)

    def test_a_session_whose_sequence_is_gone_says_so(self, qtbot: QtBot, part: Sequences, tmp_path: Path) -> None:
        kept = dict(part.saved()) | {"paths": [str(tmp_path / "gone")]}
        part.restore(kept)
        wait_for(qtbot, lambda: part.session.problem is not None)
        assert "gone" in part.session.problem.line
        assert part.session.headset is not None

    def test_another_avatar_meanwhile_gets_its_own(self, qtbot: QtBot, part: Sequences, kpt_avatar: Avatar) -> None:
        part.show(2)
        part.session.use_avatar(kpt_avatar, describe(kpt_avatar, "other"))
        assert part.frame is None
        qtbot.wait(60)
        assert part.session.headset is None


def test_the_codes_of_played_frames_are_exported(qtbot: QtBot, part: Sequences, tmp_path: Path) -> None:
    left: list[np.ndarray] = []
    part.frame_changed.connect(lambda _: left.append(part.session.code()))
    part.play()
    wait_for(qtbot, lambda: not part.playing)
    wait_for_fit(qtbot, part.session)
    part.session.part(Export).codes(str(tmp_path / "codes.npz"), "frames")
    wait_for(qtbot, lambda: not part.session.part(Export).busy)
    codes = load_codes(tmp_path / "codes.npz")
    assert (codes.counts, codes.number.tolist()) == ("frame", list(range(FRAMES)))
    np.testing.assert_array_equal(codes.z, np.stack([*left, part.session.code()]))


def test_what_was_played_is_recorded_with_its_wait(qtbot: QtBot, part: Sequences) -> None:
    part.play()
    wait_for(qtbot, lambda: not part.playing)
    part.step(-1)
    given = [step.get("command", step.get("wait_for")) for step in part.session.recorded]
    after = given[given.index("sequence.play") :]
    assert after[0] == "sequence.play"
    assert after[-1] == "sequence.step"
    assert "played" in after
    wait_for(qtbot, lambda: part.frame == FRAMES - 2)


def test_a_script_plays_a_sequence(qtbot: QtBot, hmc_session: Session, folder: Path) -> None:
    steps = [
        {"command": "sequence.open", "args": [[str(folder)]]},
        {"command": "set_fit_config", "kwargs": {"iterations": 2}},
        {"command": "sequence.show", "args": [3]},
        {"command": "sequence.play"},
        {"wait_for": "played"},
    ]
    player = Player(hmc_session, steps, hmc_session)
    with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
        player.start()
    part = hmc_session.part(Sequences)
    assert hmc_session.problem is None
    assert (part.frame, part.playing) == (FRAMES - 1, False)


def test_a_capture_and_a_sequence_do_not_play_against_each_other(qtbot: QtBot, part: Sequences, tmp_path: Path) -> None:
    captures = part.session.part(Captures)
    captures.open(str(write_tiny_capture(tmp_path / "someone", frames=12)))
    wait_for(qtbot, lambda: captures.info is not None)
    part.set_loop(True)
    part.play()
    captures.play()
    wait_for(qtbot, lambda: not part.playing)
    show(qtbot, part, 1)
    wait_for(qtbot, lambda: not captures.playing)
    assert part.frame == 1


def test_the_fit_menu_plays_and_steps_whatever_has_frames(
    qtbot: QtBot, hmc_session: Session, make_window: MakeWindow, folder: Path, tmp_path: Path
) -> None:
    actions, captures = make_window(hmc_session).menus.actions, hmc_session.part(Captures)
    assert not actions["play"].isEnabled()
    captures.open(str(write_tiny_capture(tmp_path / "someone", frames=12)))
    wait_for(qtbot, actions["play"].isEnabled)
    frames = captures.info.segments[0].frames
    captures.load(frames[0].segment, frames[0].number)
    wait_for(qtbot, lambda: captures.frame == frames[0])
    actions["next_frame"].trigger()
    wait_for(qtbot, lambda: captures.frame == frames[1])
    part = opened(qtbot, hmc_session, [folder])
    actions["next_frame"].trigger()
    wait_for(qtbot, lambda: part.frame == 1)
    actions["play"].trigger()
    assert part.playing
    assert actions["play"].text() == "Stop the sequence"
    actions["play"].trigger()
    assert not part.playing
    assert captures.frame == frames[1]


class TestTheBar:
    @pytest.fixture
    def bar(self, qtbot: QtBot, part: Sequences, make_window: MakeWindow) -> SequenceBar:
        return make_window(part.session).findChild(SequenceBar)

    def test_is_there_while_a_frame_is_shown(
        self, qtbot: QtBot, hmc_session: Session, make_window: MakeWindow, folder: Path
    ) -> None:
        window = make_window(hmc_session)
        bar = window.findChild(SequenceBar)
        assert not bar.isVisible()
        drop(window, [folder])
        wait_for(qtbot, bar.isVisible)
        assert bar.timeline.place.text() == f"1/{FRAMES}"
        hmc_session.undo()
        assert not bar.isVisible()

    def test_slider_buttons_and_frame_are_bound_both_ways(
        self, qtbot: QtBot, bar: SequenceBar, part: Sequences, images: np.ndarray
    ) -> None:
        timeline = bar.timeline
        timeline.slider.setValue(3)
        wait_for(qtbot, lambda: part.frame == 3)
        np.testing.assert_array_equal(shown(part), images[3])
        qtbot.mouseClick(timeline.back_button, Qt.MouseButton.LeftButton)
        wait_for(qtbot, lambda: part.frame == 2)
        assert timeline.slider.value() == 2
        qtbot.mouseClick(timeline.next_button, Qt.MouseButton.LeftButton)
        wait_for(qtbot, lambda: timeline.place.text() == f"4/{FRAMES}")
        qtbot.keyClick(timeline.slider, Qt.Key.Key_Home)
        wait_for(qtbot, lambda: part.frame == 0)
        qtbot.mouseClick(timeline.loop_button, Qt.MouseButton.LeftButton)
        assert part.loop
        part.set_loop(False)
        assert not timeline.loop_button.isChecked()

    def test_playing_moves_the_slider(self, qtbot: QtBot, bar: SequenceBar, part: Sequences) -> None:
        values: list[int] = []
        part.frame_changed.connect(lambda _: values.append(bar.timeline.slider.value()))
        qtbot.mouseClick(bar.timeline.play_button, Qt.MouseButton.LeftButton)
        assert part.playing
        assert bar.timeline.play_button.accessibleName() == "Stop at this frame"
        wait_for(qtbot, lambda: not part.playing)
        assert values == [1, 2, 3, 4]
        assert "Play the sequence" in bar.timeline.play_button.accessibleName()

    def test_dragging_the_slider_shows_frames_on_the_way(self, qtbot: QtBot, bar: SequenceBar, part: Sequences) -> None:
        steps, slider = part.session.undo_stack.count(), bar.timeline.slider
        slider.setSliderDown(True)
        for place in (1, 2, 3):
            slider.setSliderPosition(place)
            wait_for(qtbot, lambda place=place: part.frame == place)
        slider.setSliderDown(False)
        assert part.session.undo_stack.count() == steps + 1

    def test_a_narrow_window_keeps_the_slider(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        np.savez(tmp_path / "points.npz", keypoints=np.repeat(session.avatar_info.keypoints[None], 2, axis=0), fps=25)
        opened(qtbot, session, [tmp_path / "points.npz"])
        bar = SequenceBar(session)
        qtbot.addWidget(bar)
        for width, named, timed in ((700, True, True), (440, False, True), (370, False, False), (700, True, True)):
            bar.resize(width, bar.sizeHint().height())
            qtbot.wait(10)
            assert (bar.title.isVisible(), bar.timeline.time.isVisible()) == (named, timed)
            assert bar.timeline.slider.width() >= 70
            assert bar.width() == width

    def test_closes_the_sequence(self, qtbot: QtBot, bar: SequenceBar, part: Sequences) -> None:
        qtbot.mouseClick(bar.end_button, Qt.MouseButton.LeftButton)
        assert part.info is None
        assert not bar.isVisible()


@pytest.mark.parametrize(
    ("place", "length", "loop", "on"),
    [
        (None, 0, False, (False, False, False)),
        (0, 1, False, (False, False, False)),
        (0, 1, True, (False, False, False)),
        (0, 3, False, (False, True, True)),
        (1, 3, False, (True, True, True)),
        (2, 3, False, (True, False, True)),
        (2, 3, True, (True, True, True)),
        (None, 3, True, (False, False, False)),
    ],
)
def test_steps_that_lead_nowhere_are_off(
    qtbot: QtBot, place: int | None, length: int, loop: bool, on: tuple[bool, bool, bool]
) -> None:
    timeline = Timeline("the sequence", loops=True)
    qtbot.addWidget(timeline)
    for told in ((loop,), (not loop, loop)):
        timeline.show_place(place, length)
        for each in told:
            timeline.show_loop(each)
        assert tuple(made.isEnabled() for made in (timeline.back_button, timeline.next_button, timeline.slider)) == on


def test_at_the_last_frame_the_keyboard_goes_to_the_slider(qtbot: QtBot) -> None:
    """Another press of Space must not switch what stands beside the button."""
    timeline = Timeline("the sequence", loops=True)
    qtbot.addWidget(timeline)
    timeline.show_place(1, 3)
    with qtbot.waitActive(timeline, timeout=PATIENCE_MS):
        timeline.show()
        timeline.activateWindow()
    timeline.next_button.setFocus()
    assert timeline.next_button.hasFocus()
    timeline.show_place(2, 3)
    assert timeline.slider.hasFocus()


def test_times_are_told_in_minutes() -> None:
    assert [clock(seconds) for seconds in (0, 0.04, 59.999, 75.5)] == ["0:00.00", "0:00.04", "1:00.00", "1:15.50"]
