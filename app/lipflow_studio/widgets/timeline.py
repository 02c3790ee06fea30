"""Frames in time: a slider with buttons to step and play."""

from __future__ import annotations

import itertools

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QSlider, QStyle, QStyleOptionSlider, QWidget

from lipflow_studio.icons import icon
from lipflow_studio.widgets.make import label, tool

PLAY = "Play {}: each frame is fitted from the face before it"
PAUSE = "Stop at this frame"
LEAST_SLIDER = 70  # pixels


class Seeker(QSlider):
    """A click goes where it is, not by a page towards it: ten frames are often all that there are."""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        handle = self.style().subControlRect(control, option, part, self)
        if event.button() is Qt.MouseButton.LeftButton and not handle.contains(event.position().toPoint()):
            along, room = round(event.position().x()) - handle.width() // 2, self.width() - handle.width()
            self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), along, room))
        super().mousePressEvent(event)


class Timeline(QWidget):
    """Knows places only; whoever has the frames listens and says which one is shown."""

    stepped = Signal(int)  # by so many frames
    play_toggled = Signal(bool)
    sought = Signal(int, object)  # a place, and the gesture that it is part of
    loop_toggled = Signal(bool)

    def __init__(self, what: str, *, live: bool = False, loops: bool = False, parent: QWidget | None = None) -> None:
        """
        Args:
            what: whose frames they are, for tips: "the segment".
            live: whether places are sought while the slider is dragged, not only where it is let go.
            loops: whether there is a button to begin anew after the end.
        """
        super().__init__(parent)
        self._what = what
        self._live = live
        self._playing = False
        self._place: int | None = None  # that is shown
        self._timed = True  # whether there is room for the time
        self._drags = itertools.count()
        self._drag = 0
        self.back_button = tool("back", "The frame before", lambda: self.stepped.emit(-1))
        self.play_button = tool("play", "", lambda: self.play_toggled.emit(not self._playing))
        self.next_button = tool("step", "The next frame", lambda: self.stepped.emit(1))
        self.slider = Seeker(Qt.Orientation.Horizontal)
        self.slider.setToolTip(f"Frames of {what}" + ("" if live else "; each is loaded where you let go"))
        self.slider.setAccessibleName(f"Frames of {what}")
        self.slider.setTracking(live)
        self.slider.setMinimumWidth(LEAST_SLIDER)
        self.slider.sliderPressed.connect(self._begin_drag)
        self.slider.valueChanged.connect(self._seek)
        self.place = label("–", "value", f"Frame of {what}")
        self.time = label("", "muted", "Seconds from the first frame")
        self.loop_button = tool("loop", "Begin anew after the last frame")
        self.loop_button.setCheckable(True)
        self.loop_button.clicked.connect(self.loop_toggled)
        self.loop_button.setVisible(loops)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        for made in (self.back_button, self.play_button, self.next_button, self.loop_button):
            made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            row.addWidget(made)
        row.addWidget(self.slider, 1)
        row.addSpacing(5)
        row.addWidget(self.place)
        row.addSpacing(5)
        row.addWidget(self.time)
        self.show_playing(False)
        self.show_place(None, 0)

    def show_place(self, place: int | None, length: int, fps: float | None = None) -> None:
        """Which of so many frames is shown. A slider that is being dragged stays under the pointer."""
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(0, length - 1))
            if place is not None and not self.slider.isSliderDown():
                self.slider.setValue(place)
        self.place.setText("–" if place is None else f"{place + 1:>{len(str(length))}}/{length}")
        self.time.setText("" if place is None or not fps else clock(place / fps))
        self.show_time(self._timed)
        self._place = place
        self._enable()

    def show_time(self, on: bool) -> None:
        """Whether the time is told, where it is known."""
        self._timed = on
        self.time.setVisible(on and bool(self.time.text()))

    def show_playing(self, playing: bool) -> None:
        self._playing = playing
        tip = PAUSE if playing else PLAY.format(self._what)
        self.play_button.setIcon(icon("pause" if playing else "play"))
        self.play_button.setToolTip(tip)
        self.play_button.setAccessibleName(tip)

    def show_loop(self, on: bool) -> None:
        self.loop_button.setChecked(on)
        self._enable()

    def _enable(self) -> None:
        """Steps that lead nowhere are off; in a loop each leads somewhere, as long as there are two frames."""
        last, loop = self.slider.maximum(), self.loop_button.isChecked()
        at = self._place if last else None
        self.slider.setEnabled(at is not None)
        for made, end in ((self.back_button, 0), (self.next_button, last)):
            on = at is not None and (loop or at != end)
            if made.hasFocus() and not on:
                self.slider.setFocus()  # Qt would choose the button beside it, for the next press of Space
            made.setEnabled(on)

    def _begin_drag(self) -> None:
        self._drag = next(self._drags)

    def _seek(self, place: int) -> None:
        """A drag is one gesture; each press of a key is one of its own."""
        self.sought.emit(place, ("timeline", id(self), self._drag) if self.slider.isSliderDown() else None)


def clock(seconds: float) -> str:
    """Minutes, seconds and hundredths."""
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
