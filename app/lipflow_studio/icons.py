"""The studio's icons: strokes on a 24×24 grid, drawn in the theme's colours whenever they are painted."""

from __future__ import annotations

import functools

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from lipflow_studio.theme import current

# Path data of SVG: round strokes of width 1.7; a leading "*" fills instead.
PATHS = {
    "play": "*M8 5.5v13l11-6.5z",
    "pause": "*M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
    "step": "M6 6v12l8.5-6zM18 6v12",
    "restart": "M4.5 12a7.5 7.5 0 1 0 2.4-5.5M4.5 4.5v4h4",
    "pin": "M9 4h6M10 4l-.6 6L6.5 13.5h11L14.6 10 14 4M12 13.5V21",
    "unpin": "M9 4h6M10 4l-.6 6L6.5 13.5h11L14.6 10 14 4M12 13.5V21M4 4l16 16",
    "mirror": "M12 3v18M9 7L4 17h5zM15 7l5 10h-5z",
    "reset": "M4 9V4M4 9h5M4.6 9a8 8 0 1 1-.5 5",
    "frame": "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
    "open": "M3.5 18.5v-13h6l2 2.5h9v10.5z",
    "front": "M12 4c4 0 5.5 3 5.5 7.5S15.5 20 12 20s-5.5-4-5.5-8.5S8 4 12 4zM9.5 11h.1M14.5 11h.1M10 15.5h4",
    "left": "M14 4c-4 0-6 2.5-6 6l-2 3.5h2V16c0 1.5 1 2 2.5 2H12v2.5M14 4c3 0 4.5 2 4.5 5s-1.5 4.5-1.5 6.5V20.5",
    "right": "M10 4c4 0 6 2.5 6 6l2 3.5h-2V16c0 1.5-1 2-2.5 2H12v2.5M10 4C7 4 5.5 6 5.5 9S7 13.5 7 15.5V20.5",
    "points": "*M5 9a2 2 0 1 0 4 0 2 2 0 1 0-4 0zM15 7a2 2 0 1 0 4 0 2 2 0 1 0-4 0zM10 16a2 2 0 1 0 4 0 2 2 0 1 0-4 0z",
    "residual": "M6 18L18 6M4.5 18a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0zM16.5 6a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0z",
    "copy": "M8 8h11v12H8zM5 16V4h11",
    "close": "M6 6l12 12M18 6L6 18",
    "float": "M8 4h12v12M4 8h12v12H4z",
    "back": "M18 6v12l-8.5-6zM6 6v12",
    "stop": "*M6.5 6.5h11v11h-11z",
    "logs": "M4 19.5h16M6 16l4-5 3.5 3L19 6.5M15 6.5h4v4",
    "check": "M5 12.5l4.5 4.5L19 7.5",
    "headset": "M3 8.5h18v8h-6l-2-2.5h-2l-2 2.5H3z",
    "add": "M12 5v14M5 12h14",
    "remove": "M5 12h14",
    "earlier": "M14.5 5.5L8 12l6.5 6.5",
    "later": "M9.5 5.5L16 12l-6.5 6.5",
    "loop": "M17 4l3 3-3 3M4 11.5V10a3 3 0 0 1 3-3h13M7 20l-3-3 3-3M20 12.5V14a3 3 0 0 1-3 3H4",
    "cube": "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
    "beside": "M3.5 6h7v12h-7zM13.5 6h7v12h-7z",
    "flicker": "M13.5 3.5L5.5 13.5H11l-.8 7 8.3-10.5H13z",
    "difference": "M12 4.5v9M7.5 9h9M7.5 18.5h9",
    "columns": "M4 5h7v14H4zM13 5h7v14h-7z",
    "split": "M4 5h16v14H4zM12 3v18M9.5 12h-2M14.5 12h2",
    "mode_textured": "M12 4c4 0 5.5 3 5.5 7.5S15.5 20 12 20s-5.5-4-5.5-8.5S8 4 12 4zM9 10h1.6M13.4 10H15M12 10.5v3"
    "M10 16.5c1.3.8 2.7.8 4 0",
    "mode_geometry": "M4 12a8 8 0 1 0 16 0 8 8 0 1 0-16 0zM7.5 10.5a5 5 0 0 1 3.5-3.5",
    "mode_wireframe": "M4 12a8 8 0 1 0 16 0 8 8 0 1 0-16 0zM4 12h16M12 4v16M12 4c-4.5 4.5-4.5 11.5 0 16"
    "M12 4c4.5 4.5 4.5 11.5 0 16",
    "mode_normals": "M3.5 18c4.5-5 12.5-5 17 0M12 14V4M9.5 6.5L12 4l2.5 2.5M6.5 15.5L4 9.5M17.5 15.5l2.5-6",
    "mode_error": "M3.5 16c5-9 12-9 17 0M3.5 19.5c5-5 12-5 17 0M12 9.5v6",
    "mode_deviation": "M3 18.5c5 0 5.5-12.5 9-12.5s4 12.5 9 12.5M12 9v9.5M8 13.5h8",
    "camera": "M3.5 7h11v10h-11zM14.5 10.5L20.5 7v10l-6-3.5",
    "snapshot": "M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM8.8 13.2a3.2 3.2 0 1 0 6.4 0 3.2 3.2 0 1 0-6.4 0z",
    "more": "*M3.5 12a1.8 1.8 0 1 0 3.6 0 1.8 1.8 0 1 0-3.6 0zM10.2 12a1.8 1.8 0 1 0 3.6 0 1.8 1.8 0 1 0-3.6 0z"
    "M16.9 12a1.8 1.8 0 1 0 3.6 0 1.8 1.8 0 1 0-3.6 0z",
    "dice": "M5 5h14v14H5zM9 9h.1M15 9h.1M12 12h.1M9 15h.1M15 15h.1",
}


def icon(name: str) -> QIcon:
    """The icon; dimmer on disabled buttons, and in the colours of whichever theme is on."""
    return QIcon(_Strokes(name))


class _Strokes(QIconEngine):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        look = current()
        colour = look.disabled if mode == QIcon.Mode.Disabled else look.text
        renderer = QSvgRenderer(QByteArray(_svg(self._name, colour)))
        renderer.render(painter, QRectF(rect))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, pixmap.rect(), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _Strokes(self._name)


@functools.cache
def _svg(name: str, colour: str) -> bytes:
    path = PATHS[name]
    style = (
        f'fill="{colour}"'
        if path.startswith("*")
        else f'fill="none" stroke="{colour}" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"'
    )
    body = f'<path d="{path.lstrip("*")}" {style}/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{body}</svg>'.encode()
