"""The capture browser: frames as observations with their truth, sequences, thumbnails, and the import check."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QTreeWidgetItem
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, double_click, wait_for, wait_for_face, wait_for_fit
from lipflow.capture import FrameId, open_capture
from lipflow.checks import InputError
from lipflow_studio import capture_work, session_file, theme
from lipflow_studio.capture_work import FigureRequest, judge
from lipflow_studio.demo import drop
from lipflow_studio.document import CaptureFrame, HeadsetRecipe, Source, Status
from lipflow_studio.engine import describe
from lipflow_studio.main_window import MainWindow
from lipflow_studio.panels.capture_panel import CapturePanel
from lipflow_studio.parts.capture import KINDS, Captures
from lipflow_studio.parts.files import Files
from lipflow_studio.parts.latent import Latent
from lipflow_studio.script import Player
from lipflow_studio.session import Session
from support.random_avatar import random_avatar, tiny_config
from support.tiny_capture import CAMERAS, SEGMENTS, write_tiny_capture

MakeWindow = Callable[[Session], MainWindow]
FRAMES = 12


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("captures") / "someone", frames=FRAMES)


@pytest.fixture
def captures(qtbot: QtBot, hmc_session: Session, root: Path) -> Captures:
    """The part, with the tiny capture open beside an avatar that headset images drive."""
    return opened(qtbot, hmc_session, root)


def opened(qtbot: QtBot, session: Session, root: Path) -> Captures:
    part = session.part(Captures)
    part.open(str(root))
    wait_for(qtbot, lambda: part.info is not None)
    return part


def load(qtbot: QtBot, captures: Captures, id: FrameId) -> None:
    captures.load(id.segment, id.number)
    wait_for(qtbot, lambda: captures.frame == id)


def first(captures: Captures, segment: int = 0) -> FrameId:
    return captures.info.segments[segment].frames[0]


class TestOpening:
    def test_tells_segments_splits_and_sizes(self, captures: Captures, root: Path) -> None:
        info = captures.info
        assert info.name == "someone"
        assert [segment.name for segment in info.segments] == list(SEGMENTS)
        assert [segment.split for segment in info.segments] == ["train"] * 3 + ["val"] + ["test"] * 2
        assert info.frames == FRAMES
        assert info.frontal == "400001"
        assert info.cameras == tuple(CAMERAS)
        assert (info.photo_size, info.landmarks, info.missing) == ((48, 32), 136, 0)

    def test_what_is_no_capture_is_one_line(self, qtbot: QtBot, session: Session, tmp_path: Path) -> None:
        session.part(Captures).open(str(tmp_path))
        wait_for(qtbot, lambda: session.problem is not None)
        assert "KRT" in session.problem.line
        assert "\n" not in session.problem.line
        assert session.part(Captures).info is None

    def test_what_was_wrong_goes_with_what_is_right(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path
    ) -> None:
        hmc_session.part(Captures).open(str(tmp_path))
        wait_for(qtbot, lambda: hmc_session.problem is not None)
        part = opened(qtbot, hmc_session, root)
        assert hmc_session.problem is None
        part.load("E001_Neutral", 99999)
        assert hmc_session.problem is not None
        load(qtbot, part, first(part))
        assert hmc_session.problem is None

    def test_without_one_every_command_says_so(self, session: Session) -> None:
        part = session.part(Captures)
        for give in (part.check, part.play, lambda: part.load("E001_Neutral", 100)):
            session.dismiss_problem()
            give()
            assert "open its folder first" in session.problem.line

    def test_a_dropped_folder_opens_and_is_remembered(
        self, qtbot: QtBot, session: Session, make_window: MakeWindow, root: Path
    ) -> None:
        window = make_window(session)
        drop(window, [root])
        wait_for(qtbot, lambda: session.part(Captures).info is not None)
        assert session.preferences.texts("recent/capture")


class TestFrames:
    def test_headset_images_are_fitted_from_the_priors_guess(self, qtbot: QtBot, captures: Captures) -> None:
        session, id = captures.session, first(captures, 3)
        load(qtbot, captures, id)
        assert session.source is Source.HEADSET
        assert session.headset.images.shape == (3, *session.avatar_info.headset_size)
        expected = capture_work.Headset(open_capture(captures.info.root), size=session.avatar_info.headset_size)
        assert session.headset.images == pytest.approx(expected.images(id).hmc.numpy(), abs=1e-6)
        assert captures.truth.id == id
        wait_for_fit(qtbot, session)
        session.undo()
        assert session.headset is None

    def test_they_are_what_drives_the_avatar_until_somebody_chooses(
        self, qtbot: QtBot, session: Session, make_window: MakeWindow, root: Path
    ) -> None:
        captures = opened(qtbot, session, root)
        panel = make_window(session).panel("capture", CapturePanel)
        assert (captures.kind, panel.kind.currentData()) == ("keypoints", "keypoints")
        session.open_avatar("tiny-hmc")
        wait_for(qtbot, lambda: captures.kind == "headset")
        session.undo()
        assert captures.kind == "keypoints"
        captures.set_kind("headset")
        session.redo()
        session.undo()
        assert (captures.kind, panel.kind.currentData()) == ("headset", "headset")

    def test_what_the_avatar_has_no_prior_for_is_told(self, qtbot: QtBot, session: Session, root: Path) -> None:
        told: list[str] = []
        session.told.connect(told.append)
        captures = opened(qtbot, session, root)
        load(qtbot, captures, first(captures))
        assert not any("prior" in text for text in told)
        captures.set_kind("headset")
        load(qtbot, captures, first(captures, 1))
        assert told[-1] == "tiny-kpt has no prior for headset images: fitted under N(0, I)"

    def test_keypoints_are_those_of_the_tracked_mesh(self, qtbot: QtBot, captures: Captures) -> None:
        captures.set_kind("keypoints")
        id = first(captures, 1)
        load(qtbot, captures, id)
        session, capture = captures.session, open_capture(captures.info.root)
        points = capture.vertices(id)[capture.landmarks.index]
        expected = session.avatar.keypoint_camera.project_normalised(points).clamp(0, 1).numpy()
        assert session.source is Source.KEYPOINTS
        assert session.keypoints.given == pytest.approx(expected, abs=1e-6)
        assert session.keypoints.pinned.all()

    def test_the_photo_is_fitted_under_its_own_camera(self, qtbot: QtBot, captures: Captures) -> None:
        captures.set_kind("frontal")
        id = first(captures, 2)
        load(qtbot, captures, id)
        session, capture = captures.session, open_capture(captures.info.root)
        assert session.source is Source.FRONTAL
        np.testing.assert_array_equal(session.frontal.image, capture.photo(id, "400001").numpy())
        camera, expected = session.frontal.camera, capture.camera(id, "400001")
        for name in ("K", "R", "t"):
            assert torch.equal(getattr(camera, name), getattr(expected, name))
        assert session.frontal.name == f"camera 400001, {id}"
        wait_for(qtbot, lambda: session.fit is not None and session.fit.renders is not None)
        assert session.fit.renders.shape == session.frontal.image.shape
        wait_for(qtbot, lambda: captures.figures is not None)
        assert captures.figures.id == id
        session.set_source("KEYPOINTS")
        wait_for(qtbot, lambda: captures.figures is None)
        session.undo()
        session.undo()
        assert session.frontal is None

    def test_its_prior_is_driven_by_the_headset_images_of_the_same_frame(
        self, qtbot: QtBot, empty_session: Session, root: Path, tmp_path: Path
    ) -> None:
        """From the frame to the fit under LiP-Flow's prior, and to another frame; saved, undone and played as a
        script."""
        avatar, session = random_avatar(tiny_config("flow", "hmc")), empty_session
        with torch.no_grad():
            avatar.prior.base_prior.head.bias.add_(0.5)  # far enough from N(0, I) to be told from it
        avatar.save(tmp_path / "lip.safetensors")
        session.open_avatar(str(tmp_path / "lip.safetensors"))
        captures, told = opened(qtbot, session, root), []
        wait_for_face(qtbot, session)
        session.told.connect(told.append)
        captures.set_kind("frontal")
        id = first(captures, 2)
        load(qtbot, captures, id)
        wait_for(qtbot, lambda: session.source is Source.FRONTAL)
        assert session.headset.recipe.frame == id
        assert session.fit_config.prior == "avatar"
        assert told[-1] == "Fitted under the prior of lip, driven by the headset images"
        wait_for_fit(qtbot, session)
        fit, z = session.fit, torch.from_numpy(session.fit.z)[None]
        expected = avatar.prior.log_prob(z, avatar.context(torch.from_numpy(session.headset.images)[None])).item()
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum().item()
        assert fit.log_likelihood == pytest.approx(expected, rel=1e-3)
        assert fit.log_likelihood != pytest.approx(normal, rel=1e-2)
        assert fit.energy == pytest.approx(fit.data_energy - fit.log_likelihood, rel=1e-4)
        signal = session.part(Latent).signal()
        assert signal.driving is session.headset.images

        session.part(Files).save(str(tmp_path / "photo.lipflow"))
        kept = session_file.read(tmp_path / "photo.lipflow").document
        assert kept.frontal.frame == session.frontal.frame == CaptureFrame(str(root), id.segment, id.number)
        np.testing.assert_array_equal(kept.headset.images, session.headset.images)
        steps, photo, images = session.recorded, session.frontal, session.headset
        assert [step["command"] for step in steps if "command" in step][-2:] == ["capture.load", "files.save"]

        captures.set_kind("headset")
        load(qtbot, captures, first(captures, 3))
        assert session.frontal is None  # that frame's photo: these images do not drive a fit to it
        session.undo()
        assert (session.frontal, session.headset, session.source) == (photo, images, Source.FRONTAL)
        load(qtbot, captures, id)
        assert session.frontal is photo  # of the same frame
        session.undo()
        session.undo()
        assert session.frontal is None
        assert session.headset is None

        other = Session()
        player = Player(other, steps[:-1], other)
        with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
            player.start()
        wait_for(qtbot, lambda: other.fit is not None)
        assert other.fit_config.prior == "avatar"
        np.testing.assert_array_equal(other.headset.images, images.images)
        assert other.close()

    def test_its_prior_is_driven_by_the_keypoints_of_the_same_frame_if_there_are_any(
        self, qtbot: QtBot, session: Session, root: Path, tmp_path: Path
    ) -> None:
        captures = opened(qtbot, session, root)
        captures.set_kind("keypoints")
        load(qtbot, captures, first(captures, 1))
        expected = session.keypoints
        load(qtbot, captures, first(captures, 2))
        captures.set_kind("frontal")
        load(qtbot, captures, first(captures, 1))
        wait_for(qtbot, lambda: session.source is Source.FRONTAL)
        assert session.keypoints == expected
        assert captures.gave(session.keypoints)
        assert session.fit_config.prior == "avatar"
        (shutil.copytree(root, tmp_path / "bare") / "landmarks.json").unlink()
        captures.open(str(tmp_path / "bare"))
        wait_for(qtbot, lambda: captures.info.root == tmp_path / "bare")
        load(qtbot, captures, first(captures, 2))
        wait_for(qtbot, lambda: session.frontal.frame.capture == str(tmp_path / "bare"))
        assert not session.keypoints.pinned.any()  # another frame's are of another face
        assert session.fit_config.prior == "standard-normal"
        assert session.problem is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_undo_brings_the_frame_before_and_its_truth_back(
        self, qtbot: QtBot, session: Session, root: Path, kind: str
    ) -> None:
        captures = opened(qtbot, session, root)
        captures.set_kind(kind)
        ids = first(captures, 1), first(captures, 2)
        for id in ids:
            load(qtbot, captures, id)
            wait_for(qtbot, lambda id=id: captures.truth_of_observation is not None and captures.truth.id == id)
        session.undo()
        assert captures.truth_of_observation is None  # until it is read, no figure is of another frame
        wait_for(qtbot, lambda: captures.truth_of_observation is not None)
        assert captures.frame == captures.truth.id == ids[0]
        session.undo()
        assert captures.truth_of_observation is None  # nothing is fitted to

    def test_keypoints_that_drove_its_photo_are_the_frames(self, qtbot: QtBot, session: Session, root: Path) -> None:
        captures = opened(qtbot, session, root)
        captures.set_kind("frontal")
        load(qtbot, captures, first(captures, 1))
        wait_for(qtbot, lambda: captures.truth_of_observation is not None)
        session.set_source("KEYPOINTS")
        assert captures.truth_of_observation is captures.truth

    def test_a_large_photo_and_its_camera_are_made_smaller_together(self, captures: Captures) -> None:
        id = first(captures)
        request = captures.request("frontal", HeadsetRecipe("", id.segment, id.number))
        whole = capture_work.READERS["frontal"](capture_work._Reader(), request)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(capture_work, "PHOTO_HEIGHT", 24)
            half = capture_work.READERS["frontal"](capture_work._Reader(), request)
        assert half.image.shape == (3, 24, 16)
        assert half.camera.size == (24, 16)
        expected = whole.image.reshape(3, 24, 2, 16, 2).mean((2, 4))
        np.testing.assert_allclose(half.image, expected, atol=1e-6)
        points = captures._capture.vertices(id)
        positions = [camera.project(points)[:, :2].numpy() for camera in (whole.camera, half.camera)]
        np.testing.assert_allclose((positions[0] + 0.5) / 2 - 0.5, positions[1], atol=1e-3)

    @pytest.mark.parametrize(("segment", "number"), [("E001_Neutral", 1), ("nowhere", 100), ("E001_Neutral", -3)])
    def test_a_frame_that_is_not_there_is_named(self, captures: Captures, segment: str, number: int) -> None:
        captures.load(segment, number)
        assert f"frame {segment}" in captures.session.problem.line

    def test_a_damaged_frame_is_named_and_nothing_changes(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "damaged"
        shutil.copytree(root, copy)
        captures = opened(qtbot, hmc_session, copy)
        id = first(captures)
        (copy / "tracked_mesh" / id.segment / f"{id.number:06d}.bin").write_bytes(b"half")
        before = hmc_session.document
        captures.load(id.segment, id.number)
        wait_for(qtbot, lambda: hmc_session.problem is not None)
        assert f"{id.number:06d}.bin" in hmc_session.problem.line
        assert hmc_session.document is before
        assert captures.frame is None
        assert [step["command"] for step in hmc_session.recorded] == ["capture.open"]

    def test_one_that_undo_brings_back_and_that_is_damaged_is_asked_for_once(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path
    ) -> None:
        captures = opened(qtbot, hmc_session, shutil.copytree(root, tmp_path / "damaged"))
        ids = first(captures, 1), first(captures, 2)
        for id in ids:
            load(qtbot, captures, id)
        (tmp_path / "damaged" / "tracked_mesh" / ids[0].segment / f"{ids[0].number:06d}.bin").write_bytes(b"half")
        problems: list[object] = []
        hmc_session.problem_changed.connect(problems.append)
        hmc_session.undo()
        wait_for(qtbot, lambda: bool(problems))
        qtbot.wait(300)
        assert len(problems) == 1
        assert captures.frame == ids[0]
        assert captures.truth is None
        hmc_session.redo()
        wait_for(qtbot, lambda: captures.truth_of_observation is not None)
        assert captures.frame == ids[1]

    def test_one_that_undo_brings_back_and_that_is_gone_is_asked_for_once(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path
    ) -> None:
        captures = opened(qtbot, hmc_session, shutil.copytree(root, tmp_path / "shrunk"))
        ids = first(captures, 1), first(captures, 2)
        for id in ids:
            load(qtbot, captures, id)
        kept = captures.info.segments
        captures.info = replace(captures.info, segments=(kept[0], *kept[2:]))
        problems: list[object] = []
        hmc_session.problem_changed.connect(problems.append)
        hmc_session.undo()
        wait_for(qtbot, lambda: bool(problems))
        qtbot.wait(300)
        assert len(problems) == 1
        assert not captures.busy

    def test_of_two_asked_for_in_haste_the_one_that_is_shown_is_recorded(
        self, qtbot: QtBot, captures: Captures
    ) -> None:
        frames = captures.info.segments[1].frames
        load(qtbot, captures, frames[0])
        for _ in range(3):
            captures.step(1)  # before the first one is read: all ask for the same
        wait_for(qtbot, lambda: captures.frame == frames[1] and not captures.busy)
        assert [step["command"] for step in captures.session.recorded if "command" in step] == [
            "capture.open",
            "capture.load",
            "capture.step",
        ]

    def test_a_capture_that_vanished_is_said(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "gone"
        shutil.copytree(root, copy)
        captures = opened(qtbot, hmc_session, copy)
        shutil.rmtree(copy)
        id = first(captures)
        captures.load(id.segment, id.number)
        wait_for(qtbot, lambda: hmc_session.problem is not None)
        assert "no such file" in hmc_session.problem.line

    def test_unknown_kinds_are_refused(self, captures: Captures) -> None:
        captures.set_kind("sound")
        assert captures.kind == "headset"
        assert "headset or keypoints" in captures.session.problem.line


class TestTheTruth:
    def test_judges_the_shown_face_and_forgets_it_with_other_images(
        self, qtbot: QtBot, captures: Captures, headset_files: list[Path]
    ) -> None:
        load(qtbot, captures, first(captures))
        wait_for(qtbot, lambda: captures.figures is not None)
        assert captures.figures.id == captures.frame
        assert np.isfinite(captures.figures.psnr_db)
        assert captures.figures.mesh_mm is None, "the tiny avatar's mesh is another one"
        captures.session.open_headset_images([str(file) for file in headset_files])
        wait_for(qtbot, lambda: captures.figures is None)

    def test_a_face_that_is_the_truth_is_no_distance_away(self, captures: Captures) -> None:
        session, id = captures.session, first(captures)
        request = captures.request("headset", HeadsetRecipe(str(captures.info.root), id.segment, id.number))
        truth = capture_work._truth(request)
        code = np.zeros(session.avatar.config.latent, np.float32)
        with torch.no_grad():
            vertices = session.avatar.decode_mesh(torch.zeros(1, len(code)))[0].numpy()
        moved = capture_work.Truth(
            truth.id, vertices + np.float32([0, 3, 4]), truth.photo, None, truth.camera, "400001", 4
        )
        figures = judge(FigureRequest(session.avatar, code, moved))
        assert figures.mesh_mm == pytest.approx(5.0, abs=1e-4)
        assert figures.psnr_db < 40


class TestSequences:
    def test_plays_a_segment_as_one_step_to_undo(self, qtbot: QtBot, captures: Captures) -> None:
        session = captures.session
        session.set_fit_config(iterations=2)
        load(qtbot, captures, first(captures, 2))
        session.set_fit_config(iterations=2)
        before, steps = session.headset, session.undo_stack.count()
        seen: list[FrameId] = []
        captures.frame_changed.connect(seen.append)
        captures.play()
        assert captures.playing
        wait_for(qtbot, lambda: not captures.playing)
        assert tuple(seen) == captures.info.segments[2].frames[1:]
        assert session.undo_stack.count() == steps + 1
        session.undo()
        assert session.headset is before

    def test_steps_and_stops_at_the_ends(self, qtbot: QtBot, captures: Captures) -> None:
        segment = captures.info.segments[1].frames
        load(qtbot, captures, segment[0])
        captures.step(-1)
        qtbot.wait(50)
        assert captures.frame == segment[0]
        captures.step(1)
        wait_for(qtbot, lambda: captures.frame == segment[1])

    def test_a_pause_holds_the_sequence(self, qtbot: QtBot, captures: Captures) -> None:
        load(qtbot, captures, first(captures))
        captures.session.pause_fit()
        if captures.session.status is not Status.PAUSED:
            pytest.skip("the fit was done before it could be paused")
        captures.play()
        qtbot.wait(150)
        assert captures.frame == first(captures)
        captures.play(False)
        assert not captures.playing


class TestTheCheck:
    def test_names_what_does_not_fit_and_leaves_nothing_behind(
        self, qtbot: QtBot, hmc_session: Session, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        copy = tmp_path / "moved"
        shutil.copytree(root, copy)
        for transform in copy.glob("tracked_mesh/*/*_transform.txt"):
            rows = np.loadtxt(transform)
            rows[:, 3] += 400.0
            np.savetxt(transform, rows)
        captures = opened(qtbot, hmc_session, copy)
        panel = CapturePanel(hmc_session)
        qtbot.addWidget(panel)
        panel.check.run_button.click()
        assert not panel.check.run_button.isEnabled()
        wait_for(qtbot, lambda: captures.checked is not None)
        assert captures.checked.report.problems
        assert "Problem" in panel.check.text.toPlainText()
        assert panel.check.view.count() == len(captures.checked.pictures) > 0
        assert all(title.startswith("camera ") for title, _, _ in captures.checked.pictures)  # seen in a narrow box
        assert panel.check.picture.shown.shape[2] == 3
        assert f"PSNR {captures.checked.shown[0].psnr:.2f} dB" in panel.check.figures.text()
        panel.check.kind.setCurrentIndex(1)
        assert panel.check.picture.shown.shape[1] == 3 * captures.checked.pictures[0][1].shape[1]
        assert panel.check.run_button.isEnabled()
        assert list((tmp_path / "temporary").iterdir()) == []


class TestThePanel:
    @pytest.fixture
    def panel(self, qtbot: QtBot, captures: Captures) -> CapturePanel:
        made = CapturePanel(captures.session)
        qtbot.addWidget(made)
        made.resize(330, 560)
        made.show()
        return made

    def frame_item(self, panel: CapturePanel, segment: int = 0, frame: int = 0) -> QTreeWidgetItem:
        return panel.tree.topLevelItem(segment).child(frame)

    def test_says_what_to_do_while_nothing_is_open(self, qtbot: QtBot, session: Session) -> None:
        panel = CapturePanel(session)
        qtbot.addWidget(panel)
        panel.show()
        assert panel.open_button.isVisible()
        assert not panel.tree.isVisible()

    def test_thumbnails_are_sharp_where_a_pixel_is_four(self, qtbot: QtBot, panel: CapturePanel) -> None:
        wait_for(qtbot, lambda: not self.frame_item(panel).icon(0).isNull())
        size = panel.tree.iconSize()
        for ratio in (1, 2):
            assert self.frame_item(panel).icon(0).pixmap(size, ratio).height() == ratio * size.height()

    def test_thumbnails_come_for_what_is_in_sight_only(self, qtbot: QtBot, panel: CapturePanel) -> None:
        wait_for(qtbot, lambda: not self.frame_item(panel).icon(0).isNull())
        hidden = self.frame_item(panel, 5, 1)
        assert hidden.icon(0).isNull()
        panel.tree.topLevelItem(5).setExpanded(True)
        panel.tree.scrollToItem(hidden)
        wait_for(qtbot, lambda: not hidden.icon(0).isNull())

    def test_enter_and_double_click_load_a_frame(self, qtbot: QtBot, panel: CapturePanel, captures: Captures) -> None:
        tree = panel.tree
        assert not panel.load_button.isEnabled()
        tree.setCurrentItem(self.frame_item(panel))
        assert panel.load_button.isEnabled()
        qtbot.keyClick(tree, Qt.Key.Key_Return)
        wait_for(qtbot, lambda: captures.frame == first(captures))
        other = tree.visualItemRect(self.frame_item(panel, 0, 1)).center()
        qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=other)
        double_click(qtbot, tree.viewport(), other)
        wait_for(qtbot, lambda: captures.frame == captures.info.segments[0].frames[1])
        assert captures.session.problem is None

    def test_shows_the_frame_its_place_and_the_figures(
        self, qtbot: QtBot, panel: CapturePanel, captures: Captures
    ) -> None:
        load(qtbot, captures, captures.info.segments[3].frames[1])
        assert panel.timeline.place.text() == "2/2"
        assert panel.tree.selected() == captures.frame
        assert "val" in panel.meta.text()
        wait_for(qtbot, lambda: panel.readings["psnr"].text() != "–")
        panel.timeline.slider.setValue(0)
        wait_for(qtbot, lambda: captures.frame == first(captures, 3))
        assert panel.timeline.place.text() == "1/2"
        assert not panel.timeline.back_button.isEnabled()
        assert panel.timeline.next_button.isEnabled()

    def test_a_click_beside_the_sliders_handle_goes_there(
        self, qtbot: QtBot, panel: CapturePanel, captures: Captures
    ) -> None:
        slider, sought = panel.timeline.slider, []
        panel.timeline.show_place(0, 11)
        panel.timeline.sought.disconnect()
        panel.timeline.sought.connect(lambda place, _: sought.append(place))
        qtbot.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(round(0.4 * slider.width()), 5))
        assert sought == [4]

    def test_the_kind_is_bound_both_ways(self, panel: CapturePanel, captures: Captures) -> None:
        panel.kind.setCurrentIndex(1)
        panel.kind.activated.emit(1)
        assert captures.kind == "keypoints"
        captures.set_kind("headset")
        assert panel.kind.currentData() == "headset"

    def test_splits_are_legible_in_both_themes(self, panel: CapturePanel, qapp: QApplication) -> None:
        for look in (theme.LIGHT, theme.DARK):
            theme.apply(qapp, look)
            assert panel.tree.topLevelItem(0).foreground(1).color().name() == look.muted

    def test_the_photo_is_one_of_the_kinds(self, panel: CapturePanel) -> None:
        titles = [panel.kind.itemText(place) for place in range(panel.kind.count())]
        assert titles == ["Headset images", "Keypoints", "Photo"]

    def test_the_play_button_follows(self, qtbot: QtBot, panel: CapturePanel, captures: Captures) -> None:
        qtbot.mouseClick(panel.timeline.play_button, Qt.MouseButton.LeftButton)
        assert captures.playing
        assert panel.timeline.play_button.accessibleName() == "Stop at this frame"
        qtbot.mouseClick(panel.timeline.play_button, Qt.MouseButton.LeftButton)
        assert not captures.playing


def test_another_avatar_while_a_frame_is_read_gets_its_own_images(
    qtbot: QtBot, captures: Captures, kpt_avatar: object
) -> None:
    session, id = captures.session, first(captures)
    captures.load(id.segment, id.number)
    session.use_avatar(kpt_avatar, describe(kpt_avatar, "other"))
    wait_for(qtbot, lambda: captures.frame == id or session.problem is not None)
    wait_for_face(qtbot, session)
    assert session.headset is None or session.headset.images.shape[1:] == session.avatar_info.headset_size


def test_a_reader_that_crashes_is_said_and_replaced(
    qtbot: QtBot, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("by accident")

    with monkeypatch.context() as patched:
        patched.setitem(capture_work.READERS, "headset", crash)
        captures.load("E001_Neutral", first(captures).number)
        wait_for(qtbot, lambda: captures.session.problem is not None)
    assert "by accident" in captures.session.problem.line
    assert not captures.busy
    load(qtbot, captures, first(captures))


def test_a_script_waits_for_what_it_opens(qtbot: QtBot, hmc_session: Session, root: Path) -> None:
    steps = [
        {"command": "capture.open", "args": [str(root)]},
        {"command": "capture.set_kind", "args": ["keypoints"]},
        {"command": "capture.load", "args": ["E004_Jaw", 118]},
        {"wait_for": "fit"},
    ]
    player = Player(hmc_session, steps, hmc_session)
    with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
        player.start()
    assert hmc_session.problem is None
    assert hmc_session.part(Captures).frame == FrameId("E004_Jaw", 118)


def test_an_avatar_that_is_being_opened_is_opened_all_the_same(
    qtbot: QtBot, empty_session: Session, root: Path, avatar_files: dict[str, Path]
) -> None:
    empty_session.open_avatar(str(avatar_files["tiny-hmc"]))
    opened(qtbot, empty_session, root)
    wait_for(qtbot, lambda: empty_session.avatar is not None)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_session_brings_capture_frame_and_truth_back(qtbot: QtBot, captures: Captures, kind: str) -> None:
    assert captures.saved()["root"] == str(captures.info.root)
    captures.set_kind(kind)
    load(qtbot, captures, first(captures, 4))
    kept, session = captures.saved(), captures.session
    session.pause_fit()
    document, steps, recorded = session.document, session.undo_stack.count(), list(session.recorded)
    captures.restore({})
    assert (captures.frame, captures.truth) == (None, None)
    captures.restore(kept)
    assert list(session.recorded) == recorded  # a script that opens the session would open the capture twice
    wait_for(qtbot, lambda: captures.truth is not None)
    assert captures.frame == first(captures, 4)
    assert captures.kind == kind
    assert session.document is document
    assert session.undo_stack.count() == steps
    wait_for(qtbot, lambda: captures.figures is not None)


def test_a_session_whose_face_is_not_fitted_to_its_frame_brings_no_truth_for_it(
    qtbot: QtBot, captures: Captures
) -> None:
    session = captures.session
    load(qtbot, captures, first(captures, 4))
    session.move_keypoints({0: (0.4, 0.4)})
    assert captures.truth_of_observation is None
    kept = captures.saved()
    captures.restore({})
    captures.restore(kept)
    wait_for(qtbot, lambda: captures.truth is not None)
    assert captures.frame == first(captures, 4)
    assert captures.truth_of_observation is None


@pytest.mark.parametrize(
    "saved", [{"root": 3, "kind": "headset"}, {"root": "/x", "kind": "sound"}, {"kind": "headset"}]
)
def test_a_damaged_session_is_refused(session: Session, saved: dict[str, object]) -> None:
    with pytest.raises(InputError, match="session, capture"):
        session.part(Captures).restore(saved)
