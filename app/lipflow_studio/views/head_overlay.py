"""What is drawn over the picture of the head: a heat-map's scale, what is missing for it, and the keypoints."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen

from lipflow_studio.document import AvatarInfo, BoolArray
from lipflow_studio.head_landmarks import HeadLandmarks
from lipflow_studio.heat import Heat
from lipflow_studio.theme import current
from lipflow_studio.views.head_painter import scale_colours
from lipflow_studio.views.keypoint_dots import landmark_colours, paint_points, paint_residuals

if TYPE_CHECKING:
    from lipflow_studio.session import Session

EDGE, PADDING, ROUND = 12.0, 10.0, 6.0  # pixels: from the view's edge, inside a card, of its corners
BAR, LOW_BAR = (196.0, 10.0), (184.0, 7.0)  # pixels; in a low view
LOW = 300  # pixels of a view's height
LINE = 17.0  # pixels from one line of text to the next


class Points:
    """The landmarks of the shown face as a camera sees them, in pixels of a view of that size."""

    def __init__(
        self, session: Session, marks: HeadLandmarks, width: int, height: int, held: Collection[int] = ()
    ) -> None:
        assert session.picture is not None
        assert session.keypoints is not None
        vertices, camera, keypoints = session.picture.shape.vertices, session.camera, session.keypoints
        self.pinned = keypoints.pinned
        self.on_face = marks.on_face(vertices)
        placed = marks.placed(keypoints.given, vertices)
        self.places = np.where(self.pinned[:, None], placed, self.on_face)  # [L, 3] mm, where each is grabbed
        self.handles = camera.projected(self.places, width, height)  # [L, 2]
        self.found = camera.projected(self.on_face, width, height)
        self.shown: BoolArray = marks.visible(vertices, camera)  # [L]
        if held:
            self.shown = self.shown | np.isin(np.arange(len(self.shown)), list(held))

    def at(self, position: QPointF, reach: float) -> int:
        """The nearest landmark that is shown, within ``reach`` pixels; -1 for none."""
        distance = np.linalg.norm(self.handles - [position.x(), position.y()], axis=1)
        distance[~self.shown] = np.inf
        nearest = int(distance.argmin())
        return nearest if distance[nearest] <= reach else -1


class HeadOverlay:
    """Follows the Session whenever it is asked; keeps only what belongs to the avatar."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._info: AvatarInfo | None = None
        self._marks: HeadLandmarks | None = None
        self._colours: list[str] = []

    @property
    def marks(self) -> HeadLandmarks | None:
        """The open avatar's landmarks."""
        info = self._session.avatar_info
        if info is not self._info:
            self._info = info
            self._marks = None if info is None else HeadLandmarks(info)
            self._colours = [] if info is None else landmark_colours(info)
        return self._marks

    def points(self, width: int, height: int, held: Collection[int] = ()) -> Points | None:
        """The landmarks in a view of that size; None while there is no face."""
        marks = self.marks
        if marks is None or self._session.picture is None or self._session.keypoints is None:
            return None
        return Points(self._session, marks, width, height, held)

    def paint(
        self,
        painter: QPainter,
        width: int,
        height: int,
        heat: Heat | str | None,
        *,
        points: bool,
        hover: int = -1,
        held: Collection[int] = (),
    ) -> None:
        """Paint it over a picture of that size, pixels of the screen.

        Args:
            heat: what the mode colours the head by; or what is missing for it.
            points: whether the keypoints are shown.
            hover: position of the landmark under the pointer.
            held: positions of those that are being dragged: they stay, whatever comes before them.
        """
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if points:
            self._paint_points(painter, width, height, hover, held)
        if isinstance(heat, Heat):
            _paint_scale(painter, heat, height)
        elif heat is not None:
            _paint_line(painter, heat, width, height)

    def _paint_points(self, painter: QPainter, width: int, height: int, hover: int, held: Collection[int]) -> None:
        points = self.points(width, height, held)
        if points is None:
            return
        pinned = points.pinned & points.shown
        paint_residuals(painter, points.handles[pinned], points.found[pinned])
        ringed = self._session.selection | ({hover} if hover >= 0 else set())
        paint_points(painter, points.handles, self._colours, points.pinned, ringed, points.shown)
        if hover >= 0 and self._marks is not None:
            _paint_name(painter, self._describe(points, hover), points.handles[hover], width)

    def _describe(self, points: Points, index: int) -> str:
        assert self._marks is not None
        away = float(np.linalg.norm(points.places[index] - points.on_face[index]))
        return self._marks.names[index] + (f"  ·  {away:.1f} mm away" if points.pinned[index] else "")


