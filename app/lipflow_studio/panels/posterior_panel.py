"""The posterior as faces: what the observation leaves open, and which keypoint would tell most."""

from __future__ import annotations

import math

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidgetItem, QProgressBar, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from lipflow_studio.icons import icon
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.posterior import MOST_SAMPLES, MOST_SHOWN, Posterior, PosteriorOptions
from lipflow_studio.posterior_engine import PosteriorUpdate, Sample
from lipflow_studio.session import Session
from lipflow_studio.time_left import time_left
from lipflow_studio.widgets.face_strip import FaceStrip
from lipflow_studio.widgets.make import button, dressed, label
from lipflow_studio.widgets.scrolling import scrolling
from lipflow_studio.widgets.strip import Name

FACE, LARGEST = QSize(66, 88), 176  # pixels; half as high as portraits are
BESIDE = 360  # pixels of the window's height for the head, tabs, menu and status bar
LEAST_WIDTH = 420  # pixels
STAGES = {"reference": "Curvature", "warm-up": "Warm-up", "sampling": "Sampling"}
START, STOP = "Find codes that fit as well as this one (Shift+U)", "Take what was found so far (Shift+U)"
STRIP = (
    "How far each face is from the mean of all (root mean square of its vertices), the most usual first. "
    "Return or double click: load this face"
)
WHOLE = 1000  # the progress bar's end
EMPTY = "Fit a face (pin a keypoint, or open headset images), then sample: the faces that fit as well stand here."


class PosteriorPanel(QWidget):
    """A strip of faces under a row of what runs it and what it says."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._session, self._posterior = session, session.part(Posterior)
        self._faces: tuple[Sample, ...] = ()  # in the strip
        column = scrolling(self, BESIDE, LEAST_WIDTH)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        column.addLayout(self._tools())
        self.strip = FaceStrip(session.part(Faces), "posterior", FACE, STRIP, LARGEST)
        self.strip.setMinimumHeight(FACE.height() + 40)
        self.strip.itemActivated.connect(self._load)
        self.empty = label(EMPTY, "hint")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        inside = QVBoxLayout(self.strip)
        inside.addWidget(self.empty)
        column.addWidget(self.strip, 1)
        column.addLayout(self._advice())
        posterior = self._posterior
        posterior.options_changed.connect(self._show_options)
        posterior.update_changed.connect(self._show_update)
        posterior.running_changed.connect(self._show_running)
        posterior.stale_changed.connect(lambda _: self._show_update(posterior.update))
        session.keypoints_changed.connect(lambda _: self._show_suggestion())
        session.source_changed.connect(lambda _: self._show_suggestion())
        self._show_options(posterior.options)
        self._show_running(posterior.running)
        self._show_update(posterior.update)

    def _tools(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.run_button = button("play", "Sample the posterior", START, self.toggle, "primary")
        self.samples = dressed(QSpinBox(), "", "Codes to take; at its least, as many as suit the observation")
        self.samples.setRange(0, MOST_SAMPLES)
        self.samples.setSingleStep(32)
        self.samples.setSpecialValueText("codes: auto")
        self.samples.setSuffix(" codes")
        self.samples.setKeyboardTracking(False)
        self.samples.valueChanged.connect(lambda n: self._posterior.set_options(samples=n))
        self.shown = dressed(QSpinBox(), "", "Faces in the strip")
        self.shown.setRange(1, MOST_SHOWN)
        self.shown.setSuffix(" faces")
        self.shown.setKeyboardTracking(False)
        self.shown.valueChanged.connect(lambda n: self._posterior.set_options(shown=n))
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setMinimumWidth(40)
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)  # it takes what is left: words come first
        self.bar.setSizePolicy(policy)
        self.state = dressed(Name(), "muted", "Effective: how many independent codes the taken ones are worth")
        for widget, width in ((self.run_button, 176), (self.samples, 112), (self.shown, 92)):
            widget.setFixedWidth(width)
            row.addWidget(widget)
        row.addWidget(self.bar, 1)
        row.addWidget(self.state)
        return row

    def _advice(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        tip = "The landmark that differs most between the faces: pinning it would tell most of the rest"
        self.suggestion = dressed(Name(), "", tip)
        self.select_button = button(
            "pin", "Select it", "Select this keypoint, to be dragged or pinned", self._posterior.select_suggested
        )
        self.spread = dressed(Name(), "muted", "Standard deviation of the vertices over all codes, mm")
        row.addWidget(self.suggestion)
        row.addWidget(self.select_button)
        row.addStretch(1)
        row.addWidget(self.spread)
        return row

    def toggle(self) -> None:
        """Stop a sampling that runs; start one otherwise."""
        if self._posterior.running:
            self._posterior.stop()
        else:
            self._posterior.sample()

    # What the document says

    def _show_options(self, options: PosteriorOptions) -> None:
        for box, value in ((self.samples, options.samples), (self.shown, options.shown)):
            with QSignalBlocker(box):
                box.setValue(value)

    def _show_running(self, on: bool) -> None:
        self.run_button.setText("Stop" if on else "Sample the posterior")
        self.run_button.setToolTip(STOP if on else START)
        self.run_button.setIcon(icon("stop" if on else "play"))
        self.bar.setVisible(on)
        self._show_update(self._posterior.update)

    def _show_update(self, update: PosteriorUpdate | None) -> None:
        samples = () if update is None else update.samples
        self.empty.setVisible(not samples)
        self.empty.setText("Sampling…" if self._posterior.running else EMPTY)
        if samples is not self._faces:
            self._faces = samples
            self.strip.show_codes([sample.z for sample in samples], [f"{sample.away:.2f} mm" for sample in samples])
        self._show_progress(update)
        self._show_suggestion()

    def _show_progress(self, update: PosteriorUpdate | None) -> None:
        if update is None:
            self.bar.setRange(0, 0)
            self.state.setText("")
            self.spread.setText("")
            return
        self.bar.setRange(0, WHOLE)
        self.bar.setValue(round(WHOLE * update.share))
        words = f"{STAGES[update.stage]} {update.done} of {update.total}"
        if update.count:
            effective = "" if math.isnan(update.effective) else f"  ·  {update.effective:.0f} effective"
            words = f"{update.count} codes{effective}"
        elif not self._posterior.running:
            words = "Stopped before the first code"
        if self._posterior.running and update.left_s is not None:
            words = f"{words}  ·  {time_left(update.left_s)}"
        self.state.setText("of an earlier face" if self._posterior.stale else words)
        deviation = update.vertex_std
        self.spread.setText(
            "" if deviation is None else f"± {deviation.mean():.2f} mm on average, {deviation.max():.1f} mm at most"
        )

    def _show_suggestion(self) -> None:
        index, info, update = self._posterior.suggested, self._session.avatar_info, self._posterior.update
        there = index is not None and info is not None and not self._posterior.stale
        self.select_button.setVisible(there)
        if not there or index is None or info is None or update is None or update.landmark_std is None:
            self.suggestion.setText("")
            return
        self.suggestion.setText(
            f"Most uncertain keypoint: {info.landmarks.names[index]}, ± {update.landmark_std[index]:.1f} mm"
        )

    def _load(self, item: QListWidgetItem) -> None:
        number = self.strip.row(item)
        self._session.show_code(self._faces[number].z.tolist(), f"load of posterior face {number + 1}")
