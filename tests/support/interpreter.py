"""Who has the interpreter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np


def longest_hold(work: Callable[[], object]) -> float:
    """The longest time that another thread waited for its turn while something was done, as a share of it.

    A busy machine lets threads wait, too: what must not be long is the least of several tries.
    """
    beats, done = [], threading.Event()

    def beat() -> None:
        while not done.wait(0.001):
            beats.append(time.perf_counter())

    other = threading.Thread(target=beat)
    other.start()
    began = time.perf_counter()
    work()
    ended = time.perf_counter()
    done.set()
    other.join()
    return float(np.diff([began, *(beat for beat in beats if began < beat < ended), ended]).max() / (ended - began))
