"""A training in a process of its own: ``lipflow train`` with the same options that anyone would give it.

A process, not a thread: measured beside a window on two cores, a training in a thread of the same interpreter stalled
it by 757 ms when it began and by 64 ms later, one in a process of low priority by 36 and 48 ms. It also survives the
window, and a crash of either leaves the other alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipflow.steering import GO_ON, PAUSE
from lipflow.training_config import TrainConfig
from lipflow_studio.run_watch import OUTPUT

NICENESS = 10  # the window and its fits come first
PROGRESS_S = 2  # between two progress lines in the output
STOPPED = 130  # exit status of a training that has saved and stopped
_STOP_S = 30.0  # for the step, and for the checkpoint, before a process is killed


@dataclass(frozen=True)
class Job:
    """What is to be trained, and where."""

    folder: Path  # of the run
    capture: Path
    preset: str
    config: TrainConfig
    base: Path | None  # the avatar that it freezes
    cameras_per_frame: int = 3

    def command(self) -> list[str]:
        """The command that begins it, or goes on with it."""
        config = self.config
        options = {
            "out": self.folder,
            "variant": config.variant,
            "preset": self.preset,
            "seed": config.seed,
            "steps": config.steps,
            "batch": config.batch,
            "learning-rate": config.learning_rate,
            "cameras-per-frame": self.cameras_per_frame,
        }
        if self.base is not None:
            options["base"] = self.base
        given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [sys.executable, "-m", "lipflow.cli", "train", str(self.capture), *given, "--resume"]


class TrainingProcess:
    """A process that trains; it outlives this one unless it is stopped."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """Start it, with its output in the run's folder.

        Raises:
            OSError: if the folder cannot be written, or the process not be started.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / OUTPUT).open("ab") as output:
            self.output_from = output.tell()  # bytes of processes before it
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"TQDM_MININTERVAL": str(PROGRESS_S)},
            )
        _come_after_the_window(self._process.pid)
        self.paused = self.stopping = False

    @property
    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    @property
    def failed(self) -> bool:
        """Whether it has ended as it should not have: not finished, nor stopped as it was asked to."""
        as_asked = (0, STOPPED, -signal.SIGTERM) if self.stopping else (0,)
        return self.ended is not None and self.ended not in as_asked

    def pause(self) -> None:
        self.paused = True
        self._process.send_signal(PAUSE)

    def go_on(self) -> None:
        self.paused = False
        self._process.send_signal(GO_ON)

    def tell(self, number: int) -> None:
        """Send it a signal of ``lipflow.steering``."""
        self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Let it save a checkpoint and end."""
        if not self.stopping:
            self.stopping = True
            # Not SIGINT: where the studio was started in a shell's background that is ignored, by its children, too,
            # until they hear it themselves; a training that is stopped while it starts would go on.
            self._process.send_signal(signal.SIGTERM)
            self.go_on()

    def stop(self) -> bool:
        """The same, and wait for it; True if it has ended."""
        self.ask_to_stop()
        deadline = time.monotonic() + _STOP_S
        while self.ended is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.ended is None:
            self._process.kill()
            self._process.wait(_STOP_S)
        return self.ended is not None


def _come_after_the_window(process: int) -> None:
    """Give a process what the window leaves of the processor."""
    least = os.getpriority(os.PRIO_PROCESS, 0)  # of the window: below it only the superuser may go
    niceness = max(least, NICENESS)
    os.setpriority(os.PRIO_PROCESS, process, niceness)
    # Linux first divides the processor between sessions, in equal shares; niceness counts within one. The process is
    # in a session of its own, so the session has to be as nice as it is.
    with contextlib.suppress(OSError):  # other systems, and kernels built without
        Path(f"/proc/{process}/autogroup").write_text(str(niceness))
