"""The files that were opened lately, by kind; remembered between two starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import Signal

from lipflow_studio.commands import command
from lipflow_studio.opening import REOPENED, FileKind
from lipflow_studio.parts.base import Part

if TYPE_CHECKING:
    from lipflow_studio.session import Session

KEPT = 8  # of each kind


class Recent(Part):
    """Lists of files, the newest first. Each entry is what one command opened: a file, or the few of a set."""

    name: ClassVar[str] = "recent"

    lists_changed = Signal(object)  # the lists

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._known: dict[str, list[list[str]]] = {}
        session.opened.connect(self._remember)

    def files(self, kind: str) -> list[list[str]]:
        """The entries of a kind: each the paths that were opened together."""
        if kind not in self._known:
            kept = (_entry(text) for text in self.session.preferences.texts(f"recent/{kind}"))
            self._known[kind] = [entry for entry in kept if entry]
        return self._known[kind]

    @command()
    def clear(self) -> None:
        """Forget all of them."""
        for kind in REOPENED:
            self._put(kind.name, [])

    def reopen(self, kind: FileKind, paths: list[str]) -> None:
        """Open an entry as it was opened: gives the command that does it. One whose files are gone is left out."""
        self.session.give(kind.command, paths if kind.several else paths[0], **kind.options)
        if not all(Path(path).exists() for path in paths):
            self._put(kind.name, [entry for entry in self.files(kind.name) if entry != paths])

    def _remember(self, kind: str, paths: list[str]) -> None:
        absolute = [str(Path(path).absolute()) if Path(path).exists() else path for path in paths]
        others = [entry for entry in self.files(kind) if entry != absolute]
        self._put(kind, [absolute, *others][:KEPT])

    def _put(self, kind: str, entries: list[list[str]]) -> None:
        self._known[kind] = entries
        self.session.preferences.set(f"recent/{kind}", [json.dumps(entry) for entry in entries])
        self.lists_changed.emit(self._known)


def _entry(text: str) -> list[str]:
    """The paths of a kept entry; none where it is damaged."""
    try:
        paths = json.loads(text)
    except ValueError:
        return []
    return paths if isinstance(paths, list) and all(isinstance(path, str) for path in paths) else []
