"""The landmarks over the frontal picture: grab them, and the fit follows."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSignalBlocker, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QDoubleSpinBox, QMenu, QToolTip, QVBoxLayout, QWidget

from lipflow_studio.commands.pinning import MAX_STRENGTH, displaced, grabbed_points
from lipflow_studio.document import PULL, AvatarInfo, BoolArray, KeypointSet, Picture
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.by_keyboard import ARROWS, ZOOM_A_KEY, ZOOM_KEYS, FocusFrame
from lipflow_studio.views.keypoint_dots import landmark_colours, paint_points, paint_residuals
from lipflow_studio.widgets.make import dressed, label, tool
from lipflow_studio.widgets.strip import FittingStrip

GRAB = 9.0  # pixels around a point that grab it
NUDGE = 1.0  # pixels of the backdrop an arrow key moves; with Shift 5 times as far
STEPS = {Qt.Key.Key_N: 1, Qt.Key.Key_B: -1}  # keys that go from keypoint to keypoint
SIGHT = (24, 24, -24, -24)  # pixels from the edges inside which a keypoint that a key selected is shown
LARGEST_SCALED = 4_000_000  # pixels of the zoomed picture that are kept scaled
STRENGTHS = (("Pin weakly (1, like a seen one)", 1.0), ("Pin strongly (100)", 10 * PULL))
STRENGTH_TIP = "The factor on their squared distance to the face"
FEW = 12  # points that move without a paint of the whole picture
REACH = 10  # pixels around a point that are painted with it: the ring of a selected one
# Of the landmarks' extent, in the first framing: beside them, above the head, below them (a mouth opens); and at most
# from them to the top of the head.
MARGIN, ABOVE, BELOW, TALLEST = 0.22, 0.04, 0.14, 0.7
SMALL = 200  # pixels of the landmarks' extent below which the dots are smaller: those of eyes and lips would be one
LEAST_DOT = 0.72  # of a dot's size


class KeypointCanvas(QWidget):
    """The picture and its points. Everything it changes, it changes through the Session's commands."""

    hovered = Signal(int)  # ``hover`` is another

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._info: AvatarInfo | None = None
        self._image: QImage | None = None
        self._scaled: QPixmap | None = None  # the image at the present zoom: scaling is the dearest part of painting
        self._pixels: np.ndarray | None = None  # keeps the image's memory
        self._colours: list[str] = []
        self._scale, self._offset = 1.0, QPointF(0, 0)  # widget = offset + scale · backdrop pixel
        self._extent = float(SMALL)  # of the neutral face's landmarks, backdrop pixels
        self._framed = True  # nobody zoomed or panned since the face was framed: it is framed anew at another size
        self._hover = -1
        self._gestures = itertools.count()
        self._drag: tuple[int, QPointF, dict[int, tuple[float, float]]] | None = None
        self._band: tuple[QPointF, QPointF] | None = None
        self._pan: QPointF | None = None
        self._painted: np.ndarray | None = None  # the places of the points on the screen
        self.residuals = True
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Keypoints")
        self._focus = FocusFrame(self)
        self.setMinimumSize(QSize(200, 120))
        session.avatar_changed.connect(self._show_avatar)
        session.keypoints_changed.connect(lambda _: self._show_moved())
        session.selection_changed.connect(lambda _: self.update())
        session.picture_changed.connect(self._show_picture)
        if session.avatar_info is not None:
            self._show_avatar(session.avatar_info)
        if session.picture is not None:
            self._show_picture(session.picture)

    # What the document says

    def _show_avatar(self, info: AvatarInfo) -> None:
        self._info, self._image, self._pixels, self._scaled = info, None, None, None
        self._colours = landmark_colours(info)
        self._set_hover(-1)
        self.frame()

    def _show_picture(self, picture: Picture) -> None:
        if picture.frontal is not None and picture.frontal is not self._pixels:
            height, width = picture.frontal.shape[:2]
            self._pixels = picture.frontal
            self._scaled = None
            self._image = QImage(picture.frontal.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
        self.update()

    def _show_moved(self) -> None:
        """Paint what of the points is elsewhere now: during a drag few are, until the face follows."""
        if self._info is None or self._painted is None or self._session.keypoints is None:
            self.update()
            return
        now = self._places()
        moved = np.flatnonzero((now != self._painted).any((-1, -2)))
        if len(moved) > FEW:
            self.update()
            return
        for i in moved:  # where it was, where it is, and the line from there to the face
            ends = np.concatenate([now[i], self._painted[i]])
            area = QRectF(QPointF(*ends.min(0).tolist()), QPointF(*ends.max(0).tolist()))
            self.update(area.adjusted(-REACH, -REACH, REACH, REACH).toAlignedRect())

    def _places(self) -> np.ndarray:
        """Pixels of this widget: where each landmark is grabbed, and where the face has it, [L, 2, 2]."""
        session = self._session
        handles = session.handles()
        found = handles if session.picture is None else session.picture.shape.keypoints
        return self._to_widget(np.stack([handles, found], axis=1))

    @property
    def hover(self) -> int:
        """Position of the landmark under the pointer, -1 for none."""
        return self._hover

    def frame(self) -> None:
        """Show the neutral face's landmarks with a margin beside them, up to the top of the head."""
        self._framed = True
        if self._info is None or self.width() < 2:
            return
        size = np.array(self._info.backdrop_size[::-1], float)
        points = self._info.keypoints * size
        low, high = points.min(0), points.max(0)
        extent = (high - low).max()
        top = min(max(head_top(self._info) * size[1], low[1] - TALLEST * extent), low[1])
        low[1] = top - ABOVE * extent
        low, high = low - [MARGIN * extent, 0.0], high + np.array([MARGIN, BELOW]) * extent
        self._extent = float(extent)
        self._scale = float(min(self.width() / (high[0] - low[0]), self.height() / (high[1] - low[1])))
        centre = (low + high) / 2
        self._offset = QPointF(self.width() / 2 - self._scale * centre[0], self.height() / 2 - self._scale * centre[1])
        self.update()

    # Between the picture and the widget

    def _to_widget(self, points: np.ndarray) -> np.ndarray:
        """[..., 2] in [0, 1] -> pixels of this widget."""
        assert self._info is not None
        height, width = self._info.backdrop_size
        return points * (np.array([width, height]) * self._scale) + np.array([self._offset.x(), self._offset.y()])

    def _distance(self, pixels: QPointF) -> tuple[float, float]:
        """A distance in this widget's pixels as fractions of the image."""
        assert self._info is not None
        height, width = self._info.backdrop_size
        return pixels.x() / (self._scale * width), pixels.y() / (self._scale * height)

    def position_of(self, index: int) -> QPointF:
        """Where a landmark's handle is in this widget."""
        x, y = self._to_widget(self._session.handles()[index])
        return QPointF(float(x), float(y))

    def _at(self, position: QPointF) -> int:
        if self._info is None or self._session.keypoints is None:
            return -1
        distance = np.linalg.norm(self._to_widget(self._session.handles()) - [position.x(), position.y()], axis=1)
        nearest = int(distance.argmin())
        return nearest if distance[nearest] <= GRAB else -1

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if event.button() in (Qt.MouseButton.MiddleButton,):
            self._pan = position
            return
        if event.button() != Qt.MouseButton.LeftButton or self._session.keypoints is None:
            return
        index = self._at(position)
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        selection = self._session.selection
        if index < 0:
            if not shift:
                self._session.select([])
            self._band = (position, position)
            return
        if shift:
            self._session.select(sorted(selection ^ {index}))
            return
        if index not in selection:
            self._session.select([index])
        self._drag = (next(self._gestures), position, grabbed_points(self._session))
        self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if self._drag is not None:
            gesture, start, origins = self._drag
            right, down = self._distance(position - start)
            self._session.move_keypoints(displaced(self._session, right, down, origins), gesture=gesture)
        elif self._band is not None:
            self._band = (self._band[0], position)
            self._select_in_band(bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            self.update()
        elif self._pan is not None:
            self._offset += position - self._pan
            self._pan, self._framed = position, False
            self.update()
        else:
            self._set_hover(self._at(position))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = self._band = self._pan = None
        self.unsetCursor()
        self._set_hover(self._at(event.position()))
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self._at(event.position()) < 0:
            self.frame()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._zoom(1.0015 ** event.angleDelta().y(), event.position())

    def _zoom(self, factor: float, at: QPointF) -> None:
        scale = float(np.clip(self._scale * factor, 0.2, 40.0))
        self._offset = at + (self._offset - at) * (scale / self._scale)
        self._scale, self._framed = scale, False
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, shift = Qt.Key(event.key()), bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if self._info is None:
            super().keyPressEvent(event)
        elif key in ARROWS:
            far, (right, down) = NUDGE * (5 if shift else 1), ARROWS[key]
            height, width = self._info.backdrop_size
            self._session.nudge(far * right / width, far * down / height)
        elif key in STEPS:
            self._step(STEPS[key])
        elif key in ZOOM_KEYS:
            self._zoom(ZOOM_A_KEY ** ZOOM_KEYS[key], QPointF(self.rect().center()))
        elif key == Qt.Key.Key_Home:
            self.frame()
        else:
            super().keyPressEvent(event)

    def _step(self, by: int) -> None:
        """Select the keypoint after (1) or before (−1) the selected ones, the first or last where none is, and bring
        it into sight."""
        assert self._info is not None
        count, selection = len(self._info.keypoints), self._session.selection
        ends = {1: max(selection, default=-1), -1: min(selection, default=count)}
        index = (ends[by] + by) % count
        self._session.select([index])
        at, inside = self.position_of(index), self.rect().adjusted(*SIGHT)
        x = min(max(at.x(), inside.left()), inside.right())
        y = min(max(at.y(), inside.top()), inside.bottom())
        if (x, y) != (at.x(), at.y()):
            self._offset += QPointF(x, y) - at
            self._framed = False
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._set_hover(-1)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        index = self._at(QPointF(event.pos())) if by_mouse else -1
        if index >= 0 and index not in self._session.selection:
            self._session.select([index])
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        some = bool(self._session.selection)
        session = self._session
        strengths = ((text, functools.partial(session.set_strength, pull), STRENGTH_TIP) for text, pull in STRENGTHS)
        of_selected: list[tuple[str, Callable[[], object], str]] = [
            ("Pin", lambda: session.pin(True), "Hold them where they are now (P)"),
            *strengths,
            ("Unpin", lambda: session.pin(False), "Let them follow the face again (U)"),
            ("Reset selected", lambda: session.reset_keypoints(selected=True), "Unpin them, to the neutral face"),
        ]
        for text, run, tip in of_selected:
            action = menu.addAction(text, run)
            action.setToolTip(tip)
            action.setEnabled(some)
        menu.addAction("Reset all", lambda: session.reset_keypoints()).setToolTip("Put the neutral face on")
        menu.exec(event.globalPos())

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and self._hover >= 0:
            QToolTip.showText(event.globalPos(), self.describe(self._hover), self)
            return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A picture that was zoomed keeps its size and its centre."""
        if self._framed:
            self.frame()
        else:
            grown = event.size() - event.oldSize()
            self._offset += QPointF(grown.width() / 2, grown.height() / 2)

    def _select_in_band(self, add: bool) -> None:
        if self._band is None or self._session.keypoints is None:
            return
        box = QRectF(*self._band).normalized()
        points = self._to_widget(self._session.handles())
        inside = {i for i, (x, y) in enumerate(points) if box.contains(QPointF(float(x), float(y)))}
        self._session.select(sorted(inside | self._session.selection if add else inside))

    def _set_hover(self, index: int) -> None:
        if index != self._hover:
            self._hover = index
            self.setCursor(Qt.CursorShape.OpenHandCursor) if index >= 0 else self.unsetCursor()
            self.hovered.emit(index)
            self.update()

    def describe(self, index: int) -> str:
        """A landmark's name, and how far the face is from where it was put."""
        info, keypoints, picture = self._info, self._session.keypoints, self._session.picture
        assert info is not None
        assert keypoints is not None
        text = info.landmarks.names[index]
        if keypoints.pinned[index] and picture is not None:
            height, width = info.backdrop_size
            away = np.linalg.norm((keypoints.given[index] - picture.shape.keypoints[index]) * [width, height])
            text += f"  ·  pinned × {keypoints.strength[index]:g}, {away:.1f} px away"
        return text

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(current().window))
        self._painted = None
        if self._info is not None and self._session.keypoints is not None:
            self._painted = self._places()
            self._paint(painter, self._info, self._session.keypoints, self._painted, event.rect())
        painter.end()

    def _paint(
        self, painter: QPainter, info: AvatarInfo, keypoints: KeypointSet, places: np.ndarray, area: QRect
    ) -> None:
        if self._image is not None:
            self._paint_image(painter, self._image, info.backdrop_size)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        handles, pinned = places[:, 0], keypoints.pinned
        if self.residuals:
            paint_residuals(painter, handles[pinned], places[pinned, 1])
        ringed = self._session.selection | ({self._hover} if self._hover >= 0 else set())
        low, high = np.array([area.left(), area.top()]) - REACH, np.array([area.right(), area.bottom()]) + REACH
        seen: BoolArray = np.all((handles >= low) & (handles <= high), axis=-1)
        dots = min(max(self._extent * self._scale / SMALL, LEAST_DOT), 1.0)
        paint_points(painter, handles, self._colours, pinned, ringed, seen, round(dots, 1))
        if self._band is not None:
            accent = QColor(current().accent)
            painter.setPen(QPen(accent, 1, Qt.PenStyle.DashLine))
            accent.setAlpha(30)
            painter.setBrush(accent)
            painter.drawRect(QRectF(*self._band).normalized())

    def _paint_image(self, painter: QPainter, image: QImage, size: tuple[int, int]) -> None:
        box = QSize(max(round(size[1] * self._scale), 1), max(round(size[0] * self._scale), 1))
        if box.width() * box.height() > LARGEST_SCALED:
            painter.drawImage(QRectF(self._offset, QSizeF(box)), image)
            return
        ratio = self.devicePixelRatioF()
        if self._scaled is None or self._scaled.size() != box * ratio:
            smooth = image.scaled(
                box * ratio, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
            self._scaled = QPixmap.fromImage(smooth)
            self._scaled.setDevicePixelRatio(ratio)
        painter.drawPixmap(self._offset, self._scaled)


def head_top(info: AvatarInfo) -> float:
    """Where the neutral face ends above in the keypoint camera's picture, as a fraction of its height."""
    seen = np.c_[info.vertices, np.ones(len(info.vertices))] @ info.keypoint_projection.T  # [V, 3]
    return float((seen[:, 1] / seen[:, 2]).min())


class PinWeight(QDoubleSpinBox):
    """The weight of the selected keypoints' pins; of several that differ, the largest."""

    def __init__(self) -> None:
        super().__init__()
        tip = "Weight of the selected pins, on their squared distance (a keypoint that a camera saw has 1; 0: unpin)"
        dressed(self, "weight", tip)
        self.setAccessibleName("Weight of the selected pins")
        self.setRange(0.0, MAX_STRENGTH)
        self.setDecimals(1)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setSpecialValueText("free")
        self.setKeyboardTracking(False)
        self.setFixedWidth(92)

    def show_weights(self, weights: list[float]) -> None:
        """Show the selected ones' weights, 0 of those that are not pinned; nothing is sent back."""
        self.setEnabled(bool(weights))
        prefix = "≤ " if len(set(weights)) > 1 else "× "
        with QSignalBlocker(self):
            if prefix != self.prefix():  # Qt lays the whole window out again, whatever the new one is
                self.setPrefix(prefix)
            self.setValue(max(weights, default=0.0))


class KeypointView(QWidget):
    """The canvas between a strip of tools and a line that says what is under the pointer."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.canvas = KeypointCanvas(session, self)
        self.line = label("", "hint")
        self.line.setContentsMargins(10, 4, 10, 5)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._strip())
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.line)
        self.canvas.hovered.connect(lambda _: self._say())
        session.fit_changed.connect(lambda _: self._say())  # the distance to a pin
        session.keypoints_changed.connect(lambda _: self._refresh())
        session.selection_changed.connect(lambda _: self._refresh())
        self._refresh()

    def _strip(self) -> QWidget:
        bar = FittingStrip(left=6)
        session = self._session
        self._pin = tool("pin", "Pin the selected keypoints where they are (P)", lambda: session.pin(True))
        self._unpin = tool("unpin", "Unpin the selected keypoints (U)", lambda: session.pin(False))
        self._reset = tool("reset", "Reset the selected keypoints, or all (Backspace)", self.reset)
        self._mirror = tool("mirror", "Symmetric drag: the mirror image moves along (S)")
        self._residuals = tool("residual", "Show the distance from pinned keypoints to the face")
        self._mirror.setCheckable(True)
        self._residuals.setCheckable(True)
        self._residuals.setChecked(True)
        self._mirror.clicked.connect(lambda on: session.set_symmetric(on))
        session.symmetric_changed.connect(self._mirror.setChecked)
        self._mirror.setChecked(session.symmetric)
        self._residuals.toggled.connect(self._show_residuals)
        self.weight = PinWeight()
        self.weight.valueChanged.connect(session.set_strength)
        for part in (self._pin, self._unpin, self.weight, self._reset):
            bar.add(part)
        bar.add(self._mirror, yields=1)
        bar.add(self._residuals, yields=2)
        bar.add_stretch()
        bar.add(tool("frame", "Frame the face (double click)", self.canvas.frame), yields=3)
        return bar

    def reset(self) -> None:
        self._session.reset_keypoints(selected=bool(self._session.selection))

    def _show_residuals(self, on: bool) -> None:
        self.canvas.residuals = on
        self.canvas.update()

    def _refresh(self) -> None:
        some = bool(self._session.selection)
        self._pin.setEnabled(some)
        self._unpin.setEnabled(some)
        self._reset.setEnabled(self._session.keypoints is not None)
        keypoints = self._session.keypoints
        weights = [] if keypoints is None else keypoints.strength[list(self._session.selection)].tolist()
        self.weight.show_weights(weights)
        self._say()

    def _say(self) -> None:
        keypoints, hovered = self._session.keypoints, self.canvas.hover
        if keypoints is None:
            self.line.setText("No avatar is open")
        elif hovered >= 0:
            self.line.setText(self.canvas.describe(hovered))
        else:
            selection, pinned = self._session.selection, int(keypoints.pinned.sum())
            counts = f"{pinned} pinned  ·  {len(selection)} selected"
            if len(selection) == 1:
                counts = self.canvas.describe(next(iter(selection)))
            self.line.setText(counts if pinned or selection else "Drag a keypoint: the face follows")
