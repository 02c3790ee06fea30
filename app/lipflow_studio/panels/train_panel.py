"""Training: what to train, and the runs that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from lipflow.checks import InputError
from lipflow.runs import LOGS
from lipflow.variants import PRESETS, VARIANTS, Preset
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.training import Run, TrainForm, Training
from lipflow_studio.run_watch import RunState
from lipflow_studio.session import Session
from lipflow_studio.views.run_row import RunRow
from lipflow_studio.widgets.make import button, dressed, label, rule, tool
from lipflow_studio.widgets.scrolling import scrolling

BESIDE = 290  # pixels of the window's height for the curves, tabs, menu and status bar
LEAST_RUNS = QSize(120, 76)  # pixels
# What each row of the variants' table is, by its name without the driving signal.
HELP = {
    "dam": "Deep appearance model: N(0, I) is its only prior",
    "dam-enc": "An encoder of the driving signal takes the place of Q",
    "dam-reg": "Regresses the code of a frozen DAM; needs its avatar",
    "lip-kl": "A Gaussian prior, learned by KL divergence with Q",
    "lip-flow": "A conditional flow ties Q to the prior: the paper's method",
    "lip-flow-no-cycle": "Ablation: decodes Q's sample itself, without the way through P",
    "lip-flow-decode-p": "Ablation: the decoder also sees the prior's samples",
    "lip-flow-standard-normal": "Ablation: the flow leads to N(0, I), not to a learned P",
    "lip-flow-jittered": "Adds noise in P, so that the cycle carries a signal",
    "lip-flow-mc-kl": "Adds Q's entropy, and learns σq, up to 1",
    "lip-flow-literal": "Learns σq within bounds instead of σq = 1",
}
# State of a run -> the buttons that do something.
STOPPABLE = frozenset({RunState.RUNNING, RunState.PAUSED, RunState.PREPARING, RunState.QUEUED})
RESUMABLE = frozenset({RunState.PAUSED, RunState.STOPPED, RunState.FAILED})
USABLE = frozenset({RunState.RUNNING, RunState.PAUSED, RunState.STOPPED, RunState.FINISHED})


def help_of(variant: str) -> str:
    """One line about a variant."""
    driving = VARIANTS[variant].driving
    return HELP[variant if driving is None else variant.replace(f"-{driving}", "", 1)]


def describe_preset(preset: Preset) -> str:
    """Its sizes in a line."""
    texture, (height, width) = preset.avatar.texture, preset.photo
    rows, columns = preset.avatar.driver.size
    return f"texture {texture}², photos {width}×{height}, headset {columns}×{rows}, {preset.steps:,} steps"


class TrainPanel(QWidget):
    """The form above, the runs below; each field bound to the part in both directions."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._session, self._training = session, session.part(Training)
        layout = scrolling(self, BESIDE)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addLayout(self._form())
        layout.addWidget(rule())
        layout.addWidget(self._list(), 1)
        layout.addLayout(self._buttons())
        training = self._training
        training.form_changed.connect(self._show_form)
        session.part(Captures).info_changed.connect(lambda _: self._show_form(training.form))
        training.runs_changed.connect(self._show_runs)
        training.chosen_changed.connect(self._show_chosen)
        training.logs_asked.connect(self._open_logs)
        self._show_form(training.form)
        self._show_runs(training.runs)

    def showEvent(self, event: QShowEvent) -> None:
        self._training.watch()
        super().showEvent(event)

    # The form

    def _form(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        put = self._training.set_form
        self.capture = self._folder_row(
            grid, "Capture", "capture", "Folder of the capture to train on; empty: the one that is open"
        )
        self.variant = dressed(QComboBox(), "variant", "What to train: a row of the method's table")
        self.variant.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for name, row in VARIANTS.items():
            self.variant.addItem(row.title, name)
            self.variant.setItemData(self.variant.count() - 1, help_of(name), Qt.ItemDataRole.ToolTipRole)
        self.variant.activated.connect(lambda: put(variant=self.variant.currentData()))
        self._row(grid, "Variant", self.variant)
        self.help = label("", "muted")
        self.help.setWordWrap(True)
        grid.addWidget(self.help, grid.rowCount(), 0, 1, 2)
        self.base = self._folder_row(
            grid, "Base", "base", "The trained DAM that is frozen: its run's folder; empty: the run beside"
        )
        self.preset = dressed(QComboBox(), "preset")
        for name, preset in PRESETS.items():
            self.preset.addItem(name, name)
            self.preset.setItemData(self.preset.count() - 1, describe_preset(preset), Qt.ItemDataRole.ToolTipRole)
        self.preset.activated.connect(lambda: put(preset=self.preset.currentData(), steps=0))
        self._row(grid, "Preset", self.preset)
        self.steps = _number(10_000_000, "Training steps; 0 takes the preset's")
        self.steps.valueChanged.connect(lambda n: put(steps=n))
        self.seed = _number(2**31 - 1, "Of the weights, the noise and the order of the frames")
        self.seed.valueChanged.connect(lambda n: put(seed=n))
        self._row(grid, "Steps", self.steps)
        pair = QHBoxLayout()
        pair.setSpacing(8)
        self.train_button = button("play", "Train", "Train this, after what trains already", self._start, "primary")
        pair.addWidget(self.seed, 1)
        pair.addWidget(self.train_button, 1)
        grid.addLayout(pair, self._title(grid, "Seed", self.seed), 1)
        self.folder = self._folder_row(
            grid, "Runs in", "folder", "Runs go into its folders CAPTURE/VARIANT/seed-N, as those of lipflow sweep do"
        )
        return grid

    def _title(self, grid: QGridLayout, name: str, widget: QWidget) -> int:
        row = grid.rowCount()
        text = label(name, "muted", widget.toolTip())
        text.setMinimumWidth(52)
        text.setBuddy(widget)
        grid.addWidget(text, row, 0)
        return row

    def _row(self, grid: QGridLayout, name: str, widget: QWidget) -> None:
        grid.addWidget(widget, self._title(grid, name, widget), 1)

    def _folder_row(self, grid: QGridLayout, name: str, field: str, tip: str) -> FolderField:
        made = FolderField(name, tip, lambda text: self._training.set_form(**{field: text}))
        self._row(grid, name, made)
        return made

    def _start(self) -> None:
        self._training.start()

    # The runs

    def _list(self) -> QWidget:
        self.list = dressed(_Runs(), "runs", "Runs of this session and of the folder above")
        self.list.setItemDelegate(RunRow(self.list))
        self.list.currentItemChanged.connect(self._choose)
        self.empty = QLabel("No runs yet.\nChoose a capture and press Train.", self.list)
        dressed(self.empty, "muted").setAlignment(Qt.AlignmentFlag.AlignCenter)
        box = QVBoxLayout(self.list)
        box.addWidget(self.empty)
        return self.list

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        self.use_button = button("open", "Use this model", "Open the run's model as it is now", self._on("use"))
        self.pause_button = tool("pause", "Pause after the present step", self._on("pause"))
        self.resume_button = tool("play", "Resume", self._on("resume"))
        self.stop_button = tool("stop", "Save a checkpoint and stop", self._on("stop"))
        self.logs_button = tool("logs", "Show the folder of the TensorBoard log", self._on_logs)
        row.addWidget(self.use_button, 1)
        for made in (self.pause_button, self.resume_button, self.stop_button, self.logs_button):
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            row.addWidget(made)
        return row

    def _on(self, command: str) -> Callable[[], None]:
        def give() -> None:
            if self._training.chosen is not None:
                getattr(self._training, command)(str(self._training.chosen))

        return give

    def _on_logs(self) -> None:
        if self._training.chosen is not None:
            self._training.show_logs(str(self._training.chosen / LOGS))

    def _open_logs(self, folder: str) -> None:
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(folder)):
            what, mend = "folder of the TensorBoard log", f"tensorboard --logdir {folder}"
            self._session.report(InputError(what, expected="a program that shows it", got="none", mend=mend))

    def _choose(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self._training.choose(str(item.data(Qt.ItemDataRole.UserRole).folder))

    # What the part says

    def _show_form(self, form: TrainForm) -> None:
        info = self._session.part(Captures).info
        self.capture.show_text(form.capture)
        self.capture.line.setPlaceholderText("open one, or choose" if info is None else f"{info.name}, which is open")
        self.base.show_text(form.base)
        self.folder.show_text(form.folder)
        self.variant.setCurrentIndex(self.variant.findData(form.variant))
        self.preset.setCurrentIndex(self.preset.findData(form.preset))
        self.preset.setToolTip(describe_preset(PRESETS[form.preset]))
        self.help.setText(help_of(form.variant))
        self.steps.setSpecialValueText(f"the preset's {PRESETS[form.preset].steps:,}")
        for box, value in ((self.steps, form.steps), (self.seed, form.seed)):
            with QSignalBlocker(box):
                box.setValue(value)
        needs_base = VARIANTS[form.variant].starts_from is not None
        self.base.setEnabled(needs_base)
        self.base.line.setPlaceholderText("the DAM run beside" if needs_base else "only for DAM Reg.")

    def _show_runs(self, runs: tuple[Run, ...]) -> None:
        with QSignalBlocker(self.list):
            while self.list.count() > len(runs):
                self.list.takeItem(self.list.count() - 1)
            while self.list.count() < len(runs):
                self.list.addItem(QListWidgetItem())
            for row, run in enumerate(runs):
                item = self.list.item(row)
                item.setData(Qt.ItemDataRole.UserRole, run)
                item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{run.name}, {run.state.value}")
                item.setToolTip(f"{run.folder}\n{run.note}".strip())
        self.empty.setVisible(not runs)
        self._show_chosen(self._training.chosen)

    def _show_chosen(self, folder: Path | None) -> None:
        runs = self._training.runs
        at = next((row for row, run in enumerate(runs) if run.folder == folder), -1)
        with QSignalBlocker(self.list):
            self.list.setCurrentRow(at)
        state = runs[at].state if at >= 0 else None
        steered = at >= 0 and runs[at].steered
        self.pause_button.setEnabled(steered and state is RunState.RUNNING)
        self.resume_button.setEnabled(steered and state in RESUMABLE)
        self.stop_button.setEnabled(steered and state in STOPPABLE)
        self.use_button.setEnabled(state in USABLE)
        self.logs_button.setEnabled(at >= 0)

    def sizeHint(self) -> QSize:
        return QSize(300, 430)


class _Runs(QListWidget):
    """Takes what is left: Qt's hint is a list of some length, for which the whole panel would scroll."""

    def sizeHint(self) -> QSize:
        return LEAST_RUNS

    def minimumSizeHint(self) -> QSize:
        return LEAST_RUNS


class FolderField(QWidget):
    """A folder's path to type, and a button that asks for it."""

    def __init__(self, name: str, tip: str, put: Callable[[str], object]) -> None:
        super().__init__()
        self.setToolTip(tip)
        self._name, self._put = name, put
        self.line = dressed(QLineEdit(), name, tip)
        self.line.editingFinished.connect(lambda: put(self.line.text().strip()))
        self.ask_button = tool("open", f"{name}: choose a folder", self.ask)
        self.setFocusProxy(self.line)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        row.addWidget(self.line, 1)
        row.addWidget(self.ask_button)

    def show_text(self, text: str) -> None:
        if text != self.line.text():
            self.line.setText(text)
            self.line.setCursorPosition(len(text))

    def ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._name, self.line.text())
        if chosen:
            self._put(chosen)


def _number(most: int, tip: str) -> QSpinBox:
    made = dressed(QSpinBox(), "number", tip)
    made.setRange(0, most)
    made.setKeyboardTracking(False)
    made.setGroupSeparatorShown(True)
    return made
