"""What is asked of the window: which theme, which panels, which sheet. Without a window nothing comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Signal

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part

if TYPE_CHECKING:
    from lipflow_studio.session import Session

THEMES = ("system", "light", "dark")
SHEETS = ("shortcuts", "about", "licences")


class Desk(Part):
    """The window's side of the Session. The theme is a field; the rest are requests that the window answers."""

    name: ClassVar[str] = "desk"

    theme_changed = Signal(str)  # one of THEMES
    panel_asked = Signal(str, bool)  # a dock's name, and whether it is to be shown
    layout_asked = Signal()  # the first layout again
    sheet_asked = Signal(str)  # one of SHEETS
    action_asked = Signal(str)  # an entry of the menus, as if it was chosen there
    quit_asked = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        theme = session.preferences.text("theme", "system")
        self.theme = theme if theme in THEMES else "system"

    @command()
    def set_theme(self, theme: str) -> None:
        """Dress the window light, dark, or as the desktop is; remembered."""
        if self._is_known("theme", theme, THEMES) and theme != self.theme:
            self.theme = theme
            self.session.preferences.set("theme", theme)
            self.theme_changed.emit(theme)

    @command()
    def show_panel(self, name: str, shown: bool = True) -> None:
        """Show or hide a panel; a shown one comes to the front."""
        self.panel_asked.emit(name, bool(shown))

    @command()
    def reset_layout(self) -> None:
        """Arrange the panels as at the first start."""
        self.layout_asked.emit()

    @command()
    def show_sheet(self, name: str) -> None:
        """Show a sheet of the Help menu."""
        if self._is_known("sheet", name, SHEETS):
            self.sheet_asked.emit(name)

    @command()
    def quit(self) -> None:
        """Close the window."""
        self.quit_asked.emit()

    def ask(self, action: str) -> None:
        """Choose an entry of the menus by its name, for a button elsewhere that does the same."""
        self.action_asked.emit(action)

    def _is_known(self, what: str, value: Any, known: tuple[str, ...]) -> bool:
        if value not in known:
            self.session.report(InputError(what, expected=" or ".join(known), got=repr(value)))
        return value in known
