"""One camera: what it saw, what is rendered for it, and where the two differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from lipflow_studio.document import FloatArray
from lipflow_studio.parts.headset_display import Display
from lipflow_studio.theme import current

ERROR_WHITE = 0.25  # absolute difference that is drawn brightest
CAPTIONS = ("input", "render", "error")
STEP = 0.02  # of the divider, with an arrow key
BAR = QSize(34, 5)  # pixels, for a weight of 1
MEAN_ERROR = "mean error "
NOT_FITTED = "not fitted"  # in the place of a render that there is none of
NAME_WIDTH = 60  # pixels that a camera's name has before its error is a number alone
BAR_WIDTH = BAR.width() + 5  # pixels of a weight's bar, with what is behind it
WEIGHT_WIDTH = 8 + BAR_WIDTH + 40  # pixels of a weight, with what is before it
ATTENTION = (
    "{name}: {percent:.1f} % of the attention\n"
    "The prior's encoder adds up the features of the three cameras with learned weights, softmax(W_A):\n"
    "this is their mean over the features. They are the same for every input and shape the prior alone:\n"
    "the fit compares all three images alike."
)


def _error_colours() -> np.ndarray:
    """[256, 3] bytes from black over red and orange to white; lightness grows evenly."""
    stops = np.array([[0, 0, 0], [72, 16, 68], [171, 36, 71], [233, 100, 50], [251, 180, 80], [252, 250, 220]], float)
    at = np.linspace(0, len(stops) - 1, 256)
    low = np.minimum(at.astype(int), len(stops) - 2)
    return (stops[low] + (at - low)[:, None] * (stops[low + 1] - stops[low])).astype(np.uint8)


ERROR_COLOURS = _error_colours()


class CameraTriple(QWidget):
    """Draws one of the ways of ``parts.headset_display`` to compare input and render, under the camera's name."""

    GAP, CAPTION = 6, 16

    divider_moved = Signal(float)  # the share of the width that the user gives to the input

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self.note = ""
        self.weight: float | None = None  # of its features in the prior's encoder
        self.fitted = True  # the fit is to what it saw
        self.flipped = False  # a flickering camera shows its render now
        self.display = Display()
        self._pixels: list[np.ndarray | None] = [None, None, None]
        self._painters: dict[str, Callable[[QPainter], None]] = {
            "side": self._paint_side,
            "flicker": self._paint_flicker,
            "split": self._paint_split,
            "difference": self._paint_difference,
        }
        self.setMinimumSize(QSize(150, 70))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # What it shows

    def show_input(self, image: FloatArray, *, anew: bool = True) -> None:
        """Show an image; if not ``anew``, beside the render of the one before until there is another."""
        self._pixels[0] = np.ascontiguousarray((image * 255).astype(np.uint8))
        if anew:
            self._pixels[1:] = None, None
            self.note = ""
        self.update()

    def show_fitted(self, on: bool) -> None:
        """Whether the fit is to this image: where it is not, there is no render of it, and that is said."""
        self.fitted = on
        self.update()

    def show_render(self, render: FloatArray, error: FloatArray) -> None:
        self._pixels[1] = np.ascontiguousarray((np.clip(render, 0, 1) * 255).astype(np.uint8))
        index = (np.clip(error / ERROR_WHITE, 0, 1) * 255).astype(np.uint8)
        self._pixels[2] = ERROR_COLOURS.take(index, axis=0)  # a quarter of the time that indexing takes
        self.note = f"{MEAN_ERROR}{error.mean():.3f}"
        self.update()

    def pixels(self, place: int) -> np.ndarray | None:
        """What is shown of input, render and error (0, 1, 2)."""
        return self._pixels[place]

    def show_weight(self, weight: float | None) -> None:
        self.weight = weight
        self.update()

    def show_display(self, display: Display) -> None:
        self.display = display
        splits = display.mode == "split"
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if splits else Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.SplitHCursor if splits else Qt.CursorShape.ArrowCursor)
        self.update()

    def flip(self, on: bool) -> None:
        """Let a flickering camera show its render, or its input."""
        self.flipped = on
        self.update()

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._drag(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._drag(event)

    def _drag(self, event: QMouseEvent) -> None:
        if self.display.mode != "split" or not event.buttons() & Qt.MouseButton.LeftButton or not self._boxes(1):
            event.ignore()
            return
        box = self._boxes(1)[0]
        share = (event.position().x() - box.left()) / box.width()
        self.divider_moved.emit(round(min(max(share, 0.0), 1.0), 3))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        by = {Qt.Key.Key_Left: -STEP, Qt.Key.Key_Right: STEP}.get(Qt.Key(event.key()))
        if by is None or self.display.mode != "split":
            super().keyPressEvent(event)
        else:
            self.divider_moved.emit(round(min(max(self.display.divider + by, 0.0), 1.0), 3))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.explanation(QPointF(event.pos())), self)
            return True
        return super().event(event)

    def explanation(self, at: QPointF) -> str:
        """What the weight above the pictures means; empty away from it."""
        boxes = self._boxes(self._count)
        if not boxes or self.weight is None or not self._heading(boxes).contains(at):
            return ""
        return ATTENTION.format(name=self.name, percent=100 * self.weight)

    # Places

    @property
    def _count(self) -> int:
        return len(CAPTIONS) if self.display.mode == "side" else 1

    def _boxes(self, count: int) -> list[QRectF]:
        """Places of so many pictures in a row, as large as there is room; none before there is an input."""
        if self._pixels[0] is None:
            return []
        height, width = self._pixels[0].shape[:2]
        below = self.CAPTION if self.display.mode in ("side", "difference") else 2
        room = QSize(self.width() - (count - 1) * self.GAP, self.height() - self.CAPTION - below)
        scale = min(room.width() / count / width, room.height() / height)
        w, h = float(int(width * scale)), float(int(height * scale))  # whole pixels: cameras beside it stand as high
        left = (self.width() - count * w - (count - 1) * self.GAP) // 2
        top = self.CAPTION + (room.height() - h) // 2
        return [QRectF(left + i * (w + self.GAP), top, w, h) for i in range(count)]

    def _heading(self, boxes: list[QRectF]) -> QRectF:
        """Above the pictures, and wide enough for its words."""
        left, right, font = boxes[0].left(), boxes[-1].right(), QFontMetricsF(self._small())
        weight = 0 if self.weight is None else WEIGHT_WIDTH
        words = font.horizontalAdvance(self.name) + weight + 10 + font.horizontalAdvance(self.note)
        more = max(0.0, min(words, self.width()) - (right - left)) / 2
        return QRectF(left - more, boxes[0].top() - self.CAPTION, right - left + 2 * more, self.CAPTION - 2)

    def _small(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(11)
        return font

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._pixels[0] is None:
            return
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.SmoothPixmapTransform | QPainter.RenderHint.Antialiasing)
        painter.setFont(self._small())
        self._paint_heading(painter, self._heading(self._boxes(self._count)))
        self._painters[self.display.mode](painter)
        painter.end()

    def _paint_heading(self, painter: QPainter, heading: QRectF) -> None:
        look, middle, font = current(), Qt.AlignmentFlag.AlignVCenter, QFontMetricsF(painter.font())
        name, bar_width, note = self._fitted(font, heading.width())
        painter.setPen(QColor(look.text))
        painter.drawText(heading, Qt.AlignmentFlag.AlignLeft | middle, name)
        painter.setPen(QColor(look.muted))
        painter.drawText(heading, Qt.AlignmentFlag.AlignRight | middle, note)
        if self.weight is not None:
            left = heading.left() + font.horizontalAdvance(name) + 8
            if bar_width:
                bar = QRectF(left, heading.center().y() - BAR.height() / 2, BAR.width(), BAR.height())
                painter.fillRect(bar, QColor(look.groove))
                bar.setWidth(BAR.width() * self.weight)
                painter.fillRect(bar, QColor(look.accent))
            words = QRectF(left + bar_width, heading.top(), 40, heading.height())
            painter.drawText(words, Qt.AlignmentFlag.AlignLeft | middle, f"{100 * self.weight:.0f} %")

    def _fitted(self, font: QFontMetricsF, width: float) -> tuple[str, int, str]:
        """Name, width of the weight's bar and error that a heading has room for: which camera it is comes first."""
        number = self.note.removeprefix(MEAN_ERROR)
        percent = 0.0 if self.weight is None else 8 + font.horizontalAdvance(f"{100 * self.weight:.0f} %")
        wanted = min(NAME_WIDTH, font.horizontalAdvance(self.name))
        full = 0 if self.weight is None else BAR_WIDTH
        ways = ((full, self.note), (full, number), (0, number))
        rooms = [width - percent - bar - 10 - font.horizontalAdvance(note) for bar, note in ways]
        way = next((way for way, room in enumerate(rooms) if room >= wanted), len(ways) - 1)
        name = font.elidedText(self.name, Qt.TextElideMode.ElideMiddle, max(rooms[way], 0.0))
        return name, *ways[way]

    def _paint_side(self, painter: QPainter) -> None:
        boxes = self._boxes(len(CAPTIONS))
        for box, pixels, caption in zip(boxes, self._pixels, CAPTIONS):
            self._picture(painter, box, pixels)
            painter.drawText(self._below(box), Qt.AlignmentFlag.AlignCenter, caption)
        self._paint_absence(painter, boxes[1].united(boxes[2]))

    def _paint_flicker(self, painter: QPainter) -> None:
        (box,) = self._boxes(1)
        shown = 1 if self.flipped and self._pixels[1] is not None else 0
        self._picture(painter, box, self._pixels[shown])
        _tag(painter, box, CAPTIONS[shown], right=shown == 1)

    def _paint_split(self, painter: QPainter) -> None:
        (box,) = self._boxes(1)
        self._picture(painter, box, self._pixels[0])
        if self._pixels[1] is None:
            _tag(painter, box, CAPTIONS[0])
            return
        at = box.left() + self.display.divider * box.width()
        rest = QRectF(QPointF(at, box.top()), box.bottomRight())
        painter.save()
        painter.setClipRect(rest)
        self._picture(painter, box, self._pixels[1])
        painter.restore()
        painter.fillRect(QRectF(at - 0.75, box.top(), 1.5, box.height()), QColor(current().accent))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(current().accent))
        painter.drawEllipse(QPointF(at, box.center().y()), 4.5, 4.5)
        _tag(painter, box, CAPTIONS[0])
        _tag(painter, box, CAPTIONS[1], right=True)

    def _paint_difference(self, painter: QPainter) -> None:
        (box,) = self._boxes(1)
        self._picture(painter, box, self._pixels[2])
        self._paint_absence(painter, box)
        below = self._below(box)
        scale = QRectF(below.center().x() - 40, below.center().y() - 3, 80, 6)
        painter.drawImage(scale, _image(np.ascontiguousarray(ERROR_COLOURS[None])))
        words = QRectF(scale.left() - 30, below.top(), scale.width() + 60, below.height())
        for side, text in ((Qt.AlignmentFlag.AlignLeft, "0"), (Qt.AlignmentFlag.AlignRight, f"{ERROR_WHITE:g}")):
            inner = words.adjusted(20, 0, 0, 0) if text == "0" else words
            painter.drawText(inner, side | Qt.AlignmentFlag.AlignVCenter, text)

    def _paint_absence(self, painter: QPainter, place: QRectF) -> None:
        if not self.fitted and self._pixels[1] is None:
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, NOT_FITTED)

    def _below(self, box: QRectF) -> QRectF:
        return QRectF(box.left(), box.bottom() + 1, box.width(), self.CAPTION)

    @staticmethod
    def _picture(painter: QPainter, box: QRectF, pixels: np.ndarray | None) -> None:
        painter.fillRect(box, QColor(current().window))
        if pixels is not None:
            painter.drawImage(box, _image(pixels))


def _tag(painter: QPainter, box: QRectF, text: str, right: bool = False) -> None:
    """A word in a lower corner of a picture, legible over anything."""
    look = current()
    width = painter.fontMetrics().horizontalAdvance(text) + 10
    place = QRectF(box.right() - width - 3 if right else box.left() + 3, box.bottom() - 18, width, 15)
    ground = QColor(look.panel)
    ground.setAlphaF(0.82)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(ground)
    painter.drawRoundedRect(place, 3, 3)
    painter.setPen(QColor(look.text))
    painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)


def _image(pixels: np.ndarray) -> QImage:
    height, width = pixels.shape[:2]
    gray = pixels.ndim == 2
    form = QImage.Format.Format_Grayscale8 if gray else QImage.Format.Format_RGB888
    return QImage(pixels.data, width, height, width * (1 if gray else 3), form)
