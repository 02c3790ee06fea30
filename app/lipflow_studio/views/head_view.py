"""The head in 3D under a turntable camera."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lipflow.checks import InputError
from lipflow_studio.document import AvatarInfo, Picture, Status
from lipflow_studio.orbit import Orbit
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.head_painter import HeadPainter
from lipflow_studio.widgets.make import label, strip, tool

DEGREES_A_PIXEL = 0.35
ZOOM_A_NOTCH = 1.1
FINE_AFTER_MS = 180  # of rest, until the picture is drawn again at twice the size and smoothed
QUICK_PIXELS = 800_000  # a moving picture has no more of them, where the processor draws
SOFTWARE = ("llvmpipe", "softpipe", "swiftshader")  # OpenGL without a GPU

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class HeadCanvas(QWidget):
    """The picture of the head. Drag: orbit; right, middle or Shift drag: pan; wheel: zoom; double click: reset."""

    drawn = Signal(int)  # serial of the observation whose face is now on the screen

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._painter: HeadPainter | None = None
        self._name = "none"
        self._image: QImage | None = None  # None: to be drawn again
        self._serial = -1
        self._drag: tuple[bool, QPointF] | None = None  # panning?, where the pointer was
        self._fine = False
        self._drawn_size = QSize()
        self._rest = QTimer(self, interval=FINE_AFTER_MS, singleShot=True)
        self._rest.timeout.connect(self.refine)
        self.setMinimumSize(QSize(200, 200))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        try:
            self._painter = HeadPainter()
            self._name = self._painter.name
        except RuntimeError as error:
            session.report(error)
            return
        session.avatar_changed.connect(self._show_avatar)
        session.picture_changed.connect(self._show_picture)
        session.camera_changed.connect(lambda _: self._redraw())
        session.status_changed.connect(self._wait_for_rest)
        if session.avatar_info is not None:
            self._show_avatar(session.avatar_info)
        if session.picture is not None:
            self._show_picture(session.picture)

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
        painter.end()

    def _draw(self, painter: HeadPainter) -> QImage:
        """A fine picture at rest, a quick one while it moves."""
        ratio = self.devicePixelRatioF() * (2.0 if self._fine else 1.0)
        pixels = self.width() * self.height() * ratio**2
        if not self._fine and pixels > QUICK_PIXELS and any(name in self._name.lower() for name in SOFTWARE):
            ratio *= (QUICK_PIXELS / pixels) ** 0.5
        image = painter.draw(
            self._session.camera, max(round(self.width() * ratio), 1), max(round(self.height() * ratio), 1)
        )
        self._drawn_size = self.size()
        if self.has_face:
            serial = self._serial
            QTimer.singleShot(0, lambda: self.drawn.emit(serial))  # once the window shows it
        return image

    # Gestures

    def mousePressEvent(self, event: QMouseEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self._drag = (shift or event.button() != Qt.MouseButton.LeftButton, event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag is None:
            return
        panning, last = self._drag
        moved = event.position() - last
        self._drag = (panning, event.position())
        camera = self._session.camera
        if panning:
            height = max(self.height(), 1)
            self._session.set_camera(target=camera.panned(-moved.x() / height, moved.y() / height).target)
        else:
            turned = camera.orbited(-moved.x() * DEGREES_A_PIXEL, moved.y() * DEGREES_A_PIXEL)
            self._session.set_camera(azimuth=turned.azimuth, elevation=turned.elevation)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._session.reset_camera()

    def wheelEvent(self, event: QWheelEvent) -> None:
        factor = ZOOM_A_NOTCH ** (event.angleDelta().y() / 120)
        self._session.set_camera(distance=self._session.camera.zoomed(factor).distance)


class HeadView(QWidget):
    """The canvas under a strip that names the avatar and holds the camera's presets."""

    first_face = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._has_shown = False
        self.canvas = HeadCanvas(session)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._strip())
        layout.addWidget(self.canvas, 1)
        self.canvas.drawn.connect(self._announce)
        session.avatar_changed.connect(self._show_avatar)
        session.camera_changed.connect(self._show_camera)
        if session.avatar_info is not None:
            self._show_avatar(session.avatar_info)
        self._show_camera(session.camera)

    def _strip(self) -> QWidget:
        bar, row = strip()
        self._title = label("No avatar", "dockName")
        self._angles = label("", "muted")
        row.addWidget(self._title)
        row.addSpacing(10)
        row.addWidget(self._angles)
        row.addStretch(1)
        session = self._session
        for preset, key in (("left", "1"), ("front", "2"), ("right", "3")):
            look = functools.partial(session.view_from, preset)
            row.addWidget(tool(preset, f"Look from the {preset} ({key})", look))
        row.addWidget(tool("frame", "Reset the camera (R, or double click)", session.reset_camera))
        return bar

    def _show_avatar(self, info: AvatarInfo) -> None:
        self._title.setText(info.name)

    def _show_camera(self, orbit: Orbit) -> None:
        self._angles.setText(f"azimuth {orbit.azimuth:+.0f}°   elevation {orbit.elevation:+.0f}°")

    def _announce(self, serial: int) -> None:
        if not self._has_shown:
            self._has_shown = True
            self.first_face.emit()
