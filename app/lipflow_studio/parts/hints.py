"""What a first user should know: one hint at a time, until each was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import Signal

from lipflow_studio.commands import command
from lipflow_studio.parts.base import Part

if TYPE_CHECKING:
    from lipflow_studio.session import Session

HINTS = (
    "Drag a keypoint on the left: the face is fitted while you drag. Every edit can be undone (Ctrl+Z).",
    "Drop three headset images anywhere, or use the demo's: the prior guesses the face, then the fit refines it.",
    "Orbit the head by dragging it, zoom with the wheel; 1, 2 and 3 look from the left, the front and the right.",
    "Move λ while a fit runs: it weighs the prior against the data. Press ? for every key.",
)


class Hints(Part):
    """The hint that is shown, if any. How many were read is remembered."""

    name: ClassVar[str] = "hints"

    hint_changed = Signal(str)  # empty: none

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.hint = ""

    def begin(self) -> None:
        """Show the first hint that was not read yet, if there is one."""
        read = self._read()
        self._put(HINTS[read] if read < len(HINTS) else "")

    @command()
    def next(self) -> None:
        """This one is read; show the next."""
        self._remember(self._read() + 1)
        self.begin()

    @command()
    def dismiss(self) -> None:
        """No more hints."""
        self._remember(len(HINTS))
        self._put("")

    @command()
    def again(self) -> None:
        """From the first one on."""
        self._remember(0)
        self.begin()

    @property
    def number(self) -> int:
        """Which of them is shown, from 1."""
        return HINTS.index(self.hint) + 1 if self.hint else 0

    def _read(self) -> int:
        text = self.session.preferences.text("hints_read", "0")
        return int(text) if text.isdigit() else 0

    def _remember(self, read: int) -> None:
        self.session.preferences.set("hints_read", str(min(read, len(HINTS))))

    def _put(self, hint: str) -> None:
        if hint != self.hint:
            self.hint = hint
            self.hint_changed.emit(hint)
