"""The fit's energies and log-likelihood against its iterations."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSize, QTimer
from PySide6.QtWidgets import QVBoxLayout, QWidget

from lipflow_studio.document import FitUpdate
from lipflow_studio.session import Session
from lipflow_studio.theme import DARK, SERIES

REDRAW_MS = 250  # plots are the dearest thing to draw in the window


class CurveView(QWidget):
    """Two plots, one above the other, on one iteration axis."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(QSize(200, 120))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 8, 4)
        layout.setSpacing(2)
        self.energy = _plot("energy")
        self.likelihood = _plot("log-likelihood, nats")
        self.likelihood.setXLink(self.energy)
        self._data = self.energy.plot(pen=pg.mkPen(SERIES["data"], width=1.6), name="data")
        self._total = self.energy.plot(pen=pg.mkPen(SERIES["energy"], width=1.6), name="total")
        self._log_p = self.likelihood.plot(pen=pg.mkPen(SERIES["likelihood"], width=1.6), name="log p")
        layout.addWidget(self.energy, 1)
        layout.addWidget(self.likelihood, 1)
        self._latest: FitUpdate | None = None
        self._timer = QTimer(self, interval=REDRAW_MS, singleShot=True)
        self._timer.timeout.connect(self._draw)
        session.fit_changed.connect(self._show_fit)

    def _show_fit(self, update: FitUpdate | None) -> None:
        self._latest = update
        if not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        update = self._latest
        if update is None:
            for line in (self._total, self._data, self._log_p):
                line.setData([], [])
            return
        x = update.first + np.arange(len(update.curve))
        self._total.setData(x, update.curve[:, 0])
        self._data.setData(x, update.curve[:, 1])
        self._log_p.setData(x, update.curve[:, 2])


def _plot(title: str) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=DARK.panel)
    item = plot.getPlotItem()
    item.setTitle(title, color=DARK.muted, size="8pt")
    item.setMenuEnabled(False)
    item.hideButtons()
    item.setMouseEnabled(x=False, y=False)
    item.showGrid(x=True, y=True, alpha=0.12)
    legend = item.addLegend(offset=(-6, 4), labelTextColor=DARK.muted, labelTextSize="8pt", verSpacing=-6)
    legend.setBrush(pg.mkBrush(27, 30, 37, 200))
    for side in ("left", "bottom"):
        axis = item.getAxis(side)
        axis.setPen(pg.mkPen(DARK.line))
        axis.setTextPen(pg.mkPen(DARK.muted))
        axis.setStyle(tickLength=-4, maxTickLevel=1, autoExpandTextSpace=False)
    item.getAxis("left").setWidth(46)
    return plot
