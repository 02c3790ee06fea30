"""Training from the studio: the form, the list of runs, the processes, and journey 3 from capture to drag."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from conftest import PATIENCE_MS, PATIENCE_S, wait_for, wait_for_face, wait_for_fit
from lipflow.runs import AVATAR, CHECKPOINT, CODES, RECORD, SAMPLE, Holder, holder
from lipflow.serial import to_json
from lipflow.training_config import TrainConfig
from lipflow.variants import VARIANTS
from lipflow_studio.document import Status
from lipflow_studio.panels.train_panel import TrainPanel, help_of
from lipflow_studio.parts import training as training_part
from lipflow_studio.parts.training import Training
from lipflow_studio.run_watch import OUTPUT, RunState, last_line, last_words
from lipflow_studio.session import Session
from lipflow_studio.studio import Studio
from lipflow_studio.training_process import NICENESS, Job, TrainingProcess
from lipflow_studio.views.train_view import TrainView
from support import structure
from support.tiny_capture import write_tiny_capture

# Stands for ``lipflow train``: hears the same signals, writes the same names, and needs no torch.
FAKE = """
import sys, time, json, os, signal, pathlib, fcntl
from lipflow.steering import steered
folder, steps, record = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if steps == 13:
    sys.exit("lipflow: training: expected a finite gradient, got nan")
fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
(folder / "run.json").write_text(record)
(folder / "process.json").write_text(json.dumps({"pid": os.getpid(), "steered": True}))
with steered() as steering:
    try:
        for step in range(steps):
            time.sleep(0.02)
            print(f"\\r {step}%|███  | {step}/{steps} [00:02<6:17:29]", end="", flush=True)
            (folder / "step").write_text(str(step))
            steering.obey(lambda: None)
        (folder / "avatar.safetensors").write_text("done")
    except KeyboardInterrupt:
        (folder / "checkpoint.safetensors").write_text("saved")
