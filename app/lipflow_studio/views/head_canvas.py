"""The picture of the head: drawn off the screen, moved by gestures, with the keypoints on it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from lipflow.checks import InputError
from lipflow_studio.document import AvatarInfo, Picture, Status
from lipflow_studio.head_landmarks import PointsDrag
from lipflow_studio.heat import Heat
from lipflow_studio.look import Look
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.head_overlay import HeadOverlay
from lipflow_studio.views.head_painter import HeadPainter

DEGREES_A_PIXEL = 0.35
ZOOM_A_NOTCH = 1.1
FINE_AFTER_MS = 180  # of rest, until the picture is drawn again at twice the size and smoothed
QUICK_PIXELS = 800_000  # a moving picture has no more of them, where the processor draws
GRAB, GRAB_UNSEEN = 9.0, 24.0  # pixels around a keypoint that grab it: one that is shown, one sought with Ctrl
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
SOFTWARE = ("llvmpipe", "softpipe", "swiftshader")  # OpenGL without a GPU

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class HeadCanvas(QWidget):
    """The picture of the head. Drag: orbit; right, middle or Shift drag: pan; wheel: zoom; double click: reset.

    Keypoints that are shown are dragged with the left button; with Ctrl the nearest one is, shown or not. Ctrl and
    Shift together turn the light of the geometry.
    """

    drawn = Signal(int)  # serial of the observation whose face is now on the screen

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._painter: HeadPainter | None = None
        self._name = "none"
        self._image: QImage | None = None  # None: to be drawn again
        self._serial = -1
        self._drag: tuple[Callable[[QPointF], None], QPointF] | None = None  # what moves, where the pointer was
        self._points_drag: PointsDrag | None = None
        self._start = QPointF()  # of that drag
        self._gestures = itertools.count()
        self._hover = -1  # position of the landmark under the pointer
        self._seeking = False  # Ctrl is held: the keypoints are shown meanwhile
        self._appearance = session.part(Appearance)
        self._overlay = HeadOverlay(session)
        self._fine = False
        self._drawn_size = QSize()
        self._rest = QTimer(self, interval=FINE_AFTER_MS, singleShot=True)
        self._rest.timeout.connect(self.refine)
        self.setMinimumSize(QSize(200, 200))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        try:
            self._painter = HeadPainter()
            self._name = self._painter.name
        except RuntimeError as error:
            session.report(error)
            return
        session.avatar_changed.connect(self._show_avatar)
        session.picture_changed.connect(self._show_picture)
        session.camera_changed.connect(lambda _: self._redraw())
        session.keypoints_changed.connect(lambda _: self._show_points())
        session.selection_changed.connect(lambda _: self._show_points())
        self._appearance.look_changed.connect(self._show_look)
        self._appearance.heat_changed.connect(self._show_heat)
        session.status_changed.connect(self._wait_for_rest)
        if session.avatar_info is not None:
            self._show_avatar(session.avatar_info)
        if session.picture is not None:
            self._show_picture(session.picture)
        self._show_look(self._appearance.look)
        self._show_heat(self._appearance.heat)

    @property
    def gl_name(self) -> str:
        """What draws."""
        return self._name

    @property
    def has_face(self) -> bool:
        return self._painter is not None and self._painter.has_face

    def close_gl(self) -> None:
        """Let OpenGL go; the canvas stays blank."""
        if self._painter is not None:
            self._rest.stop()
            self._painter.close()
            self._painter = self._image = None

    # What the document says

    def _show_avatar(self, info: AvatarInfo) -> None:
        self._guarded(lambda painter: painter.set_topology(info))
        self._redraw()

    def _show_picture(self, picture: Picture) -> None:
        self._guarded(lambda painter: painter.set_picture(picture))
        self._serial = picture.shape.serial
        self._redraw()

    def _show_look(self, look: Look) -> None:
        self._guarded(lambda painter: painter.set_look(look))
        self._redraw()

    def _show_heat(self, heat: Heat | str | None) -> None:
        self._guarded(lambda painter: painter.set_heat(heat if isinstance(heat, Heat) else None))
        self._redraw()

    def _show_points(self) -> None:
        if self.shows_points:
            self.update()

    def _guarded(self, use: Callable[[HeadPainter], Result]) -> Result | None:
        """Give the painter something to do. A context that is lost (the driver was reset, the machine slept) is
        replaced by a new one; where there is none to be had, the canvas stays blank and the rest goes on."""
        if self._painter is None:
            return None
        try:
            return use(self._painter)
        except RuntimeError as error:
            log.warning("3D view: %s; starting again", error)
        try:
            self._painter = HeadPainter()
            if self._session.avatar_info is not None:
                self._painter.set_topology(self._session.avatar_info)
            if self._session.picture is not None:
                self._painter.set_picture(self._session.picture)
            heat = self._appearance.heat
            self._painter.set_look(self._appearance.look)
            self._painter.set_heat(heat if isinstance(heat, Heat) else None)
            return use(self._painter)
        except RuntimeError as error:
            self._painter = None
            mend = "everything else goes on; save, and start the studio again for the view"
            self._session.report(InputError("3D view", expected="OpenGL", got=error, mend=mend))
            return None

    def _redraw(self) -> None:
        self._image, self._fine = None, False
        self._wait_for_rest(self._session.status)
        self.update()

    def _wait_for_rest(self, status: Status) -> None:
        """Plan the fine picture. A running fit is no rest: it needs the machine, and moves the face soon."""
        if status is Status.RUNNING:
            self._rest.stop()
        else:
            self._rest.start()

    def refine(self) -> None:
        """Draw the fine picture now."""
        self._image, self._fine = None, True
        self.update()

    # Painting

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._redraw()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._image is None or self._drawn_size != self.size():
            self._image = self._guarded(self._draw)
        painter = QPainter(self)
        if self._image is None:
            painter.fillRect(self.rect(), QColor(current().canvas_bottom))
            painter.end()
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(self.rect(), self._image)
        if self.has_face:
            heat, points = self._appearance.heat, self.shows_points
            self._overlay.paint(painter, self.width(), self.height(), heat, points=points, hover=self._hover)
        painter.end()

    @property
    def shows_points(self) -> bool:
        """Whether the keypoints are on the head now."""
        return self._appearance.look.points or self._seeking or self._points_drag is not None

    def _draw(self, painter: HeadPainter) -> QImage:
        """A fine picture at rest, a quick one while it moves."""
        ratio = self.devicePixelRatioF() * (2.0 if self._fine else 1.0)
        pixels = self.width() * self.height() * ratio**2
        if not self._fine and pixels > QUICK_PIXELS and any(name in self._name.lower() for name in SOFTWARE):
            ratio *= (QUICK_PIXELS / pixels) ** 0.5
        image = painter.draw(
            self._session.camera,
            max(round(self.width() * ratio), 1),
            max(round(self.height() * ratio), 1),
            scale=ratio,
        )
        self._drawn_size = self.size()
        if self.has_face:
            serial = self._serial
            QTimer.singleShot(0, lambda: self.drawn.emit(serial))  # once the window shows it
        return image

    # Gestures

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._appearance.size = (self.width(), self.height())
        super().resizeEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        left, held = event.button() == Qt.MouseButton.LeftButton, event.modifiers()
        if left and held & CTRL and held & SHIFT and self._appearance.look.mode == "geometry":
            self._drag = (self._turn_light, event.position())
        elif left and not held & SHIFT and self._take(event.position(), bool(held & CTRL)):
            return
        else:
            panning = not left or bool(held & SHIFT)
            self._drag = (self._pan if panning else self._orbit, event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._points_drag is not None:
            self._carry(self._points_drag, event.position() - self._start)
        elif self._drag is not None:
            act, last = self._drag
            self._drag = (act, event.position())
            act(event.position() - last)
        else:
            self._seek(event.position(), bool(event.modifiers() & CTRL and not event.modifiers() & SHIFT))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = self._points_drag = None
        self._seek(event.position(), bool(event.modifiers() & CTRL))

    def leaveEvent(self, event: QEvent) -> None:
        if self._points_drag is None and (self._seeking or self._hover >= 0):
            self._seeking, self._hover = False, -1
            self.update()
        super().leaveEvent(event)

    def _pan(self, moved: QPointF) -> None:
        camera, height = self._session.camera, max(self.height(), 1)
        self._session.set_camera(target=camera.panned(-moved.x() / height, moved.y() / height).target)

    def _orbit(self, moved: QPointF) -> None:
        turned = self._session.camera.orbited(-moved.x() * DEGREES_A_PIXEL, moved.y() * DEGREES_A_PIXEL)
        self._session.set_camera(azimuth=turned.azimuth, elevation=turned.elevation)

    def _turn_light(self, moved: QPointF) -> None:
        right, up = self._appearance.look.light
        self._appearance.set_light([right + moved.x() * DEGREES_A_PIXEL, up - moved.y() * DEGREES_A_PIXEL])

    # Keypoints on the head

    def handle(self, index: int) -> QPointF:
        """Where a keypoint is in this widget."""
        points = self._overlay.points(self.width(), self.height())
        assert points is not None
        return QPointF(*points.handles[index].tolist())

    def _seek(self, position: QPointF, ctrl: bool) -> None:
        """Which keypoint a press here would take."""
        reach = GRAB_UNSEEN if ctrl else GRAB
        points = None
        if self.has_face and (ctrl or self._appearance.look.points):
            points = self._overlay.points(self.width(), self.height())
        hover = -1 if points is None else points.at(position, reach)
        if (hover, ctrl) != (self._hover, self._seeking):
            self._hover, self._seeking = hover, ctrl
            self.setCursor(Qt.CursorShape.OpenHandCursor) if hover >= 0 else self.unsetCursor()
            self.update()

    def _take(self, position: QPointF, ctrl: bool) -> bool:
        """Grab the keypoint that is here, or with Ctrl near here; the selected ones come along."""
        self._seek(position, ctrl)
        session, index, info = self._session, self._hover, self._session.avatar_info
        points = self._overlay.points(self.width(), self.height()) if index >= 0 else None
        if points is None or info is None:
            return False
        if index not in session.selection:
            session.select([index])
        mirrored = {info.landmarks.mirror[i] for i in session.selection} if session.symmetric else set()
        moving = sorted(session.selection | mirrored)
        self._start = position
        self._points_drag = PointsDrag(
            f"head {next(self._gestures)}",
            {i: points.places[i] for i in moving},
            frozenset(mirrored - session.selection),
            session.camera,
            session.camera.mm_a_pixel(session.camera.depth(points.places[index]), self.height()),
        )
        self.setCursor(Qt.CursorShape.ClosedHandCursor)
        return True

    def _carry(self, drag: PointsDrag, by: QPointF) -> None:
        """Where the pointer takes the grabbed ones, as the keypoint camera sees it."""
        places, marks = drag.moved(by.x(), by.y()), self._overlay.marks
        if marks is not None:
            seen = marks.keypoints(np.stack(list(places.values())))
            given = {i: (float(x), float(y)) for i, (x, y) in zip(places, seen)}
            self._session.move_keypoints(given, gesture=drag.gesture)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._session.reset_camera()

    def wheelEvent(self, event: QWheelEvent) -> None:
        factor = ZOOM_A_NOTCH ** (event.angleDelta().y() / 120)
        self._session.set_camera(distance=self._session.camera.zoomed(factor).distance)
