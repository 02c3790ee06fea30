"""What is asked of the window: which theme, which panels, which sheet. Without a window nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Signal

from lipflow.checks import InputError
from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part
from lipflow_studio.questions import Question
from lipflow_studio.session_file import SUFFIX

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
        self.answer: Callable[[Question], bool] = lambda question: True
        """Puts a question to the user, does what the answer says and tells whether to go on. A window that somebody
        looks at sets it; scripts and tests are not asked."""

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

    def may_close(self) -> bool:
        """Whether nothing would be lost or left undone by closing, or the user lets it."""
        return self._agreed(list(self.session.parts.values()))

    def may_replace(self, paths: Sequence[str] = ()) -> bool:
        """Whether opening these files (none: another session) loses nothing, or the user lets it."""
        replaces = not paths or any(Path(path).suffix.lower() == SUFFIX for path in paths)
        return not replaces or self._agreed([self.session.parts["files"]])

    def _agreed(self, parts: Sequence[Part]) -> bool:
        questions = (part.question() for part in parts)
        return all(self.answer(question) for question in questions if question is not None)

    def ask(self, action: str) -> None:
        """Choose an entry of the menus by its name, for a button elsewhere that does the same."""
        self.action_asked.emit(action)

    def _is_known(self, what: str, value: Any, known: tuple[str, ...]) -> bool:
        if value not in known:
            self.session.report(InputError(what, expected=" or ".join(known), got=repr(value)))
        return value in known
