"""The menu bar, made from the table of actions and kept in step with the Session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QDockWidget, QFileDialog, QMenu

from lipflow import embedded
from lipflow_studio.actions import ACTIONS, ActionRow, Ask
from lipflow_studio.opening import REOPENED, FileKind
from lipflow_studio.panels.compare_panel import fill_adding
from lipflow_studio.parts.capture import Captures
from lipflow_studio.parts.desk import Desk
from lipflow_studio.parts.headset_display import HeadsetDisplay
from lipflow_studio.parts.recent import Recent
from lipflow_studio.parts.sequence import Sequences
from lipflow_studio.session import Session
from lipflow_studio.views.head_view import fill_viewpoints

if TYPE_CHECKING:
    from lipflow_studio.main_window import MainWindow

REFRESH_MS = 100  # from an edit to the menus that name it; an opened menu is always fresh
LONGEST = 60  # characters of a path in a menu


class Menus(QObject):
    """Every action of ``ACTIONS``, in the window's menu bar."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window, self._session = window, window.session
        self.actions: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        self._soon = QTimer(self, interval=REFRESH_MS, singleShot=True)  # a drag is an edit at every move
        self._soon.timeout.connect(self.refresh)
        for row in ACTIONS:
            menu = self._menu(row.menu)
            if row.name == "separator":
                menu.addSeparator()
            elif row.name in FILLED:
                fill = functools.partial(FILLED[row.name], self._window, menu)
                menu.aboutToShow.connect(fill)
                fill()
            else:
                menu.addAction(self._action(row))
        session = self._session
        changes = (
            session.avatar_changed,
            session.headset_changed,
            session.selection_changed,
            session.symmetric_changed,
            session.status_changed,
            session.undo_stack.cleanChanged,
            session.part(Desk).theme_changed,
            session.part(HeadsetDisplay).display_changed,
            session.part(Captures).info_changed,
            session.part(Captures).playing_changed,
            session.part(Sequences).info_changed,
            session.part(Sequences).playing_changed,
        )
        for change in changes:
            change.connect(self.refresh)
        session.undo_stack.indexChanged.connect(lambda _: self._soon.start())
        session.part(Desk).action_asked.connect(lambda name: self.actions[name].trigger())
        self.refresh()

    def refresh(self) -> None:
        """Enable, check and name every action as the Session is now."""
        for row in ACTIONS:
            action = self.actions.get(row.name)
            if action is None:
                continue
            on = row.enabled(self._session)
            action.setEnabled(on)
            action.setToolTip(row.tip if on else f"{row.tip}\n{row.needs}")
            if row.checked is not None:
                action.setChecked(row.checked(self._session))
            if row.title is not None:
                action.setText(row.title(self._session))

    def _menu(self, path: str) -> QMenu:
        if path not in self._menus:
            above, _, title = path.rpartition("/")
            made = self._menu(above).addMenu(title) if above else self._window.menuBar().addMenu(title)
            made.setToolTipsVisible(True)
            made.aboutToShow.connect(self.refresh)
            self._menus[path] = made
        return self._menus[path]

    def _action(self, row: ActionRow) -> QAction:
        action = QAction(row.text, self._window)
        action.setObjectName(row.name)
        action.setShortcuts([QKeySequence(keys) for keys in row.keys])
        action.setCheckable(row.checked is not None)
        action.triggered.connect(lambda: self._run(row))
        self.actions[row.name] = action
        return action

    def _run(self, row: ActionRow) -> None:
        if row.ask is None or not row.asks(self._session):
            row.run(self._session)
        else:
            chosen = self._chosen(row.ask)
            if chosen:
                row.run(self._session, chosen if row.ask.several else chosen[0])
        self.refresh()  # also where nothing came of it: Qt has turned the check mark over

    def _chosen(self, ask: Ask) -> list[str]:
        """The files that the user picks; none where the dialog is cancelled."""
        folder, brief = self._session.preferences.text("folder"), QFileDialog.Option.HideNameFilterDetails
        if ask.save:  # not brief: the suffix says what is written
            suggested = str(ask.again(self._session) or Path(folder) / ask.save)
            path, _ = QFileDialog.getSaveFileName(self._window, ask.title, suggested, ask.kinds)
        elif ask.folder:
            path = QFileDialog.getExistingDirectory(self._window, ask.title, folder)
        elif ask.several:
            paths, _ = QFileDialog.getOpenFileNames(self._window, ask.title, folder, ask.kinds, "", brief)
        else:
            path, _ = QFileDialog.getOpenFileName(self._window, ask.title, folder, ask.kinds, "", brief)
        if not ask.several:
            paths = [_with_suffix(path, ask.save) if ask.save else path] if path else []
        if paths:
            self._session.preferences.set("folder", str(Path(paths[0]).parent))
        return paths


def _with_suffix(path: str, suggested: str) -> str:
    """What was typed, with the suggested name's suffix where it has none."""
    return path if Path(path).suffix else path + Path(suggested).suffix


def _embedded(window: MainWindow, menu: QMenu) -> None:
    menu.clear()
    for name in embedded.embedded_avatars():
        action = menu.addAction(name, functools.partial(window.session.open_avatar, name))
        action.setToolTip(
            "Its neutral face in place of the present avatar and of all that is fitted to; this can be undone"
        )


def _recent(window: MainWindow, menu: QMenu) -> None:
    menu.clear()
    session: Session = window.session
    for kind in REOPENED:
        entries = session.part(Recent).files(kind.name)
        if entries:
            menu.addSeparator()
            menu.addAction(kind.heading).setEnabled(False)
        for paths in entries:
            action = menu.addAction(_shortened(paths), functools.partial(_reopen, session, kind, paths))
            action.setToolTip("\n".join(paths))
    if menu.isEmpty():
        menu.addAction("Nothing was opened yet").setEnabled(False)


def _reopen(session: Session, kind: FileKind, paths: list[str]) -> None:
    if session.part(Desk).may_replace(paths):
        session.part(Recent).reopen(kind, paths)


def _shortened(paths: list[str]) -> str:
    text = paths[0] + (f"  and {len(paths) - 1} more" if len(paths) > 1 else "")
    return text if len(text) <= LONGEST else "…" + text[-LONGEST:]


def _panels(window: MainWindow, menu: QMenu) -> None:
    menu.clear()
    for name, dock in window.docks.items():
        action = menu.addAction(dock.windowTitle(), functools.partial(_toggle, window, name, dock))
        action.setCheckable(True)
        action.setChecked(not dock.isHidden())
        action.setToolTip(f"Show the panel {dock.windowTitle()}, or hide it")


def _toggle(window: MainWindow, name: str, dock: QDockWidget) -> None:
    window.session.part(Desk).show_panel(name, dock.isHidden())


def _viewpoints(window: MainWindow, menu: QMenu) -> None:
    fill_viewpoints(menu, window.session)


# Submenus that are filled whenever they open.
FILLED: dict[str, Callable[[MainWindow, QMenu], None]] = {
    "embedded": _embedded,
    "recent": _recent,
    "panels": _panels,
    "viewpoints": _viewpoints,
    "contenders": lambda window, menu: fill_adding(window.session, menu),
}
