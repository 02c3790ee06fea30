"""Undo, redo, and putting a message away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipflow_studio.commands import command

if TYPE_CHECKING:
    from lipflow_studio.session import Session


@command()
def undo(session: Session) -> None:
    """Take back the last edit."""
    before = session.document
    session.undo_stack.undo()
    session.tell_prior(before)


@command()
def redo(session: Session) -> None:
    """Make the last undone edit again."""
    before = session.document
    session.undo_stack.redo()
    session.tell_prior(before)


@command()
def dismiss_problem(session: Session) -> None:
    """Put the error message away."""
    session.put_problem(None)
