"""Lists of Session commands as JSON: played one after the other, and saved from what a user did.

``[{"command": "open_avatar", "args": ["lip-flow-kpt"]}, {"wait": 0.5}, {"wait_for": "fit"}, …]``. ``wait`` is in
seconds; ``wait_for`` is "face" (one is shown), "load" (nothing is being opened) or "fit" (it has come to its end).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from lipflow.checks import InputError
from lipflow.files import replacing
from lipflow_studio.commands import Step
from lipflow_studio.document import Status

if TYPE_CHECKING:
    from lipflow_studio.session import Session

CONDITIONS: dict[str, Callable[[Session], bool]] = {
    "face": lambda s: s.picture is not None and s.picture.texture is not None,
    "load": lambda s: not s.loading,
    "fit": lambda s: s.status is not Status.RUNNING and not s.loading,
}
TIMEOUT_S = 120.0
TICK_MS = 10


def load(path: Path, known: Collection[str]) -> list[Step]:
    """Read a script of ``known`` commands.

    Raises:
        InputError: if it is no list of known commands and waits.
    """
    what = f"script {path}"
    try:
        steps = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(what, expected="a JSON file", got=error) from error
    if not isinstance(steps, list):
        raise InputError(what, expected="a list of commands", got=type(steps).__name__)
    for number, step in enumerate(steps, 1):
        is_step = isinstance(step, dict) and (
            step.get("command") in known
            or isinstance(step.get("wait"), int | float)
            or step.get("wait_for") in CONDITIONS
        )
        if not is_step:
            expected = "a command of " + ", ".join(sorted(known)) + ", a wait or a wait_for"
            raise InputError(f"{what}, step {number}", expected=expected, got=str(step)[:80])
    return steps


def save(path: Path, steps: Sequence[Step]) -> None:
    """Write recorded commands so that ``load`` reads them."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(list(steps), indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays as JSON has them."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"not for JSON: {type(value).__name__}")


class Player(QObject):
    """Gives a script's commands to a Session from the event loop, waiting for what each starts."""

    finished = Signal()

    def __init__(self, session: Session, steps: Sequence[Step], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._steps, self._at = session, steps, 0
        self._waited = 0.0
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._timer.start()

    def _tick(self) -> None:
        if self._at >= len(self._steps):
            self._timer.stop()
            self.finished.emit()
            return
        step = self._steps[self._at]
        if "command" in step:
            if self._session.loading:
                return
            self._give(step)
        elif not self._waits(step):
            return
        self._at, self._waited = self._at + 1, 0.0

    def _give(self, step: dict[str, Any]) -> None:
        """Give one command; arguments that it does not take are a mistake of the script."""
        name = step["command"]
        try:
            kwargs = dict(step.get("kwargs", {}))
            if kwargs.get("gesture") is not None:
                kwargs["gesture"] = ("script", str(kwargs["gesture"]))
            self._session.give(name, *step.get("args", []), **kwargs)
        except (TypeError, ValueError, KeyError) as error:
            self._session.report(InputError(f"script: {name}", expected="arguments that it takes", got=repr(error)))

    def _waits(self, step: dict[str, Any]) -> bool:
        """Whether the waiting is over."""
        self._waited += TICK_MS / 1000
        if "wait" in step:
            return self._waited >= step["wait"]
        if self._waited > TIMEOUT_S:
            self._session.report(TimeoutError(f"script: waited {TIMEOUT_S:.0f} s for {step['wait_for']}"))
            return True
        return CONDITIONS[step["wait_for"]](self._session)