def _font(painter: QPainter, pixels: int, bold: bool = False) -> QFontMetricsF:
    font = QFont(painter.font())
    font.setPixelSize(pixels)
    font.setBold(bold)
    painter.setFont(font)
    return QFontMetricsF(font)


def _paint_card(painter: QPainter, box: QRectF) -> None:
    """A ground on which text is legible whatever is behind it."""
    ground = QColor(current().panel)
    ground.setAlpha(235)
    painter.setPen(QPen(QColor(current().line), 1))
    painter.setBrush(ground)
    painter.drawRoundedRect(box, ROUND, ROUND)


def _paint_scale(painter: QPainter, heat: Heat, height: int) -> None:
    """A colour bar in mm, in the lower left corner; in a low view without figures, which would lie over the face."""
    low = height < LOW
    wide, thick = LOW_BAR if low else BAR
    wide = max(wide, _font(painter, 11 if low else 12, bold=True).horizontalAdvance(heat.title))
    edge, padding, line = (EDGE - 4, PADDING - 3, LINE - 2) if low else (EDGE, PADDING, LINE)
    box = QRectF(edge, height - edge - (2 if low else 4) * line - 2 - thick - 2 * padding, wide + 2 * padding, 0)
    box.setBottom(height - edge)
    _paint_card(painter, box)
    left, top = box.left() + padding, box.top() + padding
    _font(painter, 11 if low else 12, bold=True)
    painter.setPen(QColor(current().text))
    painter.drawText(QRectF(left, top, wide, line), Qt.AlignmentFlag.AlignLeft, heat.title)
    bar = QRectF(left, top + line + 2, wide, thick)
    table = scale_colours(heat.colours)
    painter.drawImage(bar, QImage(table.data, len(table), 1, 3 * len(table), QImage.Format.Format_RGB888))
    painter.setPen(QPen(QColor(current().line_hover), 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(bar)
    _font(painter, 11)
    painter.setPen(QColor(current().text))
    under = QRectF(left, bar.bottom() + 2, wide, line)
    ticks = ((Qt.AlignmentFlag.AlignLeft, "0"), (Qt.AlignmentFlag.AlignHCenter, f"{heat.top / 2:g}"))
    for align, text in (*ticks, (Qt.AlignmentFlag.AlignRight, f"≥ {heat.top:g} mm")):
        painter.drawText(under, align, text)
    if low:
        return
    figures = f"mean {heat.values.mean():.2f} mm, most {heat.values.max():.1f} mm"
    note = QFontMetricsF(painter.font()).elidedText(heat.note, Qt.TextElideMode.ElideMiddle, wide)
    painter.setPen(QColor(current().muted))
    for row, text in enumerate((figures, note)):
        below = QRectF(left, under.bottom() + row * line, wide, line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, text)


def _paint_line(painter: QPainter, text: str, width: int, height: int) -> None:
    """One line at the bottom, broken where the view is narrow."""
    metrics = _font(painter, 12)
    most = max(width - 2 * (EDGE + PADDING), 40.0)
    room = metrics.boundingRect(QRectF(0, 0, most, 200), Qt.TextFlag.TextWordWrap, text)
    box = QRectF((width - room.width()) / 2, height - EDGE - PADDING - room.height(), room.width(), room.height())
    _paint_card(painter, box.adjusted(-PADDING, -PADDING / 2, PADDING, PADDING / 2))
    painter.setPen(QColor(current().text))
    painter.drawText(box.adjusted(-1, 0, 1, 0), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)


def _paint_name(painter: QPainter, text: str, at: np.ndarray, width: int) -> None:
    """Beside a landmark, inside the view."""
    metrics = _font(painter, 11)
    wide = metrics.horizontalAdvance(text) + PADDING
    left = min(max(float(at[0]) + 12, 4.0), width - wide - 4)
    box = QRectF(left, max(float(at[1]) - 28, 4.0), wide, 20)
    _paint_card(painter, box)
    painter.setPen(QColor(current().text))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
