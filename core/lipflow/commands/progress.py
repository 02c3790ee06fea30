"""Progress bars over the library's generators."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from tqdm import tqdm

State = TypeVar("State")
Result = TypeVar("Result")


def follow(
    states: Generator[State, None, Result], title: str, unit: str, place: Callable[[State], tuple[int, int]]
) -> Result:
    """Run a generator to its end behind a bar; ``place`` says (done, total) of a state. Returns what it returns."""
    with tqdm(desc=title, unit=unit, dynamic_ncols=True) as bar:
        while True:
            try:
                state = next(states)
            except StopIteration as stop:
                return stop.value
            done, bar.total = place(state)
            bar.update(done - bar.n)
