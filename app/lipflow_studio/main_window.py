"""The window: the head in the middle, docks around it, menus, the status bar. Layout only, no logic."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QByteArray, QSettings, QSize, Qt
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence, QPixmap
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from lipflow import embedded
from lipflow_studio import demo_inputs, dialogs, script
from lipflow_studio.actions import ACTIONS, ActionRow
from lipflow_studio.document import FitUpdate, Picture, Status
from lipflow_studio.panels import PANELS
from lipflow_studio.panels.fit_panel import FitPanel
from lipflow_studio.session import Session
from lipflow_studio.views.head_view import HeadView
from lipflow_studio.views.hmc_view import HmcView
from lipflow_studio.views.keypoint_view import KeypointView
from lipflow_studio.widgets.banner import Banner
from lipflow_studio.widgets.make import dressed, label, tool

Panel = TypeVar("Panel", bound=QWidget)

FIRST_SIZE = QSize(1280, 800)
LAYOUT_VERSION = 1  # remembered layouts of another version are not restored
AVATAR_FILES = "Avatars (*.safetensors)"
IMAGE_FILES = "Images (*.png *.jpg *.jpeg *.tif *.tiff *.bmp)"
KEYPOINT_FILES = "Keypoints (*.json *.csv)"
SCRIPT_FILES = "Command scripts (*.json)"


class MainWindow(QMainWindow):
    """Everything of the studio that is on the screen."""

    def __init__(self, session: Session, settings: QSettings | None = None) -> None:
        super().__init__()
        self.session: Session = session
        self._settings = QSettings() if settings is None else settings
        self.setWindowTitle("LiP-Flow Studio")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.BottomDockWidgetArea)
        self.head = HeadView(session)
        self.banner = Banner(session)
        self.setCentralWidget(self._centre())
        self.docks: dict[str, QDockWidget] = {}
        self._make_docks()
        self.actions_by_name: dict[str, QAction] = {}
        self._make_menus()
        self._make_status_bar()
        self.resize(FIRST_SIZE)
        self._arrange()
        self._restore()
        session.avatar_changed.connect(lambda info: self.setWindowTitle(f"{info.name}  –  LiP-Flow Studio"))

    # Layout

    def _centre(self) -> QWidget:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.head, 1)
        return centre

    def _make_docks(self) -> None:
        for row in PANELS:
            dock = dressed(QDockWidget(row.title, self), row.name)
            dock.setTitleBarWidget(_DockTitle(dock))
            dock.setWidget(row.make(self.session))
            self.addDockWidget(row.area, dock)
            self.docks[row.name] = dock
        headset = self.panel("headset", HmcView)
        headset.open_asked.connect(self.open_headset_images)
        headset.demo_asked.connect(self.open_demo_images)
        headset.demo_button.setVisible(demo_inputs.available())

    def panel(self, name: str, kind: type[Panel]) -> Panel:
        """The widget in a dock."""
        widget = self.docks[name].widget()
        assert isinstance(widget, kind)
        return widget

    def _arrange(self) -> None:
        """The layout of the first start."""
        for row in PANELS:
            self.docks[row.name].setFloating(False)
            self.docks[row.name].show()
        sides = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)
        wide = [row for row in PANELS if row.area in sides]
        self.resizeDocks([self.docks[r.name] for r in wide], [r.size for r in wide], Qt.Orientation.Horizontal)
        self.resizeDocks([self.docks["headset"]], [176], Qt.Orientation.Vertical)
        self.resizeDocks([self.docks["fit"], self.docks["curves"]], [430, 300], Qt.Orientation.Vertical)

    # Menus

    def _make_menus(self) -> None:
        menus: dict[str, QMenu] = {}
        for row in ACTIONS:
            if row.menu not in menus:
                menus[row.menu] = self.menuBar().addMenu(row.menu)
                if row.menu == "&Edit":
                    self._add_undo(menus[row.menu])
            menu = menus[row.menu]
            if row.name == "separator":
                menu.addSeparator()
            elif row.name == "embedded":
                self._add_embedded(menu)
            elif row.name == "docks":
                for dock in self.docks.values():
                    menu.addAction(dock.toggleViewAction())
            else:
                menu.addAction(self._action(row))

    def _action(self, row: ActionRow) -> QAction:
        action = QAction(row.text, self)
        action.setObjectName(row.name)
        if row.keys:
            action.setShortcuts([QKeySequence(keys) for keys in row.keys])
        if row.tip:
            action.setToolTip(row.tip)
        action.triggered.connect(lambda: row.run(self))
        self.actions_by_name[row.name] = action
        return action

    def _add_undo(self, menu: QMenu) -> None:
        undo = self.session.undo_stack.createUndoAction(self, "Undo")
        undo.setShortcuts(QKeySequence.StandardKey.Undo)
        redo = self.session.undo_stack.createRedoAction(self, "Redo")
        redo.setShortcuts(QKeySequence.StandardKey.Redo)
        self.actions_by_name |= {"undo": undo, "redo": redo}
        menu.addActions([undo, redo])
        menu.addSeparator()

    def _add_embedded(self, menu: QMenu) -> None:
        known = embedded.embedded_avatars()
        if not known:
            return
        submenu = menu.addMenu("Embedded avatars")
        for name in known:
            submenu.addAction(name, functools.partial(self.session.open_avatar, name))

    # Status bar

    def _make_status_bar(self) -> None:
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        self._state = label(Status.IDLE.value, "badge")
        self._rate = label("– it/s", "badge")
        self._device = label(self.session.device_name, "badge", "Where torch computes")
        self._backend = label("", "badge", "What renders for the fit")
        self._gl = label("", "badge", "What draws the 3D view")
        self._backend.hide()
        self._gl.hide()
        for badge, widest in ((self._state, Status.CONVERGED.value), (self._rate, "9999 it/s")):
            badge.setAlignment(Qt.AlignmentFlag.AlignCenter)
            badge.setMinimumWidth(badge.fontMetrics().horizontalAdvance(widest) + 24)
        for badge in (self._state, self._rate, self._device, self._backend, self._gl):
            bar.addPermanentWidget(badge)
        session = self.session
        session.status_changed.connect(lambda status: self._state.setText(status.value))
        session.fit_changed.connect(self._show_rate)
        session.told.connect(lambda text: bar.showMessage(text, 8000))
        session.busy_changed.connect(lambda text: bar.showMessage(f"{text}…") if text else bar.clearMessage())
        self.head.first_face.connect(self._show_gl)
        session.picture_changed.connect(self._show_backend)

    def _show_rate(self, update: FitUpdate | None) -> None:
        self._rate.setText("– it/s" if update is None else f"{update.iterations_per_s:.0f} it/s")

    def _show_backend(self, picture: Picture) -> None:
        """Once something was rendered for the keypoints, the backend is loaded and can be named at no cost."""
        if self._backend.isHidden() and picture.frontal is not None:
            name = self.session.renderer
            self._backend.setText(name.split(" (")[0] + " renderer")
            self._backend.setToolTip(f"What renders for the fit: {name}")
            self._backend.show()

    def _show_gl(self) -> None:
        self._gl.setText(self.head.canvas.gl_name.split(" (")[0])
        self._gl.setToolTip(f"What draws the 3D view: {self.head.canvas.gl_name}")
        self._gl.show()

    # What the menus do

    def open_avatar(self) -> None:
        self._choose("Open avatar", AVATAR_FILES, lambda paths: self.session.open_avatar(paths[0]))

    def open_headset_images(self) -> None:
        self._choose("Open three headset images", IMAGE_FILES, self.session.open_headset_images, several=True)

    def open_demo_images(self) -> None:
        self.session.open_headset_images([str(path) for path in demo_inputs.headset_images()])

    def open_keypoints(self) -> None:
        self._choose("Open keypoints", KEYPOINT_FILES, lambda paths: self.session.open_keypoints(paths[0]))

    def save_script(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the commands given so far", "studio.json", SCRIPT_FILES)
        if path:
            try:
                script.save(Path(path), self.session.recorded)
            except OSError as error:
                self.session.report(error)

    def keypoint_view(self) -> KeypointView:
        return self.panel("keypoints", KeypointView)

    def fit_panel(self) -> FitPanel:
        return self.panel("fit", FitPanel)

    def reset_layout(self) -> None:
        for row in PANELS:
            self.addDockWidget(row.area, self.docks[row.name])
        self._arrange()

    def show_shortcuts(self) -> None:
        dialogs.Shortcuts(self).exec()

    def show_about(self) -> None:
        dialogs.About(self, self.head.canvas.gl_name).exec()

    def show_licences(self) -> None:
        dialogs.Licences(self).exec()

    def picture(self) -> QPixmap:
        """The window as it is on the screen, with the 3D view at its best."""
        self.head.canvas.refine()
        return self.grab()

    def _choose(self, title: str, kinds: str, use: Callable[[list[str]], object], several: bool = False) -> None:
        folder = str(self._settings.value("folder", ""))
        if several:
            paths, _ = QFileDialog.getOpenFileNames(self, title, folder, kinds)
        else:
            path, _ = QFileDialog.getOpenFileName(self, title, folder, kinds)
            paths = [path] if path else []
        if paths:
            self._settings.setValue("folder", str(Path(paths[0]).parent))
            use(paths)

    # Window events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.session.open([url.toLocalFile() for url in event.mimeData().urls()])
        event.acceptProposedAction()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("layout", self.saveState(LAYOUT_VERSION))
        self.session.close()
        self.head.canvas.close_gl()
        super().closeEvent(event)

    def _restore(self) -> None:
        geometry, layout = self._settings.value("geometry"), self._settings.value("layout")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        if isinstance(layout, QByteArray):
            self.restoreState(layout, LAYOUT_VERSION)


class _DockTitle(QWidget):
    """A dock's title: its name, and the button that lets it float."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        dressed(self, "dockTitle")
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 3, 4, 3)
        row.addWidget(label(dock.windowTitle(), "dockName"))
        row.addStretch(1)
        float_button = tool("float", "Float or dock", lambda: dock.setFloating(not dock.isFloating()))
        float_button.setIconSize(QSize(13, 13))
        row.addWidget(float_button)
