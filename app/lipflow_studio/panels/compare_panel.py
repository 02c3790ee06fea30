"""The comparison: it takes the head's place in the window while it is shown."""

from __future__ import annotations

import functools

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from lipflow import embedded
from lipflow_studio.actions.compare import ROOM
from lipflow_studio.comparison import LIVE, MOST, PRIORS, CompareOptions, ComparisonUpdate, titles_of
from lipflow_studio.icons import icon
from lipflow_studio.parts.compare import Compare, models_for
from lipflow_studio.parts.desk import Desk
from lipflow_studio.session import Session
from lipflow_studio.views.compare_canvas import CompareCanvas
from lipflow_studio.views.compare_table import CompareTable
from lipflow_studio.widgets.make import dressed, label, strip, tool
from lipflow_studio.widgets.scrolling import Scrolling
from lipflow_studio.widgets.strip import Choice, FittingStrip

OWN_PRIOR = "A contender under its own prior"
LEAST = QSize(340, 230)  # pixels
LEAST_TABLE = 320  # pixels of the figures' width, before they scroll
BESIDE = 440  # of the window's height for the faces and all around them, before the figures scroll


class ComparePanel(QWidget):
    """Tools above the faces; a slider along the iterations and the figures below."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        dressed(self, "panel")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)  # where hidden it takes no room
        self.setMinimumSize(LEAST)
        self._session, self._compare = session, session.part(Compare)
        self.canvas = CompareCanvas(session)
        self.table = CompareTable(session)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._tools())
        column.addWidget(self._halves())
        column.addWidget(self.canvas, 1)
        column.addWidget(self._scrubber())
        column.addWidget(Scrolling(self.table, BESIDE, LEAST_TABLE))
        compare = self._compare
        compare.contenders_changed.connect(lambda _: self._show_contenders())
        compare.options_changed.connect(self._show_options)
        compare.update_changed.connect(self._show_update)
        compare.at_changed.connect(lambda _: self._show_update(compare.update))
        self._show_contenders()
        self._show_update(compare.update)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.table.show_width(self.width())

    def _tools(self) -> QWidget:
        bar = FittingStrip()
        compare, session = self._compare, self._session
        self.title = label("Compare", "dockName")
        bar.add(self.title)
        bar.add_space()
        self.add_button = dressed(QPushButton(icon("add"), "Add"), "", f"Add a contender, up to {MOST}")
        menu = QMenu(self.add_button)
        menu.setToolTipsVisible(True)
        menu.aboutToShow.connect(lambda: fill_adding(session, menu))
        self.add_button.setMenu(menu)
        bar.add(self.add_button)
        bar.add_space(4)
        self.side_button = self._layout_button("columns", "side", "Side by side")
        self.split_button = self._layout_button("split", "split", "Two laid over each other, with a divider")
        bar.add(self.side_button)
        bar.add(self.split_button)
        bar.add_stretch()
        for preset, key in (("left", "1"), ("front", "2"), ("right", "3")):
            look = functools.partial(session.view_from, preset)
            bar.add(tool(preset, f"Look from the {preset} ({key})", look), yields=2)
        bar.add(tool("frame", "Reset the camera (R, or double click)", session.reset_camera), yields=2)
        bar.add(tool("restart", "Begin all fits anew, from their prior's guess", compare.restart), yields=1)
        self.close_button = tool("close", "Back to the one head (Shift+C); the contenders stay", compare.stop)
        bar.add(self.close_button)
        return bar

    def _halves(self) -> QWidget:
        """What the split view shows on its left and on its right, each above its half."""
        self.halves, row = strip()
        row.setContentsMargins(10, 3, 10, 3)
        row.setSpacing(10)
        self.pair: tuple[Choice, Choice] = (Choice(), Choice())
        for box, way in zip(self.pair, ("left", "right")):
            dressed(box, "pair", f"The contender on the {way} of the divider")
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.activated.connect(lambda _: self._compare.set_pair(*(b.currentIndex() for b in self.pair)))
            row.addWidget(box, 1)
        return self.halves

    def _layout_button(self, name: str, layout: str, tip: str) -> QToolButton:
        made = tool(name, tip, lambda: self._choose_layout(layout))
        made.setCheckable(True)
        return made

    def _choose_layout(self, layout: str) -> None:
        self._compare.set_layout(layout)
        self._show_options(self._compare.options)  # also where nothing came of it: Qt has turned the button over

    def _scrubber(self) -> QWidget:
        bar = dressed(QWidget(), "strip")
        row = QHBoxLayout(bar)
        row.setContentsMargins(12, 4, 8, 4)
        row.setSpacing(10)
        tip = "All contenders at the same iteration; the right end follows their fits"
        self.slider = dressed(QSlider(Qt.Orientation.Horizontal), "scrub", tip)
        self.slider.setAccessibleName("Iteration")
        self.slider.valueChanged.connect(self._scrub)
        self.state = label("", "muted", tip)
        self.state.setMinimumWidth(150)
        row.addWidget(self.slider, 1)
        row.addWidget(self.state)
        return bar

    def _scrub(self, value: int) -> None:
        self._compare.scrub(LIVE if value >= self.slider.maximum() else value)

    # What the document says

    def _show_contenders(self) -> None:
        compare = self._compare
        titles = [f"{title} · {PRIORS[c.prior].title}" if c.prior != "own" else title
                  for title, c in zip(titles_of(compare.contenders), compare.contenders)]  # fmt: skip
        for box in self.pair:
            box.clear()
            box.addItems(titles)
        self.add_button.setEnabled(len(titles) < MOST)
        self.split_button.setEnabled(len(titles) > 1)
        self._show_options(compare.options)

    def _show_options(self, options: CompareOptions) -> None:
        split = options.layout == "split"
        self.side_button.setChecked(not split)
        self.split_button.setChecked(split)
        self.halves.setVisible(split and len(self._compare.contenders) > 1)
        for box, place in zip(self.pair, options.pair):
            box.setCurrentIndex(place)

    def _show_update(self, update: ComparisonUpdate | None) -> None:
        live = self._compare.at == LIVE
        self.slider.setEnabled(update is not None and update.last > update.first)
        with QSignalBlocker(self.slider):
            if update is None:
                self.slider.setRange(0, 0)
            else:
                self.slider.setRange(update.first, update.last)
                self.slider.setValue(update.last if live else self._compare.at)
        if update is None:
            self.state.setText("")
            return
        shown = update.last if live else min(max(self._compare.at, update.first), update.last)
        doing = "fitting" if update.running else "at rest"
        self.state.setText(f"iteration {shown} of {update.last}, {doing}")


def fill_adding(session: Session, menu: QMenu) -> None:
    """The avatars that can be added, and the open one under other settings of the prior."""
    menu.clear()
    compare, info = session.part(Compare), session.avatar_info
    if info is not None:
        for key, row in PRIORS.items():
            title = f"{info.name} (open)" if key == "own" else f"{info.name}, {row.title}"
            menu.addAction(title, functools.partial(compare.add, "", key)).setToolTip(row.tip)
        menu.addSeparator()
    models = None  # they take the others' place, for which there is always room
    if len(models_for(session)) > 1:
        models = menu.addAction("DAM, LiP-KL and LiP-Flow", compare.add_models)
        models.setToolTip("The embedded avatars of the three models, in place of the present contenders")
    for name in embedded.embedded_avatars():
        menu.addAction(name, functools.partial(compare.add, name)).setToolTip(OWN_PRIOR)
    menu.addSeparator()
    file = menu.addAction("Avatar file…", functools.partial(session.part(Desk).ask, "compare_file"))
    file.setToolTip(OWN_PRIOR)
    for action in menu.actions():
        if len(compare.contenders) >= MOST and action is not models:
            action.setEnabled(False)
            action.setToolTip(f"{action.toolTip()}\n{ROOM}")
