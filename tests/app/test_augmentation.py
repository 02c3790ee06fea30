"""Headset images of a capture's frame made otherwise: what is drawn, undo, sequences, sessions, and when it is off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, wait_for, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.capture import FrameId, open_capture
from lipflow.capture.headset import Headset, HeadsetAugmentation
from lipflow.checks import InputError
from lipflow_studio import capture_work, session_file
from lipflow_studio.document import PLAIN, Document, HeadsetImages, HeadsetRecipe, KeypointSet, Source
from lipflow_studio.engine import describe
from lipflow_studio.orbit import Orbit
from lipflow_studio.panels.augmentation_controls import AugmentationControls
from lipflow_studio.parts.augmentation import FROM_FILES, NO_FRAME, NOT_OPEN, Augmentation
from lipflow_studio.parts.capture import Captures
from lipflow_studio.script import Player
from lipflow_studio.session import Session
from lipflow_studio.views.hmc_view import HmcView
from support.tiny_capture import write_tiny_capture


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("captures") / "someone", frames=12)


@pytest.fixture
def captures(qtbot: QtBot, hmc_session: Session, root: Path) -> Captures:
    """With its first frame loaded as headset images; the fit is held."""
    part = hmc_session.part(Captures)
    part.open(str(root))
    wait_for(qtbot, lambda: part.info is not None)
    load(qtbot, part, part.info.segments[0].frames[0])
    wait_for(qtbot, lambda: hmc_session.fit is not None)  # the renderer may be compiling for the first time
    hmc_session.pause_fit()
    return part


@pytest.fixture
def part(captures: Captures) -> Augmentation:
    return captures.session.part(Augmentation)


@pytest.fixture
def controls(qtbot: QtBot, part: Augmentation) -> AugmentationControls:
    made = AugmentationControls(part.session)
    qtbot.addWidget(made)
    made.show()
    return made


def load(qtbot: QtBot, captures: Captures, id: FrameId) -> None:
    captures.load(id.segment, id.number)
    wait_for(qtbot, lambda: captures.frame == id)


def done(qtbot: QtBot, part: Augmentation) -> HeadsetImages:
    wait_for(qtbot, lambda: not part.busy)
    return part.session.headset


def test_the_images_are_the_librarys(qtbot: QtBot, part: Augmentation, root: Path) -> None:
    session, id = part.session, part.recipe.frame
    headset = Headset(open_capture(root), size=session.avatar_info.headset_size)
    plain = session.headset.images
    np.testing.assert_allclose(plain, headset.images(id).hmc.numpy(), atol=1e-6)
    part.change(lighting=1.0, slop=2.0, seed=7)
    made = done(qtbot, part)
    wanted = HeadsetAugmentation(1.0, 0.0, 2.0)
    expected = headset.images(id, wanted, torch.Generator().manual_seed(7))
    np.testing.assert_allclose(made.images, expected.hmc.numpy(), atol=1e-6)
    assert made.recipe == HeadsetRecipe(str(root), id.segment, id.number, wanted, 7)
    part.clear()
    np.testing.assert_array_equal(done(qtbot, part).images, plain)


def test_each_amount_changes_what_it_is_for(qtbot: QtBot, part: Augmentation) -> None:
    plain = part.session.headset.images
    behind, middle = plain == 0, np.s_[:, plain.shape[1] // 2, plain.shape[2] // 2]
    assert behind.any()
    part.change(background=2.0)
    made = done(qtbot, part).images
    assert (made[behind] > 0.01).all()
    np.testing.assert_allclose(made[middle], plain[middle], atol=1e-6)
    part.change(background=0.0, lighting=1.0)
    made = done(qtbot, part).images
    assert (made[behind] == 0).all()
    assert not np.allclose(made[middle], plain[middle], atol=1e-3)


def test_a_slider_is_one_step_to_undo_and_a_draw_another(
    qtbot: QtBot, part: Augmentation, controls: AugmentationControls
) -> None:
    session, stack = part.session, part.session.undo_stack
    plain, steps = session.headset, stack.count()
    slider = controls.sliders["lighting"]
    for place in (4, 10, 20):
        slider.setValue(place)
        done(qtbot, part)
    lit = session.headset
    assert lit.recipe.augmentation == HeadsetAugmentation(1.0, 0.0, 0.0)
    assert stack.count() == steps + 1
    assert stack.undoText() == "change of headset lighting"
    controls.draw_button.click()
    drawn = done(qtbot, part)
    assert drawn.recipe.seed == 1
    assert not np.array_equal(drawn.images, lit.images)
    assert (stack.count(), stack.undoText()) == (steps + 2, "another draw")
    session.undo()
    assert session.headset is lit
    assert slider.value() == 20
    assert "draw 1" in controls.hint.text()
    session.undo()
    assert session.headset is plain
    assert slider.value() == 0
    assert controls.values["lighting"].text() == "off"
    assert not controls.draw_button.isEnabled()
    session.redo()
    assert part.recipe == lit.recipe
    controls.clear_button.click()
    np.testing.assert_array_equal(done(qtbot, part).images, plain.images)


def test_the_newest_of_many_changes_wins(qtbot: QtBot, part: Augmentation) -> None:
    for amount in np.linspace(0.1, 1.5, 15):
        part.change(slop=float(amount))
    assert done(qtbot, part).recipe.augmentation.slop == 1.5
    assert [step["kwargs"] for step in part.session.recorded[-2:]] == [{}, {"slop": 1.5}]


def test_the_fit_goes_on_from_the_face_and_the_truth_stays(qtbot: QtBot, part: Augmentation) -> None:
    session, captures = part.session, part.session.part(Captures)
    session.set_fit_config(iterations=3)
    session.start_fit()
    wait_for_fit(qtbot, session)
    part.change(lighting=1.0)
    done(qtbot, part)
    wait_for_fit(qtbot, session)
    wait_for(qtbot, lambda: captures.figures is not None)
    assert captures.truth_of_observation is captures.truth


def test_the_next_frame_is_seen_alike(qtbot: QtBot, part: Augmentation) -> None:
    captures = part.session.part(Captures)
    part.change(background=1.0, seed=3)
    done(qtbot, part)
    load(qtbot, captures, captures.info.segments[1].frames[0])
    assert part.recipe.augmentation == HeadsetAugmentation(0.0, 1.0, 0.0)
    assert part.recipe.seed == 3
    assert part.recipe.frame == captures.frame


def test_a_change_within_a_sequence_holds_for_the_rest(qtbot: QtBot, part: Augmentation) -> None:
    session, captures = part.session, part.session.part(Captures)
    session.set_fit_config(iterations=1)
    session.start_fit()
    captures.play()
    part.change(lighting=0.5)
    wait_for(qtbot, lambda: not captures.playing)
    assert done(qtbot, part).recipe.augmentation.lighting == 0.5
    assert part.recipe.frame == captures.frame == captures.info.segments[0].frames[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"lighting": -1},
        {"slop": 2.5},
        {"background": float("nan")},
        {"seed": -1},
        {"seed": 0.5},
        {"light": 1},
        {"slop": "1"},
    ],
)
def test_mistakes_are_refused(part: Augmentation, changes: dict[str, Any]) -> None:
    before = part.session.headset
    part.change(**changes)
    assert next(iter(changes)) in part.session.problem.line
    assert not part.busy
    assert part.session.headset is before


class TestItIsOff:
    def test_without_a_frame_with_files_and_with_another_capture(
        self,
        qtbot: QtBot,
        part: Augmentation,
        controls: AugmentationControls,
        headset_files: list[Path],
        tmp_path: Path,
    ) -> None:
        session, captures = part.session, part.session.part(Captures)
        assert part.hint == ""
        assert controls.sliders["slop"].isEnabled()
        of_frame = session.headset
        session.undo()
        assert session.headset is None
        assert controls.hint.text() == part.hint == NO_FRAME
        assert not controls.sliders["slop"].isEnabled()
        part.change(slop=1.0)
        assert "load a frame" in session.problem.line
        session.open_headset_images([str(file) for file in headset_files])
        wait_for(qtbot, lambda: session.headset is not None)
        assert controls.hint.text() == part.hint == FROM_FILES
        session.undo()
        session.redo()
        session.edit("again", headset=of_frame)
        assert part.hint == ""
        captures.open(str(write_tiny_capture(tmp_path / "other", frames=6, vertices=100)))
        wait_for(qtbot, lambda: captures.info.name == "other")
        assert controls.hint.text() == part.hint == NOT_OPEN

    def test_when_another_avatar_opens_while_images_are_made(
        self, qtbot: QtBot, part: Augmentation, kpt_avatar: Avatar
    ) -> None:
        part.change(slop=1.0)
        part.session.use_avatar(kpt_avatar, describe(kpt_avatar, "other"))
        assert not part.busy
        qtbot.wait(100)
        assert part.session.headset is None

    def test_after_a_crash_as_before(self, qtbot: QtBot, part: Augmentation, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_: object) -> None:
            raise RuntimeError("by accident")

        before = part.recipe
        with monkeypatch.context() as patched:
            patched.setitem(capture_work.READERS, "headset", crash)
            part.change(slop=1.0)
            wait_for(qtbot, lambda: part.session.problem is not None)
        assert part.recipe == before
        assert part.session.recorded[-1]["command"] != "augmentation.change"  # nothing came of it
        part.change(slop=0.5)
        assert done(qtbot, part).recipe.augmentation.slop == 0.5


def test_images_of_the_same_moment_keep_their_render_on_the_screen(qtbot: QtBot, part: Augmentation) -> None:
    session, view = part.session, HmcView(part.session)
    qtbot.addWidget(view)
    session.start_fit()
    wait_for(qtbot, lambda: view.cameras[0]._pixels[1] is not None)
    session.pause_fit()
    part.change(lighting=1.0)
    done(qtbot, part)
    assert view.cameras[0]._pixels[1] is not None
    session.edit("open others", headset=HeadsetImages(session.headset.images, ("a", "b", "c")))
    assert view.cameras[0]._pixels[1] is None


def test_a_script_plays_it(qtbot: QtBot, part: Augmentation) -> None:
    steps = [
        {"command": "augmentation.change", "kwargs": {"lighting": 0.5, "slop": 0.5}},
        {"command": "augmentation.draw"},
        {"wait_for": "load"},
    ]
    player = Player(part.session, steps, part.session)
    with qtbot.waitSignal(player.finished, timeout=PATIENCE_MS):
        player.start()
    assert part.session.headset.recipe.augmentation == HeadsetAugmentation(0.5, 0.0, 0.5)
    assert part.session.headset.recipe.seed == 1


class TestSessionFiles:
    def saved(self, recipe: HeadsetRecipe | None) -> session_file.SavedSession:
        images = HeadsetImages(np.full((3, 4, 5), 0.5, np.float32), ("a", "b", "c"), recipe)
        keypoints = KeypointSet.at_rest(np.full((136, 2), 0.5, np.float32))
        document = Document(keypoints=keypoints, headset=images, source=Source.HEADSET, code=np.zeros(3, np.float32))
        return session_file.SavedSession(session_file.AvatarReference("x", True), document, Orbit())

    @pytest.mark.parametrize("recipe", [None, HeadsetRecipe("/c", "E001", 7, HeadsetAugmentation(1.0, 0.5, 0.0), 3)])
    def test_keep_what_images_were_made_from(self, tmp_path: Path, recipe: HeadsetRecipe | None) -> None:
        session_file.write(tmp_path / "a.lipflow", self.saved(recipe))
        assert session_file.read(tmp_path / "a.lipflow").document.headset.recipe == recipe

    def test_refuse_amounts_that_are_none(self, tmp_path: Path) -> None:
        saved = self.saved(HeadsetRecipe("/c", "E001", 7))
        object.__setattr__(saved.document.headset.recipe, "augmentation", HeadsetAugmentation(9.0, 0.0, 0.0))
        session_file.write(tmp_path / "a.lipflow", saved)
        with pytest.raises(InputError, match="0 to 2"):
            session_file.read(tmp_path / "a.lipflow")


def test_a_plain_recipe_varies_nothing() -> None:
    assert HeadsetRecipe("", "", 0).augmentation == PLAIN == HeadsetAugmentation(0.0, 0.0, 0.0)
