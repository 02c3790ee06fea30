"""What is measured of each contender, a row each; the best of what can be compared stands out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget

from lipflow_studio.comparison import PRIORS, ComparisonUpdate, Contender, Standing, best_of, titles_of
from lipflow_studio.document import Source
from lipflow_studio.parts.compare import Compare
from lipflow_studio.session import Session
from lipflow_studio.theme import current
from lipflow_studio.widgets.make import dressed, label, tool


@dataclass(frozen=True)
class Column:
    """A figure of a contender."""

    name: str
    title: str
    tip: str
    field: tuple[str, str]  # of the standing's record or figures
    text: str  # how it is written, as format() takes it
    better: int = 0  # 1: greater is better, −1: less is; 0: it says nothing of that
    sources: tuple[Source, ...] = tuple(Source)  # where it is shown
    of_truth: bool = False  # shown where the truth is known
    least: int = 0  # pixels of the table's width below which it is left out

    def value(self, standing: Standing | None) -> float | None:
        """None where it is not known."""
        return getattr(getattr(standing, self.field[0], None), self.field[1], None)


NARROW = 470  # pixels of width below which all stands closer
IMAGES = (Source.HEADSET, Source.FRONTAL)
COLUMNS = (
    Column(
        "data",
        "Data",
        "Data energy: ½ Σ (residual / σ)² of the same observation",
        ("record", "data_energy"),
        ",.1f",
        better=-1,
    ),
    Column(
        "likelihood",
        "log p(z)",
        "Log-likelihood under the contender's own prior, in nats: not to be compared between priors",
        ("record", "log_likelihood"),
        ",.0f",
        least=400,
    ),
    Column(
        "error",
        "Error, px",
        "Mean distance of the landmarks from the pinned keypoints, pixels of their image",
        ("record", "error"),
        ".2f",
        better=-1,
        sources=(Source.KEYPOINTS,),
    ),
    Column(
        "grey",
        "Grey, /255",
        "Mean difference where the face is seen, grey levels of 255",
        ("record", "error"),
        ".2f",
        better=-1,
        sources=IMAGES,
    ),
    Column(
        "psnr",
        "PSNR, dB",
        "Against the frame's frontal photo, inside its mask, in display gamma",
        ("figures", "psnr_db"),
        ".2f",
        better=1,
        of_truth=True,
    ),
    Column(
        "mesh",
        "Mesh, mm",
        "Mean distance of the vertices from the frame's mesh",
        ("figures", "mesh_mm"),
        ".2f",
        better=-1,
        of_truth=True,
    ),
    Column(
        "iteration", "Iter.", "Of its fit, since this observation was given", ("record", "iteration"), "d", least=NARROW
    ),
    Column(
        "ms",
        "ms",
        "Duration of an iteration on average, while the others and the studio's own fit take their turns",
        ("record", "ms"),
        ".1f",
        least=NARROW,
    ),
)
PRIOR = "The prior that it is fitted under; another one begins all fits anew"
NOT_DRIVEN = "Nothing here drives its own prior: N(0, I) takes its place"
PRIOR_WIDTH, PRIOR_NARROW = 100, 88  # pixels, for the longest of PRIORS
NAME, FIRST = 1, 3  # columns of the grid; in front of them the contender's colour


class CompareTable(QWidget):
    """Its rows are made when the contenders change; figures are written into them."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self._session, self._compare = session, session.part(Compare)
        self._is_narrow, self._room = False, NARROW  # pixels
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(12, 6, 6, 6)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(NAME, 3)
        for place in range(len(COLUMNS)):
            self._grid.setColumnStretch(FIRST + place, 1)
        self._heads = {c.name: label(c.title, "muted", c.tip) for c in COLUMNS}
        for place, head in enumerate((label("Name", "muted"), label("Prior", "muted"))):
            self._grid.addWidget(head, 0, NAME + place)
        for place, head in enumerate(self._heads.values()):
            head.setAlignment(Qt.AlignmentFlag.AlignRight)
            self._grid.addWidget(head, 0, FIRST + place)
        self._rows: list[QWidget] = []  # all below the heads
        self.dots: list[QLabel] = []
        self.names: list[QLabel] = []
        self.priors: list[QComboBox] = []
        self.removers: list[QToolButton] = []
        self.cells: list[dict[str, QLabel]] = []
        compare = self._compare
        compare.contenders_changed.connect(lambda _: self._show_contenders())
        compare.update_changed.connect(self._show_update)
        session.source_changed.connect(lambda _: self._show_update(compare.update))
        self._show_contenders()

    def show_width(self, width: int) -> None:
        """Fit the columns to that many pixels of what it is seen in."""
        narrow = width < NARROW
        if narrow is not self._is_narrow:
            self._is_narrow = narrow
            self._grid.setHorizontalSpacing(4 if narrow else 8)
            self._grid.setContentsMargins(*((8, 6, 2, 6) if narrow else (12, 6, 6, 6)))
            for prior in self.priors:
                prior.setFixedWidth(self._prior_width)
        before, self._room = self._room, width
        if any((width < column.least) is not (before < column.least) for column in COLUMNS):
            self._show_update(self._compare.update)

    @property
    def _prior_width(self) -> int:
        return PRIOR_NARROW if self._is_narrow else PRIOR_WIDTH

    def _show_contenders(self) -> None:
        for widget in self._rows:
            self._grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._rows = []
        contenders = self._compare.contenders
        self.dots, self.names, self.priors, self.removers, self.cells = [], [], [], [], []
        for place, (contender, title) in enumerate(zip(contenders, titles_of(contenders))):
            self._add_row(place, contender, title)
        self._colour_dots()
        self._show_update(self._compare.update)

    def _add_row(self, place: int, contender: Contender, title: str) -> None:
        compare = self._compare
        dot = QLabel("●")
        name = dressed(_Name(title), "", contender.which or "Only in memory")
        prior = dressed(QComboBox(), "prior", PRIOR)
        prior.setFixedWidth(self._prior_width)
        for key, row in PRIORS.items():
            prior.addItem(row.title, key)
            prior.setItemData(prior.count() - 1, row.tip, Qt.ItemDataRole.ToolTipRole)
        prior.activated.connect(lambda _: self._choose_prior(place, prior.currentData()))
        remove = tool("close", f"Take {title} out of the comparison", lambda: compare.remove(place))
        cells: dict[str, QLabel] = {}
        for column in COLUMNS:
            cells[column.name] = dressed(QLabel("–"), "value", column.tip)
            cells[column.name].setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for number, widget in enumerate((dot, name, prior, *cells.values(), remove)):
            self._grid.addWidget(widget, place + 1, number)
            self._rows.append(widget)
        self.dots.append(dot)
        self.names.append(name)
        self.priors.append(prior)
        self.removers.append(remove)
        self.cells.append(cells)

    def _choose_prior(self, place: int, setting: str) -> None:
        self._compare.set_prior(place, setting)
        self._show_update(self._compare.update)  # also where nothing came of it

    def _show_update(self, update: ComparisonUpdate | None) -> None:
        standings = (None,) * len(self.cells) if update is None else update.standings
        for prior, contender, standing in zip(self.priors, self._compare.contenders, standings):
            _show_prior(prior, contender.prior, standing is None or standing.driven)
        known = any(s is not None and s.figures is not None for s in standings)
        for number, column in enumerate(COLUMNS):
            shown = self._session.source in column.sources and (known or not column.of_truth)
            shown &= self._room >= column.least
            if self._heads[column.name].isHidden() is shown:
                self._heads[column.name].setVisible(shown)
                self._grid.setColumnStretch(FIRST + number, int(shown))
            values = [column.value(standing) for standing in standings]
            rounded = [None if value is None else round(value, 4) for value in values]
            best = best_of(rounded, column.better > 0) if column.better else None
            for place, (value, cells) in enumerate(zip(values, self.cells)):
                cell = cells[column.name]
                cell.setVisible(shown)
                cell.setText("–" if value is None or math.isnan(value) else format(value, column.text))
                _mark(cell, place == best)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.StyleChange:
            self._colour_dots()
        super().changeEvent(event)

    def _colour_dots(self) -> None:
        for place, dot in enumerate(self.dots):
            dot.setStyleSheet(f"color: {current().kinds[place]};")


class _Name(QLabel):
    """A name that is shortened where there is no room for it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(44)

    def paintEvent(self, event: QPaintEvent) -> None:
        short = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter = QPainter(self)
        self.style().drawItemText(
            painter, self.rect(), Qt.AlignmentFlag.AlignVCenter, self.palette(), self.isEnabled(), short
        )
        painter.end()


def _show_prior(box: QComboBox, setting: str, driven: bool) -> None:
    """What a contender is fitted under: N(0, I) where its own prior is wanted and cannot be had."""
    own, lacks = box.findData("own"), setting == "own" and not driven
    box.setCurrentIndex(box.findData("standard-normal" if lacks else setting))
    tip = NOT_DRIVEN if lacks else PRIOR
    if box.toolTip() != tip:
        box.setToolTip(tip)
        box.setItemData(own, NOT_DRIVEN if lacks else PRIORS["own"].tip, Qt.ItemDataRole.ToolTipRole)


def _mark(cell: QLabel, best: bool) -> None:
    """Bold for the best."""
    font = cell.font()
    if font.bold() is not best:
        font.setBold(best)
        cell.setFont(font)
