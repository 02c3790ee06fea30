"""What stands beside the latent spaces: colours, the prior's draws, sliders along the components."""

from __future__ import annotations

import time

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from lipflow.latent_space import LatentSpace, Projection
from lipflow_studio.latent_engine import COMPONENTS, Places
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.frame_places import FramePlaces
from lipflow_studio.parts.latent import MOST_DRAWS, Latent, LatentOptions
from lipflow_studio.session import Session
from lipflow_studio.theme import Theme, current
from lipflow_studio.views.latent_scene import colour_of
from lipflow_studio.widgets.make import button, dressed, label

FRAMES = 15  # inputs of the paper's picture of both spaces
SIGMAS = 3.0  # standard deviations to either end of a slider
STEPS = 100  # of a slider for each of them
LEAST = 1e-5  # of the first component's standard deviation: a smaller one is what rounding leaves of none
OWN_S = 0.4  # so long after a slider was moved, only the hand moves it
SPACE_NAMES = {"q": "Q  ·  decoder's", "p": "P  ·  prior's"}


def page(spacing: int = 5) -> tuple[QWidget, QVBoxLayout]:
    made = dressed(QWidget(), "panel")
    column = QVBoxLayout(made)
    column.setContentsMargins(10, 8, 10, 6)
    column.setSpacing(spacing)
    return made, column


def form(column: QVBoxLayout) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(5)
    grid.setColumnStretch(1, 1)
    column.addLayout(grid)
    return grid


def add_row(grid: QGridLayout, name: str, widget: QWidget) -> None:
    row = grid.rowCount()
    text = label(name, "muted", widget.toolTip())
    text.setBuddy(widget)
    grid.addWidget(text, row, 0)
    grid.addWidget(widget, row, 1)


def hint() -> QLabel:
    made = label("", "hint")
    made.setWordWrap(True)
    return made


