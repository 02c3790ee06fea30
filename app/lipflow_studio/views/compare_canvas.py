"""The contenders' faces under one camera: side by side, or two laid over each other with a divider to drag."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPointF, QRect, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from lipflow_studio.comparison import ComparisonUpdate, Standing, titles_of
from lipflow_studio.orbit import Orbit
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.parts.compare import Compare
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.by_keyboard import ARROWS, FocusFrame, camera_by_key
from lipflow_studio.views.compare_faces import HEAD_ASPECT, CompareFaces, fitted
from lipflow_studio.views.head_canvas import DEGREES_A_PIXEL, ZOOM_A_NOTCH

GAP = 2  # pixels between two faces
REACH = 9  # pixels from the divider at which it is grabbed
HANDLE = 11  # radius of the divider's handle, pixels
MARGIN, PAD, DOT = 6, 6, 14  # pixels: around a caption, inside it, and for its contender's colour
PLATE = 0.62  # opacity of its ground
NARROW = 76  # pixels for a name below which its beginning tells more than its ends
LOW = 190  # pixels of a face's height below which a caption is its name alone: more of it would lie over the mouth
KEY_STEP = 0.02  # of the width, by a key
EMPTY = "Add an avatar, or the open one under another prior: all are fitted to the same observation"


class CompareCanvas(QWidget):
    """Every gesture is that of the 3D view and turns all heads; the divider moves by drag and Ctrl+arrow keys."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._compare = session, session.part(Compare)
        self.faces = CompareFaces(session, self)
        self._standings: tuple[Standing | None, ...] = ()
        self._drag: tuple[str, QPointF] | None = None  # what is dragged, and where the pointer was
        self.setMinimumSize(QSize(260, 120))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName("Compared faces")
        self._focus = FocusFrame(self)
        compare = self._compare
        compare.contenders_changed.connect(lambda _: self._show_contenders())
        compare.active_changed.connect(lambda _: self._show_contenders())
        compare.update_changed.connect(self._show_update)
        compare.options_changed.connect(lambda _: self._show_layout())
        session.camera_changed.connect(lambda _: self.faces.redraw())
        session.part(Appearance).look_changed.connect(self.faces.show_look)
        session.closed.connect(self.faces.close)
        self.faces.drawn.connect(self.update)
        self._show_contenders()
        self._show_update(compare.update)

    def places(self) -> list[tuple[int, QRect]]:
        """The contenders that are seen, and where; in split layout both have the whole canvas."""
        count = len(self._compare.contenders)
        if self.is_split:
            return [(i, self.rect()) for i in self._compare.options.pair]
        return list(enumerate(tiles(count, self.size())))

    @property
    def is_split(self) -> bool:
        """Whether two faces are laid over each other."""
        options = self._compare.options
        return options.layout == "split" and max(options.pair) < len(self._compare.contenders)

    # What the document says

    def _show_contenders(self) -> None:
        """Painters are held only while the comparison is shown."""
        self.faces.show_contenders(self._compare.contenders if self._compare.active else ())
        self._show_layout()

    def _show_layout(self) -> None:
        ratio = self.devicePixelRatioF()
        self.faces.show_sizes({place: rect.size() * ratio for place, rect in self.places()})
        self.update()

    def _show_update(self, update: ComparisonUpdate | None) -> None:
        if update is not None:
            self.faces.show_standings(update.standings, update.running)
        before, self._standings = self._standings, () if update is None else update.standings
        if [_words(s) for s in before] != [_words(s) for s in self._standings]:
            self.update()

    # Painting

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self.faces.redraw()
        super().changeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._show_layout()
        super().resizeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        look, places = current(), self.places()
        titles = titles_of(self._compare.contenders)
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.SmoothPixmapTransform | QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(look.window))
        edge = round(self._compare.options.split * self.width())
        for number, (place, rect) in enumerate(places):
            image = self.faces.image(place)
            if self.is_split:
                painter.setClipRect(QRect(edge, 0, self.width() - edge, self.height()) if number else rect)
            if image is None:
                painter.fillRect(rect, QColor(look.canvas_bottom))
            else:
                painter.drawImage(rect, image)
            painter.setClipping(False)
        for number, (place, rect) in enumerate(places):
            at_right = self.is_split and number == 1
            self._paint_caption(painter, place, titles[place], rect, at_right)
        if self.is_split:
            self._paint_divider(painter, edge)
        if len(self._compare.contenders) < 2:
            where = Qt.AlignmentFlag.AlignTop if places else Qt.AlignmentFlag.AlignVCenter
            flags = where | Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
            words = self.rect().adjusted(20, 14, -20, -14)
            if places:
                self._paint_plate(painter, painter.boundingRect(words, flags, EMPTY).adjusted(-8, -5, 8, 5))
            painter.setPen(QColor(look.text if places else look.muted))
            painter.drawText(words, flags, EMPTY)
        painter.end()

    def _paint_caption(self, painter: QPainter, place: int, title: str, rect: QRect, at_right: bool) -> None:
        look = current()
        standing = self._standings[place] if place < len(self._standings) else None
        failed = standing is not None and standing.failure is not None
        opening = self._compare.contenders[place].info is None
        words = "Opening…" if opening else _words(standing)
        has_words = rect.height() >= LOW or failed or opening
        bold = QFont(self.font())
        bold.setWeight(QFont.Weight.DemiBold)
        small, large = painter.fontMetrics(), QFontMetrics(bold)
        room = (rect.width() // 2 - 24 if self.is_split else rect.width()) - 2 * MARGIN - 2 * PAD
        cut = Qt.TextElideMode.ElideRight if room < NARROW else Qt.TextElideMode.ElideMiddle
        name = large.elidedText(title, cut, room - DOT)
        words = small.elidedText(words, Qt.TextElideMode.ElideRight, room)
        width = max(large.horizontalAdvance(name) + DOT, small.horizontalAdvance(words) * has_words) + 2 * PAD
        height = large.height() + small.height() * has_words + PAD
        left = rect.right() - MARGIN - width if at_right else rect.left() + MARGIN
        plate = QRect(left, rect.bottom() - MARGIN - height, width, height)
        self._paint_plate(painter, plate)
        inside = plate.adjusted(PAD, PAD // 2, -PAD, -PAD // 2)
        painter.setBrush(QColor(look.kinds[place % len(look.kinds)]))
        painter.drawEllipse(QPointF(inside.left() + 4, inside.top() + large.height() / 2), 4, 4)
        painter.setPen(QColor(look.bad if failed else look.muted))
        if has_words:
            painter.drawText(inside, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom, words)
        painter.setPen(QColor(look.text))
        painter.setFont(bold)
        painter.drawText(inside.adjusted(DOT, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, name)
        painter.setFont(self.font())

    def _paint_plate(self, painter: QPainter, plate: QRect) -> None:
        """A ground on which words are legible over a face."""
        ground = QColor(current().window)
        ground.setAlphaF(PLATE)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(plate, 5, 5)

    def _paint_divider(self, painter: QPainter, edge: int) -> None:
        look = current()
        middle = QPointF(edge, self.height() / 2)
        painter.setPen(QPen(QColor(look.accent), 2))
        painter.drawLine(QPointF(edge, 0), QPointF(edge, self.height()))
        painter.setBrush(QColor(look.raised))
        painter.drawEllipse(middle, HANDLE, HANDLE)
        for way in (-1, 1):
            tip = middle + QPointF(way * 6.5, 0)
            painter.drawLine(tip, tip + QPointF(-way * 3, -3))
            painter.drawLine(tip, tip + QPointF(-way * 3, 3))

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if self._on_divider(event.position()) and event.button() == Qt.MouseButton.LeftButton:
            kind = "split"
        else:
            kind = "pan" if shift or event.button() != Qt.MouseButton.LeftButton else "orbit"
        self._drag = kind, event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag is None:
            near = self._on_divider(event.position())
            self.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)
            return
        kind, last = self._drag
        self._drag = kind, event.position()
        {"split": self._move_split, "pan": self._pan, "orbit": self._orbit}[kind](event.position(), last)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self._on_divider(event.position()):
            self._compare.set_split(0.5)
        else:
            self._session.reset_camera()

    def wheelEvent(self, event: QWheelEvent) -> None:
        factor = ZOOM_A_NOTCH ** (event.angleDelta().y() / 120)
        self._session.set_camera(distance=self._session.camera.zoomed(factor).distance)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        way, _ = ARROWS.get(Qt.Key(event.key()), (0.0, 0.0))
        moved = camera_by_key(event, self._session.camera, self._drawn())
        if moved:
            self._session.set_camera(**moved)
        elif way and self.is_split and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._compare.set_split(min(max(self._compare.options.split + way * KEY_STEP, 0.0), 1.0))
        else:
            super().keyPressEvent(event)

    def _on_divider(self, position: QPointF) -> bool:
        return self.is_split and abs(position.x() - self._compare.options.split * self.width()) <= REACH

    def _move_split(self, now: QPointF, last: QPointF) -> None:
        self._compare.set_split(min(max(now.x() / max(self.width(), 1), 0.0), 1.0))

    def _pan(self, now: QPointF, last: QPointF) -> None:
        moved, height = now - last, max(self._face_size().height(), 1)
        self._session.set_camera(target=self._drawn().panned(-moved.x() / height, moved.y() / height).target)

    def _face_size(self) -> QSize:
        places = self.places()
        return places[0][1].size() if places else self.size()

    def _drawn(self) -> Orbit:
        """The camera that the faces are drawn with."""
        size = self._face_size()
        return fitted(self._session.camera, size.width() / max(size.height(), 1))

    def _orbit(self, now: QPointF, last: QPointF) -> None:
        moved = now - last
        turned = self._session.camera.orbited(-moved.x() * DEGREES_A_PIXEL, moved.y() * DEGREES_A_PIXEL)
        self._session.set_camera(azimuth=turned.azimuth, elevation=turned.elevation)


def _words(standing: Standing | None) -> str:
    """What stands under a contender's name."""
    if standing is None:
        return ""
    return standing.prior if standing.failure is None else "cannot be fitted to this"


def tiles(count: int, size: QSize) -> list[QRect]:
    """Places for so many faces, in the rows and columns that make them largest."""
    if not count:
        return []

    def largest(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min(size.width() / columns / HEAD_ASPECT, size.height() / rows)

    columns = max(range(1, count + 1), key=lambda columns: (round(largest(columns)), columns))
    rows = math.ceil(count / columns)
    across = [round(i * (size.width() + GAP) / columns) for i in range(columns + 1)]
    down = [round(i * (size.height() + GAP) / rows) for i in range(rows + 1)]
    cells = [(i % columns, i // columns) for i in range(count)]
    return [QRect(across[x], down[y], across[x + 1] - across[x] - GAP, down[y + 1] - down[y] - GAP) for x, y in cells]
