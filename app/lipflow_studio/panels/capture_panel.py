"""The capture browser: frames to load, what they are loaded as, a sequence in time, and the import check."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from lipflow.capture import FrameId
from lipflow_studio.capture_work import CaptureInfo, Figures, Truth
from lipflow_studio.panels.augmentation_controls import AugmentationControls
from lipflow_studio.parts.capture import KINDS, Captures
from lipflow_studio.session import Session
from lipflow_studio.views.capture_tree import CaptureTree
from lipflow_studio.views.check_view import CheckView
from lipflow_studio.widgets.make import button, dressed, label, tool
from lipflow_studio.widgets.scrolling import Scrolling
from lipflow_studio.widgets.timeline import Timeline

BESIDE = 330  # pixels of the window's height for what is below, tabs, menu and status bar
READINGS = (
    ("psnr", "PSNR, dB", "Of the shown face under the frame's frontal camera, inside the mask, in display gamma"),
    ("mesh", "Mesh error, mm", "Mean distance between the vertices of the shown face and of the frame's tracked mesh"),
)


class CapturePanel(QWidget):
    """Bound to the part in both directions."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._captures = captures = session.part(Captures)
        self.tree = CaptureTree(session)
        self.tree.frame_asked.connect(lambda id: captures.load(id.segment, id.number))
        self.tree.currentItemChanged.connect(lambda *_: self._enable())
        self.check = CheckView(session)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.frames = Scrolling(self._frames(), BESIDE)
        self.tabs.addTab(self.frames, "Frames")
        self.augmentation = AugmentationControls(session)
        self.tabs.addTab(Scrolling(self.augmentation, BESIDE), "Augment")
        self.tabs.addTab(Scrolling(self.check, BESIDE), "Check")
        self.pages = QStackedWidget()
        self.pages.addWidget(self._empty())
        self.pages.addWidget(self.tabs)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.pages)
        captures.info_changed.connect(self._show_info)
        captures.frame_changed.connect(self._show_frame)
        captures.kind_changed.connect(lambda kind: self.kind.setCurrentIndex(self.kind.findData(kind)))
        captures.truth_changed.connect(self._show_truth)
        captures.figures_changed.connect(self._show_figures)
        captures.playing_changed.connect(self.timeline.show_playing)
        self.kind.setCurrentIndex(self.kind.findData(captures.kind))
        self._show_info(captures.info)
        self._show_frame(captures.frame)
        self._show_truth(captures.truth)
        self._show_figures(captures.figures)
        self.timeline.show_playing(captures.playing)

    def ask(self) -> None:
        """Let the user choose a capture's folder."""
        chosen = QFileDialog.getExistingDirectory(self, "Open a capture")
        if chosen:
            self._captures.open(chosen)

    # Parts

    def _empty(self) -> QWidget:
        page = QWidget()
        text = label("No capture is open.\nOpen or drop a folder in the Multiface layout to browse its frames.", "hint")
        text.setWordWrap(True)
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.open_button = button("open", "Open a capture…", "Choose the folder of a capture", self.ask)
        column = QVBoxLayout(page)
        column.addStretch(1)
        column.addWidget(text)
        column.addWidget(self.open_button, 0, Qt.AlignmentFlag.AlignCenter)
        column.addStretch(1)
        return page

    def _frames(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        self.title = label("", "dockName")
        self.about = label("", "muted")
        self.about.setWordWrap(True)
        self.other_button = tool("open", "Open another capture", self.ask)
        self.other_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.other_button)
        column.addLayout(top)
        column.addWidget(self.about)
        column.addWidget(self.tree, 1)
        column.addLayout(self._loading())
        column.addWidget(self._timeline())
        column.addLayout(self._readings())
        return page

    def _loading(self) -> QHBoxLayout:
        self.kind = dressed(QComboBox(), "kind", "What a frame gives the fit to see")
        for name, kind in KINDS.items():
            self.kind.addItem(kind.title, name)
        self.kind.activated.connect(lambda: self._captures.set_kind(self.kind.currentData()))
        self.load_button = button(
            "open", "Load", "Fit to the selected frame (Enter, double click)", self._load, "primary"
        )
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(label("As", "muted"))
        row.addWidget(self.kind, 1)
        row.addWidget(self.load_button)
        return row

    def _timeline(self) -> Timeline:
        captures = self._captures
        self.timeline = Timeline("the segment")
        self.timeline.stepped.connect(captures.step)
        self.timeline.play_toggled.connect(captures.play)
        self.timeline.sought.connect(self._seek)
        return self.timeline

    def _readings(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        self.meta = label("", "muted")
        self.meta.setWordWrap(True)
        grid.addWidget(self.meta, 0, 0, 1, 2)
        self.readings = {}
        for row, (name, title, tip) in enumerate(READINGS, 1):
            grid.addWidget(label(title, "muted", tip), row, 0)
            self.readings[name] = label("–", "value", tip)
            self.readings[name].setAlignment(Qt.AlignmentFlag.AlignRight)
            grid.addWidget(self.readings[name], row, 1)
        return grid

    # Gestures

    def _load(self) -> None:
        id = self.tree.selected()
        if id is not None:
            self._captures.load(id.segment, id.number)

    def _seek(self, place: int) -> None:
        segment = self._captures.segment()
        if segment is not None and 0 <= place < len(segment.frames):
            id = segment.frames[place]
            if id != self._captures.frame:
                self._captures.load(id.segment, id.number)

    # What the part says

    def _show_info(self, info: CaptureInfo | None) -> None:
        self.pages.setCurrentIndex(0 if info is None else 1)
        if info is not None:
            height, width = info.photo_size
            self.title.setText(info.name)
            self.title.setToolTip(str(info.root))
            missing = f", {info.missing:,} files missing" if info.missing else ""
            self.about.setText(
                f"{info.frames:,} frames in {len(info.segments)} segments, {len(info.cameras)} cameras{missing}; "
                f"photos {width} × {height}, {info.vertices:,} vertices"
            )
        self._enable()

    def _show_frame(self, frame: FrameId | None) -> None:
        segment = self._captures.segment()
        frames = () if segment is None else segment.frames
        self.timeline.show_place(None if frame is None else frames.index(frame), len(frames))
        self._enable()

    def _show_truth(self, truth: Truth | None) -> None:
        if truth is None:
            self.meta.setText("Load a frame: the fit is compared with its truth here.")
            return
        segment = self._captures.segment()
        split = "" if segment is None else f" · {segment.split}"
        self.meta.setText(f"{truth.id}{split} · {truth.cameras} photos, compared under {truth.camera_name}")

    def _show_figures(self, figures: Figures | None) -> None:
        mesh = None if figures is None else figures.mesh_mm
        self.readings["psnr"].setText("–" if figures is None else f"{figures.psnr_db:.2f}")
        self.readings["mesh"].setText("–" if mesh is None else f"{mesh:.2f}")

    def _enable(self) -> None:
        self.load_button.setEnabled(self.tree.selected() is not None)
        self.timeline.play_button.setEnabled(self._captures.info is not None)
