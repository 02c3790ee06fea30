"""The headset's three cameras: what they saw, what is rendered for them, and the ways to compare the two."""

from __future__ import annotations

import functools

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QStackedLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from lipflow_studio.document import CAMERA_NAMES, FitUpdate, HeadsetImages, Source
from lipflow_studio.parts.headset_display import MODES, RATES, Display, HeadsetDisplay
from lipflow_studio.session import Session
from lipflow_studio.views.camera_triple import CameraTriple
from lipflow_studio.widgets.dropped import dropped_files
from lipflow_studio.widgets.make import button, dressed, label, tool

ICONS = {"side": "beside", "flicker": "flicker", "split": "split", "difference": "difference"}


class HmcView(QWidget):
    """Three cameras; or, while no images are open, the place to drop them."""

    open_asked = Signal()
    demo_asked = Signal()
    dropped = Signal(list)  # paths [str] of the files, whatever they are

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setAcceptDrops(True)
        self._display = session.part(HeadsetDisplay)
        self._shown: HeadsetImages | None = None
        self.cameras = [CameraTriple(name) for name in CAMERA_NAMES]
        self.flicker = QTimer(self)
        self.flicker.timeout.connect(self._flip)
        self._stack = QStackedLayout(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        shown = dressed(QWidget(), "panel")
        row = QHBoxLayout(shown)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(14)
        row.addLayout(self._switch())
        for camera in self.cameras:
            row.addWidget(camera, 1)
            camera.divider_moved.connect(lambda share: self._display.set_display(divider=share))
        self._stack.addWidget(self._invitation())
        self._stack.addWidget(shown)
        session.headset_changed.connect(self._show_images)
        session.fit_changed.connect(self._show_fit)
        session.source_changed.connect(self._show_source)
        session.avatar_changed.connect(lambda _: self._show_weights())
        self._display.display_changed.connect(self._show_display)
        self._show_images(session.headset)
        self._show_source(session.source)
        self._show_fit(session.fit)
        self._show_weights()
        self._show_display(self._display.display)

    def _switch(self) -> QVBoxLayout:
        """The ways to compare, and how fast they take turns."""
        self.modes: dict[str, QToolButton] = {}
        grid = QGridLayout()
        grid.setSpacing(3)
        for place, (mode, about) in enumerate(MODES.items()):
            tip = f"{about.tip} ({', '.join(about.keys)})" if about.keys else about.tip
            made = tool(ICONS[mode], tip, functools.partial(self._display.set_display, mode=mode))
            made.setAccessibleName(about.title)
            made.setCheckable(True)
            self.modes[mode] = made
            grid.addWidget(made, place // 2, place % 2)
        self.rate = dressed(QDoubleSpinBox(), "rate", "How often a second input and render take turns")
        self.rate.setRange(*RATES)
        self.rate.setSingleStep(0.5)
        self.rate.setDecimals(1)
        self.rate.setSuffix(" Hz")
        self.rate.setFixedWidth(74)
        self.rate.setKeyboardTracking(False)
        self.rate.valueChanged.connect(lambda rate: self._display.set_display(rate=rate))
        policy = self.rate.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.rate.setSizePolicy(policy)
        column = QVBoxLayout()
        column.setSpacing(5)
        column.addStretch(1)
        column.addLayout(grid)
        column.addWidget(self.rate)
        column.addStretch(1)
        return column

    def _invitation(self) -> QWidget:
        page = dressed(QWidget(), "panel")
        outer = QHBoxLayout(page)
        outer.setContentsMargins(12, 10, 12, 10)
        zone = dressed(QFrame(), "dropZone")
        outer.addWidget(zone)
        column = QVBoxLayout(zone)
        column.setSpacing(8)
        column.addStretch(1)
        title = label("Drop three headset images here: mouth, left eye, right eye")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._size = label("", "hint")
        self._size.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(title)
        column.addWidget(self._size)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        choose = button("open", "Open headset images…", "One image a camera (Ctrl+H)", self.open_asked.emit)
        buttons.addWidget(choose)
        self.demo_button = button(
            "headset", "Use the demo images", "A face that ships with the studio", self.demo_asked.emit
        )
        buttons.addWidget(self.demo_button)
        buttons.addStretch(1)
        column.addLayout(buttons)
        column.addStretch(1)
        return page

    def _show_images(self, headset: HeadsetImages | None) -> None:
        info = self._session.avatar_info
        size = None if info is None else info.headset_size
        self._size.setText(
            "Greyscale PNG" + ("" if size is None else f", {size[1]} × {size[0]} pixels") + "; the fit starts at once"
        )
        self._stack.setCurrentIndex(0 if headset is None else 1)
        if headset is not None:
            self._show_inputs(anew=not _is_varied(self._shown, headset))
        self._shown = headset
        self._keep_time()

    def _show_inputs(self, *, anew: bool) -> None:
        headset = self._session.headset
        for camera, image in zip(self.cameras, () if headset is None else headset.images):
            camera.show_input(image, anew=anew)

    def _show_source(self, source: Source) -> None:
        """Where the face leaves the images, there is no render of it beside them."""
        for camera in self.cameras:
            camera.show_fitted(source is Source.HEADSET)
        self._show_inputs(anew=True)

    def _show_weights(self) -> None:
        info = self._session.avatar_info
        weights = None if info is None else info.attention
        for place, camera in enumerate(self.cameras):
            camera.show_weight(None if weights is None else weights[place])

    def _show_display(self, display: Display) -> None:
        for mode, made in self.modes.items():
            made.setChecked(mode == display.mode)
        with QSignalBlocker(self.rate):
            self.rate.setValue(display.rate)
        self.rate.setVisible(display.mode == "flicker")
        for camera in self.cameras:
            camera.show_display(display)
        self._keep_time()

    def _flip(self) -> None:
        for camera in self.cameras:
            camera.flip(not camera.flipped)

    def _keep_time(self) -> None:
        """Flicker only where somebody sees it."""
        display = self._display.display
        interval = round(500 / display.rate)
        if display.mode == "flicker" and self.isVisible() and self._session.headset is not None:
            if not self.flicker.isActive() or self.flicker.interval() != interval:
                self.flicker.start(interval)
        else:
            self.flicker.stop()
            for camera in self.cameras:
                camera.flip(False)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._keep_time()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._keep_time()

    def _show_fit(self, update: FitUpdate | None) -> None:
        headset = self._session.headset
        if update is None or headset is None or update.source is not Source.HEADSET:
            return
        if update.renders is None or update.errors is None:
            return
        for camera, render, error in zip(self.cameras, update.renders, update.errors):
            camera.show_render(render, error)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped_files(event.mimeData())
        if paths:
            event.acceptProposedAction()
            self.dropped.emit(paths)


def _is_varied(before: HeadsetImages | None, after: HeadsetImages) -> bool:
    """Whether these images are of the same moment as those before, under other light or from elsewhere."""
    if before is None or before.recipe is None or after.recipe is None:
        return False
    return (before.recipe.capture, before.recipe.frame) == (after.recipe.capture, after.recipe.frame)
