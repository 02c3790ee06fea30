"""Timing two ways of doing the same thing in turns, so that a busy machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
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


def measure_pair(
    fn: Callable[[], object],
    reference: Callable[[], object],
    rounds: int,
    *,
    name: str = "",
    reference_name: str = "reference",
) -> Measurement:
    """Call both in turns ``rounds`` times, after one call each that does not count."""
    fn()
    reference()
    own, other = [], []
    for _ in range(rounds):
        own.append(_milliseconds(fn))
        other.append(_milliseconds(reference))
    median, reference_ms = statistics.median(own), statistics.median(other)
    return Measurement(name, median, min(own), reference_name, reference_ms, reference_ms / median)


def _milliseconds(fn: Callable[[], object]) -> float:
    start = time.perf_counter()
    fn()
    return 1000 * (time.perf_counter() - start)