"""


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_capture(tmp_path_factory.mktemp("captures") / "someone", frames=12)


@pytest.fixture
def training(empty_session: Session, capture: Path, tmp_path: Path) -> Training:
    """The part, its form filled in for a short run."""
    part = empty_session.part(Training)
    part.set_form(capture=str(capture), preset="tiny", steps=40, folder=str(tmp_path / "runs"))
    return part


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that only count."""

    def command(job: Job) -> list[str]:
        record = json.dumps({"config": to_json(job.config), "capture": job.capture.name})
        return [sys.executable, "-c", FAKE, str(job.folder), str(job.config.steps), record]

    monkeypatch.setattr(Job, "command", command)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that find no room for their checkpoint when they are asked to stop."""
    refuse = "signal.signal(15, lambda *_: sys.exit('lipflow: no space'))"
    work = f"import signal, sys, time; {refuse}; print('begun', flush=True); time.sleep(60)"
    monkeypatch.setattr(Job, "command", lambda job: [sys.executable, "-c", work])


def states(training: Training) -> list[RunState]:
    return [run.state for run in training.runs]


def folder_of(training: Training, place: int = 0) -> str:
    return str(training.runs[place].folder)


class TestTheForm:
    def test_every_variant_has_its_line_of_help(self) -> None:
        assert all(10 < len(help_of(name)) < 70 for name in VARIANTS)

    def test_leads_to_the_command_that_anyone_would_give(self, training: Training, capture: Path) -> None:
        training.set_form(variant="lip-kl-hmc", seed=3)
        job = training.job()
        assert job.folder.parts[-3:] == ("someone", "lip-kl-hmc", "seed-3")
        assert job.config == TrainConfig.of("lip-kl-hmc", "tiny", seed=3, steps=40)
        line = " ".join(job.command())
        assert f"train {capture} --out {job.folder} --variant lip-kl-hmc --preset tiny --seed 3 --steps 40" in line

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"capture": "/nowhere/at/all"}, "no such folder"),
            ({"capture": "/"}, "a folder without"),
            ({"variant": "dam-reg-hmc"}, "train DAM first"),
        ],
    )
    def test_says_in_one_line_what_is_missing(self, training: Training, changes: dict[str, str], says: str) -> None:
        training.set_form(**changes)
        training.start()
        problem = training.session.problem
        assert problem is not None
        assert says in problem.line
        assert "\n" not in problem.line
        assert training.runs == ()

    def test_without_a_capture_it_asks_for_one(self, training: Training) -> None:
        training.set_form(capture="")
        training.start()
        assert "open a capture" in training.session.problem.line

    def test_a_base_may_be_named_or_stand_beside(self, training: Training, tmp_path: Path) -> None:
        training.set_form(variant="dam-reg-kpt", seed=2)
        beside = tmp_path / "runs" / "someone" / "dam" / "seed-2" / AVATAR
        beside.parent.mkdir(parents=True)
        beside.write_bytes(b"")
        assert training.job().base == beside
        training.set_form(base=str(beside.parent))
        assert training.job().base == beside
        training.set_form(base=str(beside))
        assert "--base" in training.job().command()

    @pytest.mark.parametrize("changes", [{"variant": "lip-flaw"}, {"preset": "huge"}, {"steps": -1}, {"colour": 1}])
    def test_refuses_what_makes_no_sense(self, training: Training, changes: dict[str, object]) -> None:
        before = training.form
        training.set_form(**changes)
        assert training.form == before
        assert training.session.problem is not None

    def test_is_bound_both_ways(self, qtbot: QtBot, training: Training) -> None:
        panel = TrainPanel(training.session)
        qtbot.addWidget(panel)
        panel.show()
        panel.variant.setFocus()
        panel.variant.setCurrentIndex(panel.variant.findData("dam-enc-hmc"))
        panel.variant.activated.emit(panel.variant.currentIndex())
        panel.seed.setValue(5)
        panel.steps.setValue(70)
        panel.capture.line.setText("/somewhere")
        panel.capture.line.editingFinished.emit()
        form = training.form
        assert (form.variant, form.seed, form.steps, form.capture) == ("dam-enc-hmc", 5, 70, "/somewhere")
        training.set_form(variant="dam-reg-kpt", preset="small", seed=8, steps=0, base="/b", folder="/f")
        assert panel.variant.currentData() == "dam-reg-kpt"
        assert panel.preset.currentData() == "small"
        assert panel.seed.value() == 8
        assert panel.steps.text() == "the preset's 1,000"
        assert (panel.base.line.text(), panel.folder.line.text()) == ("/b", "/f")
        assert panel.base.isEnabled()
        assert "frozen" in panel.help.text()
        training.set_form(variant="lip-flow-kpt")
        assert not panel.base.isEnabled()

    def test_remembers_where_runs_go(self, training: Training) -> None:
        again = Training(training.session)
        assert again.form.folder == training.form.folder
        assert again.form.capture == training.form.capture


class TestRuns:
    def test_one_trains_and_the_others_wait_their_turn(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.start()
        training.set_form(seed=1)
        training.start()
        training.set_form(seed=2)
        training.start()
        assert [run.config.seed for run in training.runs] == [2, 1, 0]
        assert states(training)[:2] == [RunState.QUEUED, RunState.QUEUED]
        training.stop(folder_of(training, 1))
        assert [run.config.seed for run in training.runs] == [2, 0]
        wait_for(qtbot, lambda: states(training) == [RunState.FINISHED] * 2)
        assert training.session.problem is None

    def test_the_folder_of_a_log_is_shown_where_there_is_one(
        self, qtbot: QtBot, training: Training, fake: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session, asked, opens = training.session, [], [True]
        monkeypatch.setattr(
            "lipflow_studio.panels.train_panel.QDesktopServices.openUrl",
            lambda url: asked.append(url.toLocalFile()) or opens[0],
        )
        panel = TrainPanel(session)
        qtbot.addWidget(panel)
        panel.show()
        assert not panel.logs_button.isEnabled()  # no run
        training.start()
        wait_for(qtbot, lambda: states(training) == [RunState.FINISHED])
        folder = Path(folder_of(training))
        training.choose(str(folder))
        assert panel.logs_button.isEnabled()
        panel.logs_button.click()  # the fake logs nothing
        assert asked == []
        assert "expected a folder" in session.problem.line
        session.dismiss_problem()
        (folder / "logs").mkdir()
        told: list[str] = []
        session.told.connect(told.append)
        panel.logs_button.click()
        assert asked == [str(folder / "logs")]
        assert told == [f"tensorboard --logdir {folder / 'logs'}"]
        assert session.problem is None
        opens[0] = False  # no program shows folders here
        panel.logs_button.click()
        assert f"tensorboard --logdir {folder / 'logs'}" in session.problem.line

    def test_pause_resume_and_stop(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.set_form(steps=100_000)
        training.start()
        folder = training.job().folder
        wait_for(qtbot, lambda: training._state(folder) is RunState.PREPARING and (folder / "step").is_file())
        os.utime(folder)  # the fake logs no scalars: it stays in preparation for the list
        training._process[1].pause()
        wait_for(qtbot, lambda: states(training) == [RunState.PAUSED])
        time.sleep(0.1)
        rested = (folder / "step").read_text()
        time.sleep(0.1)
        assert (folder / "step").read_text() == rested
        training.resume(str(folder))
        wait_for(qtbot, lambda: (folder / "step").read_text() != rested)
        training.stop(str(folder))
        wait_for(qtbot, lambda: states(training) == [RunState.STOPPED])
        assert (folder / CHECKPOINT).is_file()
        assert training.session.problem is None
        training.resume(str(folder))
        assert training._process is not None

    def test_one_that_is_about_to_rest_is_asked_for_its_first_checkpoint(
        self, qtbot: QtBot, training: Training, fake: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Holder | None] = []
        monkeypatch.setattr(training_part, "load_model", lambda job, name, held, device: asked.append(held))
        training.set_form(steps=100_000)
        training.start()
        folder = training.job().folder
        wait_for(qtbot, lambda: holder(folder) is not None)
        training._process[1].paused = True  # as at once after the click; the process is in a step yet
        wait_for(qtbot, lambda: states(training) == [RunState.PAUSED])
        training.use(str(folder))
        wait_for(qtbot, lambda: len(asked) == 1)
        (folder / CHECKPOINT).write_text("saved before it rests")
        training.use(str(folder))
        wait_for(qtbot, lambda: len(asked) == 2)
        assert asked[0] is not None
        assert asked[1] is None
        training.stop(str(folder))

    def test_a_failure_is_said_once_and_the_next_run_begins(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.set_form(steps=13)
        training.start()
        training.set_form(seed=1, steps=40)
        training.start()
        wait_for(qtbot, lambda: states(training) == [RunState.FINISHED, RunState.FAILED])
        assert "expected a finite gradient, got nan" in training.session.problem.line
        assert training.runs[1].note.startswith("training: expected")

    @pytest.mark.parametrize(("number", "words"), [(9, "Killed"), (11, "Segmentation fault")])
    def test_one_that_is_ended_from_outside_is_said_and_can_go_on(
        self, qtbot: QtBot, training: Training, fake: None, number: int, words: str
    ) -> None:
        training.set_form(steps=100_000)
        training.start()
        folder = training.job().folder
        wait_for(qtbot, lambda: "/100000" in last_line(folder))
        (folder / CHECKPOINT).write_text("saved before")
        training._process[1].tell(number)
        wait_for(qtbot, lambda: states(training) == [RunState.FAILED])
        line = training.session.problem.line
        name = training.runs[0].name
        got = f"its process was ended by signal {number} ({words})"
        mend = "resume it to go on from its checkpoint"
        assert line == f"training {name}: expected to finish, got {got}; {mend}"
        assert training.runs[0].note == got
        training.session.dismiss_problem()
        training.resume(str(folder))
        wait_for(qtbot, lambda: states(training)[0] is RunState.PREPARING)
        training.stop(str(folder))
        wait_for(qtbot, lambda: states(training) == [RunState.STOPPED])
        assert training.session.problem is None

    def test_how_far_it_was_is_no_reason(self, tmp_path: Path) -> None:
        (tmp_path / OUTPUT).write_text("training on CPU\n  3%|█▌   | 3/100 [00:02<6:17]")
        assert last_words(tmp_path) == ""
        assert last_line(tmp_path) == "3/100"
        (tmp_path / OUTPUT).write_text("reading frames:  35%|███▌      | 28/80 [00:01<00:02, 20.10frame/s]")
        assert last_line(tmp_path) == "reading frames: 28/80"
        assert last_line(tmp_path, since=(tmp_path / OUTPUT).stat().st_size) == ""  # that was another process
        (tmp_path / OUTPUT).write_text("  3%|█▌   | 3/100 [00:02<6:17]\rlipflow: x.safetensors: File too large\n")
        assert last_words(tmp_path) == "x.safetensors: File too large"

    def test_a_folder_that_cannot_be_written_is_said(
        self, qtbot: QtBot, training: Training, fake: None, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        training.set_form(folder=str(tmp_path / "file"))
        training.start()
        assert training.session.problem is not None
        assert states(training) == [RunState.FAILED]
        assert training.runs[0].note == training.session.problem.line

    def test_one_whose_folder_is_removed_says_so(
        self, qtbot: QtBot, training: Training, fake: None, tmp_path: Path
    ) -> None:
        training.set_form(steps=100_000)
        training.start()
        wait_for(qtbot, lambda: "/100000" in last_line(training.job().folder))
        shutil.rmtree(tmp_path / "runs")
        training._process[1].tell(signal.SIGKILL)
        wait_for(qtbot, lambda: states(training) == [RunState.FAILED])
        assert training.runs[0].note == "its folder was removed"
        assert "its folder was removed" in training.session.problem.line

    def test_where_the_disk_is_too_full_for_last_words_that_is_said(
        self, qtbot: QtBot, training: Training, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Job, "command", lambda job: [sys.executable, "-c", "raise SystemExit(1)"])
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 0))
        training.start()
        wait_for(qtbot, lambda: states(training) == [RunState.FAILED])
        assert training.runs[0].note == "no space left on its disk"

    def test_finished_and_running_ones_are_not_begun_again(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.start()
        training.start()
        assert "being trained already" in training.session.problem.line
        assert len(training.runs) == 1

    def test_runs_of_the_folder_are_found_whoever_trained_them(
        self, qtbot: QtBot, training: Training, tmp_path: Path
    ) -> None:
        found = {"dam": AVATAR, "lip-kl-kpt": CHECKPOINT, "lip-flow-kpt": OUTPUT}
        for variant, file in found.items():
            folder = tmp_path / "runs" / "someone" / variant / "seed-0"
            folder.mkdir(parents=True)
            config = TrainConfig.of(variant, "tiny")
            (folder / RECORD).write_text(json.dumps({"config": to_json(config), "capture": "someone"}))
            (folder / file).write_text("lipflow: no space left")
        (tmp_path / "runs" / "broken").mkdir()
        (tmp_path / "runs" / "broken" / RECORD).write_text("{")
        training.watch()
        wait_for(qtbot, lambda: len(training.runs) == 3)
        assert {run.config.variant: run.state for run in training.runs} == {
            "dam": RunState.FINISHED,
            "lip-kl-kpt": RunState.STOPPED,
            "lip-flow-kpt": RunState.FAILED,
        }
        failed = next(run for run in training.runs if run.state is RunState.FAILED)
        assert failed.note == "no space left"
        assert training.session.problem is None


class TestTheWindowsEnd:
    def test_stop_and_save(self, qtbot: QtBot, training: Training, fake: None) -> None:
        assert training.question() is None
        training.set_form(steps=100_000)
        training.start()
        folder = training.job().folder
        wait_for(qtbot, lambda: (folder / "step").is_file())
        question = training.question()
        assert [answer.text for answer in question.answers] == ["Stop and save", "Keep training"]
        assert question.answers[0].run()
        assert (folder / CHECKPOINT).is_file()
        assert training.question() is None

    def test_one_that_cannot_save_keeps_the_window(self, qtbot: QtBot, training: Training, full: None) -> None:
        training.start()
        output = training.job().folder / OUTPUT
        wait_for(qtbot, lambda: output.stat().st_size > 0)
        assert not training.question().answers[0].run()
        assert training.runs[0].state is RunState.FAILED
        assert "no space" in training.session.problem.line
        assert training.question() is None, "it can be closed then"

    def test_keep_training(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.set_form(steps=50)
        training.start()
        folder = training.job().folder
        wait_for(qtbot, lambda: (folder / "step").is_file())
        process = training._process[1]
        assert training.question().answers[1].run()
        assert training.session.close()
        assert process.ended is None
        wait_for(qtbot, lambda: process.ended is not None)
        assert (folder / AVATAR).is_file()

    def test_what_was_kept_is_found_and_steered_by_the_next_studio(
        self, qtbot: QtBot, training: Training, fake: None
    ) -> None:
        training.set_form(steps=100_000)
        training.start()
        folder, process = training.job().folder, training._process[1]
        wait_for(qtbot, lambda: (folder / "step").is_file())
        assert training.question().answers[1].run()
        assert training.session.close()
        later = Session()
        again = later.part(Training)
        again.set_form(folder=training.form.folder)
        again.watch()
        wait_for(qtbot, lambda: states(again) == [RunState.RUNNING])
        again.pause(str(folder))
        wait_for(qtbot, lambda: states(again) == [RunState.PAUSED])
        again.resume(str(folder))
        wait_for(qtbot, lambda: states(again) == [RunState.RUNNING])
        again.stop(str(folder))
        wait_for(qtbot, lambda: states(again) == [RunState.STOPPED])
        assert process.ended == 0
        assert later.problem is None
        assert later.close()

    def test_without_an_answer_it_stops_and_saves(self, qtbot: QtBot, training: Training, fake: None) -> None:
        training.set_form(steps=100_000)
        training.start()
        folder, process = training.job().folder, training._process[1]
        wait_for(qtbot, lambda: (folder / "step").is_file())
        process.pause()
        assert training.session.close()
        assert process.ended is not None
        assert (folder / CHECKPOINT).is_file()

    def test_a_process_that_does_not_listen_is_ended(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("lipflow_studio.training_process._STOP_S", 0.5)
        deaf = (
            "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        )
        process = TrainingProcess([sys.executable, "-c", deaf], tmp_path)
        while "up" not in (tmp_path / OUTPUT).read_text():
            time.sleep(0.01)
        assert process.stop()

    def test_what_the_process_before_it_said_is_not_told_of_a_run_that_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / OUTPUT).write_text("reading frames:  35%|███▌      | 28/80 [00:01<00:02, 20.10frame/s]")
        process = TrainingProcess([sys.executable, "-c", "print('training on CPU')"], tmp_path)
        assert process.output_from == (tmp_path / OUTPUT).read_bytes().index(b"]") + 1
        assert process._process.wait(PATIENCE_S) == 0
        assert last_line(tmp_path, process.output_from) == "training on CPU"


def test_a_training_that_starts_is_stopped_also_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As it is by whatever a shell starts in its background, and by what that starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = TrainingProcess([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "run")
        began = time.monotonic()
        assert process.stop()
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.ended == -signal.SIGTERM
    assert time.monotonic() - began < 20


def test_a_training_comes_after_the_window(tmp_path: Path) -> None:
    """By its niceness and, where the system shares the processor between sessions first, by its session's."""
    process = TrainingProcess([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "run")
    number = process._process.pid
    try:
        niceness = max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS)
        assert os.getpriority(os.PRIO_PROCESS, number) == niceness
        session = Path(f"/proc/{number}/autogroup")
        if session.exists() and session.read_text().strip():
            assert session.read_text().split()[-1] == str(niceness)
    finally:
        process._process.kill()
        process._process.wait()


