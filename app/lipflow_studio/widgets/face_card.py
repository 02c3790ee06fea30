"""A face beside the pointer, and portraits as Qt draws them."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPixmap
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from lipflow_studio.document import ByteArray
from lipflow_studio.widgets.make import dressed, label

AWAY = QPoint(18, 14)  # pixels from what it belongs to
CARD_HEIGHT = 150  # pixels of the face


def pixmap_of(portrait: ByteArray, height: int, ratio: float = 1.0) -> QPixmap:
    """A portrait [h, w, 4] at so many logical pixels, smooth on a screen of that pixel ratio."""
    rows, columns = portrait.shape[:2]
    image = QImage(portrait.data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
    smooth = Qt.TransformationMode.SmoothTransformation
    pixmap = QPixmap.fromImage(image.scaledToHeight(round(height * ratio), smooth))
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


class FaceCard(QFrame):
    """Floats above all windows and takes no pointer; hidden until it is shown somewhere."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.ToolTip | Qt.WindowType.WindowTransparentForInput)
        dressed(self, "card")
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setMinimumSize(QSize(CARD_HEIGHT * 3 // 4, CARD_HEIGHT))
        self.caption = label("", "cardText")
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 5)
        column.setSpacing(4)
        column.addWidget(self.picture)
        column.addWidget(self.caption)

    def show_at(self, place: QPoint, caption: str, portrait: ByteArray | None) -> None:
        """Show beside a place of the screen; without a portrait there is room for it."""
        self.caption.setText(caption)
        self.show_portrait(portrait)
        self.adjustSize()
        screen = QGuiApplication.screenAt(place) or QGuiApplication.primaryScreen()
        room, corner = screen.availableGeometry(), place + AWAY
        if corner.x() + self.width() > room.right():
            corner.setX(place.x() - AWAY.x() - self.width())
        corner.setY(max(room.top(), min(corner.y(), room.bottom() - self.height())))
        self.move(corner)
        self.show()

    def show_portrait(self, portrait: ByteArray | None) -> None:
        if portrait is None:
            self.picture.setText("…")
        else:
            self.picture.setPixmap(pixmap_of(portrait, CARD_HEIGHT, self.devicePixelRatioF()))
