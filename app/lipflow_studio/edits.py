"""The undo stack, and its commands. Each holds the values before and after, and the ways to put them back."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QUndoCommand, QUndoStack

MOST_BYTES = 64 * 2**20  # of pictures that are kept for undo alone

Value = TypeVar("Value")


@runtime_checkable
class Pictured(Protocol):
    """A value with pictures in it, beside which the rest weighs nothing."""

    @property
    def pictures(self) -> tuple[npt.NDArray[np.float32], ...]: ...


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
        self.forgotten = False

    def goes_on_with(self, other: Edit[Any]) -> bool:
        """Whether ``other``, made after this one, belongs to the same gesture."""
        return self._gesture is not None and other._gesture == self._gesture

    def pictures(self) -> dict[int, int]:
        """The bytes of each picture that it holds, by what tells pictures apart."""
        values = [value for value in (self.before, self.after) if isinstance(value, Pictured)]
        return {id(picture): picture.nbytes for value in values for picture in value.pictures}

    def forget(self) -> None:
        """Let go of its values: it can be undone no more."""
        self.forgotten = True
        del self.before, self.after

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

    The oldest edits are forgotten once the pictures that the others hold exceed ``MOST_BYTES``. Qt removes none but by
    their number, so they stay in the stack, and undo ends before them.
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
            self._forget()

    def canUndo(self) -> bool:
        """Whether there is an edit to be undone that was not forgotten."""
        last = self.command(self.index() - 1) if self.index() else None
        return last is not None and not (isinstance(last, Edit) and last.forgotten)

    def undoText(self) -> str:
        """What the next undo takes back; empty where there is nothing."""
        return super().undoText() if self.canUndo() else ""

    def undo(self) -> None:
        """Take back the last edit, if there is one."""
        if self.canUndo():
            super().undo()

    def drop(self, edit: Edit[Any]) -> bool:
        """Take an edit back for good, as nothing comes of it. False, and nothing done, where others came after it."""
        if self.index() != self.count() or self.command(self.index() - 1) is not edit or edit.forgotten:
            return False
        edit.undo()
        edit.setObsolete(True)
        super().undo()  # Qt does not undo what is obsolete, but removes it
        return True

    def _forget(self) -> None:
        """Forget the edit whose pictures are too many, and all before it; the newest stays, whatever it holds. Pictures
        that later edits hold, too, are no more for it."""
        held: dict[int, int] = {}
        edits = [edit for edit in map(self.command, reversed(range(self.count()))) if isinstance(edit, Edit)]
        for place, edit in enumerate(edits):
            if edit.forgotten:
                return
            added = {key: size for key, size in edit.pictures().items() if key not in held}
            held |= added
            if place and added and sum(held.values()) > MOST_BYTES:
                for each in edits[place:]:
                    if not each.forgotten:
                        each.forget()
                return
