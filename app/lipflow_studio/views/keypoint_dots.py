"""Landmarks as they are drawn over pictures: dots in their groups' colours, and how far the face is from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from lipflow_studio.document import AvatarInfo, BoolArray
from lipflow_studio.theme import current, group_colour

STEPS = 4  # places within a pixel, across and down, that a dot is kept at
Discs = tuple[tuple[str, float], ...]  # colours and diameters, pixels of the view


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
    share: float = 1.0,
) -> None:
    """Points as dots with a dark edge.

    Args:
        handles: [L, 2] pixels.
        ringed: positions of those that are selected or under the pointer.
        shown: [L]; without, all of them.
        share: of their full size.
    """
    look = current()
    there = np.ones(len(handles), bool) if shown is None else shown
    rings = [i for i in sorted(ringed) if there[i]]
    scale = painter.deviceTransform().m11()  # the device's pixels for each of the view
    _stamp(painter, handles[rings], [_stamps(_ring(look.ring, look.ink, share), scale)] * len(rings))
    free, held = np.flatnonzero(~pinned & there).tolist(), np.flatnonzero(pinned & there).tolist()
    made = {colour: [_stamps(discs(colour, share), scale) for discs in (_free, _held)] for colour in set(colours)}
    _stamp(painter, handles[free], [made[colours[i]][0] for i in free])
    _stamp(painter, handles[held], [made[colours[i]][1] for i in held])


def _ring(ring: str, ink: str, share: float) -> Discs:
    return (ring, 13.0 * share), (ink, 10.4 * share)


def _free(colour: str, share: float) -> Discs:
    return (current().ink, 7.2 * share), (colour, 5.2 * share)


def _held(colour: str, share: float) -> Discs:
    return (current().ink, 10.8 * share), (colour, 8.8 * share), (current().ink, 3.0 * share)


def _stamp(painter: QPainter, points: np.ndarray, stamps: Sequence[Stamps]) -> None:
    """Put dots at points [N, 2]. They are kept as pictures: to draw each one anew takes a quarter of a drag's frame."""
    scale = painter.deviceTransform().m11()
    pixels = points * scale
    corners = np.floor(pixels)
    steps = ((pixels - corners) * STEPS).astype(int)
    for (x, y), number, dots in zip((corners / scale).tolist(), (steps[:, 1] * STEPS + steps[:, 0]).tolist(), stamps):
        painter.drawImage(QPointF(x - dots.margin, y - dots.margin), dots.pictures[number])


@dataclass(frozen=True)
class Stamps:
    """A dot at STEPS × STEPS places within a pixel."""

    pictures: list[QImage]
    margin: float  # from a picture's corner to that pixel's


@functools.lru_cache(maxsize=128)
def _stamps(discs: Discs, scale: float) -> Stamps:
    """Discs of some colours and diameters over each other, for ``scale`` pixels of the device for each of the view."""
    middle = math.ceil(max(size for _, size in discs) * scale / 2) + 1
    pictures = []
    for step in range(STEPS**2):
        picture = QImage(2 * middle + 1, 2 * middle + 1, QImage.Format.Format_ARGB32_Premultiplied)
        picture.fill(0)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        place = QPointF(middle + (step % STEPS + 0.5) / STEPS, middle + (step // STEPS + 0.5) / STEPS)
        for colour, size in discs:
            painter.setBrush(QColor(colour))
            painter.drawEllipse(place, size * scale / 2, size * scale / 2)
        painter.end()
        picture.setDevicePixelRatio(scale)
        pictures.append(picture)
    return Stamps(pictures, middle / scale)
