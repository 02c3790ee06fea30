"""The window: the head in the middle, docks around it, menus, the status bar. Layout only, no logic."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QPixmap
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenuBar, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from lipflow.checks import InputError
from lipflow_studio import dialogs
from lipflow_studio.actions import open_files
from lipflow_studio.layout import Layout
from lipflow_studio.menus import Menus
from lipflow_studio.panels import PANELS
from lipflow_studio.panels.compare_panel import ComparePanel
from lipflow_studio.parts.compare import Compare
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.files import Files
from lipflow_studio.session import Session
from lipflow_studio.status_bar import StatusBar
from lipflow_studio.views.head_view import HeadView
from lipflow_studio.views.sequence_bar import SequenceBar
from lipflow_studio.widgets.banner import Banner
from lipflow_studio.widgets.dock_title import DockTitle
from lipflow_studio.widgets.dropped import dropped_files
from lipflow_studio.widgets.make import dressed
from lipflow_studio.widgets.offer import HintBar, Notices, RecoveryOffer

Panel = TypeVar("Panel", bound=QWidget)

FIRST_SIZE = QSize(1280, 800)
LEAST_SIZE = QSize(940, 500)  # of a screen of 1920×1080 at 200 % there are 960×540
MOST_WISHED = 0.36  # of the window's height
SIDES = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)


class MainWindow(QMainWindow):
    """Everything of the studio that is on the screen."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session: Session = session
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.BottomDockWidgetArea)
        self.head = HeadView(session)
        self.compare = ComparePanel(session)
        self.middle = QStackedWidget()
        self.middle.addWidget(self.head)
        self.middle.addWidget(self.compare)
        self.banner = Banner(session)
        self.notices = Notices((self.banner, RecoveryOffer(session), HintBar(session)))
        self._menu_bar = QMenuBar()
        self.setMenuWidget(_stacked(self._menu_bar, self.notices))
        self.setCentralWidget(_stacked(self.middle, SequenceBar(session)))
        self._titles = QTimer(self, interval=0, singleShot=True)  # docks move in bursts
        self._titles.timeout.connect(self._show_titles)
        self.docks = {row.name: self._dock(row.name, row.title, row.make(session)) for row in PANELS}
        self._wishes = {row.name: row.wish for row in PANELS if row.wish}  # of those that were not seen yet
        self.menus = Menus(self)
        self.bar = StatusBar(session, self)
        self.setStatusBar(self.bar)
        self.head.first_face.connect(lambda: self.bar.show_gl(self.head.canvas.gl_name))
        self.setMinimumSize(LEAST_SIZE)
        self.resize(FIRST_SIZE.boundedTo(self.screen().availableSize()))
        self._arrange()
        self._layout = Layout(self, session.preferences)
        if self._layout.restore():
            self._wishes.clear()
        self._show_titles()  # now: the first layout of all would give room to those that go
        self._listen()
        self._show_title()

    # Layout

    def menuBar(self) -> QMenuBar:
        """The menus alone. Qt takes all that is above the docks for the menu bar, and would put a new one there."""
        return self._menu_bar

    def _dock(self, name: str, title: str, widget: QWidget) -> QDockWidget:
        dock = dressed(QDockWidget(title, self), name)
        dock.setTitleBarWidget(DockTitle(dock))
        dock.setWidget(widget)
        for moved in (dock.visibilityChanged, dock.topLevelChanged, dock.dockLocationChanged):
            moved.connect(self._titles.start)
        dock.visibilityChanged.connect(lambda on: QTimer.singleShot(0, self._grant_wishes) if on else None)
        return dock

    def _arrange(self) -> None:
        """The layout of the first start."""
        for row in PANELS:
            dock = self.docks[row.name]
            dock.setFloating(False)
            self.addDockWidget(row.area, dock)
            if row.beside is not None:
                self.tabifyDockWidget(self.docks[row.beside], dock)
            dock.setVisible(row.shown)
        for row in PANELS:
            if row.beside is None:
                self.docks[row.name].raise_()
        wide = [row for row in PANELS if row.beside is None and row.area in SIDES]
        self.resizeDocks([self.docks[r.name] for r in wide], [r.width for r in wide], Qt.Orientation.Horizontal)
        tall = [row for row in PANELS if row.beside is None and row.height]
        self.resizeDocks([self.docks[r.name] for r in tall], [r.height for r in tall], Qt.Orientation.Vertical)

    def _grant_wishes(self) -> None:
        """Give panels that came to the front for the first time the height that they need: later it is the user's."""
        for name in [name for name in self._wishes if not self.docks[name].visibleRegion().isEmpty()]:
            dock, high = self.docks[name], min(self._wishes.pop(name), round(MOST_WISHED * self.height()))
            if not dock.isFloating() and dock.height() < high and self.dockWidgetArea(dock) not in SIDES:
                self.resizeDocks([dock], [high], Qt.Orientation.Vertical)

    def _show_titles(self) -> None:
        for dock in self.docks.values():
            title = dock.titleBarWidget()
            assert isinstance(title, DockTitle)
            title.show_where_needed(self, dock)

    def panel(self, name: str, kind: type[Panel]) -> Panel:
        """The widget in a dock."""
        widget = self.docks[name].widget()
        assert isinstance(widget, kind)
        return widget

    def picture(self) -> QPixmap:
        """The window as it is on the screen, with the 3D view at its best."""
        self.head.canvas.refine()
        self.compare.canvas.faces.refine()
        return self.grab()

    # What the Session asks of the window

    def _listen(self) -> None:
        session, desk = self.session, self.session.part(Desk)
        files = session.part(Files)
        for change in (session.avatar_changed, files.path_changed, files.modified_changed):
            change.connect(self._show_title)
        compare = session.part(Compare)
        compare.active_changed.connect(lambda on: self.middle.setCurrentWidget(self.compare if on else self.head))
        desk.panel_asked.connect(self._show_panel)
        desk.layout_asked.connect(self._arrange)
        desk.sheet_asked.connect(lambda name: dialogs.SHEETS[name](self, self.session, self.head.canvas.gl_name).show())
        desk.quit_asked.connect(lambda: QTimer.singleShot(0, self.close))

    def _show_title(self) -> None:
        info, files = self.session.avatar_info, self.session.part(Files)
        name = "Untitled" if files.path is None else files.path.name
        avatar = "" if info is None else f"  –  {info.name}"
        self.setWindowTitle(f"{name}[*]{avatar}  –  LiP-Flow Studio")
        self.setWindowModified(files.modified)

    def _show_panel(self, name: str, shown: bool) -> None:
        if name not in self.docks:
            self.session.report(InputError("panel", expected=" or ".join(self.docks), got=repr(name)))
            return
        self.docks[name].setVisible(shown)
        if shown:
            self.docks[name].raise_()

    # Window events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped_files(event.mimeData())
        if paths:
            event.acceptProposedAction()
            open_files(self.session, paths)

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.session.part(Desk).may_close():
            event.ignore()
            return
        self._layout.finish()
        self.hide()  # a training may take seconds to save its checkpoint
        self.session.close()
        super().closeEvent(event)


def _stacked(first: QWidget, *below: QWidget) -> QWidget:
    """One above the other; the first takes what height is left."""
    made = QWidget()
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(first, 1)
    for widget in below:
        column.addWidget(widget)
    return made