class ColourControls(QWidget):
    """Which dots are in which colour."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._latent = latent = session.part(Latent)
        self._places, self._captures = session.part(FramePlaces), session.part(Captures)
        self._look: Theme | None = None  # whose colours the segments' swatches have
        made, column = page()
        grid = form(column)
        self.colour = dressed(QComboBox(), "", "What the training frames are coloured by")
        self.colour.addItem("Segment", "segment")
        self.colour.addItem("Input", "input")
        self.colour.activated.connect(lambda: latent.set_options(colour=self.colour.currentData()))
        add_row(grid, "Colour by", self.colour)
        self.segment = dressed(QComboBox(), "", "The expression whose frames are in colour")
        self.segment.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.segment.setMaxVisibleItems(24)
        self.segment.activated.connect(lambda: latent.set_options(segment=self.segment.currentData()))
        add_row(grid, "Segment", self.segment)
        self.capture = QCheckBox("Frames of the open capture")
        self.capture.toggled.connect(lambda on: latent.set_options(capture=on))
        column.addWidget(self.capture)
        self.hint = hint()
        column.addWidget(self.hint)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(made)
        latent.options_changed.connect(self.show_options)
        latent.space_changed.connect(lambda _: self.show_space())
        self._places.changed.connect(lambda _: self.show_space())
        self._places.problem_changed.connect(lambda _: self.show_space())
        self._captures.info_changed.connect(lambda _: self.show_options(latent.options))
        self.show_space()

    def show_space(self) -> None:
        """List the segments with their colours, and say what the dots are."""
        look, names = current(), self._places.segments
        if [self.segment.itemData(i) for i in range(1, self.segment.count())] != names or self._look is not look:
            self._look = look
            self.segment.clear()
            self.segment.addItem("All", "")
            for kind, name in enumerate(names):
                self.segment.addItem(_swatch(colour_of(kind, look)), name, name)
        self.hint.setText(self._words())
        self.show_options(self._latent.options)

    def _words(self) -> str:
        state, codes = self._latent.state, self._places.codes
        if state is None:
            return ""
        own = (
            f"{len(state.stored.z)} training frames of {len(set(state.space.cloud.labels))} segments. "
            "Point at a dot to see its face, click to load it."
            if state.carried
            else "This avatar's file carries no codes of training frames: the dots are draws of its prior."
        )
        if self._places.problem:
            return f"{own}\n{self._places.problem}"
        if codes is None:
            return own
        lost = f", {codes.lost} unreadable" if codes.lost else ""
        read = len(codes.ids) + codes.lost
        count = f"{read} of {codes.wanted}" if read < codes.wanted else f"{len(codes.ids)}"
        return f"{own}\nRimmed: {count} frames of the open capture's {codes.total:,}, as Q encodes them{lost}."

    def show_options(self, options: LatentOptions) -> None:
        self.colour.setCurrentIndex(self.colour.findData(options.colour))
        self.segment.setCurrentIndex(max(self.segment.findData(options.segment), 0))
        self.segment.setEnabled(options.colour == "segment" and self.segment.count() > 1)
        opened = self._captures.opened is not None
        with QSignalBlocker(self.capture):
            self.capture.setChecked(options.capture)
        self.capture.setEnabled(opened or options.capture)
        self.capture.setToolTip(
            "Place the frames of the open capture among the training frames, as Q encodes them"
            if opened
            else "Open a capture to place its frames among the training frames"
        )


class PriorControls(QWidget):
    """Draws from the prior: for what input, how many, how wide."""

    def __init__(self, latent: Latent) -> None:
        super().__init__()
        self._latent = latent
        made, column = page()
        grid = form(column)
        self.inputs = dressed(QComboBox(), "", "For which inputs the prior's codes are drawn")
        self.inputs.addItem("The present input", 0)
        self.inputs.addItem(f"{FRAMES} training frames", FRAMES)
        self.inputs.activated.connect(lambda: latent.set_options(frames=self.inputs.currentData()))
        add_row(grid, "Input", self.inputs)
        self.temperature = dressed(
            QDoubleSpinBox(), "", "Factor on the prior's spread: 1 is the prior itself, 0 its most probable code"
        )
        self.temperature.setRange(0.0, 3.0)
        self.temperature.setSingleStep(0.05)
        self.temperature.setKeyboardTracking(False)  # the answer to each key would take the place of what is typed
        self.temperature.valueChanged.connect(lambda x: latent.set_options(temperature=round(x, 2)))
        add_row(grid, "Temperature", self.temperature)
        self.draws = dressed(QSpinBox(), "", "Codes drawn for each input")
        self.draws.setRange(1, MOST_DRAWS)
        self.draws.setKeyboardTracking(False)
        self.draws.valueChanged.connect(lambda n: latent.set_options(draws=n))
        self.follow = QCheckBox("Follow")
        self.follow.setToolTip("Draw again whenever the present input changes")
        self.follow.toggled.connect(lambda on: latent.set_options(follow=on))
        both = QWidget()
        row = QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.draws, 1)
        row.addWidget(self.follow)
        both.setToolTip(self.draws.toolTip())
        add_row(grid, "Draws", both)
        buttons = QHBoxLayout()
        self.draw_button = button("restart", "Draw", "Draw other codes (Shift+D)", latent.draw)
        self.sample_button = button(
            "dice", "Sample the prior", "Put the face of one draw on (Shift+N)", latent.sample, "primary"
        )
        buttons.addWidget(self.draw_button)
        buttons.addWidget(self.sample_button, 1)
        column.addLayout(buttons)
        self.hint = hint()
        column.addWidget(self.hint)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(made)
        latent.options_changed.connect(self.show_options)
        latent.signal_changed.connect(lambda _: self.show_options(latent.options))
        self.show_options(latent.options)

    def show_options(self, options: LatentOptions) -> None:
        if self.inputs.findData(options.frames) < 0:  # a script asked for another number
            self.inputs.addItem(f"{options.frames} training frames", options.frames)
        self.inputs.setCurrentIndex(self.inputs.findData(options.frames))
        with QSignalBlocker(self.temperature):
            self.temperature.setValue(options.temperature)
        with QSignalBlocker(self.draws):
            self.draws.setValue(options.draws)
        with QSignalBlocker(self.follow):
            self.follow.setChecked(options.follow)
        self.follow.setEnabled(options.frames == 0)
        words = "" if self._latent.state is None else self._latent.state.signal
        under = "each frame's own input" if options.frames else words
        self.hint.setText(f"P under {under}" if words else "")


class ComponentControls(QWidget):
    """A slider for each component of a space. They show the present face, and move it."""

    def __init__(self, latent: Latent) -> None:
        super().__init__()
        self._latent = latent
        self._moved = [0.0] * COMPONENTS  # when each slider was moved by hand
        made, column = page(3)
        grid = form(column)
        grid.setVerticalSpacing(2)
        self.space = dressed(QComboBox(), "", "Whose components: those of the decoder's space Q or the prior's space P")
        for space, name in SPACE_NAMES.items():
            self.space.addItem(name, space)
        self.space.activated.connect(lambda: latent.set_options(space=self.space.currentData()))
        add_row(grid, "Along", self.space)
        self.sliders: list[QSlider] = []
        self.values: list[QLabel] = []
        self._names: list[QLabel] = []
        for axis in range(COMPONENTS):
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(round(-SIGMAS * STEPS), round(SIGMAS * STEPS))
            slider.setSingleStep(STEPS // 20)
            slider.setPageStep(STEPS // 2)
            slider.valueChanged.connect(lambda value, a=axis: self._move(a, value / STEPS))
            value = label("–", "value")
            value.setMinimumWidth(58)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            title = label(f"PC {axis + 1}", "muted")
            title.setBuddy(slider)
            row = grid.rowCount()
            grid.addWidget(title, row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(value, row, 2)
            self.sliders.append(slider)
            self.values.append(value)
            self._names.append(title)
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(made)
        latent.options_changed.connect(lambda _: self._show())
        latent.space_changed.connect(lambda _: self._show())
        latent.place_changed.connect(lambda _: self._show())
        self._show()

    def _projection(self) -> Projection | None:
        state = self._latent.state
        space: LatentSpace | None = None if state is None else state.space
        return None if space is None else getattr(space, self._latent.options.space)

    def _show(self) -> None:
        projection, state = self._projection(), self._latent.state
        place: Places | None = None if state is None else state.place
        self.space.setCurrentIndex(self.space.findData(self._latent.options.space))
        at = None if place is None else getattr(place, self._latent.options.space)[0]
        count = 0 if projection is None or at is None else len(projection.spread)
        now = time.monotonic()
        for axis, slider in enumerate(self.sliders):
            spread = 0.0 if projection is None or axis >= count else float(projection.spread[axis])
            slider.setEnabled(projection is not None and spread > LEAST * float(projection.spread[0]))
            if not slider.isEnabled() or projection is None or at is None:
                self.values[axis].setText("–")
                continue
            share = f"{100 * projection.share[axis]:.0f} % of the variance"
            tip = f"Component {axis + 1}: {share}; in standard deviations σ of the training frames' codes"
            for widget in (slider, self._names[axis], self.values[axis]):
                widget.setToolTip(tip)
            sigmas = float(at[axis]) / spread
            self.values[axis].setText(f"{sigmas:+z.2f} σ")
            if not slider.isSliderDown() and now - self._moved[axis] > OWN_S:
                with QSignalBlocker(slider):
                    slider.setValue(round(np.clip(sigmas, -SIGMAS, SIGMAS) * STEPS))

    def _move(self, axis: int, sigmas: float) -> None:
        projection = self._projection()
        if projection is not None:
            self._moved[axis] = time.monotonic()
            self.values[axis].setText(f"{sigmas:+z.2f} σ")
            self._latent.move(axis, float(sigmas * projection.spread[axis]))


def _swatch(colour: QColor) -> QIcon:
    pixmap = QPixmap(11, 11)
    pixmap.fill(colour)
    return QIcon(pixmap)
