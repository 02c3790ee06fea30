"""Faces side by side, each with a line under it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QIcon, QPixmap, QResizeEvent
from PySide6.QtWidgets import QListView, QListWidget, QListWidgetItem

from lipflow_studio.document import FloatArray
from lipflow_studio.parts.faces import Faces
from lipflow_studio.widgets.face_card import pixmap_of
from lipflow_studio.widgets.make import dressed

BETWEEN = 12  # pixels from one face to the next
UNDER = 40  # pixels below a face, for its line and the scroll bar
LINE = 24  # of these, for its line
EDGE = 4  # pixels beside the first and the last face


class FaceStrip(QListWidget):
    """A list in one row; the portraits come as they are made. Return or double click activates a face."""

    def __init__(self, faces: Faces, asker: str, size: QSize, tip: str, largest: int = 0) -> None:
        """
        Args:
            size: of a face, pixels.
            largest: a face's height, pixels, up to which they all grow where there is room for them; 0: they do not.
        """
        super().__init__()
        dressed(self, "strip", tip)
        self._faces, self._asker = faces, asker
        self._codes: Sequence[FloatArray] = ()
        self._least, self._largest = size, largest
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(size)
        self.setSpacing(0)
        self.setHorizontalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        faces.made.connect(self._show_portrait)

    def sizeHint(self) -> QSize:
        """One row: a dock that a list asks for is higher, and what is above it lower."""
        return QSize(super().sizeHint().width(), self._least.height() + UNDER)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._grow()

    def show_codes(self, codes: Sequence[FloatArray], captions: Sequence[str]) -> None:
        """Show these faces; the chosen place stays chosen."""
        chosen, blank = self.currentRow(), self._blank()
        self._codes = codes
        with QSignalBlocker(self):
            self.clear()
            for caption in captions:
                item = QListWidgetItem(blank, caption)
                item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
                item.setSizeHint(self.iconSize() + QSize(BETWEEN, LINE))
                self.addItem(item)
            self.setCurrentRow(min(chosen, len(codes) - 1))
            self._grow()
        self._faces.want(self._asker, codes)
        self._show_portrait()

    def _blank(self) -> QIcon:
        """What holds the place of a portrait that is not made yet."""
        blank = QPixmap(self.iconSize())
        blank.fill(Qt.GlobalColor.transparent)
        return QIcon(blank)

    def _grow(self) -> None:
        """Make the faces as large as all of them fit, and put the row in the middle of what height is left."""
        if not self._largest:
            return
        least, inside = self._least, self.size() - QSize(2 * EDGE, UNDER)
        wide = inside.width() // max(1, self.count()) - BETWEEN
        high = min(self._largest, inside.height(), wide * least.height() // least.width())
        size = least if high < least.height() else QSize(high * least.width() // least.height(), high)
        self.setViewportMargins(0, max(0, (inside.height() - size.height()) // 2), 0, 0)
        if size == self.iconSize():
            return
        self.setIconSize(size)
        with QSignalBlocker(self):
            for row in range(self.count()):
                self.item(row).setSizeHint(size + QSize(BETWEEN, LINE))
                self.item(row).setIcon(self._blank())
        self._show_portrait()

    def _show_portrait(self, key: bytes = b"") -> None:
        """Put the portrait of a code on its items; without one, those that are there on all."""
        for row, code in enumerate(self._codes):
            portrait = self._faces.portrait(code)
            if portrait is not None and (not key or bytes(key) == self._faces.key(code)):
                pixmap = pixmap_of(portrait, self.iconSize().height(), self.devicePixelRatioF())
                self.item(row).setIcon(pixmap)
