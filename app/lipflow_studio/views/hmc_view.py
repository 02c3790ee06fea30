"""The headset's three cameras, each as it was seen, as it is rendered, and where the two differ."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QFont, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from lipflow_studio.document import CAMERA_NAMES, FitUpdate, FloatArray, HeadsetImages, Source
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.widgets.make import button, dressed, label

ERROR_WHITE = 0.25  # absolute difference that is drawn brightest
ROWS = ("input", "render", "error")


def _error_colours() -> np.ndarray:
    """[256, 3] bytes from black over red and orange to white; lightness grows evenly."""
    stops = np.array([[0, 0, 0], [72, 16, 68], [171, 36, 71], [233, 100, 50], [251, 180, 80], [252, 250, 220]], float)
    at = np.linspace(0, len(stops) - 1, 256)
    low = np.minimum(at.astype(int), len(stops) - 2)
    return (stops[low] + (at - low)[:, None] * (stops[low + 1] - stops[low])).astype(np.uint8)


ERROR_COLOURS = _error_colours()


class CameraTriple(QWidget):
    """One camera: input, render and error side by side, each with its caption."""

    GAP, CAPTION = 6, 16

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self._pixels: list[np.ndarray | None] = [None, None, None]
        self.note = ""
        self.setMinimumSize(QSize(150, 70))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_input(self, image: FloatArray) -> None:
        self._pixels = [np.ascontiguousarray((image * 255).astype(np.uint8)), None, None]
        self.note = ""
        self.update()

    def show_render(self, render: FloatArray, error: FloatArray) -> None:
        self._pixels[1] = np.ascontiguousarray((np.clip(render, 0, 1) * 255).astype(np.uint8))
        index = (np.clip(error / ERROR_WHITE, 0, 1) * 255).astype(np.uint8)
        self._pixels[2] = np.ascontiguousarray(ERROR_COLOURS[index])
        self.note = f"mean error {error.mean():.3f}"
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._pixels[0] is not None:
            self._paint(painter, *self._pixels[0].shape[:2])
        painter.end()

    def _paint(self, painter: QPainter, height: int, width: int) -> None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        room = (self.width() - 2 * self.GAP) / 3
        scale = min(room / width, (self.height() - 2 * self.CAPTION) / height)
        w, h = width * scale, height * scale
        left = (self.width() - 3 * w - 2 * self.GAP) / 2
        top = self.CAPTION + (self.height() - 2 * self.CAPTION - h) / 2
        small = QFont(self.font())
        small.setPixelSize(11)
        painter.setFont(small)
        painter.setPen(QColor(current().text))
        across = QRectF(left, top - self.CAPTION, 3 * w + 2 * self.GAP, self.CAPTION - 2)
        painter.drawText(across, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self.name)
        painter.setPen(QColor(current().muted))
        painter.drawText(across, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.note)
        for i, (pixels, caption) in enumerate(zip(self._pixels, ROWS)):
            box = QRectF(left + i * (w + self.GAP), top, w, h)
            painter.fillRect(box, QColor(current().window))
            if pixels is not None:
                painter.drawImage(box, _image(pixels))
            under = QRectF(box.left(), box.bottom() + 1, w, self.CAPTION)
            painter.drawText(under, Qt.AlignmentFlag.AlignCenter, caption)


class HmcView(QWidget):
    """Three cameras; or, while no images are open, the place to drop them."""

    open_asked = Signal()
    demo_asked = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setAcceptDrops(True)
        self.cameras = [CameraTriple(name) for name in CAMERA_NAMES]
        self._stack = QStackedLayout(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        shown = dressed(QWidget(), "panel")
        row = QHBoxLayout(shown)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(14)
        for camera in self.cameras:
            row.addWidget(camera, 1)
        self._stack.addWidget(self._invitation())
        self._stack.addWidget(shown)
        session.headset_changed.connect(self._show_images)
        session.fit_changed.connect(self._show_fit)
        self._show_images(session.headset)

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
        choose = button("open", "Open headset images…", "Ctrl+H", self.open_asked.emit)
        buttons.addWidget(choose)
        self.demo_button = button("headset", "Use the demo images", "A face that ships with it", self.demo_asked.emit)
        buttons.addWidget(self.demo_button)
        buttons.addStretch(1)
        column.addLayout(buttons)
        column.addStretch(1)
        return page

    def _show_images(self, headset: HeadsetImages | None) -> None:
        info = self._session.avatar_info
        size = None if info is None else info.headset_size
        self._size.setText(
            "grayscale PNG" + ("" if size is None else f", {size[1]} × {size[0]} pixels") + "; the fit starts at once"
        )
        self._stack.setCurrentIndex(0 if headset is None else 1)
        if headset is not None:
            for camera, image in zip(self.cameras, headset.images):
                camera.show_input(image)

    def _show_fit(self, update: FitUpdate | None) -> None:
        headset = self._session.headset
        if update is None or headset is None or update.source is not Source.HEADSET:
            return
        if update.renders is None or update.errors is None:
            return
        for camera, render, error in zip(self.cameras, update.renders, update.errors):
            camera.show_render(render, error)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self._session.open_headset_images([url.toLocalFile() for url in event.mimeData().urls()])
        event.acceptProposedAction()


def _image(pixels: np.ndarray) -> QImage:
    height, width = pixels.shape[:2]
    gray = pixels.ndim == 2
    form = QImage.Format.Format_Grayscale8 if gray else QImage.Format.Format_RGB888
    return QImage(pixels.data, width, height, width * (1 if gray else 3), form)
