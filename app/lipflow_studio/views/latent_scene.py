"""What the pictures of a latent space share: dots, lines, and finding the dot that is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, SignalInstance
from PySide6.QtGui import QColor

from lipflow_studio.document import FloatArray
from lipflow_studio.theme import Theme

REACH = 12.0  # pixels around a dot within which the pointer means it
ON_IT = 1.5  # pixels between two dots that lie on each other
INNER = 0.8  # of the draws are always shown
CLICK = 4.0  # pixels that the pointer may move between press and release of a click
LAYERS = ("stored", "frames", "drawn", "keys")  # of dots, the lowest first
LINES = ("way", "trail")
MUTED = -1  # the kind of a dot that is not in colour


@dataclass(frozen=True, eq=False)
class Dots:
    """A layer of a scene."""

    points: FloatArray  # [N, k] coordinates in the plane
    kinds: npt.NDArray[np.int64]  # [N] which colour, or MUTED
    size: float = 6.0  # pixels


@dataclass(frozen=True)
class Spot:
    """One dot."""

    layer: str
    index: int


class SpacePicture(Protocol):
    """A picture of one space, in two dimensions or three."""

    hovered: SignalInstance  # Spot | None: under the pointer, or chosen by the arrow keys
    chosen: SignalInstance  # Spot: clicked, or Return

    def show_dots(self, layer: str, dots: Dots | None) -> None: ...

    def show_line(self, name: str, points: FloatArray | None) -> None: ...

    def show_place(self, point: FloatArray | None) -> None: ...

    def mark(self, spot: Spot | None) -> None: ...

    def frame(self) -> None: ...

    def pixel_of(self, spot: Spot) -> QPointF: ...


def colour_of(kind: int, look: Theme) -> QColor:
    """One of the theme's colours for kinds; muted dots are faint."""
    if kind == MUTED:
        faint = QColor(look.muted)
        faint.setAlpha(110)
        return faint
    return QColor(look.kinds[kind % len(look.kinds)])


def line_colours(look: Theme) -> dict[str, str]:
    return {"way": look.muted, "trail": look.warn}


def three(points: FloatArray) -> FloatArray:
    """Coordinates [N, k] as [N, 3]; what a plane lacks is 0."""
    kept = points[:, :3]
    return np.pad(kept, ((0, 0), (0, 3 - kept.shape[1])))


def framed(dots: Mapping[str, Dots]) -> FloatArray:
    """The dots that a picture of all has to show, [N, k]: of draws, which may lie far out, the inner part."""
    points = []
    for layer, share in (("stored", 1.0), ("frames", 1.0), ("drawn", INNER)):
        some = dots[layer].points if layer in dots else np.zeros((0, 0), np.float32)
        if len(some):
            away = np.abs(some - np.median(some, axis=0)).max(1)
            points.append(some[away <= np.quantile(away, share)])
    return np.concatenate(points) if points else np.zeros((0, 2), np.float32)


def nearest(pixels: dict[str, npt.NDArray[np.float64]], at: QPointF) -> Spot | None:
    """The dot whose pixel is nearest, if one is in reach; of two that lie on each other the upper layer's."""
    best, found = REACH - ON_IT, None
    for layer in LAYERS:
        points = pixels.get(layer)
        if points is None or not len(points):
            continue
        distance = np.hypot(points[:, 0] - at.x(), points[:, 1] - at.y())
        index = int(distance.argmin())
        if distance[index] <= best + ON_IT:
            best, found = min(float(distance[index]), REACH - ON_IT), Spot(layer, index)
    return found


def beside(
    pixels: dict[str, npt.NDArray[np.float64]], start: QPointF, spot: Spot | None, way: tuple[float, float]
) -> Spot | None:
    """The next dot in a direction of the picture: near, and not too far off to the side. None: there is none."""
    best, found = np.inf, None
    for layer, points in pixels.items():
        if not len(points):
            continue
        away = points - [start.x(), start.y()]
        along = away @ np.asarray(way)
        across = np.abs(away @ np.asarray([-way[1], way[0]]))
        cost = np.where((along > 0.5) & (across <= 2 * along), along + 2 * across, np.inf)
        if spot is not None and spot.layer == layer:
            cost[spot.index] = np.inf
        index = int(cost.argmin())
        if cost[index] < best:
            best, found = float(cost[index]), Spot(layer, index)
    return found
