"""A capture's segments and frames, with a thumbnail of each frame that comes into sight."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QIcon, QImage, QPixmap, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QTreeWidgetItemIterator, QWidget

from lipflow.capture import FrameId
from lipflow_studio.capture_work import THUMBNAIL, CaptureInfo, SegmentInfo
from lipflow_studio.parts.capture import Captures
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.widgets.make import dressed

SETTLE_MS = 60  # of scrolling, before thumbnails are asked for
SEGMENT_HEIGHT = 24  # pixels
LEAST = QSize(200, 96)  # pixels
SPLITS = {"train": "training", "val": "validation", "test": "test"}


class CaptureTree(QTreeWidget):
    """Double click or Enter loads a frame."""

    frame_asked = Signal(object)  # FrameId

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "frames", "Double click or Enter loads a frame")
        self._captures = session.part(Captures)
        self._items: dict[FrameId, QTreeWidgetItem] = {}
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setUniformRowHeights(False)
        self.setExpandsOnDoubleClick(False)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.header().setStretchLastSection(False)
        self.header().setMinimumSectionSize(40)
        self._looking = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._looking.timeout.connect(self._want)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._looking.start())
        self.itemExpanded.connect(lambda _: self._looking.start())
        self.itemActivated.connect(self._activate)
        captures = self._captures
        captures.info_changed.connect(self._fill)
        captures.frame_changed.connect(self._mark)
        captures.thumbnail_made.connect(self._picture)
        self._fill(captures.info)

    def sizeHint(self) -> QSize:
        return LEAST  # it takes what is left

    def minimumSizeHint(self) -> QSize:
        return LEAST

    def selected(self) -> FrameId | None:
        """The frame of the current row."""
        item = self.currentItem()
        return None if item is None else item.data(0, Qt.ItemDataRole.UserRole)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            for row in map(self.topLevelItem, range(self.topLevelItemCount())):
                if row is not None:
                    row.setForeground(1, QColor(current().muted))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._looking.start()

    def _fill(self, info: CaptureInfo | None) -> None:
        self.clear()
        self._items.clear()
        for segment in () if info is None else info.segments:
            self._add(segment)
        shape = (4, 3) if info is None else info.photo_size
        self.setIconSize(QSize(round(THUMBNAIL * shape[1] / shape[0]), THUMBNAIL))
        first = self.topLevelItem(0)
        if first is not None:
            first.setExpanded(True)
        self._looking.start()

    def _add(self, segment: SegmentInfo) -> None:
        row = QTreeWidgetItem(self, [segment.name, f"{segment.split} · {len(segment.frames)}"])
        row.setForeground(1, QColor(current().muted))
        row.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.setSizeHint(0, QSize(60, SEGMENT_HEIGHT))
        use = SPLITS.get(segment.split, "neither training nor test")
        row.setToolTip(0, f"{segment.name}: {len(segment.frames)} frames, for {use}")
        for id in segment.frames:
            item = QTreeWidgetItem(row, [f"{id.number:06d}"])
            item.setData(0, Qt.ItemDataRole.UserRole, id)
            item.setSizeHint(0, QSize(60, THUMBNAIL + 4))
            self._items[id] = item

    def _activate(self, item: QTreeWidgetItem) -> None:
        id = item.data(0, Qt.ItemDataRole.UserRole)
        if id is None:
            item.setExpanded(not item.isExpanded())
        else:
            self.frame_asked.emit(id)

    def _want(self) -> None:
        """Ask for the thumbnails in sight."""
        wanted, bottom = [], self.viewport().height()
        item = self.itemAt(0, 0)
        while item is not None and self.visualItemRect(item).top() < bottom:
            id = item.data(0, Qt.ItemDataRole.UserRole)
            if id is not None and item.icon(0).isNull():
                wanted.append(id)
                self._picture(id)
            item = self.itemBelow(item)
        self._captures.want_thumbnails(wanted)

    def _picture(self, id: FrameId) -> None:
        picture, item = self._captures.thumbnail(id), self._items.get(id)
        if picture is not None and item is not None:
            height, width, _ = picture.shape
            image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
            shown = QIcon(QPixmap.fromImage(image))
            shown.addPixmap(QPixmap.fromImage(image), QIcon.Mode.Selected)  # Qt would tint it
            item.setIcon(0, shown)

    def _mark(self, frame: FrameId | None) -> None:
        """Show which frame is loaded."""
        places = QTreeWidgetItemIterator(self)
        while (item := places.value()) is not None:
            if item.font(0).bold():
                font = item.font(0)
                font.setBold(False)
                item.setFont(0, font)
            places += 1
        item = None if frame is None else self._items.get(frame)
        if item is not None:
            font = item.font(0)
            font.setBold(True)
            item.setFont(0, font)
            item.parent().setExpanded(True)
            if self.selected() != frame:
                self.setCurrentItem(item)
            self.scrollToItem(item, self.ScrollHint.PositionAtCenter)
