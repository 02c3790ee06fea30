"""The faces that an observation leaves possible: sampled beside the Session, shown in a strip, and what they advise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from conftest import ENDLESS, PATIENCE_MS, wait_for, wait_for_face, wait_for_fit
from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow_studio.document import Status
from lipflow_studio.engine import describe
from lipflow_studio.panels.posterior_panel import PosteriorPanel
from lipflow_studio.parts.posterior import Posterior, PosteriorOptions
from lipflow_studio.posterior_engine import PosteriorUpdate, Sample
from lipflow_studio.session import Session

PINNED = {i: (0.45, 0.55) for i in range(3)}


@pytest.fixture
def fitted(qtbot: QtBot, session: Session) -> Session:
    """With a few keypoints pinned, and the fit at rest."""
    wait_for_face(qtbot, session)
    session.move_keypoints(PINNED)
    wait_for_fit(qtbot, session)
    session.part(Posterior).set_options(samples=32, shown=5)
    return session


@pytest.fixture
def panel(qtbot: QtBot, fitted: Session) -> PosteriorPanel:
    made = PosteriorPanel(fitted)
    qtbot.addWidget(made)
    made.resize(900, 220)
    with qtbot.waitExposed(made, timeout=PATIENCE_MS):
        made.show()
    return made


def sampled(qtbot: QtBot, session: Session) -> PosteriorUpdate:
    posterior = session.part(Posterior)
    posterior.sample()
    assert posterior.running
    wait_for(qtbot, lambda: not posterior.running)
    assert session.problem is None
    return posterior.update


def test_it_finds_faces_and_where_they_differ(qtbot: QtBot, fitted: Session) -> None:
    deviations: list[object] = []
    fitted.part(Posterior).deviation_changed.connect(deviations.append)
    update = sampled(qtbot, fitted)
    assert update.count == 32
    assert len(update.samples) == 5
    away = [sample.away for sample in update.samples]
    assert away == sorted(away)
    assert 0.1 < away[0] < away[-1] < 3 * np.sqrt(np.square(update.vertex_std).mean())
    assert (update.share, update.left_s) == (1.0, 0.0)
    assert update.vertex_std.shape == (len(fitted.avatar_info.vertices),)
    assert update.vertex_std.max() > 0.1
    np.testing.assert_array_equal(update.landmark_std, update.vertex_std[list(fitted.avatar_info.landmarks.ids)])
    assert deviations[-1] is update.vertex_std


def test_the_least_certain_keypoint_that_is_not_pinned_is_suggested(qtbot: QtBot, fitted: Session) -> None:
    update, posterior = sampled(qtbot, fitted), fitted.part(Posterior)
    first = int(update.landmark_std.argmax())
    free = [i for i in np.argsort(-update.landmark_std) if i not in PINNED]
    assert posterior.suggested == free[0]
    posterior.select_suggested()
    assert fitted.selection == {free[0]}
    assert fitted.recorded[-1]["command"] == "posterior.select_suggested"
    fitted.pin(True)
    assert posterior.suggested == free[1]
    assert first in PINNED or first == free[0]
    fitted.pause_fit()


def test_a_drag_stops_it_and_makes_it_stale(qtbot: QtBot, fitted: Session) -> None:
    posterior = fitted.part(Posterior)
    posterior.set_options(samples=2000)
    posterior.sample()
    wait_for(qtbot, lambda: posterior.update is not None and posterior.update.count > 0)
    fitted.move_keypoints({0: (0.4, 0.5)})
    assert not posterior.running
    assert posterior.stale
    fitted.pause_fit()
    posterior.sample()
    assert not posterior.stale
    posterior.stop()
    assert not posterior.running


def test_a_running_fit_is_held(qtbot: QtBot, fitted: Session) -> None:
    fitted.set_fit_config(**ENDLESS)
    fitted.move_keypoints({0: (0.3, 0.7)})
    wait_for(qtbot, lambda: fitted.status is Status.RUNNING)
    fitted.part(Posterior).sample()
    assert fitted.status is Status.PAUSED
    fitted.part(Posterior).stop()


def test_without_an_observation_or_a_likelihood_it_is_one_line(qtbot: QtBot, session: Session) -> None:
    posterior = session.part(Posterior)
    posterior.sample()
    assert "posterior: expected something to fit to" in session.problem.line
    session.dismiss_problem()
    session.move_keypoints(PINNED)
    session.set_fit_config(likelihood=False)
    posterior.sample()
    wait_for(qtbot, lambda: session.problem is not None)
    assert "posterior: expected a prior that counts" in session.problem.line
    wait_for(qtbot, lambda: not posterior.running)
    posterior.set_options(shown=0)
    assert "shown: expected 1 to 40" in session.problem.line
    session.pause_fit()


def test_another_avatar_forgets_it(qtbot: QtBot, fitted: Session, hmc_avatar: Avatar) -> None:
    sampled(qtbot, fitted)
    fitted.use_avatar(hmc_avatar, describe(hmc_avatar, "tiny-hmc"))
    assert fitted.part(Posterior).update is None


def test_session_files_keep_its_options(session: Session) -> None:
    posterior = session.part(Posterior)
    posterior.set_options(samples=64)
    kept = posterior.saved()
    posterior.restore({})
    assert posterior.options == PosteriorOptions()
    posterior.restore(kept)
    assert posterior.options.samples == 64
    with pytest.raises(InputError, match="posterior: expected"):
        posterior.restore({"number": 1})


def test_the_strip_shows_faces_and_loads_them(qtbot: QtBot, panel: PosteriorPanel, fitted: Session) -> None:
    assert panel.empty.isVisible()
    qtbot.mouseClick(panel.run_button, Qt.MouseButton.LeftButton)
    assert panel.run_button.text() == "Stop"
    wait_for(qtbot, lambda: not fitted.part(Posterior).running)
    update = fitted.part(Posterior).update
    assert panel.run_button.text() == "Sample the posterior"
    assert not panel.empty.isVisible()
    assert panel.strip.count() == 5
    assert [panel.strip.item(row).text() for row in range(5)] == [f"{s.away:.2f} mm" for s in update.samples]
    wait_for(qtbot, lambda: len({panel.strip.item(row).icon().cacheKey() for row in range(5)}) == 5)
    assert "mm at most" in panel.spread.text()
    assert "Most uncertain keypoint: face." in panel.suggestion.text()
    qtbot.mouseClick(panel.select_button, Qt.MouseButton.LeftButton)
    assert len(fitted.selection) == 1
    panel.strip.setFocus()
    panel.strip.setCurrentRow(2)
    qtbot.keyClick(panel.strip, Qt.Key.Key_Return)
    np.testing.assert_array_equal(fitted.code(), update.samples[2].z)
    assert fitted.undo_stack.undoText() == "load of posterior face 3"
    assert panel.state.text() == "of an earlier face"
    assert not panel.select_button.isVisible()


def test_its_options_are_bound_both_ways(panel: PosteriorPanel, fitted: Session) -> None:
    posterior = fitted.part(Posterior)
    panel.samples.setValue(100)
    panel.shown.setValue(7)
    assert (posterior.options.samples, posterior.options.shown) == (100, 7)
    posterior.set_options(samples=0, shown=9)
    assert (panel.samples.text(), panel.shown.value()) == ("codes: auto", 9)


def test_progress_is_told(panel: PosteriorPanel, fitted: Session) -> None:
    update = PosteriorUpdate("warm-up", 20, 60)
    panel._show_update(update)
    assert panel.state.text() == "Stopped before the first code"
    panel._show_update(replace(update, share=0.25, left_s=75.0))
    assert panel.bar.value() / panel.bar.maximum() == 0.25
    fitted.part(Posterior).running = True
    panel._show_update(replace(update, share=0.25, left_s=75.0))
    assert panel.state.text() == "Warm-up 20 of 60  ·  75 s left"
    fitted.part(Posterior).running = False
    std = np.ones(len(fitted.avatar_info.vertices), np.float32)
    samples = (Sample(fitted.code(), 1.0),)
    panel._show_update(replace(update, stage="sampling", count=8, effective=3.6, samples=samples, vertex_std=std))
    assert panel.state.text() == "8 codes  ·  4 effective"
    assert panel.spread.text() == "± 1.00 mm on average, 1.0 mm at most"
