"""Undo, redo, and putting a message away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lipflow_studio.commands import command

if TYPE_CHECKING:
    from lipflow_studio.session import Session


@command()
def undo(session: Session) -> None:
    """Take back the last edit."""
    _move(session, session.undo_stack.undo)


@command()
def redo(session: Session) -> None:
    """Make the last undone edit again."""
    _move(session, session.undo_stack.redo)


@command()
def dismiss_problem(session: Session) -> None:
    """Put the error message away."""
    session.put_problem(None)


def _move(session: Session, along: Callable[[], None]) -> None:
    """Along the edits; what was remarked on the one that was last is withdrawn."""
    before = session.document
    along()
    session.told.emit("")
    session.tell_prior(before)
