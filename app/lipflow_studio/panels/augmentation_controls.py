"""How the headset images of a capture's frame are varied: light, background, seat, and another draw of them."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from lipflow_studio.document import MOST_AUGMENTATION, PLAIN, HeadsetRecipe
from lipflow_studio.parts.augmentation import AMOUNTS, Augmentation
from lipflow_studio.session import Session
from lipflow_studio.widgets.make import button, label

STEPS = 20  # of a slider, for an amount of 1
ROWS = {
    "lighting": ("Lighting", "Exposure by up to 1.5×, a light from one side by up to 40 %, vignetting by up to 35 %"),
    "background": ("Background", "Brightness of smooth noise behind the head, up to half of white"),
    "slop": ("Slop", "How the headset sits: up to 3° and 3 mm off. The fit does not know of it"),
}
EXPLAINED = "0 leaves the images as the frame is, 1 varies them as a real headset might."


class AugmentationControls(QWidget):
    """Bound to the part in both directions; off, with the reason, where the images are not of a frame."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._part = part = session.part(Augmentation)
        self.title = label("", "")
        self.title.setWordWrap(True)
        self.hint = label("", "hint")
        self.hint.setWordWrap(True)
        self.sliders: dict[str, QSlider] = {}
        self.values: dict[str, QLabel] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(10)
        column.addWidget(self.title)
        column.addLayout(self._amounts())
        column.addLayout(self._buttons())
        column.addWidget(self.hint)
        column.addStretch(1)
        part.recipe_changed.connect(self._show)
        session.headset_changed.connect(lambda _: self._show(part.recipe))
        self._show(part.recipe)

    def _amounts(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        for row, name in enumerate(AMOUNTS):
            title, tip = ROWS[name]
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setToolTip(tip)
            slider.setAccessibleName(title)
            slider.setRange(0, round(STEPS * MOST_AUGMENTATION))
            slider.valueChanged.connect(lambda at, n=name: self._part.change(**{n: at / STEPS}))
            value = label("0", "value", tip)
            value.setMinimumWidth(36)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            for place, widget in enumerate((label(title, "muted", tip), slider, value)):
                grid.addWidget(widget, row, place)
            self.sliders[name], self.values[name] = slider, value
        return grid

    def _buttons(self) -> QHBoxLayout:
        self.draw_button = button(
            "dice", "Another draw", "Other random variations of the same amounts", self._part.draw
        )
        self.clear_button = button("reset", "Off", "The images as the frame is", self._part.clear)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.draw_button, 1)
        row.addWidget(self.clear_button, 1)
        return row

    def _show(self, recipe: HeadsetRecipe | None) -> None:
        augmentation = PLAIN if recipe is None else recipe.augmentation
        for name, slider in self.sliders.items():
            amount = getattr(augmentation, name)
            with QSignalBlocker(slider):
                slider.setValue(round(STEPS * amount))
            slider.setEnabled(recipe is not None)
            self.values[name].setText(f"{amount:.2f}" if amount else "off")
            self.values[name].setEnabled(recipe is not None)
        varied = augmentation != PLAIN
        self.draw_button.setEnabled(varied)
        self.clear_button.setEnabled(varied)
        draw = f" This is draw {recipe.seed + 1}." if recipe is not None and varied else ""
        self.title.setText("Headset images" if recipe is None else f"Headset images of {recipe.frame}")
        self.hint.setText(self._part.hint or EXPLAINED + draw)
