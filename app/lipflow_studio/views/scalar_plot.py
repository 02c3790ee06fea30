"""Scalars of a training against its steps; which ones is chosen above the plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication, QComboBox, QVBoxLayout, QWidget

from lipflow.training_log import Curve
from lipflow_studio.theme import current
from lipflow_studio.widgets.make import dressed, label

NOTHING = "nothing logged yet"
WRITTEN = (1.0, 2.0, 5.0, 10.0)
CLOSEST = 19  # pixels from one number beside a plot to the next
BESIDE = 6  # pixels between two numbers below a plot
LOW = 110  # pixels of a plot's height below which there are two numbers, wherever they are
INSIDE = 0.24  # of a low plot's height from its edges to these
FEWEST = 3  # numbers beside a plot, where there is room for them
DIGITS = 4  # of a number beside a plot; one of more before the point has none behind it
THOUSANDS = 100_000  # from here on numbers beside a plot are written as so many
WIDEST = 600  # points of a curve that are drawn: about as many as the plot has pixels


@dataclass(frozen=True)
class PlotRow:
    """A set of scalars that belong together."""

    name: str
    title: str  # with the unit
    lines: tuple[tuple[str, str], ...]  # tag in the log, and its name in the legend
    log: bool = False  # whether the axis is logarithmic
    tip: str = ""


PLOTS = (
    PlotRow(
        "losses",
        "Losses",
        (
            ("train/loss", "sum"),
            ("train/image", "image"),
            ("train/texture", "texture"),
            ("train/mesh", "mesh"),
            ("train/latent", "latent"),
        ),
        log=True,
        tip="The objective's terms before their weights, and their weighted sum",
    ),
    PlotRow(
        "psnr",
        "Held-out PSNR, dB",
        (("held-out/reconstruction_psnr", "Q decoded"), ("held-out/start_psnr", "prior's guess")),
        tip="On held-out expressions, inside the mask, in display gamma",
    ),
    PlotRow(
        "mesh",
        "Held-out mesh, mm",
        (("held-out/mesh_mm", "Q decoded"), ("held-out/start_mesh_mm", "prior's guess")),
        tip="Mean distance of the vertices on held-out expressions",
    ),
    PlotRow("sigma", "σq and σp", (("train/sigma_q", "σq"), ("train/sigma_p", "σp")), tip="Means over the dimensions"),
    PlotRow("jacobian", "log |det|, nats", (("train/log_abs_det", "log |det|"),), tip="Of the flow from Q to P"),
    PlotRow(
        "nll",
        "−log p(z), nats",
        (("train/nll", "training"), ("held-out/nll", "held out")),
        tip="Of Q's codes under the prior",
    ),
    PlotRow("gradient", "Gradient norm", (("train/gradient_norm", "norm before clipping"),), log=True),
    PlotRow("rate", "Learning rate", (("train/learning_rate", "learning rate"),)),
)


class ScalarPlot(QWidget):
    """One plot, its choice and its legend."""

    def __init__(self, first: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(QSize(150, 90))
        self._curves: Mapping[str, Curve] = {}
        self.choice = dressed(QComboBox(), "scalars", "Which scalars are drawn")
        for row in PLOTS:
            self.choice.addItem(row.title, row.name)
        self.choice.setCurrentIndex(self.choice.findData(first))
        self.choice.currentIndexChanged.connect(lambda _: self._draw())
        self.plot = plain_plot()
        dress(self.plot)
        self._lines: dict[str, pg.PlotDataItem] = {}  # by their tags
        self._log = False  # the axis of the values
        self.legend = label("", "legend")
        self.legend.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.legend.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.choice)
        column.addWidget(self.legend)
        column.addWidget(self.plot, 1)
        self._draw()

    def show_curves(self, curves: Mapping[str, Curve]) -> None:
        self._curves = curves
        self._draw()

    def drawn(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Steps and values of each line, by its tag."""
        items = self.plot.getPlotItem().listDataItems()
        return {item.opts["name"]: item.getOriginalDataset() for item in items}

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            dress(self.plot)
            self._draw()
        super().changeEvent(event)

    def _draw(self) -> None:
        """Bring the plot up to date. Its lines are kept: new ones each second would cost the window twice as much."""
        row, look = PLOTS[self.choice.currentIndex()], current()
        item = self.plot.getPlotItem()
        wanted = {tag: self._curves[tag] for tag, _ in row.lines if tag in self._curves}
        for tag in self._lines.keys() - wanted.keys():
            item.removeItem(self._lines.pop(tag))
        if row.log is not self._log:
            self._log = row.log
            item.setLogMode(y=row.log)
        named = []
        for place, (tag, name) in enumerate(row.lines):
            curve = wanted.get(tag)
            if curve is None:
                continue
            if tag not in self._lines:
                self._lines[tag] = new_line(self.plot, tag)
            colour = look.kinds[place % len(look.kinds)]
            thin = slice(None, None, max(1, math.ceil(len(curve.steps) / WIDEST)))
            few = len(curve.steps) < 30
            self._lines[tag].setData(
                curve.steps[thin],
                curve.values[thin],
                pen=pg.mkPen(colour, width=1.4),
                symbol="o" if few else None,
                symbolSize=4,
                symbolBrush=colour,
                symbolPen=None,
            )
            named.append(f"<span style='color:{colour}'>{name}</span>")
        last = max((int(curve.steps[-1]) for curve in self._curves.values()), default=0)
        item.setXRange(0, max(last, 1), padding=0.02)
        number(self.plot, "left", "bottom", on=bool(named))
        settle(self.plot)
        self.legend.setText(f"<span style='font-size: 10px'>{' '.join(named) or NOTHING}</span>")
        self.choice.setToolTip(row.tip or "Which scalars are drawn")


