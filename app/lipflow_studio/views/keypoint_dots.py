"""Landmarks as they are drawn over pictures: dots in their groups' colours, and how far the face is from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from lipflow_studio.document import AvatarInfo, BoolArray
from lipflow_studio.theme import current, group_colour

STEPS = 4  # places within a pixel, across and down, that a dot is kept at


def landmark_colours(info: AvatarInfo) -> list[str]:
    """A colour a landmark, by its group."""
    colours = [current().accent] * len(info.landmarks.ids)
    for position, (name, members) in enumerate(info.landmarks.groups.items()):
        for member in members:
            colours[member] = group_colour(name, position)
    return colours


def paint_residuals(painter: QPainter, given: np.ndarray, found: np.ndarray) -> None:
    """Lines from where landmarks [N, 2] were put to where the face has them, pixels."""
    painter.setPen(QPen(QColor(current().bad), 1.4))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for put, there in zip(given.tolist(), found.tolist()):
        a, b = QPointF(*put), QPointF(*there)
        if (a - b).manhattanLength() > 2:
            painter.drawLine(a, b)
            painter.drawEllipse(b, 2.2, 2.2)


def paint_points(
    painter: QPainter,
    handles: np.ndarray,
    colours: Sequence[str],
    pinned: BoolArray,
    ringed: Collection[int],
    shown: BoolArray | None = None,
) -> None:
    """Points as dots with a dark edge.

    Args:
        handles: [L, 2] pixels.
        ringed: positions of those that are selected or under the pointer.
        shown: [L]; without, all of them.
    """
    look = current()
    points: list[tuple[float, float]] = handles.tolist()
    there = np.ones(len(points), bool) if shown is None else shown
    rings = [points[i] for i in sorted(ringed) if there[i]]
    free, held = np.flatnonzero(~pinned & there).tolist(), np.flatnonzero(pinned & there).tolist()
    _dots(painter, look.ring, 13.0, rings)
    _dots(painter, look.ink, 10.4, rings)
    for members, size in ((free, 5.2), (held, 8.8)):
        _dots(painter, look.ink, size + 2.0, [points[i] for i in members])
        for colour in dict.fromkeys(colours):
            _dots(painter, colour, size, [points[i] for i in members if colours[i] == colour])
    _dots(painter, look.ink, 3.0, [points[i] for i in held])


def _dots(painter: QPainter, colour: str, size: float, points: Sequence[tuple[float, float]]) -> None:
    """Smooth round dots. They are stamped: to draw each one anew takes a quarter of a frame of a drag."""
    scale = painter.deviceTransform().m11()  # the device's pixels for each of the view
    stamps, middle = _stamps(colour, size * scale)
    for x, y in points:
        across, down = x * scale, y * scale
        left, top = math.floor(across), math.floor(down)
        stamp = stamps[int((down - top) * STEPS)][int((across - left) * STEPS)]
        stamp.setDevicePixelRatio(scale)
        painter.drawImage(QPointF((left - middle) / scale, (top - middle) / scale), stamp)


@functools.lru_cache(maxsize=128)
def _stamps(colour: str, size: float) -> tuple[list[list[QImage]], int]:
    """A dot at STEPS × STEPS places within a pixel; and the pixels from its picture's corner to that one."""
    middle = math.ceil(size / 2) + 1
    rows: list[list[QImage]] = []
    for down in range(STEPS):
        rows.append([])
        for across in range(STEPS):
            stamp = QImage(2 * middle + 1, 2 * middle + 1, QImage.Format.Format_ARGB32_Premultiplied)
            stamp.fill(0)
            painter = QPainter(stamp)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colour))
            place = QPointF(middle + (across + 0.5) / STEPS, middle + (down + 0.5) / STEPS)
            painter.drawEllipse(place, size / 2, size / 2)
            painter.end()
            rows[-1].append(stamp)
    return rows, middle
