"""Progress bars over the library's generators, and what a person is told of their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TypeVar

from tqdm import tqdm

from lipflow.capture.packed import PackedCapture

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


def tell_skipped(packed: PackedCapture) -> None:
    """Say in one line what a pack is without, if it is without any frame."""
    if packed.skipped:
        lost, total = len(packed.skipped), len(packed.skipped) + len(packed)
        more = ", …" if lost > 1 else ""
        sys.stderr.write(f"{packed.folder}: without {lost} of {total} frames ({packed.skipped[0]}{more})\n")
