"""The undo stack's commands. Each holds the value before and after, and a way to put it back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from PySide6.QtGui import QUndoCommand

Value = TypeVar("Value")


class Edit(QUndoCommand, Generic[Value]):
    """A field of the document changed. Edits of one gesture (a drag, a run of nudges) merge into one step."""

    ID = 1

    def __init__(
        self, text: str, before: Value, after: Value, put: Callable[[Value], None], gesture: Hashable = None
    ) -> None:
        super().__init__(text)
        self.before, self.after = before, after
        self._put = put
        self._gesture = gesture

    def id(self) -> int:
        return self.ID if self._gesture is not None else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, Edit) or other._gesture != self._gesture:
            return False
        self.after = other.after
        return True

    def redo(self) -> None:
        self._put(self.after)

    def undo(self) -> None:
        self._put(self.before)
