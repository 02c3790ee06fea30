"""A latent space in two dimensions: the first two components of its PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from lipflow_studio.document import FloatArray
from lipflow_studio.theme import current
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
)

SYMBOLS = ("o", "t", "s", "d", "p")  # of the kinds beyond the theme's colours
TALL = 250  # pixels from which on there is room for numbers at the axes


class LatentPlane(pg.PlotWidget):
    """Drag: pan; wheel, + and −: zoom; double click, Home: frame; arrows: from dot to dot; click, Return: choose."""

    hovered = Signal(object)  # Spot | None
    chosen = Signal(object)  # Spot

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(self.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.showGrid(x=True, y=True, alpha=0.12)
        item.setAspectLocked(True)
        for side in ("left", "bottom"):
            item.getAxis(side).setStyle(tickLength=-4, maxTickLevel=1, autoExpandTextSpace=False)
        self._dots: dict[str, Dots] = {}
        self._spot: Spot | None = None
        self._pressed: QPointF | None = None
        self._items = {layer: pg.ScatterPlotItem(pxMode=True) for layer in LAYERS}
        self._lines = {name: pg.PlotCurveItem() for name in LINES}
        self._end = pg.ScatterPlotItem(pxMode=True)  # of the trail
        self._place, self._mark = pg.ScatterPlotItem(pxMode=True), pg.ScatterPlotItem(pxMode=True)
        *below, keys = (self._items[layer] for layer in LAYERS)
        ordered: list[Any] = [*below, *self._lines.values(), keys, self._end, self._place, self._mark]
        for z, part in enumerate(ordered):
            part.setZValue(z)
            self.addItem(part, ignoreBounds=True)
        self._dress()

    # What is shown

    def show_dots(self, layer: str, dots: Dots | None) -> None:
        if dots is None:
            self._dots.pop(layer, None)
            self._items[layer].clear()
            return
        self._dots[layer] = dots
        look = current()
        kinds = np.unique(dots.kinds)
        brushes = {kind: pg.mkBrush(colour_of(int(kind), look)) for kind in kinds}
        symbols = {kind: SYMBOLS[max(int(kind), 0) // len(look.kinds) % len(SYMBOLS)] for kind in kinds}
        rims = {"stored": (look.panel, 0.6), "frames": (look.text, 1.0), "keys": (look.text, 1.4)}
        pen = pg.mkPen(rims[layer][0], width=rims[layer][1]) if layer in rims else pg.mkPen(None)
        self._items[layer].setData(
            pos=dots.points[:, :2],
            size=dots.size,
            pen=pen,
            brush=[brushes[kind] for kind in dots.kinds],
            symbol=[symbols[kind] for kind in dots.kinds],
        )

    def show_line(self, name: str, points: FloatArray | None) -> None:
        points = np.zeros((0, 2), np.float32) if points is None else points
        self._lines[name].setData(points[:, 0], points[:, 1])
        if name == "trail":
            self._end.setData(pos=points[-1:, :2])

    def show_place(self, point: FloatArray | None) -> None:
        self._place.setData(pos=np.zeros((0, 2)) if point is None else point[None, :2].astype(np.float64))

    def mark(self, spot: Spot | None) -> None:
        """Ring a dot, here or where another picture's is under the pointer."""
        there = spot is not None and spot.layer in self._dots and spot.index < len(self._dots[spot.layer].points)
        self._spot = spot if there else None
        if self._spot is None:
            self._mark.clear()
        else:
            self._mark.setData(pos=self._dots[self._spot.layer].points[self._spot.index, :2][None])

    def frame(self) -> None:
        """Show all dots."""
        every = framed(self._dots)[:, :2].astype(np.float64)
        if len(every):
            low, high = every.min(0), every.max(0)
            room = 0.04 * (high - low).max() + 1e-3
            (left, bottom), (right, top) = (low - room).tolist(), (high + room).tolist()
            self.getViewBox().setRange(xRange=(left, right), yRange=(bottom, top), padding=0)

    def pixel_of(self, spot: Spot) -> QPointF:
        """Where a dot is in this widget."""
        x, y = self._pixels()[spot.layer][spot.index]
        return QPointF(x, y)

    def _pixels(self) -> dict[str, npt.NDArray[np.float64]]:
        """Where the dots of each layer are, [N, 2]."""
        box = self.getViewBox()
        rect, ((left, right), (bottom, top)) = box.sceneBoundingRect(), box.viewRange()
        scale = np.array([rect.width() / (right - left), -rect.height() / (top - bottom)])
        corner = np.array([rect.left(), rect.bottom()])
        return {
            layer: (dots.points[:, :2].astype(np.float64) - [left, bottom]) * scale + corner
            for layer, dots in self._dots.items()
        }

    # Looks

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._dress()
        super().changeEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._dress()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._dress()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        item = getattr(self, "plotItem", None)
        if item is not None:
            tall = self.height() >= TALL
            for side in ("left", "bottom"):
                item.getAxis(side).setStyle(showValues=tall)
            item.getAxis("left").setWidth(34 if tall else 0)
            item.getAxis("bottom").setHeight(18 if tall else 0)

    def _dress(self) -> None:
        """Put the theme's colours on."""
        look = current()
        self.setBackground(look.field)
        for side in ("left", "bottom"):
            axis = self.getPlotItem().getAxis(side)
            axis.setPen(pg.mkPen(look.line))
            axis.setTextPen(pg.mkPen(look.muted))
        self.getViewBox().setBorder(pg.mkPen(look.accent if self.hasFocus() else look.line))
        colours = line_colours(look)
        self._lines["trail"].setPen(pg.mkPen(colours["trail"], width=1.8))
        self._lines["way"].setPen(pg.mkPen(colours["way"], width=1.4, style=Qt.PenStyle.DashLine))
        for part, size, pen, brush in (
            (self._end, 7, None, colours["trail"]),
            (self._place, 13, pg.mkPen(look.text, width=2), None),
            (self._mark, 17, pg.mkPen(look.accent, width=2), None),
        ):
            part.setSize(size)
            part.setPen(pg.mkPen(pen))
            part.setBrush(pg.mkBrush(brush))
        for layer, dots in list(self._dots.items()):
            self.show_dots(layer, dots)

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        left = event.button() == Qt.MouseButton.LeftButton
        self._pressed = event.position() if left else None
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if not event.buttons():
            self._hover(nearest(self._pixels(), event.position()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        pressed, self._pressed = self._pressed, None
        if pressed is not None and (event.position() - pressed).manhattanLength() <= CLICK:
            spot = nearest(self._pixels(), event.position())
            if spot is not None:
                self.chosen.emit(spot)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if nearest(self._pixels(), event.position()) is None:
            self.frame()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in ARROWS:
            centre = self.getViewBox().sceneBoundingRect().center()
            start = centre if self._spot is None else self.pixel_of(self._spot)
            self._hover(beside(self._pixels(), start, self._spot, ARROWS[key]) or self._spot)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._spot is not None:
            self.chosen.emit(self._spot)
        elif key in ZOOM_KEYS:
            factor = ZOOM_A_KEY ** -ZOOM_KEYS[key]
            self.getViewBox().scaleBy((factor, factor))
        elif key == Qt.Key.Key_Home:
            self.frame()
        else:
            super().keyPressEvent(event)

    def _hover(self, spot: Spot | None) -> None:
        if spot != self._spot:
            self.mark(spot)
            self.setCursor(Qt.CursorShape.PointingHandCursor) if spot is not None else self.unsetCursor()
            self.hovered.emit(spot)
