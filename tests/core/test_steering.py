"""Signals to a training: obeyed between steps, never within one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipflow.steering import GO_ON, PAUSE, SAVE, STOP, steered

WORK = """
import sys, time
from lipflow.steering import steered
with steered() as steering:
    try:
        for step in range(10000):
            for _ in range(3):
                time.sleep(0.005)
            print("step", step, flush=True)
            steering.obey(lambda: print("saved", step, flush=True))
    except KeyboardInterrupt:
        print("stopped after", step, flush=True)
"""


class Training:
    """A process that counts steps and hears signals."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", WORK]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def until(self, start: str) -> str:
        while not (line := self.line()).startswith(start):
            assert line, "it ended"
        return line


@pytest.fixture
def training() -> Iterator[Training]:
    made = Training()
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.parametrize("how", [STOP, signal.SIGTERM])
def test_stops_after_a_whole_step(training: Training, how: int) -> None:
    training.until("step 2")
    training.tell(how)
    last = int(training.until("stopped after").split()[-1])
    assert last >= 2
    assert training.process.wait(10) == 0


def test_saves_and_goes_on(training: Training) -> None:
    training.tell(SAVE)
    saved = int(training.until("saved").split()[-1])
    assert training.until("step") == f"step {saved + 1}"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks the system whether a process rests")
def test_rests_until_it_may_go_on(training: Training) -> None:
    training.tell(PAUSE)
    training.until("saved")  # so that whoever looks at a run that rests finds it as far as it is
    deadline = time.monotonic() + 30
    while Path(f"/proc/{training.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    training.tell(STOP)
    training.tell(GO_ON)
    training.until("stopped after")
    assert training.process.wait(10) == 0


def test_a_pause_that_was_taken_back_does_not_happen() -> None:
    with steered() as steering:
        os.kill(os.getpid(), PAUSE)
        os.kill(os.getpid(), GO_ON)
        steering.obey(lambda: None)


def test_a_second_stop_does_not_wait_and_the_handlers_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(STOP)
    with steered() as steering:
        os.kill(os.getpid(), STOP)
        os.kill(os.getpid(), STOP)  # within a moment: the launcher's echo of the same Ctrl-C
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            steering.obey(lambda: None)
    later = time.monotonic() + 3.0
    with pytest.raises(KeyboardInterrupt), steered():
        os.kill(os.getpid(), STOP)
        monkeypatch.setattr(time, "monotonic", lambda: later)
        os.kill(os.getpid(), STOP)
    assert signal.getsignal(STOP) is before


def test_processes_that_work_together_stop_after_the_same_step() -> None:
    heard: list[bool] = []

    def of_any(own: bool) -> bool:
        heard.append(own)
        return len(heard) == 2

    with steered() as steering:
        steering.obey(lambda: None, of_any)
        with pytest.raises(KeyboardInterrupt):
            steering.obey(lambda: None, of_any)  # another one heard the signal
    assert heard == [False, False]
