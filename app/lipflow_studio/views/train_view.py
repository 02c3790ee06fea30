"""What a training run is coming to: its curves, a sample picture, its codes in P and Q."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from lipflow_studio.document import ByteArray
from lipflow_studio.parts.training import Training
from lipflow_studio.run_watch import Plane, RunView
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.scalar_plot import ScalarPlot, dress, plain_plot, settle
from lipflow_studio.widgets.make import dressed, label

CAPTIONS = ("Photo", "Q", "Prior")
POINT = 4  # pixels
HIGH, WIDE = 220, 1150  # pixels of the view
TITLE = 26  # pixels of the height of what stands above each part, as high as a choice
PARTS, STACKED, ABREAST = 5, 4, 8  # shares of the width: of a plot or the sample, of Q above P, of Q beside P
CHOOSE = "Train a variant, or choose a run in the Training panel: its curves appear here."
BEGUN = "Nothing is logged yet: curves, a held-out frame and the codes in Q and P appear with the first steps."


class TrainView(QWidget):
    """Shows the run that is chosen in the list."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self.setMinimumSize(QSize(420, 120))
        training = session.part(Training)
        self.plots = (ScalarPlot("losses"), ScalarPlot("psnr"))
        self.sample = SampleView()
        self.q = PlaneView("Q", "Codes of training frames in Q, the decoder's space; crosses: the prior's guesses")
        self.p = PlaneView("P", "The same codes carried into P, the prior's space; crosses: the prior's means")
        self._hint = label(CHOOSE, "hint")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setWordWrap(True)
        shown = QWidget()
        row = QHBoxLayout(shown)
        row.setContentsMargins(8, 6, 8, 4)
        row.setSpacing(10)
        for widget in (*self.plots, self.sample):
            row.addWidget(widget, PARTS)
        self._planes = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._planes.setSpacing(10)
        for plane in (self.q, self.p):
            self._planes.addWidget(plane, 1)
        row.addLayout(self._planes, STACKED)
        self._row = row
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._hint)
        self._stack.addWidget(shown)
        training.view_changed.connect(self._show)
        training.chosen_changed.connect(lambda _: self._show(training.view))
        self._training = training

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a high and narrow view Q stands above P; elsewhere they are beside each other, wide as there is room."""
        way, size = QBoxLayout.Direction, event.size()
        stacked = size.height() >= HIGH and size.width() < WIDE
        self._planes.setDirection(way.TopToBottom if stacked else way.LeftToRight)
        self._row.setStretchFactor(self._planes, ABREAST if size.width() >= WIDE else STACKED)
        super().resizeEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        self._show(self._training.view)
        super().showEvent(event)

    def _show(self, view: RunView | None) -> None:
        if not self.isVisible():  # plots are dear: nothing is drawn where nobody looks
            return
        nothing = view is None or not (view.curves or view.sample is not None)
        self._hint.setText(CHOOSE if self._training.chosen is None else BEGUN)
        self._stack.setCurrentIndex(0 if self._training.chosen is None or nothing else 1)
        for plot in self.plots:
            plot.show_curves({} if view is None else view.curves)
        self.sample.show_picture(None if view is None else view.sample)
        self.q.show_plane(None if view is None else view.q)
        self.p.show_plane(None if view is None else view.p)


class SampleView(QWidget):
    """Photo, reconstruction and the prior's guess of one held-out frame, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(QSize(120, 90))
        self.setToolTip("A held-out frame: its photo, Q's code decoded, and the prior's guess decoded")
        self.picture: ByteArray | None = None

    def show_picture(self, picture: ByteArray | None) -> None:
        self.picture = picture
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, look = QPainter(self), current()
        painter.setPen(QColor(look.muted))
        if self.picture is None:
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "No picture yet")
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        height, width, _ = self.picture.shape
        image = QImage(self.picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        room = self.rect().adjusted(0, TITLE, 0, 0)
        scale = min(room.width() / width, room.height() / height)
        size = QSize(round(width * scale), round(height * scale))
        left = (room.width() - size.width()) // 2
        target = QRect(room.left() + left, room.top(), size.width(), size.height())
        painter.drawImage(target, image)
        third = target.width() / len(CAPTIONS)
        for place, caption in enumerate(CAPTIONS):
            box = QRect(round(target.left() + place * third), 0, round(third), TITLE)
            shown = painter.fontMetrics().elidedText(caption, Qt.TextElideMode.ElideRight, box.width())
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, shown)


class PlaneView(QWidget):
    """A cloud of codes from above."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setMinimumSize(QSize(70, 80))
        self._name = name
        self._plane: Plane | None = None
        self.title = label(name, "muted", tip)
        self.title.setMinimumSize(QSize(10, TITLE))
        self.plot = plain_plot()
        item = self.plot.getPlotItem()
        item.hideAxis("left")
        item.hideAxis("bottom")
        item.setAspectLocked(True)
        self.codes, self.prior = pg.ScatterPlotItem(), pg.ScatterPlotItem()
        item.addItem(self.codes)
        item.addItem(self.prior)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.title)
        column.addWidget(self.plot, 1)
        dress(self.plot)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            dress(self.plot)
            self._draw()
        super().changeEvent(event)

    def show_plane(self, plane: Plane | None) -> None:
        if plane is not self._plane:  # a thousand codes are 70 ms, and are the same ones until the next snapshot
            self._plane = plane
            self._draw()

    def _draw(self) -> None:
        plane = self._plane
        if plane is None:
            self.title.setText(self._name)
            self.codes.clear()
            self.prior.clear()
            return
        look = current()
        brushes = [pg.mkBrush(colour) for colour in look.kinds]
        colours = [brushes[kind % len(brushes)] for kind in plane.kinds]
        self.codes.setData(pos=plane.codes, brush=colours, pen=None, size=POINT)
        self.prior.setData(pos=plane.prior, symbol="x", brush=look.muted, pen=None, size=POINT)
        settle(self.plot)
        self.title.setText(f"{self._name}  {100 * plane.share:.0f} %")
        self.title.setToolTip(f"{self.toolTip()}. This plane shows {100 * plane.share:.0f} % of their variance.")
