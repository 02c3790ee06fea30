"""A generator in a thread: what is sent and read wins by being the newest."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Generator

import pytest

from lipflow_studio import workers
from lipflow_studio.workers import Waiting, Worker


def echo() -> Generator[object, object, None]:
    """Waits for messages and gives each back."""
    message = yield Waiting()
    while True:
        while message is None:
            message = yield Waiting()
        message = yield message


def count() -> Generator[int, object, None]:
    n = 0
    while True:
        yield n
        n += 1
        time.sleep(0.001)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def take(worker: Worker) -> object:
    """The next state, waited for."""
    found: list[object] = []

    def look() -> bool:
        state = worker.take()
        if state is not None:
            found.append(state)
        return bool(found)

    eventually(look)
    return found[0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_comes_after_the_window_with_all_that_it_starts() -> None:
    of_window = os.getpriority(os.PRIO_PROCESS, 0)

    def niceness() -> Generator[object, object, None]:
        found: list[int] = []
        below = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
        below.start()
        below.join()
        yield os.getpriority(os.PRIO_PROCESS, 0), *found

    worker = Worker(niceness, name="test").start()
    expected = min(of_window + workers.NICENESS, 19)
    assert take(worker) == (expected, expected)
    assert os.getpriority(os.PRIO_PROCESS, 0) == of_window
    assert worker.stop()


def test_gives_what_was_sent() -> None:
    worker = Worker(echo, name="test").start()
    worker.send("a")
    assert take(worker) == "a"
    assert worker.take() is None
    worker.send("b")
    assert take(worker) == "b"
    assert worker.stop()


def test_unread_messages_are_replaced_by_newer_ones() -> None:
    read: list[object] = []
    gate = threading.Event()

    def slow() -> Generator[object, object, None]:
        while True:
            read.append((yield Waiting()))
            gate.wait(10)

    worker = Worker(slow, name="test").start()
    worker.send("first")
    eventually(lambda: read == ["first"])
    for message in range(5):
        worker.send(message)
    gate.set()
    eventually(lambda: len(read) == 2)
    assert read == ["first", 4]
    assert worker.stop()


def test_unread_messages_are_merged_on_request() -> None:
    worker = Worker(echo, name="test", merge=lambda old, new: old + new)
    worker.send("a")
    worker.send("b")
    worker.start()
    assert take(worker) == "ab"
    assert worker.stop()


def test_only_the_newest_state_is_read() -> None:
    published: list[int] = []
    worker = Worker(count, name="test", on_state=published.append).start()
    eventually(lambda: len(published) > 7)
    first = take(worker)
    assert isinstance(first, int)
    assert first > 5  # the first ones are gone
    assert worker.stop()


def test_pause_holds_and_step_lets_one_state_through() -> None:
    worker = Worker(count, name="test").start()
    take(worker)
    worker.pause()
    time.sleep(0.05)
    worker.take()
    time.sleep(0.05)
    assert worker.take() is None
    assert worker.paused
    worker.step()
    one = take(worker)
    time.sleep(0.05)
    assert worker.take() is None
    worker.step()
    assert take(worker) == one + 1
    worker.resume()
    eventually(lambda: (worker.take() or 0) > one + 3)
    assert worker.stop()


def test_a_failure_is_kept_with_its_traceback_and_given_once() -> None:
    def broken() -> Generator[int, object, None]:
        yield 1
        raise ValueError("no luck")

    worker = Worker(broken, name="test").start()
    eventually(lambda: not worker.alive)
    assert worker.take() == 1
    failure = worker.take_failure()
    assert failure is not None
    assert str(failure.error) == "no luck"
    assert "in broken" in failure.details
    assert worker.take_failure() is None


def test_stop_ends_a_waiting_a_paused_and_a_running_worker_and_closes_the_generator() -> None:
    closed = []

    def tidy(inner: Callable[[], Generator]) -> Callable[[], Generator]:
        def generator() -> Generator:
            try:
                yield from inner()
            finally:
                closed.append(threading.current_thread().name)

        return generator

    for generator, pause in ((echo, False), (count, True), (count, False)):
        worker = Worker(tidy(generator), name="test").start()
        if pause:
            worker.pause()
        assert worker.stop()
        assert not worker.alive
    assert closed == ["lipflow-test"] * 3  # closed in its own thread


def test_a_wait_with_a_time_ends_by_itself() -> None:
    def patient() -> Generator[object, object, None]:
        message = yield Waiting(0.01)
        yield ("woke", message)
        yield Waiting()

    worker = Worker(patient, name="test").start()
    assert take(worker) == ("woke", None)
    assert worker.stop()


def test_every_state_is_handed_on() -> None:
    seen: list[int] = []

    def three() -> Generator[int, object, None]:
        yield from (1, 2, 3)

    worker = Worker(three, name="test", on_state=seen.append).start()
    eventually(lambda: not worker.alive)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("times", [1, 3])
def test_stopping_again_does_no_harm(times: int) -> None:
    worker = Worker(echo, name="test").start()
    assert all(worker.stop() for _ in range(times))
