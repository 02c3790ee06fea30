"""The undo stack, and its commands. Each holds the values before and after, and the ways to put them back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from PySide6.QtGui import QUndoCommand, QUndoStack

Value = TypeVar("Value")


class Edit(QUndoCommand, Generic[Value]):
    """A value changed. Edits of one gesture (a drag, a run of nudges) are one step."""

    def __init__(
        self,
        text: str,
        before: Value,
        after: Value,
        *,
        do: Callable[[Value], None],
        put: Callable[[Value], None],
        now: Callable[[], Value],
        gesture: Hashable = None,
    ) -> None:
        """
        Args:
            text: what the menu shows behind "Undo".
            do: makes ``after`` the value for the first time.
            put: brings a value back, by undo or redo.
            now: the value with what has happened to it since the edit (a fit went on), for redo.
        """
        super().__init__(text)
        self.before, self.after = before, after
        self._do, self._put, self._now = do, put, now
        self._gesture = gesture
        self._done = False

    def goes_on_with(self, other: Edit[Any]) -> bool:
        """Whether ``other``, made after this one, belongs to the same gesture."""
        return self._gesture is not None and other._gesture == self._gesture

    def redo(self) -> None:
        (self._put if self._done else self._do)(self.after)
        self._done = True

    def undo(self) -> None:
        self.after = self._now()
        self._put(self.before)


class UndoStack(QUndoStack):
    """Takes an edit that goes on with the last one's gesture into that, before Qt has it.

    Qt would join them, too (``mergeWith``), but it deletes the later one inside of ``push``, and PySide 6.11 then keeps
    that one's half in Python for ever, with the documents it holds: sixty a second of a drag.
    """

    def push(self, cmd: QUndoCommand, /) -> None:
        """Make an edit: a step of its own, or a part of the last one, unless that was saved or undone since."""
        last = self.command(self.index() - 1) if self.index() else None
        at_the_end = self.index() == self.count() and not self.isClean()
        if at_the_end and isinstance(last, Edit) and isinstance(cmd, Edit) and last.goes_on_with(cmd):
            cmd.redo()
            last.after = cmd.after
            self.indexChanged.emit(self.index())
        else:
            super().push(cmd)
