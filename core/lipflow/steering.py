"""Steering a training from its terminal or from another process: signals that are obeyed between two of its steps.

Ctrl-C (SIGINT) and SIGTERM stop it, Ctrl-Z (SIGTSTP) pauses it until SIGCONT, SIGUSR1 lets it save a checkpoint. None
of them cuts a step in two: what is saved is always a whole number of steps, and time that it rests is not counted as
training.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

STOP, PAUSE, GO_ON, SAVE = signal.SIGINT, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1
_OBEYED = (STOP, signal.SIGTERM, PAUSE, GO_ON, SAVE)


class Steering:
    """What was asked for since the last step."""

    def __init__(self) -> None:
        self._asked: set[int] = set()

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C does not wait for the step."""
        number = STOP if number == signal.SIGTERM else number
        if number == STOP and STOP in self._asked:
            raise KeyboardInterrupt
        if number == GO_ON:
            self._asked.discard(PAUSE)
        else:
            self._asked.add(number)

    def obey(self, save: Callable[[], object]) -> None:
        """Do what was asked for: save, rest, or leave.

        Raises:
            KeyboardInterrupt: to stop.
        """
        if SAVE in self._asked:
            self._asked.discard(SAVE)
            save()
        if PAUSE in self._asked:
            self._asked.discard(PAUSE)
            os.kill(os.getpid(), signal.SIGSTOP)  # until SIGCONT; what else came meanwhile is heard then
        if STOP in self._asked:
            raise KeyboardInterrupt


@contextlib.contextmanager
def steered() -> Iterator[Steering]:
    """Hear signals instead of dying of them; in the main thread only."""
    steering = Steering()
    before = {number: signal.signal(number, steering.hear) for number in _OBEYED}
    try:
        yield steering
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