class _Axis(pg.AxisItem):
    """In a low plot numbers would lie over each other: so few are written that they do not. Of a decade, 1, 2 and 5."""

    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        spacings: list[tuple[float, float]] = super().tickSpacing(minVal, maxVal, size)
        (major, offset), width = spacings[0], maxVal - minVal
        if self.logMode or width <= 0 or size <= 0:
            return spacings
        closest = CLOSEST * width / size
        if width < FEWEST * major:
            major = max(_round_up(major / 2.5), _round_up(closest))  # a half would be 2.5, and written as 2 or 3
        elif major < closest:
            major = _round_up(closest)
        return [(major, offset), *spacings[1:]]

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        width = maxVal - minVal
        if self.logMode or not 0 < size < LOW or width <= 0:
            values: list[tuple[float, list[float]]] = super().tickValues(minVal, maxVal, size)
            return values
        step = _round_up(width / 10)
        ends = minVal + INSIDE * width, maxVal - INSIDE * width
        return [(step, [step * round(end / step) for end in ends])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if not self.logMode and max(map(abs, values), default=0) >= THOUSANDS:
            return [f"{value / 1000:g}k" for value in values]
        texts: list[str] = super().tickStrings(values, scale, spacing)
        return texts

    def logTickStrings(self, values: list[float], scale: float, spacing: float | None) -> list[str]:
        texts = super().logTickStrings(values, scale, spacing)
        return [text if round(10 ** (value % 1), 3) in WRITTEN else "" for value, text in zip(values, texts)]


class _Steps(pg.AxisItem):
    """Whole numbers."""

    def tickSpacing(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, float]]:
        """In a narrow plot so few that they do not lie over each other."""
        spacings, width = super().tickSpacing(minVal, maxVal, size), maxVal - minVal
        if width > 0 and size > 0:
            room = QFontMetrics(QApplication.font()).horizontalAdvance(f"{maxVal:.0f}") + BESIDE
            spacings = [(max(spacing, _round_up(room * width / size)), offset) for spacing, offset in spacings]
        return [(max(spacing, 1.0), offset) for spacing, offset in spacings]


def _round_up(value: float) -> float:
    """The next of … 1, 2, 5, 10, 20, 50 …"""
    decade = 10.0 ** np.floor(np.log10(value))
    return float(next(decade * step for step in WRITTEN if decade * step >= value * 0.999))


def plain_plot() -> pg.PlotWidget:
    """A plot that is only looked at."""
    plot = pg.PlotWidget(axisItems={"left": _Axis("left"), "bottom": _Steps("bottom")})
    plot.setFrameShape(plot.Shape.NoFrame)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    item = plot.getPlotItem()
    item.setMenuEnabled(False)
    item.hideButtons()
    item.setMouseEnabled(x=False, y=False)
    item.getViewBox().setDefaultPadding(0.12)
    item.showGrid(x=True, y=True, alpha=0.12)
    for side in ("left", "bottom"):
        item.getAxis(side).setStyle(tickLength=-4, maxTickLevel=0, autoExpandTextSpace=False)
        item.getAxis(side).enableAutoSIPrefix(False)
    item.getAxis("left").setWidth(44)
    item.getAxis("bottom").setHeight(18)
    return plot


def new_line(plot: pg.PlotWidget, name: str | None = None) -> pg.PlotDataItem:
    """A line in a plot that shows all of it: no care for values far outside, for which it is made anew at each move."""
    return plot.getPlotItem().plot(name=name, dynamicRangeLimit=None)


def number(plot: pg.PlotWidget, *sides: str, on: bool) -> None:
    """Whether numbers stand beside these axes, which are made anew only where that changes."""
    for side in sides:
        axis = plot.getPlotItem().getAxis(side)
        if axis.style["showValues"] is not on:
            axis.setStyle(showValues=on)


def keep_legible(plot: pg.PlotWidget, *series: np.ndarray) -> None:
    """Show no less of the values than numbers of ``DIGITS`` digits tell apart: longer ones are not written beside a
    plot, and a curve that rests is a line, not its last digits."""
    values = np.abs(np.concatenate(series))
    greatest = values[np.isfinite(values)].max(initial=0.0)
    digits = len(f"{greatest:.0f}")
    least = 10.0 ** (digits - 3 if greatest >= THOUSANDS else 1 - max(0, DIGITS - digits))
    box = plot.getPlotItem().getViewBox()
    if box.state["limits"]["yRange"][0] != least:
        box.setLimits(minYRange=least)


def settle(plot: pg.PlotWidget) -> None:
    """Fit the view to what is shown now, before it is painted: pyqtgraph does so while it paints, and paints again."""
    plot.getPlotItem().getViewBox().prepareForPaint()


def dress(plot: pg.PlotWidget) -> None:
    """Put the theme's colours on a plot."""
    look = current()
    plot.setBackground(look.panel)
    for side in ("left", "bottom"):
        axis = plot.getPlotItem().getAxis(side)
        axis.setPen(pg.mkPen(look.line))
        axis.setTextPen(pg.mkPen(look.muted))
