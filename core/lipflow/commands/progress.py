"""Progress bars over the library's generators."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from tqdm import tqdm

State = TypeVar("State")
Result = TypeVar("Result")


def follow(
    states: Generator[State, None, Result],
    title: str,
    unit: str,
    place: Callable[[State], tuple[int, int]],
    *,
    quiet: bool = False,
) -> Result:
    """Run a generator to its end behind a bar; ``place`` says (done, total) of a state. Returns what it returns.

    The bar appears with the first state: what is refused at once is answered by its one line alone. ``quiet``: no bar.
    """
    bar: tqdm | None = None
    try:
        while True:
            state = next(states)
            done, total = place(state)
            if bar is None:
                bar = tqdm(desc=title, unit=unit, total=total, dynamic_ncols=True, disable=quiet)
            bar.total = total
            bar.update(done - bar.n)
    except StopIteration as stop:
        return stop.value
    finally:
        if bar is not None:
            bar.close()