def test_journey_3_train_look_and_use_the_model(
    qtbot: QtBot,
    studio: Studio,
    capture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lipflow_studio.training_process.NICENESS", 0)  # the test waits for nothing else
    session, window = studio.session, studio.window
    wait_for_face(qtbot, session)
    training = session.part(Training)
    training.set_form(capture=str(capture), preset="tiny", steps=30_000, folder=str(tmp_path / "runs"))
    panel, view = window.panel("train", TrainPanel), window.panel("training", TrainView)
    window.docks["train"].raise_()
    window.docks["training"].raise_()
    wait_for(qtbot, lambda: window.docks["training"].height() > 240)  # the height that its plots need
    structure.check(window, "train/1-form", tmp_path)
    qtbot.mouseClick(panel.train_button, Qt.MouseButton.LeftButton)
    folder = training.job().folder
    qtbot.waitUntil(lambda: states(training) == [RunState.RUNNING], timeout=PATIENCE_MS)
    wait_for(qtbot, lambda: training.view is not None and training.view.sample is not None)
    wait_for(qtbot, lambda: len(view.plots[0].drawn()) == 5)
    assert panel.list.count() == 1
    assert view.sample.picture.shape[2] == 3
    assert len(view.q.codes.points()) == len(training.view.q.codes) > 4
    for button in (panel.pause_button, panel.stop_button, panel.use_button):
        assert not button.visibleRegion().isEmpty()
    qtbot.mouseClick(panel.pause_button, Qt.MouseButton.LeftButton)
    assert states(training) == [RunState.PAUSED]
    assert panel.resume_button.isEnabled()
    qtbot.mouseClick(panel.resume_button, Qt.MouseButton.LeftButton)
    assert states(training) == [RunState.RUNNING]
    # The model as it is, while it goes on: journey 1 works on it.
    qtbot.mouseClick(panel.use_button, Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: not session.loading)
    assert session.problem is None
    assert session.avatar_info.name == "lip-flow-kpt someone 0"
    assert session.avatar_info.path.name.startswith("avatar-at-")
    wait_for(qtbot, lambda: session.picture is not None)
    before = session.picture.shape.keypoints.copy()
    session.move_keypoints({2: (float(before[2, 0]), float(before[2, 1]) + 0.05)})
    wait_for_fit(qtbot, session)
    assert session.status in (Status.CONVERGED, Status.ENDED)
    assert (session.picture.shape.keypoints != before).any()  # how far, depends on how long it was trained by then
    # Stopped, it lies there as lipflow train leaves it, and goes on from there.
    qtbot.mouseClick(panel.stop_button, Qt.MouseButton.LeftButton)
    wait_for(qtbot, lambda: states(training) == [RunState.STOPPED])
    assert holder(folder) is None
    for name in (CHECKPOINT, RECORD, SAMPLE, CODES, "logs", OUTPUT):
        assert (folder / name).exists(), name
    assert np.load(folder / CODES)["codes_q"].shape[1] == 16
    assert session.problem is None
