"""A latent space in three dimensions: the first three components of its PCA, as dots on a turntable.

Painted by Qt like the keypoints are: a few thousand dots take a few milliseconds, and no second OpenGL context has to
share the machine with the head's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from lipflow_studio.document import FloatArray
from lipflow_studio.orbit import Orbit
from lipflow_studio.theme import Theme, current
from lipflow_studio.views.by_keyboard import ARROWS, ZOOM_A_KEY, ZOOM_KEYS
from lipflow_studio.views.latent_scene import (
    CLICK,
    LAYERS,
    LINES,
    Dots,
    Spot,
    beside,
    colour_of,
    framed,
    line_colours,
    nearest,
    three,
)

DEGREES_A_PIXEL = 0.4
DEGREES_A_KEY = 8.0
ZOOM_A_NOTCH = 1.1
ZOOMS = (0.3, 30.0)
EYE = 4.0  # radii of the cloud from its middle to the eye
SHADES = (0.35, 0.55, 0.8, 1.0)  # opacity of dots, from far to near
PLATE = 0.75  # opacity of the ground of an axis' name
FIRST = Orbit(azimuth=32.0, elevation=22.0)


class LatentCloud(QWidget):
    """Drag or Shift+arrows: orbit; wheel, + and −: zoom; double click, Home: frame; arrows: from dot to dot; click,
    Return: choose."""

    hovered = Signal(object)  # Spot | None
    chosen = Signal(object)  # Spot

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(QSize(120, 100))
        self._orbit, self._zoom = FIRST, 1.0
        self._centre, self._radius = np.zeros(3), 1.0
        self._dots: dict[str, Dots] = {}
        self._lines: dict[str, FloatArray] = {}
        self._place: FloatArray | None = None
        self._spot: Spot | None = None
        self._ground: QPixmap | None = None  # axes and dots, the dearest to paint: a fit moves only what is on them
        self._drag: tuple[QPointF, QPointF] | None = None  # where it began, where it is

    # What is shown

    def show_dots(self, layer: str, dots: Dots | None) -> None:
        if dots is None:
            self._dots.pop(layer, None)
        else:
            self._dots[layer] = dots
        self._repaint()

    def show_line(self, name: str, points: FloatArray | None) -> None:
        if points is None:
            self._lines.pop(name, None)
        else:
            self._lines[name] = points
        self.update()

    def show_place(self, point: FloatArray | None) -> None:
        self._place = point
        self.update()

    def mark(self, spot: Spot | None) -> None:
        """Ring a dot, here or where another picture's is under the pointer."""
        there = spot is not None and spot.layer in self._dots and spot.index < len(self._dots[spot.layer].points)
        self._spot = spot if there else None
        self.update()

    def frame(self) -> None:
        """Show all dots, from where it looked at first."""
        every = three(framed(self._dots)).astype(np.float64)
        if len(every):
            self._centre = (every.min(0) + every.max(0)) / 2
            self._radius = float(np.linalg.norm(every - self._centre, axis=1).max()) or 1.0
        self._orbit, self._zoom = FIRST, 1.0
        self._repaint()

    @property
    def orbit(self) -> Orbit:
        return self._orbit

    def pixel_of(self, spot: Spot) -> QPointF:
        """Where a dot is in this widget."""
        x, y = self._pixels()[spot.layer][spot.index]
        return QPointF(x, y)

    def _project(self, points: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """[N, k] -> pixels [N, 2], and how near each is [N], about −1 to 1."""
        right, up = self._orbit.axes
        at = (three(points) - self._centre) / self._radius
        depth = at @ self._orbit.backward
        scale = 0.5 * min(self.width(), self.height()) * self._zoom * EYE / np.maximum(EYE - depth, 0.2)
        x, y = self.width() / 2 + scale * (at @ right), self.height() / 2 - scale * (at @ up)
        return np.column_stack([x, y]), depth

    def _pixels(self) -> dict[str, npt.NDArray[np.float64]]:
        return {layer: self._project(dots.points)[0] for layer, dots in self._dots.items()}

    # Painting

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._repaint()
        super().changeEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        look = current()
        if self._ground is None or self._ground.deviceIndependentSize().toSize() != self.size():
            self._ground = self._paint_ground(look)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._ground)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colours = line_colours(look)
        for name in LINES:
            if name in self._lines:
                style = Qt.PenStyle.DashLine if name == "way" else Qt.PenStyle.SolidLine
                painter.setPen(QPen(QColor(colours[name]), 1.7, style))
                painter.drawPolyline(_polygon(self._project(self._lines[name])[0]))
        if "keys" in self._dots:
            pixels = self._project(self._dots["keys"].points)[0]
            _dot(painter, look.text, self._dots["keys"].size + 2.5, pixels)
            _dot(painter, look.accent, self._dots["keys"].size, pixels)
        if "trail" in self._lines:
            _dot(painter, colours["trail"], 7.0, self._project(self._lines["trail"][-1:])[0])
        if self._place is not None:
            _ring(painter, look.text, 6.5, self._project(self._place[None])[0])
        if self._spot is not None:
            _ring(painter, look.accent, 8.5, self._project(self._dots[self._spot.layer].points[[self._spot.index]])[0])
        painter.setPen(QColor(look.accent if self.hasFocus() else look.line))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _repaint(self) -> None:
        """Paint all anew, the axes and dots too."""
        self._ground = None
        self.update()

    def _paint_ground(self, look: Theme) -> QPixmap:
        ratio = self.devicePixelRatioF()
        ground = QPixmap(self.size() * ratio)
        ground.setDevicePixelRatio(ratio)
        ground.fill(QColor(look.field))
        painter = QPainter(ground)
        painter.setFont(self.font())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        tips = self._paint_axes(painter, look)
        for layer in LAYERS[:-1]:
            if layer in self._dots:
                self._paint_dots(painter, self._dots[layer], look, rim=look.text if layer == "frames" else None)
        self._paint_names(painter, look, tips)
        painter.end()
        return ground

    def _paint_axes(self, painter: QPainter, look: Theme) -> FloatArray:
        """A tripod through the middle of the cloud; its tips [3, 2] in pixels."""
        ends = self._centre + 0.9 * self._radius * np.eye(3)
        (middle, *tips), _ = self._project(np.concatenate([self._centre[None], ends]).astype(np.float32))
        painter.setPen(QPen(QColor(look.line_hover), 1))
        for tip in tips:
            painter.drawLine(QPointF(*middle.tolist()), QPointF(*tip.tolist()))
        return np.stack(tips)

    def _paint_names(self, painter: QPainter, look: Theme, tips: FloatArray) -> None:
        """The axes' names at their tips, legible over dots."""
        font, ground = painter.fontMetrics(), QColor(look.field)
        ground.setAlphaF(PLATE)
        wide = font.horizontalAdvance("PC 0")
        for number, (x, y) in enumerate(tips.tolist(), 1):
            at = QPointF(min(x + 3, self.width() - wide - 3), max(y - 2, font.ascent() + 2))
            plate = QRectF(at.x() - 2, at.y() - font.ascent(), wide + 4, font.height())
            painter.fillRect(plate, ground)
            painter.setPen(QColor(look.muted))
            painter.drawText(at, f"PC {number}")

    def _paint_dots(self, painter: QPainter, dots: Dots, look: Theme, *, rim: str | None) -> None:
        """The far ones first and fainter; a colour at a time."""
        pixels, depth = self._project(dots.points)
        shade = np.clip(((depth + 1) / 2 * len(SHADES)).astype(int), 0, len(SHADES) - 1)
        for step, opacity in enumerate(SHADES):
            painter.setOpacity(opacity)
            for kind in np.unique(dots.kinds[shade == step]):
                chosen = (shade == step) & (dots.kinds == kind)
                if rim is not None:
                    _dot(painter, rim, dots.size + 2.0, pixels[chosen])
                _dot(painter, colour_of(int(kind), look), dots.size, pixels[chosen])
        painter.setOpacity(1.0)

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag = (event.position(), event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag is None:
            self._hover(nearest(self._pixels(), event.position()))
            return
        began, last = self._drag
        moved = event.position() - last
        if (event.position() - began).manhattanLength() > CLICK:
            self._drag = (began, event.position())
            self._turn(-moved.x() * DEGREES_A_PIXEL, moved.y() * DEGREES_A_PIXEL)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        drag, self._drag = self._drag, None
        if drag is not None and (event.position() - drag[0]).manhattanLength() <= CLICK:
            spot = nearest(self._pixels(), event.position())
            if spot is not None:
                self.chosen.emit(spot)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if nearest(self._pixels(), event.position()) is None:
            self.frame()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._zoom_by(ZOOM_A_NOTCH ** (event.angleDelta().y() / 120))

    def leaveEvent(self, event: QEvent) -> None:
        self._hover(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in ARROWS and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            right, down = ARROWS[key]
            self._turn(DEGREES_A_KEY * right, -DEGREES_A_KEY * down)
        elif key in ARROWS:
            centre = QPointF(self.rect().center())
            start = centre if self._spot is None else self.pixel_of(self._spot)
            self._hover(beside(self._pixels(), start, self._spot, ARROWS[key]) or self._spot)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._spot is not None:
            self.chosen.emit(self._spot)
        elif key in ZOOM_KEYS:
            self._zoom_by(ZOOM_A_KEY ** ZOOM_KEYS[key])
        elif key == Qt.Key.Key_Home:
            self.frame()
        else:
            super().keyPressEvent(event)

    def _turn(self, right: float, up: float) -> None:
        turned = self._orbit.orbited(right, up)
        self._orbit = replace(self._orbit, azimuth=turned.azimuth, elevation=turned.elevation)
        self._repaint()

    def _zoom_by(self, factor: float) -> None:
        self._zoom = float(np.clip(self._zoom * factor, *ZOOMS))
        self._repaint()

    def _hover(self, spot: Spot | None) -> None:
        if spot != self._spot:
            self.mark(spot)
            self.setCursor(Qt.CursorShape.PointingHandCursor) if spot is not None else self.unsetCursor()
            self.hovered.emit(spot)


def _polygon(pixels: npt.NDArray[np.float64]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in pixels.tolist()])


def _dot(painter: QPainter, colour: str | QColor, size: float, pixels: npt.NDArray[np.float64]) -> None:
    """Dots as points of a round pen."""
    painter.setPen(QPen(QColor(colour), size, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawPoints(_polygon(pixels))


def _ring(painter: QPainter, colour: str, radius: float, pixels: npt.NDArray[np.float64]) -> None:
    painter.setPen(QPen(QColor(colour), 2))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(*pixels[0].tolist()), radius, radius)
