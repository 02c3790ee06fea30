"""The undo stack's commands. Each holds the values before and after, and the ways to put them back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from PySide6.QtGui import QUndoCommand

Value = TypeVar("Value")


class Edit(QUndoCommand, Generic[Value]):
    """A value changed. Edits of one gesture (a drag, a run of nudges) merge into one step."""

    ID = 1

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

    def id(self) -> int:
        return self.ID if self._gesture is not None else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, Edit) or other._gesture != self._gesture:
            return False
        self.after = other.after
        return True

    def redo(self) -> None:
        (self._put if self._done else self._do)(self.after)
        self._done = True

    def undo(self) -> None:
        self.after = self._now()
        self._put(self.before)
