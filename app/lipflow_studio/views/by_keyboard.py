"""What keys do in the pictures: where an arrow points, how the viewer moves, and which view the keys go to."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from lipflow_studio.orbit import Orbit
from lipflow_studio.theme import current

ARROWS = {  # right, down
    Qt.Key.Key_Left: (-1.0, 0.0),
    Qt.Key.Key_Right: (1.0, 0.0),
    Qt.Key.Key_Up: (0.0, -1.0),
    Qt.Key.Key_Down: (0.0, 1.0),
}
ZOOM_KEYS = {Qt.Key.Key_Plus: 1, Qt.Key.Key_Equal: 1, Qt.Key.Key_Minus: -1}  # = is + without Shift on many keyboards
DEGREES_A_KEY = 5.0
PAN_A_KEY = 0.03  # of the picture's height
ZOOM_A_KEY = 1.2
TABBED = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)


def camera_by_key(event: QKeyEvent, camera: Orbit, drawn: Orbit | None = None) -> dict[str, Any]:
    """The fields of the camera that a key changes, for ``set_camera``: arrows walk around the head as dragging the
    mouse that way does, with Shift they pan, + and − zoom. Empty for any other key.

    Args:
        drawn: the camera that the picture is drawn with, where it is fitted into it; a pan is as far in its picture.
    """
    key = Qt.Key(event.key())
    if key in ZOOM_KEYS:
        return {"distance": camera.zoomed(ZOOM_A_KEY ** ZOOM_KEYS[key]).distance}
    if key not in ARROWS or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
        return {}
    right, down = ARROWS[key]
    if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
        return {"target": (drawn or camera).panned(-right * PAN_A_KEY, down * PAN_A_KEY).target}
    turned = camera.orbited(-right * DEGREES_A_KEY, down * DEGREES_A_KEY)
    return {"azimuth": turned.azimuth, "elevation": turned.elevation}


class FocusFrame(QWidget):
    """A line around a view that got the focus by Tab: its keys go there. Who came by mouse knows where he is."""

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()
        view.installEventFilter(self)

    def eventFilter(self, view: QObject, event: QEvent) -> bool:
        if isinstance(event, QFocusEvent) and event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self.setVisible(event.type() == QEvent.Type.FocusIn and event.reason() in TABBED)
        if isinstance(view, QWidget) and self.size() != view.size():
            self.resize(view.size())
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(QPen(QColor(current().accent), 2))
        painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()
