"""What was done as a script, and scripts to be played."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lipflow.checks import InputError
from lipflow_studio import script
from lipflow_studio.parts.base import Part


class Scripts(Part):
    """Neither is a command: a script that is played is recorded as the commands it gives."""

    name: ClassVar[str] = "scripts"

    def save(self, path: str) -> None:
        """Write the commands given so far."""
        try:
            script.save(Path(path), self.session.recorded)
        except OSError as error:
            self.session.report(error)
            return
        self.session.told.emit(f"Saved {Path(path).name}")

    def play(self, path: str) -> None:
        """Give the commands of a script, one after the other."""
        try:
            steps = script.load(Path(path), self.session.known_commands())
        except InputError as error:
            self.session.report(error)
            return
        player = script.Player(self.session, steps, parent=self)
        player.finished.connect(player.deleteLater)
        player.start()
        self.session.told.emit(f"Playing {Path(path).name}")
