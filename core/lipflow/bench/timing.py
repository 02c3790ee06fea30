"""Timing two ways of doing the same thing in turns, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """How long something takes, beside a reference measured in the same run."""

    name: str
    median_ms: float
    min_ms: float
    reference_name: str
    reference_ms: float  # median
    ratio: float  # how many times as fast as the reference: of the medians
    mean_ms: float
    worst_ms: float


def measure_pair(
    fn: Callable[[], object],
    reference: Callable[[], object],
    rounds: int,
    *,
    name: str = "",
    reference_name: str = "reference",
    repeat: int = 1,
) -> Measurement:
    """Call both in turns ``rounds`` times, after one round that does not count.

    With ``repeat``, each turn is so many calls and its time a call's share: for what takes turns within itself.
    """
    _milliseconds(fn, repeat)
    _milliseconds(reference, repeat)
    own, other = [], []
    for _ in range(rounds):
        own.append(_milliseconds(fn, repeat))
        other.append(_milliseconds(reference, repeat))
    return summarise(own, other, name=name, reference_name=reference_name)


def summarise(
    own: Sequence[float], other: Sequence[float], *, name: str = "", reference_name: str = "reference"
) -> Measurement:
    """What the milliseconds of both say."""
    median, reference_ms = statistics.median(own), statistics.median(other)
    return Measurement(
        name, median, min(own), reference_name, reference_ms, reference_ms / median, statistics.fmean(own), max(own)
    )


def _milliseconds(fn: Callable[[], object], repeat: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        fn()
    return 1000 * (time.perf_counter() - start) / repeat
