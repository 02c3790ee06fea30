"""The fit's energies and log-likelihood against its iterations."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lipflow_studio.document import FitUpdate
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.views.scalar_plot import dress, keep_legible, new_line, number, plain_plot, settle
from lipflow_studio.widgets.make import dressed, label

REDRAW_MS = 250  # plots are the dearest thing to draw in the window
BESIDE = 50  # pixels for the numbers of an axis
UNNUMBERED = 5  # pixels of an axis without numbers
DOT = 5  # pixels of a curve's only point
EMPTY = "No fit yet: drag a keypoint, or open images"


class CurveView(QWidget):
    """Two plots, one above the other, on one iteration axis."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self.setMinimumSize(QSize(200, 140))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 6, 10, 4)
        layout.setSpacing(2)
        self.energy, self.likelihood = plain_plot(), plain_plot()
        self.likelihood.setXLink(self.energy)
        for plot in (self.energy, self.likelihood):
            plot.getPlotItem().getAxis("left").setWidth(BESIDE)
        self.energy.getPlotItem().getAxis("bottom").setStyle(showValues=False)
        self.energy.getPlotItem().getAxis("bottom").setHeight(UNNUMBERED)
        self._total, self._data = new_line(self.energy), new_line(self.energy)
        self._log_p = new_line(self.likelihood)
        self.lines = self._total, self._data, self._log_p
        self._legends = (label("", "legend"), label("", "legend"))
        for title, plot in zip(self._legends, (self.energy, self.likelihood)):
            layout.addWidget(title)
            layout.addWidget(plot, 1)
        self.empty = label(EMPTY, "hint")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setWordWrap(True)
        inside = QVBoxLayout(self.energy)
        inside.setContentsMargins(BESIDE + 6, 0, 4, 4)  # beside the axis
        inside.addWidget(self.empty)
        self._dress()
        self._latest: FitUpdate | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(REDRAW_MS)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        session.fit_changed.connect(self._show_fit)
        self._show_fit(session.fit)
        self._draw()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._dress()
        super().changeEvent(event)

    def _dress(self) -> None:
        """Put the theme's colours on."""
        look = current()
        for plot in (self.energy, self.likelihood):
            dress(plot)
        for line, key in zip(self.lines, ("energy", "data", "likelihood")):
            line.setPen(pg.mkPen(look.series[key], width=1.6))
            line.setSymbolBrush(look.series[key])
        self._legends[0].setText(_legend(("Energy", "energy"), ("Data energy", "data")))
        self._legends[1].setText(_legend(("log p(z), nats", "likelihood")))

    def curves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is drawn: iterations, energies and log-likelihoods."""
        x, energy = self._total.getOriginalDataset()
        _, log_p = self._log_p.getOriginalDataset()
        return tuple(np.array([]) if part is None else part for part in (x, energy, log_p))  # type: ignore[return-value]

    def _show_fit(self, update: FitUpdate | None) -> None:
        self._latest = update
        if not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        update = self._latest
        rows = np.zeros((0, 3)) if update is None else update.curve
        x = (0 if update is None else update.first) + np.arange(len(rows))
        symbol = "o" if len(rows) == 1 else None  # a line needs two
        for line, values in zip(self.lines, rows.T):
            line.setData(x, values, symbol=symbol, symbolSize=DOT, symbolPen=None)
        if len(x):
            keep_legible(self.energy, *rows.T[:2])
            keep_legible(self.likelihood, rows.T[2])
            self.energy.setXRange(x[0], max(x[-1], x[0] + 1), padding=0.03)
        self.empty.setVisible(not len(rows))
        number(self.energy, "left", on=len(rows) > 0)
        number(self.likelihood, "left", "bottom", on=len(rows) > 0)
        for plot in (self.energy, self.likelihood):
            settle(plot)


def _legend(*series: tuple[str, str]) -> str:
    """The plot's title: each curve's name in its colour."""
    colours = current().series
    return "&nbsp;&nbsp;&nbsp;".join(f"<span style='color:{colours[key]}'>{name}</span>" for name, key in series)
