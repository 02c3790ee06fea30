"""Keyframes as a strip of faces, and what plays the way between them."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from lipflow_studio.icons import icon
from lipflow_studio.panels.latent_controls import page
from lipflow_studio.parts.faces import Faces
from lipflow_studio.parts.keyframes import LONGEST_S, Keyframes, KeyPath
from lipflow_studio.session import Session
from lipflow_studio.widgets.face_strip import FaceStrip
from lipflow_studio.widgets.make import dressed, label, tool

FACE = QSize(48, 64)  # pixels of a portrait in the strip
SCRUB = 1000  # steps of the scrub slider


class KeyStrip(FaceStrip):
    """Return or double click: show; Delete: remove; Ctrl+arrows: earlier, later."""

    def __init__(self, keyframes: Keyframes, faces: Faces) -> None:
        super().__init__(faces, "keyframes", FACE, "Return: show this face; Delete: remove it; Ctrl+← →: move it")
        self._keyframes = keyframes
        self.setFixedHeight(FACE.height() + 40)
        self.itemActivated.connect(lambda item: keyframes.show(self.row(item)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row, last, key = self.currentRow(), self.count() - 1, Qt.Key(event.key())
        moved = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if row >= 0 and key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._keyframes.remove(row)
        elif row >= 0 and moved and key in steps and 0 <= row + steps[key] <= last:
            self.move_by(steps[key])
        else:
            super().keyPressEvent(event)

    def move_by(self, step: int) -> None:
        """Move the chosen keyframe earlier or later; it stays chosen."""
        row = self.currentRow()
        if row >= 0 and 0 <= row + step < self.count():
            self._keyframes.move(row, row + step)
            self.setCurrentRow(row + step)


class KeyframeControls(QWidget):
    """The strip, its tools, and a slider along the way."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._keyframes = keyframes = session.part(Keyframes)
        made, column = page(4)
        self.strip = KeyStrip(keyframes, session.part(Faces))
        self.empty = label("Load a face and press + (K): the first keyframe.\nTwo can be played.", "hint")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        inside = QVBoxLayout(self.strip)
        inside.addWidget(self.empty)
        column.addWidget(self.strip)
        column.addLayout(self._tools())
        column.addLayout(self._player())
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(made)
        self.strip.currentRowChanged.connect(lambda _: self._enable())
        keyframes.path_changed.connect(self._show_path)
        keyframes.playing_changed.connect(self._show_playing)
        keyframes.position_changed.connect(self._show_position)
        self._show_path(keyframes.path)
        self._show_playing(keyframes.playing)
        self._show_position(keyframes.position)

    def _tools(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        keyframes, strip = self._keyframes, self.strip
        self.add_button = tool("add", "Add the shown face as a keyframe (K)", self._add)
        self.remove_button = tool("remove", "Remove the chosen keyframe (Delete)", self._remove)
        self.earlier_button = tool("earlier", "Move the chosen keyframe earlier (Ctrl+←)", lambda: strip.move_by(-1))
        self.later_button = tool("later", "Move the chosen keyframe later (Ctrl+→)", lambda: strip.move_by(1))
        for made in (self.add_button, self.remove_button, self.earlier_button, self.later_button):
            row.addWidget(made)
        row.addStretch(1)
        self.space = dressed(
            QComboBox(), "", "Where the way is smooth: in the decoder's space Q or the prior's space P"
        )
        self.space.addItem("through Q", "q")
        self.space.addItem("through P", "p")
        self.space.activated.connect(lambda: keyframes.set_path(space=self.space.currentData()))
        row.addWidget(self.space)
        self.duration = dressed(QDoubleSpinBox(), "", "Seconds from the first keyframe to the last, or once around")
        self.duration.setRange(0.1, LONGEST_S)
        self.duration.setDecimals(1)
        self.duration.setSingleStep(0.5)
        self.duration.setSuffix(" s")
        self.duration.setKeyboardTracking(False)
        self.duration.valueChanged.connect(lambda seconds: keyframes.set_path(duration=round(seconds, 1)))
        row.addWidget(self.duration)
        return row

    def _player(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        self.play_button = tool("play", "Play or stop (Shift+K)", self._keyframes.toggle)
        self.loop_button = tool("loop", "Play again and again, back to the first keyframe")
        self.loop_button.setCheckable(True)
        self.loop_button.clicked.connect(lambda on: self._keyframes.set_path(loop=on))
        self.scrub = QSlider(Qt.Orientation.Horizontal)
        self.scrub.setRange(0, SCRUB)
        self.scrub.setSingleStep(SCRUB // 50)
        self.scrub.setPageStep(SCRUB // 10)
        self.scrub.setToolTip("Where on the way the shown face is")
        self.scrub.valueChanged.connect(lambda value: self._keyframes.scrub(value / SCRUB))
        self.time = label("", "value")
        row.addWidget(self.play_button)
        row.addWidget(self.loop_button)
        row.addWidget(self.scrub, 1)
        row.addWidget(self.time)
        return row

    def _add(self) -> None:
        """Behind the chosen one."""
        row = self.strip.currentRow()
        self._keyframes.add(None if row < 0 else row + 1)
        self.strip.setCurrentRow(self.strip.count() - 1 if row < 0 else row + 1)

    def _remove(self) -> None:
        if self.strip.currentRow() >= 0:
            self._keyframes.remove(self.strip.currentRow())

    # What the document says

    def _show_path(self, path: KeyPath) -> None:
        self.strip.show_codes(path.keys, [str(number + 1) for number in range(len(path.keys))])
        self.empty.setVisible(not path.keys)
        self.space.setCurrentIndex(self.space.findData(path.space))
        with QSignalBlocker(self.duration):
            self.duration.setValue(path.duration)
        self.loop_button.setChecked(path.loop)
        self._show_position(self._keyframes.position)
        self._enable()

    def _enable(self) -> None:
        count, row = self.strip.count(), self.strip.currentRow()
        self.remove_button.setEnabled(row >= 0)
        self.earlier_button.setEnabled(row > 0)
        self.later_button.setEnabled(0 <= row < count - 1)
        for made in (self.play_button, self.scrub):
            made.setEnabled(count > 1)

    def _show_playing(self, on: bool) -> None:
        self.play_button.setIcon(icon("stop" if on else "play"))

    def _show_position(self, position: float) -> None:
        with QSignalBlocker(self.scrub):
            self.scrub.setValue(round(position * SCRUB))
        self.time.setText(f"{position * self._keyframes.path.duration:4.1f} s")
