"""Landmarks as they are drawn over pictures: dots in their groups' colours, and how far the face is from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from lipflow_studio.document import AvatarInfo, BoolArray
from lipflow_studio.theme import current, group_colour


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
    """Points as round pens, a colour at a time: each call into Qt may wait for a worker to let Python go.

    Args:
        handles: [L, 2] pixels.
        ringed: positions of those that are selected or under the pointer.
        shown: [L]; without, all of them.
    """
    look = current()
    points = [QPointF(x, y) for x, y in handles.tolist()]
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


def _dots(painter: QPainter, colour: str, size: float, points: list[QPointF]) -> None:
    if points:
        painter.setPen(QPen(QColor(colour), size, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPoints(QPolygonF(points))
