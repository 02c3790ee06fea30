"""A generator in a thread: send, pause, step, stop; the latest value wins in both directions.

The generator is plain Python and knows nothing of threads. It yields snapshots; what is sent to it arrives as the
value of its ``yield``. When it has nothing to do it yields :class:`Waiting` and is resumed by the next ``send``.
No Qt object lives here: the window reads :meth:`Worker.take` from a timer, so that a hundred states a second cost
it no more than the ones it draws.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

Sent = TypeVar("Sent")
State = TypeVar("State")

NICENESS = 5  # of workers beside the window's thread, which comes first where both want the processor
CRASH_LOOP_S = 2.0  # a worker that fails so soon after another did is not started again


@dataclass(frozen=True)
class Waiting:
    """Yielded by a generator that has nothing to do until something is sent, or until ``seconds`` have passed."""

    seconds: float | None = None


@dataclass(frozen=True)
class Failure:
    """What ended a worker."""

    error: Exception
    details: str  # the traceback, for the clipboard


class Failures:
    """Whether a worker that failed is worth another one."""

    def __init__(self) -> None:
        self._at = -math.inf

    def forgivable(self) -> bool:
        """To be asked at each failure: not if the one before is only a moment ago."""
        before, self._at = self._at, time.monotonic()
        return self._at - before >= CRASH_LOOP_S


def come_after_the_window() -> None:
    """Let the window's thread run before this one, and before those that this one starts (of numba, torch and OpenGL).

    On two cores with a fit, the window waited up to 76 ms for its turn with 24 ms of work. Only Linux has niceness by
    the thread.
    """
    if sys.platform == "linux":
        of_window = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), of_window + NICENESS)


def newest(old: Sent, new: Sent) -> Sent:
    """The default merge of unread messages: the newest replaces the older one."""
    return new


class Worker(Generic[Sent, State]):
    """Runs one generator in one thread until it returns, fails or is stopped."""

    def __init__(
        self,
        generator: Callable[[], Generator[State | Waiting, Sent | None, None]],
        *,
        name: str,
        merge: Callable[[Sent, Sent], Sent] = newest,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        """
        Args:
            generator: makes the generator; called in the thread.
            merge: joins a message that was not read yet with a newer one.
            on_state: called in the thread with each state (for example to hand it to another worker).
        """
        self._generator = generator
        self._merge = merge
        self._on_state = on_state
        self._changed = threading.Condition()
        self._mail: list[Sent] = []  # none or one
        self._latest: list[State] = []  # none or one
        self._failure: Failure | None = None
        self._paused = False
        self._steps = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"lipflow-{name}", daemon=False)

    def start(self) -> Worker[Sent, State]:
        self._thread.start()
        return self

    def send(self, message: Sent) -> None:
        """Leave a message for the generator's next yield; joined with one that is still unread."""
        with self._changed:
            self._mail = [self._merge(self._mail[0], message) if self._mail else message]
            self._changed.notify_all()

    def pause(self) -> None:
        """Hold the generator at its next yield; messages wait with it."""
        with self._changed:
            self._paused, self._steps = True, 0

    def resume(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def step(self) -> None:
        """Pause, and let the generator run to its next state once."""
        with self._changed:
            self._paused = True
            self._steps += 1
            self._changed.notify_all()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def take(self) -> State | None:
        """The newest state that was not taken yet, or None."""
        with self._changed:
            return self._latest.pop() if self._latest else None

    def take_failure(self) -> Failure | None:
        """The exception that ended the generator, once."""
        with self._changed:
            failure, self._failure = self._failure, None
            return failure

    def stop(self, timeout: float | None = 10.0) -> bool:
        """End the thread at the generator's next yield and wait for it; True if it has ended."""
        self.ask_to_stop()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Let the thread end at the generator's next yield, without waiting for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _run(self) -> None:
        come_after_the_window()
        generator = self._generator()
        try:
            state = next(generator)
            while True:
                if isinstance(state, Waiting):
                    message = self._wait(state.seconds)
                else:
                    self._publish(state)
                    message = self._read()
                if self._stopping:
                    break
                state = generator.send(message)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 (whatever it is, the window shows it and lives on)
            with self._changed:
                self._failure = Failure(error, traceback.format_exc())
        finally:
            generator.close()

    def _publish(self, state: State) -> None:
        if self._on_state is not None:
            self._on_state(state)
        with self._changed:
            self._latest = [state]

    def _read(self) -> Sent | None:
        with self._changed:
            self._hold()
            return self._mail.pop() if self._mail else None

    def _wait(self, seconds: float | None) -> Sent | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._mail) or self._stopping, seconds)
            self._hold()
            return self._mail.pop() if self._mail else None

    def _hold(self) -> None:
        """Block while paused; a granted step lets one state through."""
        self._changed.wait_for(lambda: not self._paused or self._steps > 0 or self._stopping)
        if self._paused and self._steps:
            self._steps -= 1
