"""A part of the Session: an area with its own fields, signals and commands (training, comparing, the window…)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import QObject

if TYPE_CHECKING:
    from lipflow_studio.commands import Recording
    from lipflow_studio.questions import Question
    from lipflow_studio.session import Session


class Part(QObject):
    """Lives as long as its Session. One file here and one row in ``PARTS``; views take it by ``session.part(Kind)``.

    Like the Session's own, a field has one signal that carries it, and changes through commands only
    (``@command()`` methods; scripts call them ``name.method``).
    """

    name: ClassVar[str]
    """In front of its commands, and of what it keeps in session files."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session

    @property
    def recording(self) -> Recording:
        return self.session.recording

    def command_name(self, name: str) -> str:
        return f"{self.name}.{name}"

    def saved(self) -> Mapping[str, Any]:
        """What a session file keeps of it: JSON values, and numpy arrays."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put back what ``saved`` gave ({} where a session keeps nothing of it: as at the start).

        The values come from a file and are checked here.

        Raises:
            InputError: for a value that is none of its own.
        """

    def question(self) -> Question | None:
        """What the user must decide before the window closes."""
        return None

    @property
    def busy(self) -> bool:
        """Whether it is opening something that the next command of a script may be about."""
        return False

    @property
    def at_rest(self) -> bool:
        """Whether what it fits has come to its end; scripts wait for it."""
        return True

    def close(self) -> bool:
        """End what it runs; True if nothing is left."""
        return True
