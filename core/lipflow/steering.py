"""Steering a training from its terminal or from another process: signals that are obeyed between two of its steps.

Ctrl-C (SIGINT) and SIGTERM stop it, SIGUSR1 lets it save a checkpoint, Ctrl-Z (SIGTSTP) the same, and rest until
SIGCONT. None of them cuts a step in two: what is saved is always a whole number of steps, and time that it rests is not
counted as training.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

STOP, PAUSE, GO_ON, SAVE = signal.SIGINT, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1
_OBEYED = (STOP, signal.SIGTERM, PAUSE, GO_ON, SAVE)
_ECHO_SECONDS = 2.0  # in which a stop comes again by itself: from the terminal, and forwarded by what started this


class Steering:
    """What was asked for since the last step."""

    def __init__(self) -> None:
        self._asked: set[int] = set()
        self._stop_heard = math.inf

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C, which is no echo of the first, does not wait for the step."""
        number = STOP if number == signal.SIGTERM else number
        if number == STOP:
            now = time.monotonic()
            if now - self._stop_heard > _ECHO_SECONDS:
                raise KeyboardInterrupt
            self._stop_heard = min(self._stop_heard, now)
        if number == GO_ON:
            self._asked.discard(PAUSE)
        else:
            self._asked.add(number)

    def obey(self, save: Callable[[], object], of_any: Callable[[bool], bool] = bool) -> None:
        """Do what was asked for: save, rest, or leave.

        Args:
            save: writes a checkpoint.
            of_any: whether any of the processes that work together is to stop, from whether this one is: they leave
                after the same step.

        Raises:
            KeyboardInterrupt: to stop.
        """
        if self._asked & {SAVE, PAUSE}:  # before it rests, for it can be asked for nothing then
            self._asked.discard(SAVE)
            save()
        if PAUSE in self._asked:
            self._asked.discard(PAUSE)
            os.kill(os.getpid(), signal.SIGSTOP)  # until SIGCONT; what else came meanwhile is heard then
        if of_any(STOP in self._asked):
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
