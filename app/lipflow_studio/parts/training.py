"""Training: what to train, the runs that there are, and the processes that train them, one at a time."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QTimer, Signal

from lipflow.checks import InputError
from lipflow.runs import AVATAR, CHECKPOINT, holder, is_finished
from lipflow.steering import GO_ON, PAUSE, STOP
from lipflow.training_config import TrainConfig
from lipflow.variants import PRESETS, VARIANTS
from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part
from lipflow_studio.parts.capture import Captures
from lipflow_studio.problems import describe_error
from lipflow_studio.questions import Answer, Question
from lipflow_studio.run_models import load_model
from lipflow_studio.run_watch import RunFacts, RunState, RunView, Seen, Watch, last_line, last_words, watch_runs
from lipflow_studio.training_process import Job, TrainingProcess
from lipflow_studio.workers import Worker

if TYPE_CHECKING:
    from lipflow_studio.session import Session

TICK_MS = 200  # how often processes and the watching thread are looked at
HOME = "lipflow-runs"  # in the user's folder: where runs go before another place was chosen
LAST_WORDS = 4096  # bytes of a disk that a process needs to say why it ends
LIVE = (RunState.QUEUED, RunState.PREPARING, RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True)
class TrainForm:
    """What "Train" would train."""

    capture: str = ""  # its folder; "": the one that is open
    variant: str = "lip-flow-kpt"
    preset: str = "studio"
    seed: int = 0
    steps: int = 0  # 0: the preset's
    base: str = ""  # the trained DAM avatar, or its run's folder, that dam-reg freezes; "": the run beside
    folder: str = ""  # of all runs


@dataclass(frozen=True)
class Run:
    """A run as the list shows it."""

    folder: Path
    capture: str
    config: TrainConfig
    state: RunState
    step: int = 0
    eta_s: float | None = None
    note: str = ""  # how far its preparation is, or why it failed
    steered: bool = True  # whether it can be paused and stopped from here

    @property
    def what(self) -> str:
        """What is trained on what; its seeds share it."""
        return f"{self.capture} · {VARIANTS[self.config.variant].title}"

    @property
    def name(self) -> str:
        return f"{self.what} · seed {self.config.seed}"


class Training(Part):
    """A run is its folder; this part starts processes and steers them, and shows what folders say."""

    name: ClassVar[str] = "training"

    form_changed = Signal(object)  # TrainForm
    runs_changed = Signal(object)  # tuple[Run, ...]
    chosen_changed = Signal(object)  # Path | None, of the run that is shown
    view_changed = Signal(object)  # RunView | None
    logs_asked = Signal(str)  # a folder to show in the desktop's file manager

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        kept = session.preferences
        folder = kept.text("training/folder", str(Path.home() / HOME))
        self.form = TrainForm(folder=folder, capture=kept.text("training/capture"))
        self.runs: tuple[Run, ...] = ()
        self.chosen: Path | None = None
        self.view: RunView | None = None
        self._facts: Mapping[Path, RunFacts] = {}
        self._jobs: dict[Path, Job] = {}  # of this session, the newest last
        self._queue: list[Path] = []
        self._process: tuple[Path, TrainingProcess] | None = None
        self._failures: dict[Path, str] = {}
        self._watcher: Worker[Watch, Seen] | None = None
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)

    # Commands

    @command(same=lambda **changes: tuple(sorted(changes)))
    def set_form(self, **changes: Any) -> None:
        """Change fields of the form."""
        try:
            form = replace(self.form, **changes)
            TrainConfig.of(form.variant, form.preset, seed=int(form.seed), steps=int(form.steps) or 1)
        except (InputError, TypeError, ValueError) as error:
            self.session.report(error)
            return
        if form != self.form:
            self.form = form
            for name in ("folder", "capture"):
                self.session.preferences.set(f"training/{name}", getattr(form, name))
            self.form_changed.emit(form)
            self._look()

    @command()
    def start(self) -> None:
        """Train what the form says, or go on with it where it stopped; it waits while another run trains."""
        try:
            job = self.job()
            if self._state(job.folder) in LIVE:
                got = "it is being trained already"
                raise InputError(f"run {job.folder}", expected="another seed, variant or folder", got=got)
            if is_finished(job.folder, job.config):
                mend = "use it, or choose another seed"
                raise InputError(f"run {job.folder}", expected="a run to train", got="a finished one", mend=mend)
        except InputError as error:
            self.session.report(error)
            return
        self._enqueue(job)

    @command()
    def pause(self, folder: str) -> None:
        """Let a run rest after its present step; the machine is free for other things."""
        path = Path(folder)
        if self._state(path) is not RunState.RUNNING:
            return
        if self._process is not None and self._process[0] == path:
            self._process[1].pause()
            self._publish()
        else:
            self._tell(path, PAUSE)

    @command()
    def resume(self, folder: str) -> None:
        """Go on with a paused or stopped run."""
        path, state = Path(folder), self._state(Path(folder))
        if self._process is not None and self._process[0] == path:
            self._process[1].go_on()
            self._publish()
        elif state is RunState.PAUSED:
            self._tell(path, GO_ON)
        elif state in (RunState.STOPPED, RunState.FAILED):
            try:
                self._enqueue(self._job_of(path))
            except InputError as error:
                self.session.report(error)

    @command()
    def stop(self, folder: str) -> None:
        """Save a checkpoint and end; a run that waits is not begun."""
        path = Path(folder)
        if path in self._queue:
            self._queue.remove(path)
            del self._jobs[path]
            self._publish()
        elif self._process is not None and self._process[0] == path:
            self._process[1].ask_to_stop()
        else:
            self._tell(path, STOP)
            self._tell(path, GO_ON)

    @command()
    def choose(self, folder: str) -> None:
        """Show a run's curves, picture and codes."""
        self._put_chosen(Path(folder))

    @command()
    def use(self, folder: str) -> None:
        """Open the model of a run as it is now."""
        path = Path(folder)
        run = next((run for run in self.runs if run.folder == path), None)
        if run is None:
            self.session.report(InputError("run", expected="one of the list", got=repr(folder)))
            return
        try:
            job = self._job_of(path)
        except InputError as error:
            self.session.report(error)
            return
        name, device = f"{run.config.variant} {run.capture} {run.config.seed}", self.session.device
        rests = run.state is RunState.PAUSED and (path / CHECKPOINT).is_file()  # it saves before it rests
        runs_in = None if rests else holder(path)

        def load() -> Any:
            return load_model(job, name, runs_in, device)

        self.session.load(f"Opening {name}", load, lambda loaded: self.session.use_avatar(*loaded))

    @command()
    def show_logs(self, folder: str) -> None:
        """Show the folder of a run's TensorBoard log in the file manager."""
        if not Path(folder).is_dir():
            mend = "it is there once the run has trained"
            self.session.report(InputError(f"TensorBoard log {folder}", expected="a folder", got="none", mend=mend))
            return
        self.logs_asked.emit(folder)
        self.session.told.emit(f"tensorboard --logdir {folder}")

    # What the form comes to

    def job(self) -> Job:
        """What "Train" would do.

        Raises:
            InputError: for what is missing, in one line that says what to do.
        """
        form, row = self.form, VARIANTS[self.form.variant]
        capture = self.capture_folder()
        if capture is None:
            mend = "open a capture, or choose its folder"
            raise InputError("training", expected="a capture to train on", got="none", mend=mend)
        if not (capture / "KRT").is_file():
            got = "a folder without" if capture.is_dir() else "no such folder"
            raise InputError(f"capture {capture}", expected="a capture (a folder with a KRT file)", got=got)
        name = capture.resolve().name
        changes = {"steps": form.steps} if form.steps else {}
        config = TrainConfig.of(form.variant, form.preset, seed=form.seed, **changes)
        above = Path(form.folder).expanduser() / name
        base = None
        if row.starts_from is not None:
            beside = above / row.starts_from / f"seed-{form.seed}"
            given = Path(form.base).expanduser() if form.base else beside
            base = given / AVATAR if given.is_dir() or not form.base else given
            if not base.is_file():
                mend = f"train {VARIANTS[row.starts_from].title} first, or choose its avatar under Base"
                expected = f"a trained {VARIANTS[row.starts_from].title} avatar to freeze"
                raise InputError(f"{row.title}, base", expected=expected, got=f"none at {base}", mend=mend)
        return Job(above / form.variant / f"seed-{form.seed}", capture, form.preset, config, base)

    def capture_folder(self) -> Path | None:
        """The capture of the form, or else the open one."""
        if self.form.capture:
            return Path(self.form.capture).expanduser()
        info = self.session.part(Captures).info
        return None if info is None else info.root

    def watch(self) -> None:
        """Begin to look at run folders; what is there appears in a moment."""
        if self._watcher is None:
            watcher: Worker[Watch, Seen] = Worker(lambda: watch_runs(self._watched()), name="runs")
            self._watcher = watcher.start()
            self._timer.start()

    @property
    def at_rest(self) -> bool:
        """Whether no run of this session trains or waits for its turn."""
        return self._process is None and not self._queue

    # The window's end

    def question(self) -> Question | None:
        if self.at_rest:
            return None
        waiting = f" {len(self._queue)} more that wait are not begun." if self._queue else ""
        more = f"A stopped run goes on from its checkpoint later; one that goes on writes to its folder.{waiting}"
        answers = [Answer("Stop and save", self._stop_and_save)]
        if self._process is not None:
            answers.append(Answer("Keep training", self._keep))
        return Question("A training is running. Stop it?", more, tuple(answers))

    def close(self) -> bool:
        self._timer.stop()
        stopped = self._stop_all()
        watcher, self._watcher = self._watcher, None
        return (watcher is None or watcher.stop()) and stopped

    def _stop_and_save(self) -> bool:
        """False where it could not save: the window stays and says why."""
        held, stopped = self._process, self._stop_all()
        if held is not None:
            self._note_end(*held)
            self._publish()
        return stopped and (held is None or not held[1].failed)

    def _stop_all(self) -> bool:
        self._queue.clear()
        process, self._process = self._process, None
        return process is None or process[1].stop()

    def _keep(self) -> bool:
        """Let the process go on by itself: it needs nothing of the window."""
        self._queue.clear()
        if self._process is not None:
            self._process[1].go_on()
            self._process = None
        return True

    # Inside

    def _enqueue(self, job: Job) -> None:
        self._jobs.pop(job.folder, None)
        self._jobs[job.folder] = job
        self._failures.pop(job.folder, None)
        self._queue.append(job.folder)
        self.watch()
        self._advance()
        self._put_chosen(job.folder)
        self._publish()

    def _advance(self) -> None:
        """Begin the next run in the queue if none trains."""
        while self._process is None and self._queue:
            job = self._jobs[self._queue.pop(0)]
            try:
                self._process = job.folder, TrainingProcess(job.command(), job.folder)
            except OSError as error:
                self._failures[job.folder] = describe_error(error).line
                self.session.report(error)

    def _tick(self) -> None:
        if self._process is not None and self._process[1].ended is not None:
            (folder, process), self._process = self._process, None
            self._note_end(folder, process)
            self._advance()
            self._look()
        seen = None if self._watcher is None else self._watcher.take()
        failure = None if self._watcher is None else self._watcher.take_failure()
        if failure is not None:
            self._watcher = None
            self.session.report(failure.error, failure.details)
        if seen is not None:
            self._facts = {facts.folder: facts for facts in seen.runs}
            if seen.view is not self.view and (seen.view is None or seen.view.folder == self.chosen):
                self.view = seen.view
                self.view_changed.emit(seen.view)
        self._publish()

    def _note_end(self, folder: Path, process: TrainingProcess) -> None:
        """Say why a process ended that should have gone on, or saved."""
        if process.failed:
            self._failures[folder] = reason = _why(folder, process.ended or 0)
            mend = "resume it to go on from its checkpoint" if (folder / CHECKPOINT).is_file() else ""
            expected = "to stop and save" if process.stopping else "to finish"
            what = f"training {self._run(folder).name}"
            self.session.report(InputError(what, expected=expected, got=reason, mend=mend))

    def _publish(self) -> None:
        """The list: this session's runs first, the newest on top, then the others that were found."""
        mine = [self._run(folder) for folder in reversed(self._jobs)]
        others = [self._run(folder) for folder in self._facts if folder not in self._jobs]
        runs = tuple(mine + others)
        if runs != self.runs:
            self.runs = runs
            self.runs_changed.emit(runs)

    def _run(self, folder: Path) -> Run:
        facts, job = self._facts.get(folder), self._jobs.get(folder)
        if facts is not None:
            steered = facts.holder is None or facts.holder.steered
            run = Run(folder, facts.capture, facts.config, facts.state, facts.step, facts.eta_s, facts.note, steered)
        else:
            assert job is not None
            run = Run(folder, job.capture.resolve().name, job.config, RunState.STOPPED)
        if folder in self._queue:
            return replace(run, state=RunState.QUEUED, eta_s=None, note="")
        if self._process is not None and self._process[0] == folder:
            return _with_process(run, self._process[1])
        if folder in self._failures and run.state is not RunState.FINISHED:
            return replace(run, state=RunState.FAILED, note=self._failures[folder])
        return run

    def _state(self, folder: Path) -> RunState | None:
        known = folder in self._jobs or folder in self._facts
        return self._run(folder).state if known else None

    def _job_of(self, folder: Path) -> Job:
        """How a run goes on.

        Raises:
            InputError: if its folder does not tell its capture, or it was begun with options that no command has.
        """
        if folder in self._jobs:
            return self._jobs[folder]
        facts = self._facts.get(folder)
        if facts is None:
            raise InputError(f"run {folder}", expected="a run of the list", got="none")
        config, options = facts.config, facts.options
        capture, base = options.get("capture"), options.get("base")
        chosen = self.capture_folder()
        if capture is None and chosen is not None and chosen.resolve().name == facts.capture:
            capture = str(chosen)
        if capture is None:
            mend = f"choose the folder of {facts.capture} as the capture"
            raise InputError(f"run {folder}", expected="its capture", got="a record without one", mend=mend)
        if VARIANTS[config.variant].starts_from is not None and base is None:
            base = str(folder.parent.parent / str(VARIANTS[config.variant].starts_from) / folder.name / AVATAR)
        changes = {name: getattr(config, name) for name in ("seed", "steps", "batch", "learning_rate")}
        for preset in PRESETS:
            if TrainConfig.of(config.variant, preset, **changes) == config:
                given = None if base is None else Path(base)
                cameras = options.get("cameras_per_frame", 3)
                return Job(folder, Path(capture), preset, config, given, int(cameras))
        mend = "go on with it as it was begun"
        raise InputError(f"run {folder}", expected="options of lipflow train", got="others", mend=mend)

    def _tell(self, folder: Path, number: int) -> None:
        """Signal a process that another studio or a terminal began."""
        held = holder(folder)
        if held is None or not held.steered:
            expected = "a run that lipflow train trains on this machine"
            self.session.report(InputError(f"run {folder}", expected=expected, got="another"))
            return
        os.kill(held.pid, number)
        self._look()

    def _put_chosen(self, folder: Path | None) -> None:
        if folder != self.chosen:
            self.chosen, self.view = folder, None
            self.chosen_changed.emit(folder)
            self.view_changed.emit(None)
            self.watch()
            self._look()

    def _watched(self) -> Watch:
        root = Path(self.form.folder).expanduser()
        return Watch(root, tuple(self._jobs), self.chosen)

    def _look(self) -> None:
        if self._watcher is not None:
            self._watcher.send(self._watched())


def _why(folder: Path, status: int) -> str:
    """Why a process ended with this status: negative is a signal, and then it had no last words."""
    if not folder.is_dir():
        return "its folder was removed"
    if status < 0:
        return f"its process was ended by signal {-status} ({signal.strsignal(-status)})"
    if words := last_words(folder):
        return words
    full = shutil.disk_usage(folder).free < LAST_WORDS
    return "no space left on its disk" if full else f"its process ended with status {status}"


def _with_process(run: Run, process: TrainingProcess) -> Run:
    """What a process of ours tells before its folder does."""
    begun = run.state in (RunState.RUNNING, RunState.PAUSED)
    if process.paused:
        return replace(run, state=RunState.PAUSED, steered=True, eta_s=None)
    if not begun or run.step == 0:
        note = last_line(run.folder, process.output_from)
        return replace(run, state=RunState.PREPARING, steered=True, eta_s=None, note=note)
    return replace(run, state=RunState.RUNNING)
