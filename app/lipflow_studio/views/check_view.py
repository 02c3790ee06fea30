"""What the import check found: problems by name, figures, and the mesh over the photos."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QSizePolicy, QTextBrowser, QVBoxLayout, QWidget

from lipflow.capture.check import ViewCheck
from lipflow_studio.capture_work import CaptureInfo, Checked
from lipflow_studio.document import ByteArray
from lipflow_studio.parts.capture import Captures
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.widgets.make import button, dressed, label
from lipflow_studio.widgets.strip import Choice

EMPTY = "Not checked yet. The check draws the mesh over some photos and compares its render with them."
BETWEEN = 2  # pixels between the report's lines
KINDS = ("Mesh on the photo", "Photo, render, difference ×4")


class CheckView(QWidget):
    """A button, the report, and one of its pictures."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._captures = session.part(Captures)
        self.run_button = button("check", "Check", "Check that meshes, cameras and photos fit together", self._run)
        self.text = QTextBrowser()
        self.text.setMinimumHeight(60)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.view = dressed(Choice(), "view", "Which photo")
        self.kind = dressed(Choice(), "picture", "Which picture of it")
        self.kind.addItems(KINDS)
        self.figures = label("", "muted", "Of the mesh under the photo's camera, and of its render against the photo")
        self.figures.setWordWrap(True)
        self.picture = PictureView()
        for box in (self.view, self.kind):
            box.setMinimumContentsLength(8)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.currentIndexChanged.connect(lambda _: self._show_picture())
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        column.addWidget(self.run_button)
        column.addWidget(self.text, 3)
        column.addWidget(self.view)
        column.addWidget(self.kind)
        column.addWidget(self.figures)
        column.addWidget(self.picture, 4)
        captures = self._captures
        captures.checked_changed.connect(self._show)
        captures.checking_changed.connect(lambda _: self._show(captures.checked))
        captures.info_changed.connect(self._show_info)
        self._show(captures.checked)
        self._show_info(captures.info)

    def _run(self) -> None:
        self._captures.check()

    def _show_info(self, info: CaptureInfo | None) -> None:
        self.run_button.setEnabled(info is not None and not self._captures.checking)

    def _show(self, checked: Checked | None) -> None:
        checking = self._captures.checking
        self._show_info(self._captures.info)
        self.run_button.setText("Checking…" if checking else "Check")
        self.view.clear()
        if checked is not None:
            self.view.addItems([title for title, _, _ in checked.pictures])
        self._write()
        for box in (self.view, self.kind):
            box.setVisible(self.view.count() > 0)
        self.figures.setVisible(self.view.count() > 0)
        self._show_picture()

    def _write(self) -> None:
        if self._captures.checked is not None:
            self.text.setHtml(_report(self._captures.checked))
        else:
            waiting = "The mesh is being drawn over some photos…" if self._captures.checking else EMPTY
            self.text.setPlainText(waiting)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:  # the verdict has a colour of the theme
            self._write()
        super().changeEvent(event)

    def _show_picture(self) -> None:
        checked, place = self._captures.checked, self.view.currentIndex()
        if checked is None or not 0 <= place < len(checked.pictures):
            self.picture.show_picture(None)
        else:
            _, overlay, comparison = checked.pictures[place]
            self.picture.show_picture((overlay, comparison)[self.kind.currentIndex()])
            self.figures.setText(_figures(checked.shown[place]))


class PictureView(QWidget):
    """A picture, as large as there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(QSize(120, 100))
        self.shown: ByteArray | None = None

    def show_picture(self, picture: ByteArray | None) -> None:
        self.shown = picture
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.shown is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        height, width, _ = self.shown.shape
        image = QImage(self.shown.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        size = QSize(width, height).scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        corner = QRect(0, 0, self.width(), self.height()).center()
        target = QRect(corner.x() - size.width() // 2, corner.y() - size.height() // 2, size.width(), size.height())
        painter.drawImage(target, image)
        painter.setPen(QColor(current().line))
        painter.drawRect(target)


def _report(checked: Checked) -> str:
    """Problems first, in their colour; then what else was found. A photo's figures stand beside its pictures."""
    report, look = checked.report, current()
    verdict = [_line(f"<b>Problem:</b> {escape(problem)}", look.bad) for problem in report.problems]
    height, width = report.photo_size
    split = ", ".join(f"{count:,} {part}" for part, count in report.split.items())
    facts = [
        f"{report.frames:,} frames ({split}) in {report.segments:,} segments, {report.cameras} cameras",
        f"Photos {width} × {height}, textures {report.texture_size} × {report.texture_size}, "
        f"{report.vertices:,} vertices, {report.landmarks} landmarks",
        _listed("Missing", report.missing, "everything named is here"),
        _listed("Damaged", report.damaged, "every mesh, pose and picture looks whole"),
    ]
    return "".join([*(verdict or [_line("<b>It fits together.</b>", look.good)]), *map(_line, facts)])


def _line(html: str, colour: str = "") -> str:
    style = f"color: {colour}; " if colour else ""
    return f"<p style='{style}margin: {BETWEEN}px 0'>{html}</p>"


def _listed(title: str, files: Sequence[str], none: str) -> str:
    """How many files, and each of them."""
    if not files:
        return f"{title}: none, {none}"
    return f"{title}: {len(files):,}" + "".join(f"<br>{escape(file)}" for file in files)


def _figures(view: ViewCheck) -> str:
    overlap = "no mask" if view.overlap is None else f"silhouettes overlap {view.overlap:.3f}"
    gains = " ".join(f"{gain:.2f}" for gain in view.gain)
    return f"{100 * view.inside:.1f} % of the vertices inside, PSNR {view.psnr:.2f} dB (gain {gains}), {overlap}"
