"""The picture of the head: drawn off the screen, moved by gestures, with the keypoints on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QCursor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from lipflow.checks import InputError
from lipflow_studio.document import AvatarInfo, Picture, Status
from lipflow_studio.head_landmarks import PointsDrag
from lipflow_studio.heat import Heat
from lipflow_studio.parts.appearance import Appearance
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.by_keyboard import FocusFrame, camera_by_key
from lipflow_studio.views.head_overlay import HeadOverlay
from lipflow_studio.views.head_paintings import HeadPaintings, Painting, Scene

DEGREES_A_PIXEL = 0.35
ZOOM_A_NOTCH = 1.1
FINE_AFTER_MS = 180  # of rest, until the picture is drawn again at twice the size and smoothed
GRAB, GRAB_UNSEEN = 9.0, 24.0  # pixels around a keypoint that grab it: one that is shown, one sought with Ctrl
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


class HeadCanvas(QWidget):
    """The picture of the head. Drag: orbit; right, middle or Shift drag: pan; wheel: zoom; double click: reset. Keys
    do the same.

    Keypoints that are shown are dragged with the left button; with Ctrl the nearest one is, shown or not. Ctrl and
    Shift together turn the light of the geometry.
    """

    drawn = Signal(int)  # serial of the observation whose face is now on the screen

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._paintings = HeadPaintings(self)
        self._painting: Painting | None = None  # what is on the screen
        self._picture: Picture | None = None  # the newest of the open avatar
        self._is_new = False  # it was never painted
        self._is_stale = True  # another picture is to be asked for
        self._drag: tuple[Callable[[QPointF], None], QPointF] | None = None  # what moves, where the pointer was
        self._points_drag: PointsDrag | None = None
        self._start = QPointF()  # of that drag
        self._gestures = itertools.count()
        self._hover = -1  # position of the landmark under the pointer
        self._seeking = False  # Ctrl is held: the keypoints are shown meanwhile
        self._appearance = session.part(Appearance)
        self._overlay = HeadOverlay(session)
        self._fine = False
        self._rest = QTimer(self, interval=FINE_AFTER_MS, singleShot=True)
        self._rest.timeout.connect(self._plan_fine)
        self._drawn_serial = 0
        self._shown = QTimer(self, interval=0, singleShot=True)  # once the window shows what was painted
        self._shown.timeout.connect(lambda: self.drawn.emit(self._drawn_serial))
        self.setMinimumSize(QSize(200, 140))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Head")
        self._focus = FocusFrame(self)
        self._paintings.made.connect(self._show)
        session.avatar_changed.connect(self._show_avatar)
        session.picture_changed.connect(self._show_picture)
        session.keypoints_changed.connect(lambda _: self._show_points())
        session.selection_changed.connect(lambda _: self._show_points())
        for change in (session.camera_changed, self._appearance.look_changed, self._appearance.heat_changed):
            change.connect(lambda _: self._redraw())
        session.status_changed.connect(self._wait_for_rest)
        session.closed.connect(self.close_gl)
        if session.picture is not None:
            self._show_picture(session.picture)

    @property
    def gl_name(self) -> str:
        """What draws."""
        return "none" if self._painting is None else self._painting.by

    @property
    def has_face(self) -> bool:
        return self._painting is not None and self._painting.has_face

    def close_gl(self) -> None:
        """Let OpenGL go; the canvas stays as it is."""
        self._rest.stop()
        self._paintings.close()

    # What the document says

    def _show_avatar(self, info: AvatarInfo) -> None:
        self._picture = None
        self._redraw()

    def _show_picture(self, picture: Picture) -> None:
        self._picture = picture
        self._redraw()

    def _show_points(self) -> None:
        if self.shows_points:
            self.update()

    def _redraw(self) -> None:
        self._is_stale, self._fine = True, False
        self._wait_for_rest(self._session.status)
        if self.isVisible():
            self._ask()

    def _wait_for_rest(self, status: Status) -> None:
        """Plan the fine picture. A running fit is no rest: it needs the machine, and moves the face soon."""
        if status is Status.RUNNING:
            self._rest.stop()
        else:
            self._rest.start()

    # Painting

    def _scene(self) -> Scene | None:
        """What is to be seen now; None while no avatar is open."""
        session, heat = self._session, self._appearance.heat
        if session.avatar_info is None:
            return None
        return Scene(
            info=session.avatar_info,
            picture=self._picture,
            look=self._appearance.look,
            heat=heat if isinstance(heat, Heat) else None,
            orbit=session.camera,
            width=self.width(),
            height=self.height(),
            scale=self.devicePixelRatioF() * (2.0 if self._fine else 1.0),
            fine=self._fine,
        )

    def _ask(self) -> None:
        scene, self._is_stale = self._scene(), False
        if scene is not None:
            self._paintings.ask(scene)

    def _plan_fine(self) -> None:
        self._fine = True
        self._ask()

    def refine(self) -> None:
        """Draw the fine picture now."""
        self._fine = True
        scene = self._scene()
        painting = None if scene is None else self._paintings.make(scene)
        if painting is not None:
            self._show(painting)

    def _show(self, painting: Painting) -> None:
        """Put a picture on the screen."""
        if painting.error is not None:
            mend = "everything else goes on; save, and start the studio again for the view"
            self._session.report(InputError("3D view", expected="OpenGL", got=painting.error, mend=mend))
            return
        info = None if painting.scene is None else painting.scene.info  # perhaps of an avatar that was open before
        if info is self._session.avatar_info and painting is not self._painting:
            self._painting, self._is_new = painting, True
            self.update()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._redraw()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painting = self._painting
        scene = None if painting is None else painting.scene
        if self._is_stale or (scene is not None and (scene.width, scene.height) != (self.width(), self.height())):
            self._ask()
        painter = QPainter(self)
        if painting is None or painting.image is None:
            painter.fillRect(self.rect(), QColor(current().canvas_bottom))
            painter.end()
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(self.rect(), painting.image)
        if painting.has_face:
            heat, points = self._appearance.heat, self.shows_points
            held = () if self._points_drag is None else self._points_drag.places
            self._overlay.paint(painter, self.width(), self.height(), heat, points=points, hover=self._hover, held=held)
        painter.end()
        if self._is_new and painting.has_face and scene is not None and scene.picture is not None:
            self._drawn_serial = scene.picture.shape.serial
            self._shown.start()
        self._is_new = False

    @property
    def shows_points(self) -> bool:
        """Whether the keypoints are on the head now."""
        return self._appearance.look.points or self._seeking or self._points_drag is not None

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

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Control and self._points_drag is None:
            self._seek(QPointF(self.mapFromGlobal(QCursor.pos())), False)
        super().keyReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Control and self._drag is None and self._points_drag is None and self.underMouse():
            self._seek(QPointF(self.mapFromGlobal(QCursor.pos())), True)
        moved = camera_by_key(event, self._session.camera)
        if moved:
            self._session.set_camera(**moved)
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        factor = ZOOM_A_NOTCH ** (event.angleDelta().y() / 120)
        self._session.set_camera(distance=self._session.camera.zoomed(factor).distance)
