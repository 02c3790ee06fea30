"""Faces side by side, each with a line under it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import QListView, QListWidget, QListWidgetItem

from lipflow_studio.document import FloatArray
from lipflow_studio.parts.faces import Faces
from lipflow_studio.widgets.face_card import pixmap_of
from lipflow_studio.widgets.make import dressed

UNDER = 40  # pixels below a face, for its line and the scroll bar


class FaceStrip(QListWidget):
    """A list in one row; the portraits come as they are made. Return or double click activates a face."""

    def __init__(self, faces: Faces, asker: str, size: QSize, tip: str) -> None:
        super().__init__()
        dressed(self, "strip", tip)
        self._faces, self._asker = faces, asker
        self._codes: Sequence[FloatArray] = ()
        blank = QPixmap(size)
        blank.fill(Qt.GlobalColor.transparent)
        self._blank = QIcon(blank)  # holds the place of a portrait that is not made yet
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
        return QSize(super().sizeHint().width(), self.iconSize().height() + UNDER)

    def show_codes(self, codes: Sequence[FloatArray], captions: Sequence[str]) -> None:
        """Show these faces; the chosen place stays chosen."""
        chosen, size = self.currentRow(), self.iconSize()
        self._codes = codes
        with QSignalBlocker(self):
            self.clear()
            for caption in captions:
                item = QListWidgetItem(self._blank, caption)
                item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
                item.setSizeHint(QSize(size.width() + 12, size.height() + 24))
                self.addItem(item)
            self.setCurrentRow(min(chosen, len(codes) - 1))
        self._faces.want(self._asker, codes)
        self._show_portrait()

    def _show_portrait(self, key: bytes = b"") -> None:
        """Put the portrait of a code on its items; without one, those that are there on all."""
        for row, code in enumerate(self._codes):
            portrait = self._faces.portrait(code)
            if portrait is not None and (not key or bytes(key) == self._faces.key(code)):
                pixmap = pixmap_of(portrait, self.iconSize().height(), self.devicePixelRatioF())
                self.item(row).setIcon(pixmap)
