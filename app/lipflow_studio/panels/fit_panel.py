"""The fit: run it, change how it runs, and read what it reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QWidget,
)

from lipflow.fitting import FitConfig
from lipflow_studio.capture_work import Figures
from lipflow_studio.document import FitUpdate, Source, Status
from lipflow_studio.icons import icon
from lipflow_studio.observing import driver, has_prior, prior_in_words
from lipflow_studio.parts.capture import Captures
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import button, dressed, label, rule
from lipflow_studio.widgets.scrolling import scrolling

BESIDE = 290  # pixels of the window's height for the curves, tabs, menu and status bar
SLIDER_STEPS = 100
# The avatar's own prior, by what drives it.
OWN = {Source.KEYPOINTS: "Avatar's  ·  keypoints", Source.HEADSET: "Avatar's  ·  headset", None: "Avatar's"}
PRIOR_WEIGHTS = (-3.0, 2.0)  # decades of λ on the slider; its left end is 0
HOLDS = (-4.0, 0.0)  # decades of the unpinned landmarks' weight

# field of FitConfig, label, tooltip, (value, text)…
CHOICES: Sequence[tuple[str, str, str, Sequence[tuple[str, str]]]] = (
    ("optimiser", "Optimiser", "Levenberg–Marquardt suits keypoints, L-BFGS images; Adam takes more iterations",
     (("lm", "Levenberg–Marquardt"), ("lbfgs", "L-BFGS"), ("adam", "Adam"))),
    ("space", "Space", "Where the most probable code is sought: the decoder's space z, or the prior's u",
     (("z", "z  ·  decoder's"), ("u", "u  ·  prior's"))),
    ("start", "Start", "Where Restart begins",
     (("prior", "Prior's guess"), ("zero", "Zero"), ("sample", "Sample of the prior"))),
    ("prior", "Prior", "The avatar's own, where something drives it, or N(0, I) in its place",
     (("avatar", "Avatar's"), ("standard-normal", "N(0, I)"))),
    ("edges", "Edges", "Of the renders that images are compared with: smooth ones tell the fit where to move",
     (("smooth", "Smooth"), ("hard", "Hard, one sample a pixel"))),
)  # fmt: skip
READINGS = (
    ("iteration", "Iteration", "Since the fit began"),
    ("rate", "Iterations/s", "Over the last ten, of time spent computing"),
    ("step", "Step, ms", "Duration of the last iteration"),
    ("energy", "Energy", "What is minimised: data energy − λ · log p, of z or of u as Space says"),
    ("data", "Data energy", "½ Σ (residual / σ)²"),
    ("likelihood", "log p(z)", "Log-likelihood of the code under the prior, in nats"),
)
# Against the frame that is fitted, where it is a capture's.
TRUTHS = (
    ("psnr", "PSNR, dB", "The render against the frame's photo, inside its mask, in display gamma"),
    ("mesh", "Mesh error, mm", "Mean distance of the vertices from the frame's tracked mesh"),
)


class FitPanel(QWidget):
    """Buttons, configuration, readings; each bound to one field of the Session in both directions."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._session = session
        self._tips: dict[QWidget, str] = {}  # of the fields; those that are off say why, too
        layout = scrolling(self, BESIDE)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(8)
        layout.addLayout(self._buttons())
        layout.addLayout(self._form())
        layout.addWidget(rule())
        layout.addLayout(self._readings())
        layout.addStretch(1)
        session.status_changed.connect(self._show_status)
        session.fit_config_changed.connect(self._show_config)
        session.source_changed.connect(self._show_source)
        session.headset_changed.connect(lambda _: self._show_source(session.source))
        session.frontal_changed.connect(lambda _: self._show_source(session.source))
        session.keypoints_changed.connect(lambda _: self._show_driver())
        session.hold_changed.connect(self._show_hold)
        session.fit_changed.connect(self._show_fit)
        session.part(Captures).figures_changed.connect(self._show_figures)
        session.avatar_changed.connect(lambda _: self._show_avatar())
        self._show_status(session.status)
        self._show_source(session.source)
        self._show_config(session.fit_config)
        self._show_hold(session.hold)
        self._show_fit(session.fit)
        self._show_figures(session.part(Captures).figures)

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        session = self._session
        self.run_button = button("play", "Run", "Run or pause the fit (Space)", self.toggle, "primary")
        self.step_button = button("step", "Step", "One iteration, then pause (.)", session.step_fit)
        self.reset_button = button("restart", "Restart", "Start again where Start says (Ctrl+R)", session.reset_fit)
        row.addWidget(self.run_button, 1)
        row.addWidget(self.step_button, 1)
        row.addWidget(self.reset_button, 1)
        return row

    def _form(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(5)
        grid.setColumnStretch(1, 1)
        self.source = dressed(QComboBox(), "source", "What the fit is driven by")
        for source in Source:
            self.source.addItem(source.value, source.name)
        self.source.activated.connect(lambda: self._session.set_source(self.source.currentData()))
        self._row(grid, "Fit to", self.source)
        self.choices: dict[str, QComboBox] = {}
        for name, title, tip, options in CHOICES:
            box = dressed(QComboBox(), name, tip)
            for value, text in options:
                box.addItem(text, value)
            box.activated.connect(lambda _, n=name, b=box: self._session.set_fit_config(**{n: b.currentData()}))
            self.choices[name] = box
            self._row(grid, title, box)
        self.iterations = dressed(QSpinBox(), "iterations", "At most so many iterations")
        self.iterations.setRange(1, 5000)
        self.iterations.setKeyboardTracking(False)
        self.iterations.valueChanged.connect(lambda n: self._session.set_fit_config(iterations=n))
        self._row(grid, "Iterations", self.iterations)
        self.learning_rate = dressed(QDoubleSpinBox(), "learning_rate", "Adam's step, in units of the code")
        self.learning_rate.setDecimals(4)
        self.learning_rate.setRange(0.0001, 2.0)
        self.learning_rate.setSingleStep(0.01)
        self.learning_rate.setKeyboardTracking(False)
        self.learning_rate.valueChanged.connect(lambda x: self._session.set_fit_config(learning_rate=x))
        self._row(grid, "Learning rate", self.learning_rate)
        self.prior_weight = LogSlider(PRIOR_WEIGHTS, "λ, the weight of the prior's −log p(z); 0 leaves the data alone")
        self.prior_weight.slider.valueChanged.connect(
            lambda _: self._session.set_fit_config(prior_weight=self.prior_weight.value)
        )
        self._row(grid, "Prior weight λ", self.prior_weight)
        self.hold = LogSlider(HOLDS, "How strongly keypoints that are not pinned keep their place (a pinned one has 1)")
        self.hold.slider.valueChanged.connect(lambda _: self._session.set_hold(self.hold.value))
        self._row(grid, "Hold others", self.hold)
        self.likelihood = QCheckBox("Use the likelihood")
        self.likelihood.setToolTip("Whether −log p(z) counts at all; off, only the start knows of the prior")
        self.likelihood.toggled.connect(lambda on: self._session.set_fit_config(likelihood=on))
        grid.addWidget(self.likelihood, grid.rowCount(), 1)
        return grid

    def _row(self, grid: QGridLayout, name: str, widget: QWidget) -> None:
        row = grid.rowCount()
        self._tips[widget] = widget.toolTip()
        text = label(name, "muted", widget.toolTip())
        text.setMinimumWidth(92)
        grid.addWidget(text, row, 0)
        grid.addWidget(widget, row, 1)

    def _readings(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        self.readings: dict[str, QLabel] = {}
        self._titles: dict[str, QLabel] = {}
        for row, (name, title, tip) in enumerate((*READINGS, *TRUTHS)):
            self._titles[name] = label(title, "muted", tip)
            self.readings[name] = label("–", "value", tip)
            self.readings[name].setAlignment(Qt.AlignmentFlag.AlignRight)
            grid.addWidget(self._titles[name], row, 0)
            grid.addWidget(self.readings[name], row, 1)
        return grid

    def toggle(self) -> None:
        """Pause a running fit; run it otherwise."""
        if self._session.status is Status.RUNNING:
            self._session.pause_fit()
        else:
            self._session.start_fit()

    # What the document says

    def _show_status(self, status: Status) -> None:
        running = status is Status.RUNNING
        self.run_button.setText("Pause" if running else "Resume" if status is Status.PAUSED else "Run")
        self.run_button.setIcon(icon("pause" if running else "play"))
        for made in (self.run_button, self.step_button, self.reset_button):
            made.setEnabled(self._session.avatar_info is not None)

    def _show_source(self, source: Source) -> None:
        self.source.setCurrentIndex(self.source.findData(source.name))
        model: Any = self.source.model()
        for each in Source:
            model.item(self.source.findData(each.name)).setEnabled(self._session.document.offers(each))
        self._offer("optimiser", "lm", source is Source.KEYPOINTS)
        self._show_driver()
        self._use(self.choices["edges"], source is not Source.KEYPOINTS, "Keypoints are fitted to without a render")
        self._use(self.hold, source is Source.KEYPOINTS, "There are no keypoints where images are fitted to")

    def _show_driver(self) -> None:
        """What conditions the prior: beside a photograph, what else is open."""
        document, box = self._session.document, self.choices["prior"]
        self._offer("prior", "avatar", has_prior(document))
        box.setItemText(box.findData("avatar"), OWN[driver(document)])
        box.setToolTip(f"{self._tips[box]}\n{prior_in_words(document)}".strip())

    def _use(self, field: QWidget, on: bool, otherwise: str) -> None:
        """Whether a field has an effect on the fit; where it has none, its tip says why ``otherwise``."""
        field.setEnabled(on)
        field.setToolTip(self._tips[field] if on else f"{self._tips[field]}\n{otherwise}")

    def _offer(self, name: str, value: str, on: bool) -> None:
        """Whether one of a field's values can be chosen."""
        model: Any = self.choices[name].model()
        model.item(self.choices[name].findData(value)).setEnabled(on)

    def _show_avatar(self) -> None:
        self._show_status(self._session.status)
        self._show_source(self._session.source)

    def _show_config(self, config: FitConfig | None) -> None:
        self._show_driver()
        if config is None:
            return
        for name, box in self.choices.items():
            box.setCurrentIndex(box.findData(getattr(config, name)))
        with QSignalBlocker(self.iterations):
            self.iterations.setValue(config.iterations)
        with QSignalBlocker(self.learning_rate):
            self.learning_rate.setValue(config.learning_rate)
        with QSignalBlocker(self.likelihood):
            self.likelihood.setChecked(config.likelihood)
        self.prior_weight.show_value(config.prior_weight)
        self._use(self.prior_weight, config.likelihood, "The likelihood is not used")
        self._use(self.learning_rate, config.optimiser == "adam", "Only Adam has a step to choose")

    def _show_hold(self, hold: float) -> None:
        self.hold.show_value(hold)

    def _show_figures(self, figures: Figures | None) -> None:
        """What there is no truth for takes no room."""
        values = (None, None) if figures is None else (figures.psnr_db, figures.mesh_mm)
        for (name, _, _), value in zip(TRUTHS, values):
            self.readings[name].setText("–" if value is None else f"{value:.2f}")
            for shown in (self._titles[name], self.readings[name]):
                shown.setVisible(value is not None)

    def _show_fit(self, update: FitUpdate | None) -> None:
        if update is None:
            for name, _, _ in READINGS:
                self.readings[name].setText("–")
            return
        texts = {
            "iteration": f"{update.iteration}" + ("  converged" if update.converged else ""),
            "rate": f"{update.iterations_per_s:.1f}",
            "step": f"{update.step_ms:.1f}",
            "energy": _number(update.energy),
            "data": _number(update.data_energy),
            "likelihood": _number(update.log_likelihood),
        }
        for name, text in texts.items():
            self.readings[name].setText(text)


class LogSlider(QWidget):
    """A slider over decades, with its value beside it; the left end is 0."""

    def __init__(self, decades: tuple[float, float], tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._decades = decades
        self.value = 0.0
        self.setToolTip(tip)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, SLIDER_STEPS)
        self._text = label("0", "value")
        self._text.setFixedWidth(52)
        self._text.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.slider, 1)
        row.addWidget(self._text)
        self.slider.valueChanged.connect(self._moved)

    def show_value(self, value: float) -> None:
        """Show a value of the document; nothing is sent back."""
        low, high = self._decades
        position = 0.0 if value <= 0 else 1 + (math.log10(value) - low) / (high - low) * (SLIDER_STEPS - 1)
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(position))
        self.value = value
        self._text.setText(f"{value:.3g}")

    def _moved(self, position: int) -> None:
        low, high = self._decades
        exponent = low + (position - 1) / (SLIDER_STEPS - 1) * (high - low)
        self.value = 0.0 if position == 0 else float(f"{10**exponent:.3g}")
        self._text.setText(f"{self.value:.3g}")


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) < 1e6 else f"{value:.3e}"
